//! Channels below `/private/` are for the client whose id they name.

use crate::broker::{Action, AuthRequest, Decision, Policy, Principal};

/// The demo's policy: below `/private/` a client may subscribe to `/private/<own client id>`
/// only, and to what is below that. As the id is known to nobody else, nobody else can write
/// there either. Patterns that would match other private channels are refused too, `/**` among
/// them. Anything else is allowed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OwnPrivateChannel;

impl Policy for OwnPrivateChannel {
    fn authorize(&self, request: &AuthRequest<'_>) -> Decision {
        let Principal::Session(id) = request.principal else {
            return Decision::Allow;
        };
        let all = request.subscriptions.iter();
        if all.map(|one| one.as_str()).all(|one| may(one, id.as_str())) {
            Decision::Allow
        } else {
            Decision::deny("Permission denied")
        }
    }

    fn authorizes(&self, action: Action) -> bool {
        action == Action::Subscribe
    }
}

/// Whether a client may subscribe to the pattern.
fn may(pattern: &str, own: &str) -> bool {
    if pattern == "/**" {
        return false;
    }
    let Some(below) = pattern.strip_prefix("/private/") else {
        return true;
    };
    let rest = below.strip_prefix(own);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_channels_are_for_their_owner() {
        let table = [
            ("/private/me", true),
            ("/private/me/**", true),
            ("/private/me/x", true),
            ("/private/you", false),
            ("/private/meer", false),
            ("/private/*", false),
            ("/private/**", false),
            ("/**", false),
            ("/*", true),
            ("/private", true),
            ("/privateer/you", true),
            ("/chat/**", true),
        ];
        for (pattern, expected) in table {
            assert_eq!(may(pattern, "me"), expected, "{pattern}");
        }
    }
}
