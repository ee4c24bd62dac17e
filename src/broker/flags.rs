//! What the embedder's code wants to remember about a client, typed.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// Values that hooks keep with a client, one of each type: `flags.set(Role::Admin)`, and later
/// `flags.get::<Role>()`. They live as long as the session and are never sent anywhere.
///
/// Those set while a handshake is judged become the session's if it is allowed, and vanish with
/// the refusal otherwise.
#[derive(Default)]
pub struct Flags(Mutex<Option<Box<Values>>>);

type Value = Arc<dyn Any + Send + Sync>;

#[derive(Default)]
struct Values(Vec<Value>);

impl Flags {
    /// Keeps a value, in place of an older one of the same type.
    pub fn set<T: Any + Send + Sync>(&self, value: T) {
        let old = self.replace::<T>(Arc::new(value));
        // With no lock held: what it owns may look at these flags.
        drop(old);
    }

    /// Puts a `T` in the place of another one, which is returned.
    fn replace<T: Any>(&self, value: Value) -> Option<Value> {
        let mut values = self.0.lock();
        let values = &mut values.get_or_insert_default().0;
        match values.iter_mut().find(|old| (***old).is::<T>()) {
            Some(old) => Some(std::mem::replace(old, value)),
            None => {
                values.push(value);
                None
            }
        }
    }

    /// The value of that type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let values = self.0.lock();
        let found = values.as_ref()?.0.iter().find(|value| (***value).is::<T>());
        found.cloned()?.downcast().ok()
    }

    /// Forgets the value of that type; returns it.
    pub fn take<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let mut values = self.0.lock();
        let values = &mut values.as_mut()?.0;
        let at = values.iter().position(|value| (**value).is::<T>())?;
        values.swap_remove(at).downcast().ok()
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.lock().as_ref().map_or(0, |values| values.0.len());
        write!(f, "Flags({count})")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_value_of_each_type() {
        #[derive(Debug, PartialEq)]
        struct Role(&'static str);
        let flags = Flags::default();
        assert_eq!(flags.get::<Role>(), None);
        assert_eq!(flags.take::<Role>(), None);
        flags.set(Role("guest"));
        flags.set(7_u32);
        flags.set(Role("admin"));
        assert_eq!(flags.get::<Role>().as_deref(), Some(&Role("admin")));
        assert_eq!(flags.get::<u32>().as_deref(), Some(&7));
        assert_eq!(flags.get::<u64>(), None);
        assert_eq!(flags.take::<u32>().as_deref(), Some(&7));
        assert_eq!(flags.get::<u32>(), None);
        assert_eq!(
            format!("{flags:?}"),
            "Flags(1)",
            "and nothing of what they are"
        );
    }

    #[test]
    fn what_is_replaced_may_look_at_the_flags() {
        struct Curious(std::sync::Weak<Flags>, mpsc::Sender<Option<u32>>);
        impl Drop for Curious {
            fn drop(&mut self) {
                let seen = self.0.upgrade().and_then(|flags| flags.get::<u32>());
                let _ = self.1.send(seen.as_deref().copied());
            }
        }
        let flags = Arc::new(Flags::default());
        let (tell, told) = mpsc::channel();
        flags.set(7_u32);
        for _ in 0..2 {
            let (flags, tell) = (Arc::clone(&flags), tell.clone());
            // In a thread of its own, which is left behind if it is stuck.
            std::thread::spawn(move || flags.set(Curious(Arc::downgrade(&flags), tell)));
        }
        let seen = told.recv_timeout(Duration::from_secs(20));
        assert_eq!(seen, Ok(Some(7)));
    }

    #[test]
    fn they_cost_a_client_without_them_two_words() {
        assert!(size_of::<Flags>() <= 16);
    }
}
