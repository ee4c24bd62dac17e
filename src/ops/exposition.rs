//! Metrics as plain data, and their text format (Prometheus, version 0.0.4).

use std::fmt::Write as _;

/// What kind of number a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Numbers of one name, told apart by labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The name, such as `bayeux_sessions`: letters, digits, `_` and `:`.
    pub name: &'static str,
    /// What it counts, one line.
    pub help: &'static str,
    /// Whether it goes down too.
    pub kind: FamilyKind,
    /// The numbers. A family without any is left out.
    pub samples: Vec<Sample>,
}

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The label and its value; most families have none, none has two.
    pub label: Option<(&'static str, String)>,
    /// The number.
    pub value: f64,
}

impl Family {
    /// A family with one number.
    pub fn single(
        kind: FamilyKind,
        name: &'static str,
        help: &'static str,
        value: impl Number,
    ) -> Self {
        let samples = vec![Sample {
            label: None,
            value: value.number(),
        }];
        Self {
            name,
            help,
            kind,
            samples,
        }
    }

    /// A family with one number for each value of a label.
    pub fn by<L: ToString>(
        kind: FamilyKind,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> Self {
        let sample = |(text, value): (L, u64)| Sample {
            label: Some((label, text.to_string())),
            value: value.number(),
        };
        Self {
            name,
            help,
            kind,
            samples: values.into_iter().map(sample).collect(),
        }
    }
}

/// What can stand in a sample.
pub trait Number {
    /// As a floating point number, the only kind the format knows; exact up to 2^53.
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for u64 {
    fn number(self) -> f64 {
        self as f64
    }
}

/// The text of some families.
pub fn exposition(families: &[Family]) -> String {
    let mut out = String::with_capacity(families.len() * 160);
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let kind = match family.kind {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
        };
        let Family { name, help, .. } = family;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let mut line = |text: std::fmt::Arguments<'_>| {
            out.write_fmt(text)
                .expect("because writing to a string does not fail");
        };
        line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for Sample { label, value } in &family.samples {
            match label {
                None => line(format_args!("{name} {value}\n")),
                Some((label, text)) => {
                    line(format_args!(
                        "{name}{{{label}=\"{}\"}} {value}\n",
                        escaped(text)
                    ));
                }
            }
        }
    }
    out
}

/// A label's value between quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use FamilyKind::{Counter, Gauge};

    #[test]
    fn text_format() {
        let families = [
            Family::single(Gauge, "a", "Things that\nare.", 3_u64),
            Family::by(
                Counter,
                "b_total",
                "Drops by reason.",
                "reason",
                [("overflow", 7), ("a \"b\" \\ c\nd", 0)],
            ),
            Family::by(
                Counter,
                "c_total",
                "Nothing yet.",
                "status",
                Vec::<(u16, u64)>::new(),
            ),
            Family::by(Counter, "d_total", "Refusals.", "status", [(503_u16, 1)]),
            Family::single(Counter, "e_seconds_total", "CPU.", 1.25),
        ];
        assert_eq!(
            exposition(&families),
            "# HELP a Things that\\nare.\n# TYPE a gauge\na 3\n\
             # HELP b_total Drops by reason.\n# TYPE b_total counter\n\
             b_total{reason=\"overflow\"} 7\nb_total{reason=\"a \\\"b\\\" \\\\ c\\nd\"} 0\n\
             # HELP d_total Refusals.\n# TYPE d_total counter\nd_total{status=\"503\"} 1\n\
             # HELP e_seconds_total CPU.\n# TYPE e_seconds_total counter\ne_seconds_total 1.25\n"
        );
    }

    #[test]
    fn large_numbers_are_written_out() {
        let family = Family::single(Gauge, "a", "x.", 9_007_199_254_740_992_u64);
        assert!(exposition(&[family]).ends_with("a 9007199254740992\n"));
    }
}
