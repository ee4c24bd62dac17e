//! Who is subscribed to one pattern, and who of them answers for its text.
//!
//! Small: most have one subscriber (the private channel of a session).

use std::sync::Arc;

use super::numbered::Numbered;
use super::session::Session;
use crate::util::{Owner, shrink};

pub(crate) enum Subscribers {
    One(Arc<Session>),
    Many(Box<Many>),
}

pub(crate) struct Many {
    sessions: Numbered<Arc<Session>>,
    /// Whose the text counts as: the owner of one of them.
    payer: Option<Owner>,
}

/// Who is left when somebody has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nobody.
    Nobody,
    /// Others. Perhaps the text counts as somebody else's now: from whom it went to whom.
    Others(Option<[Option<Owner>; 2]>),
    /// Everybody: the one who was to go was not there.
    All,
}

impl Subscribers {
    /// Whether the session was not there before.
    pub(crate) fn insert(&mut self, session: &Arc<Session>) -> bool {
        match self {
            Self::One(only) if only.number() == session.number() => false,
            Self::One(only) => {
                let payer = only.owner();
                let both = [Arc::clone(only), Arc::clone(session)];
                let sessions = both.map(|session| (session.number(), session));
                let sessions = sessions.into_iter().collect();
                *self = Self::Many(Box::new(Many { sessions, payer }));
                true
            }
            Self::Many(many) => {
                let (number, session) = (session.number(), Arc::clone(session));
                many.sessions.insert(number, session).is_none()
            }
        }
    }

    /// The last one stays: with it goes the whole.
    pub(crate) fn remove(&mut self, session: &Session) -> Left {
        let many = match self {
            Self::One(only) if only.number() == session.number() => return Left::Nobody,
            Self::One(_) => return Left::All,
            Self::Many(many) => many,
        };
        if many.sessions.remove(&session.number()).is_none() {
            return Left::All;
        }
        shrink(&mut many.sessions);
        let heir = many.sessions.values().next().expect("there were two");
        let (payer, last) = (many.payer, many.sessions.len() == 1);
        let mut moved = None;
        if (payer == session.owner() || last) && payer != heir.owner() {
            many.payer = heir.owner();
            moved = Some([payer, many.payer]);
        }
        if last {
            *self = Self::One(Arc::clone(heir));
        }
        Left::Others(moved)
    }

    /// Adds everyone, by number.
    pub(crate) fn add_to<'a>(&'a self, found: &mut Vec<(u64, &'a Arc<Session>)>) {
        match self {
            Self::One(only) => found.push((only.number(), only)),
            Self::Many(many) => {
                let sessions = many.sessions.iter();
                found.extend(sessions.map(|(number, session)| (*number, session)));
            }
        }
    }
}
