//! The service math: one operation on two numbers.
//!
//! `{"a": 10, "operand": "*", "b": 2}` is answered with the same and `"answer": 20`. Operands are
//! `+ - * /`. Nothing is ever evaluated: what is not of this form fails, as does a division by zero
//! and a result that is no number.

use serde_json::{Map, Number, Value};

use crate::broker::{ServiceCall, ServiceError, ServiceReply};

/// Answers one call.
pub(super) fn calculate(call: &ServiceCall<'_>) -> Result<Vec<ServiceReply>, ServiceError> {
    let mut data: Map<String, Value> =
        serde_json::from_str(call.data).map_err(|_| "the data is no object")?;
    let result = {
        let number = |name: &str| match data.get(name) {
            Some(Value::Number(number)) => Ok(number),
            _ => Err(ServiceError(format!("{name} is no number"))),
        };
        let operand = data.get("operand").and_then(Value::as_str);
        answer(number("a")?, operand.unwrap_or_default(), number("b")?)?
    };
    data.insert("answer".to_owned(), Value::Number(result));
    Ok(vec![ServiceReply::data(&data)?])
}

fn answer(a: &Number, operand: &str, b: &Number) -> Result<Number, ServiceError> {
    // Whole numbers stay whole, as long as they fit.
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        let whole = match operand {
            "+" => a.checked_add(b),
            "-" => a.checked_sub(b),
            "*" => a.checked_mul(b),
            "/" if b != 0 && a.checked_rem(b) == Some(0) => a.checked_div(b),
            _ => None,
        };
        if let Some(whole) = whole {
            return Ok(whole.into());
        }
    }
    let float = |number: &Number| number.as_f64().ok_or("too large a number");
    let (a, b) = (float(a)?, float(b)?);
    let result = match operand {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" if b == 0.0 => return Err("division by zero".into()),
        "/" => a / b,
        _ => return Err("the operand is none of + - * /".into()),
    };
    Number::from_f64(result).ok_or_else(|| "the result is too large".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calculated(a: &str, operand: &str, b: &str) -> Result<String, String> {
        let number = |raw: &str| serde_json::from_str::<Number>(raw).unwrap();
        answer(&number(a), operand, &number(b))
            .map(|number| number.to_string())
            .map_err(|error| error.0)
    }

    #[test]
    fn operations() {
        for (a, operand, b, result) in [
            ("10", "*", "2", "20"),
            ("10", "+", "2", "12"),
            ("10", "-", "12", "-2"),
            ("10", "/", "2", "5"),
            ("10", "/", "4", "2.5"),
            ("0.5", "*", "4", "2.0"),
            ("-1", "/", "1e3", "-0.001"),
            ("9223372036854775807", "+", "1", "9.223372036854775808e18"),
            ("-9223372036854775808", "/", "-1", "9.223372036854775808e18"),
            ("18446744073709551615", "-", "0", "1.8446744073709552e19"),
        ] {
            let got: f64 = calculated(a, operand, b).unwrap().parse().unwrap();
            assert_eq!(got, result.parse::<f64>().unwrap(), "{a} {operand} {b}");
        }
        assert_eq!(calculated("10", "*", "2").unwrap(), "20", "no fraction");
    }

    #[test]
    fn no_result() {
        for (a, operand, b) in [
            ("1", "/", "0"),
            ("1", "/", "0.0"),
            ("0", "/", "-0"),
            ("1", "%", "1"),
            ("1", "**", "1"),
            ("1", "", "1"),
            ("1", ";system('id')", "1"),
            ("1e308", "*", "10"),
        ] {
            assert!(calculated(a, operand, b).is_err(), "{a} {operand} {b}");
        }
    }
}
