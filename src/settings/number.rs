//! Settings that are numbers with a unit: durations, sizes, counts.

use std::time::Duration;

use super::kind::{Form, Kind};

/// Nanoseconds in each unit of time.
const TIMES: &[(&str, u128)] = &[
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Bytes in each unit of size.
const SIZES: &[(&str, u128)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// What people write instead of a unit, and which it is.
const ALIASES: &[(&str, &str)] = &[
    ("msec", "ms"),
    ("millis", "ms"),
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("min", "m"),
    ("mins", "m"),
    ("minute", "m"),
    ("minutes", "m"),
    ("hour", "h"),
    ("hours", "h"),
    ("day", "d"),
    ("days", "d"),
    ("b", "B"),
    ("bytes", "B"),
    ("k", "KiB"),
    ("m", "MiB"),
    ("g", "GiB"),
    ("t", "TiB"),
];

/// A length of time: a number and a unit, such as `30s`, `1.5s` or `500ms`.
///
/// A number without a unit is refused, since half of the world would mean milliseconds; only `0`
/// needs none.
pub(crate) struct Time;

impl Kind for Time {
    type Value = Duration;

    fn parse(&self, text: &str) -> Result<Duration, String> {
        let (number, unit) = split(text);
        let number = number.ok_or_else(|| format!("`{text}` is no duration, such as `30s`"))?;
        let nanoseconds = match unit {
            "" if number.mantissa == 0 => Some(0),
            "" => {
                let hint = format!("did you mean `{text}s` or `{text}ms`?");
                return Err(format!("`{text}` has no unit; {hint}"));
            }
            unit => number.times(scale(text, unit, TIMES)?),
        };
        let nanoseconds = nanoseconds.and_then(|amount| u64::try_from(amount).ok());
        let time = nanoseconds.map(Duration::from_nanos);
        time.ok_or_else(|| format!("`{text}` is too long"))
    }

    fn form(&self) -> Form {
        Form::one("DURATION", "a number with ms, s, m, h or d")
    }

    fn amount(&self, value: &Duration) -> Option<u128> {
        Some(value.as_nanos())
    }
}

/// Reads a length of time as the settings do: `30s`, `1.5s`, `500ms`.
///
/// # Errors
/// A text for the user: what is wrong with it, and what was probably meant.
pub fn duration(text: &str) -> Result<Duration, String> {
    Time.parse(text)
}

/// A number of bytes: `65536`, `64KiB`, `1.5MiB`.
pub(crate) struct Size;

impl Kind for Size {
    type Value = usize;

    fn parse(&self, text: &str) -> Result<usize, String> {
        let (number, unit) = split(text);
        let number = number.ok_or_else(|| format!("`{text}` is no size, such as `64KiB`"))?;
        let unit = if unit.is_empty() { "B" } else { unit };
        let bytes = number.times(scale(text, unit, SIZES)?);
        let bytes = bytes.and_then(|amount| usize::try_from(amount).ok());
        bytes.ok_or_else(|| format!("`{text}` is too large"))
    }

    fn form(&self) -> Form {
        Form::one("SIZE", "bytes, or a number with KiB, MiB or GiB")
    }

    fn amount(&self, value: &usize) -> Option<u128> {
        Some(*value as u128)
    }
}

/// A number of things.
pub(crate) struct Count;

impl Kind for Count {
    type Value = usize;

    fn parse(&self, text: &str) -> Result<usize, String> {
        let digits: String = text
            .chars()
            .filter(|c| !matches!(c, '_' | ',' | '\'' | ' '))
            .collect();
        match text.parse() {
            Ok(count) => Ok(count),
            Err(_) if digits != text && digits.parse::<usize>().is_ok() => Err(format!(
                "`{text}` is no whole number; did you mean `{digits}`?"
            )),
            Err(_) => Err(format!("`{text}` is no whole number")),
        }
    }

    fn form(&self) -> Form {
        Form::one("COUNT", "")
    }

    fn amount(&self, value: &usize) -> Option<u128> {
        Some(*value as u128)
    }
}

/// A decimal number: `mantissa / 10^places`.
struct Decimal {
    mantissa: u128,
    places: u32,
}

impl Decimal {
    /// The number times a scale, rounded down.
    fn times(&self, scale: u128) -> Option<u128> {
        Some(self.mantissa.checked_mul(scale)? / 10_u128.pow(self.places))
    }
}

/// The number, if it is one, and the unit.
fn split(text: &str) -> (Option<Decimal>, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (decimal(&text[..end]), text[end..].trim_start())
}

/// Digits with at most one point among them; 18 of them on each side.
fn decimal(text: &str) -> Option<Decimal> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let point_at_the_edge = text.contains('.') && (whole.is_empty() || fraction.is_empty());
    if whole.is_empty() || point_at_the_edge || whole.len() > 18 || fraction.len() > 18 {
        return None;
    }
    let mantissa = format!("{whole}{fraction}").parse().ok()?;
    Some(Decimal {
        mantissa,
        places: u32::try_from(fraction.len()).ok()?,
    })
}

/// What a unit is worth; the error for one that is not in the table says which was meant.
fn scale(text: &str, unit: &str, units: &[(&str, u128)]) -> Result<u128, String> {
    if let Some(&(_, scale)) = units.iter().find(|(name, _)| *name == unit) {
        return Ok(scale);
    }
    let number = text[..text.len() - unit.len()].trim_end();
    let lower = unit.to_ascii_lowercase();
    let alias = ALIASES.iter().filter(|(alias, _)| *alias == lower);
    let mut names = units.iter().map(|(name, _)| *name);
    let meant = names
        .clone()
        .find(|name| name.eq_ignore_ascii_case(&lower))
        .or_else(|| names.find(|known| alias.clone().any(|(_, name)| name == known)));
    let hint = match meant {
        Some(better) => format!("did you mean `{number}{better}`?"),
        None => {
            let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
            format!("known are {}", names.join(", "))
        }
    };
    Err(format!("`{unit}` is no unit; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_that_limits_compare() {
        assert_eq!(Size.amount(&4096), Some(4096));
        assert_eq!(Time.amount(&Duration::from_millis(1)), Some(1_000_000));
        let auto = super::super::kind::Auto(Size);
        assert_eq!((auto.amount(&Some(7)), auto.amount(&None)), (Some(7), None));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert!(duration("1").is_err());
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("30s", 30_000),
            ("30 s", 30_000),
            ("2m", 120_000),
            ("0.5h", 1_800_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(
                Time.parse(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        assert_eq!(Time.parse("0.25ms"), Ok(Duration::from_micros(250)));
    }

    #[test]
    fn refused_durations() {
        for (text, error) in [
            ("30", "`30` has no unit; did you mean `30s` or `30ms`?"),
            ("1.5", "`1.5` has no unit; did you mean `1.5s` or `1.5ms`?"),
            ("30sec", "`sec` is no unit; did you mean `30s`?"),
            ("30 Seconds", "`Seconds` is no unit; did you mean `30s`?"),
            ("2min", "`min` is no unit; did you mean `2m`?"),
            ("2H", "`H` is no unit; did you mean `2h`?"),
            ("3w", "`w` is no unit; known are ms, s, m, h, d"),
            ("1m30s", "`m30s` is no unit; known are ms, s, m, h, d"),
            ("", "`` is no duration, such as `30s`"),
            ("-1s", "`-1s` is no duration, such as `30s`"),
            (".5s", "`.5s` is no duration, such as `30s`"),
            ("1.s", "`1.s` is no duration, such as `30s`"),
            ("1.2.3s", "`1.2.3s` is no duration, such as `30s`"),
            ("soon", "`soon` is no duration, such as `30s`"),
            ("9999999999999999d", "`9999999999999999d` is too long"),
            ("1\u{e9}", "`\u{e9}` is no unit; known are ms, s, m, h, d"),
        ] {
            assert_eq!(Time.parse(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65_536),
            ("100B", 100),
            ("16KiB", 16_384),
            ("1MiB", 1 << 20),
            ("1.5MiB", 3 << 19),
            ("1 GiB", 1 << 30),
            ("10kB", 10_000),
            ("2MB", 2_000_000),
        ] {
            assert_eq!(Size.parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refused_sizes() {
        for (text, error) in [
            ("1M", "`M` is no unit; did you mean `1MiB`?"),
            ("64k", "`k` is no unit; did you mean `64KiB`?"),
            ("1mib", "`mib` is no unit; did you mean `1MiB`?"),
            ("5 bytes", "`bytes` is no unit; did you mean `5B`?"),
            (
                "1X",
                "`X` is no unit; known are B, KiB, MiB, GiB, TiB, kB, MB, GB",
            ),
            ("-1", "`-1` is no size, such as `64KiB`"),
            ("", "`` is no size, such as `64KiB`"),
            (
                "999999999999999999TiB",
                "`999999999999999999TiB` is too large",
            ),
        ] {
            assert_eq!(Size.parse(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!(Count.parse("0"), Ok(0));
        assert_eq!(Count.parse("100000"), Ok(100_000));
        for (text, error) in [
            (
                "100_000",
                "`100_000` is no whole number; did you mean `100000`?",
            ),
            ("-1", "`-1` is no whole number"),
            ("1.5", "`1.5` is no whole number"),
            ("ten", "`ten` is no whole number"),
            ("", "`` is no whole number"),
            (
                "99999999999999999999999",
                "`99999999999999999999999` is no whole number",
            ),
        ] {
            assert_eq!(Count.parse(text), Err(error.to_owned()), "{text}");
        }
    }
}
