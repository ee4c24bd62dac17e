//! The server that the conformance suite's profile `services` asks for: demo services and a demo
//! policy, with the flags of `bayeux serve`.
//!
//!     cargo run --release --example conformance -- --listen 127.0.0.1:0 --require-browser-cookie

use std::process::ExitCode;

use bayeux::Action;
use bayeux::{
    Access, AuthRequest, Decision, ServerBuilder, ServiceCall, ServiceError, ServiceReply, Verdict,
};
use serde::{Deserialize, Serialize};
use serde_json::Number;

fn main() -> ExitCode {
    bayeux::cli::serve(add)
}

fn add(server: ServerBuilder) -> ServerBuilder {
    server
        .service("/service/echo", Access::Sessions, echo)
        .service("/service/math", Access::Sessions, math)
        .service("/service/panic", Access::Sessions, fail)
        .policy(judge)
        .listener("/veto/**", |_: &AuthRequest<'_>| Verdict::Veto)
}

fn echo(call: &ServiceCall<'_>) -> Result<Vec<ServiceReply>, ServiceError> {
    Ok(vec![ServiceReply::raw_data(call.data)])
}

#[derive(Deserialize, Serialize)]
struct Sum {
    a: Number,
    operand: String,
    b: Number,
    #[serde(skip_deserializing)]
    answer: Option<Number>,
}

fn math(call: &ServiceCall<'_>) -> Result<Vec<ServiceReply>, ServiceError> {
    let sum: Sum = serde_json::from_str(call.data).map_err(|_| "not {a, operand, b}")?;
    let number = |number: &Number| number.as_f64().ok_or("not a number of this machine");
    let (a, b) = (number(&sum.a)?, number(&sum.b)?);
    let answer = match sum.operand.as_str() {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" if b != 0.0 => a / b,
        "/" => return Err("division by zero".into()),
        _ => return Err("unknown operand".into()),
    };
    // Whole numbers are written as such, as far as a `double` knows them.
    let whole = answer.fract() == 0.0 && answer.abs() < 9e15;
    let answer = match whole {
        true => Some(Number::from(answer as i64)),
        false => Number::from_f64(answer),
    };
    Ok(vec![ServiceReply::data(&Sum { answer, ..sum })?])
}

fn fail(_: &ServiceCall<'_>) -> Result<Vec<ServiceReply>, ServiceError> {
    panic!("as it was asked to")
}

#[derive(Deserialize)]
struct Wish {
    #[serde(default)]
    deny: bool,
}

fn judge(request: &AuthRequest<'_>) -> Decision {
    let below = |channel: &str, root: &str| {
        let rest = channel.strip_prefix(root);
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    match request.action {
        Action::Handshake => {
            let wish = request.ext.and_then(|ext| serde_json::from_str(ext).ok());
            match wish {
                Some(Wish { deny: true }) => Decision::deny(""),
                _ => Decision::Allow,
            }
        }
        Action::Subscribe => {
            let mut patterns = request.subscriptions.iter();
            match patterns.any(|pattern| below(pattern.as_str(), "/private")) {
                true => Decision::deny("private"),
                false => Decision::Allow,
            }
        }
        Action::Publish if below(request.channel, "/readonly") => Decision::deny("read_only"),
        _ => Decision::Allow,
    }
}
