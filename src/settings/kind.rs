//! How a setting is written as text: the trait of all value types, and the combinators.

/// What a value looks like, for help texts and for building arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// What stands for the value in a usage line, such as `DURATION` or `native|tiny-http`.
    pub placeholder: String,
    /// Unit and spelling, as one clause without a full stop; empty if the placeholder says all.
    pub spelling: &'static str,
    /// A switch: without a value it means `true`.
    pub switch: bool,
    /// A list: may be given several times, and takes several values separated by commas.
    pub list: bool,
}

impl Form {
    /// A single value.
    pub(crate) fn one(placeholder: &str, spelling: &'static str) -> Self {
        Self {
            placeholder: placeholder.to_owned(),
            spelling,
            switch: false,
            list: false,
        }
    }
}

/// A type of value: how it is read from text.
pub(crate) trait Kind {
    /// What it is in the struct that declares it.
    type Value;

    /// Reads a value; the error says what is wrong and what to write instead.
    fn parse(&self, text: &str) -> Result<Self::Value, String>;

    /// What it looks like.
    fn form(&self) -> Form;

    /// The value as a number, where limits can be set to it.
    fn amount(&self, _value: &Self::Value) -> Option<u128> {
        None
    }

    /// A limit as a number. Written like a value, but where the value is made of several.
    fn limit(&self, text: &str) -> Option<u128> {
        self.parse(text).ok().and_then(|value| self.amount(&value))
    }
}

/// Whether a value is within limits written as `A to B` or `A or more`.
pub(crate) fn within<K: Kind>(kind: &K, value: &K::Value, limits: &str) -> Result<(), String> {
    // Read also where there is nothing to compare, so that checking the defaults checks the table.
    let bound = |text| {
        kind.limit(text)
            .expect("because a test reads every limit of the table")
    };
    let (least, most) = match limits.split_once(" to ") {
        Some((least, most)) => (bound(least), bound(most)),
        None => (bound(limits.trim_end_matches(" or more")), u128::MAX),
    };
    match kind.amount(value) {
        Some(amount) if !(least..=most).contains(&amount) => Err(format!("must be {limits}")),
        _ => Ok(()),
    }
}

/// `true` or `false`.
pub(crate) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn parse(&self, text: &str) -> Result<bool, String> {
        let hint = match text.to_ascii_lowercase().as_str() {
            "true" => return Ok(true),
            "false" => return Ok(false),
            "on" | "yes" | "y" | "1" | "t" => "; did you mean `true`?",
            "off" | "no" | "n" | "0" | "f" => "; did you mean `false`?",
            _ => "",
        };
        Err(format!("`{text}` is neither `true` nor `false`{hint}"))
    }

    fn form(&self) -> Form {
        Form {
            switch: true,
            ..Form::one("true|false", "")
        }
    }
}

/// A value that may be left to the rest of the configuration.
pub(crate) struct Auto<K>(pub(crate) K);

impl<K: Kind> Kind for Auto<K> {
    type Value = Option<K::Value>;

    fn parse(&self, text: &str) -> Result<Self::Value, String> {
        if text == "auto" {
            Ok(None)
        } else {
            self.0.parse(text).map(Some)
        }
    }

    fn form(&self) -> Form {
        let mut form = self.0.form();
        form.placeholder.push_str("|auto");
        form
    }

    fn amount(&self, value: &Self::Value) -> Option<u128> {
        self.0.amount(value.as_ref()?)
    }
}

/// A value that may be `off`.
pub(crate) struct Off<K>(pub(crate) K);

impl<K: Kind> Kind for Off<K> {
    type Value = Option<K::Value>;

    fn parse(&self, text: &str) -> Result<Self::Value, String> {
        match text {
            "off" => Ok(None),
            "none" | "unlimited" | "false" | "no" => {
                Err(format!("`{text}` is not known here; did you mean `off`?"))
            }
            _ => self.0.parse(text).map(Some),
        }
    }

    fn form(&self) -> Form {
        let mut form = self.0.form();
        form.placeholder.push_str("|off");
        form
    }

    fn amount(&self, value: &Self::Value) -> Option<u128> {
        value.as_ref().and_then(|value| self.0.amount(value))
    }
}

/// Values separated by commas.
pub(crate) struct List<K> {
    /// What each of them is.
    pub(crate) each: K,
    /// Whether there may be none.
    pub(crate) may_be_empty: bool,
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn parse(&self, text: &str) -> Result<Self::Value, String> {
        let values = elements(text)
            .map(|text| self.each.parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        if values.is_empty() && !self.may_be_empty {
            return Err("at least one is needed".to_owned());
        }
        Ok(values)
    }

    fn form(&self) -> Form {
        Form {
            list: true,
            ..self.each.form()
        }
    }
}

/// The default of a list that is empty.
pub(crate) fn nothing() -> String {
    String::new()
}

/// The elements of a list as it is written.
pub(crate) fn elements(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches() {
        assert_eq!(Switch.parse("true"), Ok(true));
        assert_eq!(Switch.parse("False"), Ok(false));
        for (text, better) in [
            ("yes", "`true`"),
            ("1", "`true`"),
            ("off", "`false`"),
            ("0", "`false`"),
        ] {
            let error = Switch.parse(text).unwrap_err();
            assert!(
                error.ends_with(&format!("did you mean {better}?")),
                "{error}"
            );
        }
        assert_eq!(
            Switch.parse("x").unwrap_err(),
            "`x` is neither `true` nor `false`"
        );
    }

    #[test]
    fn auto_and_off() {
        assert_eq!(Auto(Switch).parse("auto"), Ok(None));
        assert_eq!(Auto(Switch).parse("false"), Ok(Some(false)));
        assert_eq!(Off(Switch).parse("off"), Ok(None));
        assert_eq!(Off(Switch).parse("true"), Ok(Some(true)));
        assert!(
            Off(Switch)
                .parse("none")
                .unwrap_err()
                .ends_with("did you mean `off`?")
        );
        assert_eq!(Off(Switch).form().placeholder, "true|false|off");
    }

    #[test]
    fn what_is_no_number_has_no_limits() {
        assert_eq!(Switch.limit("true"), None);
        assert_eq!(Auto(Switch).limit("true"), None);
    }

    #[test]
    fn lists() {
        let list = |may_be_empty| List {
            each: Switch,
            may_be_empty,
        };
        assert_eq!(list(true).parse(" true, false ,"), Ok(vec![true, false]));
        assert_eq!(list(true).parse(""), Ok(vec![]));
        assert_eq!(list(false).parse("").unwrap_err(), "at least one is needed");
        assert!(
            list(true)
                .parse("true,maybe")
                .unwrap_err()
                .starts_with("`maybe`")
        );
    }
}
