//! What the server counts: plain atomics, cheap to add to, read one by one, never reset; and the
//! families of numbers that they are published as.
//!
//! A number is declared once, in a table of `stats!`: from it come the field of the snapshot, its
//! documentation, and its line at `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Adds so many.
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The present value.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    /// Adds so many and returns the new value.
    pub(crate) fn add(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::Relaxed) + n
    }

    /// Takes so many away.
    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// The present value.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What kind of number a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Numbers of one name, told apart by a label.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// The name, such as `bayeux_sessions`: letters, digits, `_` and `:`.
    pub(crate) name: &'static str,
    /// What it counts, one line.
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    /// The numbers, with the label's name and value if they have one. Exact up to 2^53. A family
    /// without any is left out.
    pub(crate) samples: Vec<(Option<(&'static str, String)>, f64)>,
}

impl Family {
    /// A family without numbers yet.
    pub(crate) fn new(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help: help.trim_ascii_start(),
            kind,
            samples: Vec::new(),
        }
    }

    /// Adds the number of a family that has one.
    pub(crate) fn number(mut self, value: f64) -> Self {
        self.samples.push((None, value));
        self
    }

    /// Adds a number for each value of a label.
    pub(crate) fn by<L: ToString>(
        mut self,
        label: &'static str,
        numbers: impl IntoIterator<Item = (L, u64)>,
    ) -> Self {
        let sample = |(value, n): (L, u64)| (Some((label, value.to_string())), n as f64);
        self.samples.extend(numbers.into_iter().map(sample));
        self
    }
}

/// Declares a snapshot of numbers. In braces what the snapshot has besides; then, as `published`,
/// the families: what they count, kind, public name, and then a field, the fields of some values of
/// a label, or a list by label.
macro_rules! stats {
    (
        $(#[$meta:meta])*
        pub struct $Stats:ident {
            $($(#[$own_doc:meta])* pub $own:ident: $Own:ty,)*
        }
        published {
            $(
                #[doc = $help:literal]
                $kind:ident $name:literal
                $(= $field:ident)?
                $(by $by:literal {
                    $(#[doc = $part_doc:literal] $part:ident = $value:literal,)+
                })?
                $([$label:literal] $list:ident: $List:ty)?;
            )*
        }
    ) => {
        $(#[$meta])*
        pub struct $Stats {
            $($(#[$own_doc])* pub $own: $Own,)*
            $(
                $(#[doc = $help] pub $field: u64,)?
                $($(#[doc = $part_doc] pub $part: u64,)+)?
                $(#[doc = $help] pub $list: $List,)?
            )*
        }

        impl $Stats {
            /// The numbers under their public names.
            pub(crate) fn families(&self) -> Vec<$crate::counters::Family> {
                use $crate::counters::{Family, Kind};
                vec![$(
                    Family::new(Kind::$kind, $name, $help)
                        $(.number(self.$field as f64))?
                        $(.by($by, [$(($value, self.$part)),+]))?
                        $(.by($label, self.$list.iter().copied()))?
                ),*]
            }
        }
    };
}

pub(crate) use stats;
