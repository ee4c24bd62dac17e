//! The macro that makes of one table the struct, its defaults, its documentation, and the knobs.

use super::kind::Form;
use super::knobs::Config;

/// One setting, as flags, environment variables, file keys and help see it.
#[derive(Debug)]
pub struct Knob {
    /// Name of the field and key of the file, such as `max_body`.
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
    /// Only the native connector can obey it.
    pub native_only: bool,
    pub(super) form: fn() -> Form,
    pub(super) computed: Option<fn() -> String>,
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
    pub(super) verify: fn(&Config) -> Result<(), String>,
}

impl Knob {
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
}

/// Makes `Config`, its `Default`, and `KNOBS`.
///
/// A row is `/// about`, then `field: Type = KIND, within "limits", default "text";`. The limits
/// may be missing. Behind the default may come `from function`, when it is computed and the text
/// says how, and `native_only`. A row that belongs to a feature has its `#[cfg]` behind the text.
macro_rules! knobs {
    ($($section:literal { $(
        $(#[doc = $about:literal])+
        $(#[cfg($gate:meta)])?
        $key:ident: $type:ty = $kind:expr, $(within $limits:literal,)? default $default:literal
            $(from $compute:path)? $(, $mark:ident)?;
    )+ })+) => {
        /// Every setting of a server, as plain data.
        ///
        /// Each has a default, which [`Config::default`] gives; the limits are checked by
        /// [`Config::check`]. The names are those of the flags, with `_` for `-`.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(
                $(#[doc = $about])+
                #[doc = ""]
                #[doc = concat!("Default: ", $default, ".", $(" Limits: ", $limits, ".")?)]
                $(#[cfg($gate)])?
                pub $key: $type,
            )+)+
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($($(#[cfg($gate)])? $key: $kind
                    .parse(knobs!(@text $default $(, $compute)?))
                    .expect("because a test reads every default of the table"),)+)+ }
            }
        }

        /// All settings, in the order of the help text.
        pub static KNOBS: &[Knob] = &[$($($(#[cfg($gate)])? Knob {
            key: stringify!($key),
            section: $section,
            about: concat!($($about, "\n"),+),
            limits: knobs!(@option $($limits)?),
            default: $default,
            native_only: knobs!(@marked $($mark)?),
            form: || $kind.form(),
            computed: knobs!(@option $($compute)?),
            set: |config, text| {
                let kind = $kind;
                let value = kind.parse(text)?;
                $(within(&kind, &value, $limits)
                    .map_err(|error| format!("`{text}` is out of range: {error}"))?;)?
                config.$key = value;
                Ok(())
            },
            verify: |_config| {
                $(within(&$kind, &_config.$key, $limits)?;)?
                Ok(())
            },
        },)+)+];
    };
    (@text $default:literal) => { $default };
    (@text $default:literal, $compute:path) => { &$compute() };
    (@option) => { None };
    (@option $value:expr) => { Some($value) };
    (@marked) => { false };
    (@marked native_only) => { true };
}

pub(super) use knobs;
