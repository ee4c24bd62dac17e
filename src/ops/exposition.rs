//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write as _;

use crate::counters::{Family, Kind};

/// The text of some families.
pub(super) fn exposition(families: &[Family]) -> String {
    let mut out = String::with_capacity(families.len() * 160);
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let Family { name, help, .. } = family;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let mut line = |text: std::fmt::Arguments<'_>| {
            out.write_fmt(text)
                .expect("because writing to a string does not fail");
        };
        line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (label, value) in &family.samples {
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
    use Kind::{Counter, Gauge};

    #[test]
    fn text_format() {
        let reasons = [("overflow", 7), ("a \"b\" \\ c\nd", 0)];
        let families = [
            Family::new(Gauge, "a", " Things that\nare.").number(3.0),
            Family::new(Counter, "b_total", "Drops by reason.").by("reason", reasons),
            Family::new(Counter, "c_total", "Nothing yet.").by("status", Vec::<(u16, u64)>::new()),
            Family::new(Counter, "d_total", "Refusals.").by("status", [(503_u16, 1)]),
            Family::new(Counter, "e_seconds_total", "CPU.").number(1.25),
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
        let family = Family::new(Gauge, "a", "x.").by("b", [("c", 9_007_199_254_740_992_u64)]);
        assert!(exposition(&[family]).ends_with("a{b=\"c\"} 9007199254740992\n"));
    }
}
