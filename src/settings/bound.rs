//! What settings let things take of the memory.

use std::fmt;

/// The most that one kind of thing takes, as the settings of the module that has it allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// What it is, in the plural.
    what: &'static str,
    /// Bytes of one; `None` where the settings count bytes.
    each: Option<usize>,
    most: usize,
    /// The settings that decide, separated by commas.
    by: &'static str,
}

impl Bound {
    /// So many things, of so many bytes each.
    pub(crate) fn of(what: &'static str, most: usize, each: usize, by: &'static str) -> Self {
        Self {
            what,
            each: Some(each),
            most,
            by,
        }
    }

    /// So many bytes.
    pub(crate) fn bytes(what: &'static str, most: usize, by: &'static str) -> Self {
        Self {
            what,
            each: None,
            most,
            by,
        }
    }

    /// Bytes of all of them.
    fn total(&self) -> usize {
        self.most.saturating_mul(self.each.unwrap_or(1))
    }
}

/// A table for whoever sizes a machine, with the sum.
pub(crate) struct Bounds(pub(crate) Vec<Bound>);

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<20} {:>10} {:>8} {:>14}",
            "", "at most", "each", "bytes"
        )?;
        let mut sum: usize = 0;
        for bound in &self.0 {
            let number = |number: Option<usize>| number.map(|n| n.to_string()).unwrap_or_default();
            let (most, each) = (bound.each.map(|_| bound.most), bound.each);
            let (most, each) = (number(most), number(each));
            let (what, total, by) = (bound.what, bound.total(), bound.by);
            writeln!(f, "{what:<20} {most:>10} {each:>8} {total:>14}  {by}")?;
            sum = sum.saturating_add(total);
        }
        let mebibytes = sum.div_ceil(1 << 20);
        writeln!(f, "{:<40} {sum:>14}  {mebibytes} MiB", "all together")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_with_its_sum() {
        let bounds = Bounds(vec![
            Bound::of("sessions", 1000, 700, "max_sessions"),
            Bound::bytes("waiting messages", 1 << 20, "max_queued_total"),
        ]);
        let text = bounds.to_string();
        let words: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            words[1],
            ["sessions", "1000", "700", "700000", "max_sessions"]
        );
        assert_eq!(
            words[2],
            ["waiting", "messages", "1048576", "max_queued_total"]
        );
        assert_eq!(words[3], ["all", "together", "1748576", "2", "MiB"]);
        let widths: Vec<_> = text.lines().skip(1).map(|line| line.find("  ")).collect();
        assert!(widths.iter().all(Option::is_some));
        let endless = Bound::of("x", usize::MAX, 2, "y");
        assert_eq!(endless.total(), usize::MAX);
    }
}
