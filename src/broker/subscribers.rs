//! Who is subscribed to one pattern.
//!
//! Small: most have one subscriber (the private channel of a session).

use std::sync::Arc;

use super::numbered::Numbered;
use super::session::Session;
use crate::util::shrink;

pub(crate) enum Subscribers {
    One(Arc<Session>),
    Many(Box<Numbered<Arc<Session>>>),
}

/// Who is left when somebody has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nobody.
    Nobody,
    /// Others.
    Others,
    /// Everybody: the one who was to go was not there.
    All,
}

impl Subscribers {
    /// Whether the session was not there before.
    pub(crate) fn insert(&mut self, session: &Arc<Session>) -> bool {
        match self {
            Self::One(only) if only.number() == session.number() => false,
            Self::One(only) => {
                let both = [Arc::clone(only), Arc::clone(session)];
                let many = both.map(|session| (session.number(), session));
                *self = Self::Many(Box::new(many.into_iter().collect()));
                true
            }
            Self::Many(many) => many.insert(session.number(), Arc::clone(session)).is_none(),
        }
    }

    /// The last one stays: with it goes the whole.
    pub(crate) fn remove(&mut self, session: u64) -> Left {
        match self {
            Self::One(only) if only.number() == session => Left::Nobody,
            Self::One(_) => Left::All,
            Self::Many(many) => {
                if many.remove(&session).is_none() {
                    return Left::All;
                }
                shrink(many);
                if many.len() == 1 {
                    let last = many.drain().next().expect("there is one");
                    *self = Self::One(last.1);
                }
                Left::Others
            }
        }
    }

    /// Adds everyone, by number.
    pub(crate) fn add_to<'a>(&'a self, found: &mut Vec<(u64, &'a Arc<Session>)>) {
        match self {
            Self::One(only) => found.push((only.number(), only)),
            Self::Many(many) => {
                found.extend(many.iter().map(|(number, session)| (*number, session)));
            }
        }
    }
}
