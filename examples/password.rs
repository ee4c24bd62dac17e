//! Asks for a username and a password at the handshake, and remembers who came.
//!
//!     cargo run --example password
//!
//! A client passes them in `ext`: `{"username":"admin","password":"..."}`. The password is that of
//! the environment variable `PASSWORD`, or a random one that is printed.

use bayeux::Action;
use bayeux::{Access, AuthRequest, Decision, Server, ServiceCall, ServiceReply};
use hmac_sha256::HMAC;
use serde::Deserialize;

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

/// What is remembered of a client that was let in.
pub(crate) struct User(pub(crate) String);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let password = match std::env::var("PASSWORD") {
        Ok(password) => password,
        Err(_) => {
            let made = bayeux::ClientId::random().to_string();
            println!("the password of admin is {made}");
            made
        }
    };
    let policy = move |request: &AuthRequest<'_>| judge(request, &password);
    let who = |call: &ServiceCall<'_>| {
        let user = call.flags.get::<User>();
        Ok(vec![ServiceReply::data(&user.map(|user| user.0.clone()))?])
    };
    let server = Server::builder()
        .policy(policy)
        .service("/service/who", Access::Sessions, who)
        .start()?;
    println!("serving {}", server.url());
    std::thread::park();
    Ok(())
}

/// Nothing of a client exists before this allows its handshake, and everything later comes from a
/// session that it has allowed.
pub(crate) fn judge(request: &AuthRequest<'_>, password: &str) -> Decision {
    if request.action != Action::Handshake {
        return Decision::Allow;
    }
    let given = request.ext.and_then(|ext| serde_json::from_str(ext).ok());
    let Some(Credentials {
        username,
        password: given,
    }) = given
    else {
        return Decision::deny("Must pass username and password in ext to handshake");
    };
    // Both are compared, so that the time tells nothing about which was wrong.
    if same(&username, "admin") & same(&given, password) {
        request.flags.set(User(username));
        Decision::Allow
    } else {
        Decision::deny("Invalid username or password")
    }
}

/// Compares in a time that depends on neither text: their keyed hashes are compared, by a function
/// that looks at every byte.
fn same(given: &str, expected: &str) -> bool {
    let key = "for comparing only";
    HMAC::verify(given, key, &HMAC::mac(expected, key))
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn only_the_same_is_the_same() {
        assert!(same("", "") && same("secret", "secret"));
        assert!(!same("secret", "secret ") && !same("", "secret"));
    }
}
