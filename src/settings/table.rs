//! The macro that makes of one table the struct, its defaults, its documentation, and the rows from
//! which flags, environment variables, file keys and help come.

use std::fmt;

use super::kind::Form;

/// A struct that was declared by [`settings!`].
pub(crate) trait Settings: Sized + 'static {
    /// Its settings, in their order.
    fn rows() -> Vec<Setting<Self>>;
}

/// One setting of a configuration `C`, as flags, environment variables, file keys and help see it.
pub struct Setting<C> {
    /// Its name and the key of the file, such as `max_body`.
    pub key: &'static str,
    /// Heading under which it is listed.
    pub section: &'static str,
    /// What it does, one line; then, after an empty line, why, with more detail.
    pub about: &'static str,
    /// The limits, as text: `A to B` or `A or more`.
    pub limits: Option<&'static str>,
    /// The default in words; where it is not computed the same as
    /// [`default_text`](Self::default_text).
    pub default: &'static str,
    /// It has an effect with the connector `native` only.
    pub native_only: bool,
    pub(crate) form: fn() -> Form,
    pub(crate) computed: Option<fn() -> String>,
    pub(crate) set: Box<Set<C>>,
    pub(crate) verify: Box<Verify<C>>,
}

pub(crate) type Set<C> = dyn Fn(&mut C, &str) -> Result<(), String> + Send + Sync;
pub(crate) type Verify<C> = dyn Fn(&C) -> Result<(), String> + Send + Sync;

impl<C: 'static> Setting<C> {
    /// The flag without its dashes: `max-body`.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// The environment variable: `BAYEUX_MAX_BODY`.
    pub fn variable(&self) -> String {
        format!("BAYEUX_{}", self.key.to_ascii_uppercase())
    }

    /// What its value looks like.
    pub fn form(&self) -> Form {
        (self.form)()
    }

    /// The default as it would be written; computed on this machine if need be.
    pub fn default_text(&self) -> String {
        self.computed
            .map_or_else(|| self.default.to_owned(), |compute| compute())
    }

    /// Reads a value into its field.
    pub(crate) fn set(&self, config: &mut C, text: &str) -> Result<(), String> {
        (self.set)(config, text)
    }

    /// Whether the value of its field is within the limits.
    pub(crate) fn verify(&self, config: &C) -> Result<(), String> {
        (self.verify)(config)
    }

    /// The same as a setting of a configuration of which `C` is a part.
    pub(crate) fn of<W: 'static>(
        self,
        part: fn(&W) -> &C,
        part_mut: fn(&mut W) -> &mut C,
    ) -> Setting<W> {
        let (set, verify) = (self.set, self.verify);
        Setting {
            key: self.key,
            section: self.section,
            about: self.about,
            limits: self.limits,
            default: self.default,
            native_only: self.native_only,
            form: self.form,
            computed: self.computed,
            set: Box::new(move |whole, text| set(part_mut(whole), text)),
            verify: Box::new(move |whole| verify(part(whole))),
        }
    }
}

impl<C> fmt::Debug for Setting<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Setting({})", self.key)
    }
}

/// A setting that cannot be as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The setting's name, such as `max_body`.
    pub key: &'static str,
    /// Why not, and what to do about it.
    pub message: String,
}

impl Conflict {
    pub(crate) fn new(key: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { key, message }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// Declares a struct of settings. In braces what it has besides, with defaults; then the settings
/// by section.
///
/// A row is `/// about`, then `field: Type = KIND, within "limits", default "text";`. Behind the
/// field may come `as "key"`, where the setting has another name. The limits may be missing. Behind
/// the default may come `from function`, when it is computed and the text says how, and
/// `native_only`. A row that belongs to a feature has its `#[cfg]` behind the text.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $Config:ident {
            $(
                $(#[doc = $own_doc:literal])*
                $(#[cfg($own_gate:meta)])?
                pub $own:ident: $Own:ty = $own_default:expr;
            )*
        }
        $($section:literal { $(
            $(#[doc = $about:literal])+
            $(#[cfg($gate:meta)])?
            $field:ident $(as $key:literal)?: $type:ty = $kind:expr, $(within $limits:literal,)?
                default $default:literal $(from $compute:path)? $(, $mark:ident)?;
        )+ })+
    ) => {
        $(#[$meta])*
        pub struct $Config {
            $($(#[doc = $own_doc])* $(#[cfg($own_gate)])? pub $own: $Own,)*
            $($(
                $(#[doc = $about])+
                #[doc = ""]
                #[doc = concat!("Default: ", $default, ".", $(" Limits: ", $limits, ".")?)]
                $(#[cfg($gate)])?
                pub $field: $type,
            )+)+
        }

        impl Default for $Config {
            fn default() -> Self {
                use $crate::settings::Kind;
                Self {
                    $($(#[cfg($own_gate)])? $own: $own_default,)*
                    $($($(#[cfg($gate)])? $field: $kind
                        .parse($crate::settings::settings!(@text $default $(, $compute)?))
                        .expect("because a test reads every default of the table"),)+)+
                }
            }
        }

        impl $crate::settings::Settings for $Config {
            fn rows() -> Vec<$crate::settings::Setting<Self>> {
                vec![$($($(#[cfg($gate)])? $crate::settings::Setting {
                    key: $crate::settings::settings!(@key $field $($key)?),
                    section: $section,
                    about: concat!($($about, "\n"),+),
                    limits: $crate::settings::settings!(@option $($limits)?),
                    default: $default,
                    native_only: $crate::settings::settings!(@marked $($mark)?),
                    form: || $crate::settings::Kind::form(&$kind),
                    computed: $crate::settings::settings!(@option $($compute)?),
                    set: Box::new(|config: &mut Self, text: &str| {
                        let kind = $kind;
                        let value = $crate::settings::Kind::parse(&kind, text)?;
                        $($crate::settings::within(&kind, &value, $limits)
                            .map_err(|error| format!("`{text}` is out of range: {error}"))?;)?
                        config.$field = value;
                        Ok(())
                    }),
                    verify: Box::new(|_config: &Self| {
                        $($crate::settings::within(&$kind, &_config.$field, $limits)?;)?
                        Ok(())
                    }),
                },)+)+]
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@text $default:literal) => { $default };
    (@text $default:literal, $compute:path) => { &$compute() };
    (@option) => { None };
    (@option $value:expr) => { Some($value) };
    (@marked) => { false };
    (@marked native_only) => { true };
}

pub(crate) use settings;
