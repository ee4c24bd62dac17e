//! The macro that makes of one table the struct, its defaults, its documentation, and the rows from
//! which flags, environment variables, file keys and help come.

use super::kind::Form;

/// A struct that was declared by [`settings!`].
pub(crate) trait Settings: Sized + 'static {
    /// Its settings, in their order.
    const ROWS: &'static [Row<Self>];
}

/// One setting of a struct.
pub(crate) struct Row<C> {
    /// Name of the setting, such as `max_body`; of the field, if nothing else is said.
    pub(crate) key: &'static str,
    /// Heading under which it is listed.
    pub(crate) section: &'static str,
    /// What it does, one line; then, after an empty line, why, with more detail.
    pub(crate) about: &'static str,
    /// The limits, as text: `A to B` or `A or more`.
    pub(crate) limits: Option<&'static str>,
    /// The default in words; as it would be written, where it is not computed.
    pub(crate) default: &'static str,
    /// Only the native connector can obey it.
    pub(crate) native_only: bool,
    pub(crate) form: fn() -> Form,
    pub(crate) computed: Option<fn() -> String>,
    pub(crate) set: fn(&mut C, &str) -> Result<(), String>,
    pub(crate) verify: fn(&C) -> Result<(), String>,
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
            const ROWS: &'static [$crate::settings::Row<Self>] =
                &[$($($(#[cfg($gate)])? $crate::settings::Row {
                    key: $crate::settings::settings!(@key $field $($key)?),
                    section: $section,
                    about: concat!($($about, "\n"),+),
                    limits: $crate::settings::settings!(@option $($limits)?),
                    default: $default,
                    native_only: $crate::settings::settings!(@marked $($mark)?),
                    form: || $crate::settings::Kind::form(&$kind),
                    computed: $crate::settings::settings!(@option $($compute)?),
                    set: |config, text| {
                        let kind = $kind;
                        let value = $crate::settings::Kind::parse(&kind, text)?;
                        $($crate::settings::within(&kind, &value, $limits)
                            .map_err(|error| format!("`{text}` is out of range: {error}"))?;)?
                        config.$field = value;
                        Ok(())
                    },
                    verify: |_config| {
                        $($crate::settings::within(&$kind, &_config.$field, $limits)?;)?
                        Ok(())
                    },
                },)+)+];
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
