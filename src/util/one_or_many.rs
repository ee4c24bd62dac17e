//! A list that nearly always has at most one item, which lies in it and not behind a pointer.

use std::collections::VecDeque;

/// Items in the order of their arrival. Without memory of its own until there is a second; then it
/// keeps room for so many, also while it is empty.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct OneOrMany<T, const KEPT: usize = 0> {
    first: Option<T>,
    /// Missing before there is a second; empty while there is no first.
    #[expect(
        clippy::box_collection,
        reason = "a list without a second item is to be small"
    )]
    more: Option<Box<VecDeque<T>>>,
}

impl<T, const KEPT: usize> Default for OneOrMany<T, KEPT> {
    fn default() -> Self {
        Self {
            first: None,
            more: None,
        }
    }
}

impl<T, const KEPT: usize> OneOrMany<T, KEPT> {
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.as_ref().map_or(0, |more| more.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn push(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.more.get_or_insert_default().push_back(item);
        }
    }

    pub(crate) fn first(&self) -> Option<&T> {
        self.first.as_ref()
    }

    pub(crate) fn last(&self) -> Option<&T> {
        let last = self.more.as_ref().and_then(|more| more.back());
        last.or(self.first.as_ref())
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        match at.checked_sub(1) {
            None => self.first.as_mut(),
            Some(at) => self.more.as_mut()?.get_mut(at),
        }
    }

    /// Takes the item out. Those behind it move up.
    pub(crate) fn remove(&mut self, at: usize) -> Option<T> {
        let Some(more) = &mut self.more else {
            return self.first.take_if(|_| at == 0);
        };
        let removed = match at.checked_sub(1) {
            None => std::mem::replace(&mut self.first, more.pop_front()),
            Some(at) => more.remove(at),
        };
        self.shrink();
        removed
    }

    /// Removes so many from the head; all, if there are no more.
    pub(crate) fn skip(&mut self, count: usize) {
        let Some(behind) = count.checked_sub(1) else {
            return;
        };
        self.first = None;
        if let Some(more) = &mut self.more {
            more.drain(..behind.min(more.len()));
            self.first = more.pop_front();
        }
        self.shrink();
    }

    /// Keeps so many at the head.
    pub(crate) fn truncate(&mut self, count: usize) {
        match (count.checked_sub(1), &mut self.more) {
            (None, _) => self.clear(),
            (Some(behind), Some(more)) => {
                more.truncate(behind);
                self.shrink();
            }
            (Some(_), None) => {}
        }
    }

    fn shrink(&mut self) {
        let is_large = |more: &mut Box<VecDeque<T>>| more.is_empty() && more.capacity() > KEPT;
        drop(self.more.take_if(is_large));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first
            .iter()
            .chain(self.more.iter().flat_map(|more| more.iter()))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let more = self.more.iter_mut().flat_map(|more| more.iter_mut());
        self.first.iter_mut().chain(more)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(list: &OneOrMany<i32>) -> Vec<i32> {
        list.iter().copied().collect()
    }

    #[test]
    fn it_is_a_list() {
        let mut few = OneOrMany::<i32>::default();
        assert!(few.is_empty() && few.remove(0).is_none() && few.last().is_none());
        few.push(0);
        assert_eq!(
            (few.remove(1), few.first(), few.last()),
            (None, Some(&0), Some(&0))
        );
        assert!(few.more.is_none());
        (1..5).for_each(|n| few.push(n));
        assert_eq!((few.len(), few.remove(7), few.last()), (5, None, Some(&4)));
        assert_eq!(few.get_mut(0), Some(&mut 0));
        assert_eq!(all(&few), [0, 1, 2, 3, 4]);
        assert_eq!(
            (few.remove(0), few.remove(1), few.remove(2)),
            (Some(0), Some(2), Some(4))
        );
        few.iter_mut().for_each(|n| *n += 1);
        assert_eq!(all(&few), [2, 4]);
        assert_eq!(few.get_mut(2), None);
        assert_eq!((few.remove(0), few.more.is_none()), (Some(2), true));
        few.clear();
        assert_eq!(few.len(), 0);
    }

    #[test]
    fn heads_and_tails_and_what_it_keeps() {
        let filled = |count| {
            let mut list = OneOrMany::<i32, 16>::default();
            (0..count).for_each(|n| list.push(n));
            list
        };
        let all = |list: &OneOrMany<i32, 16>| list.iter().copied().collect::<Vec<_>>();
        for count in [0, 1, 2, 5, 100] {
            for cut in [0, 1, 2, 4, 5, 99, 100, 200] {
                let (mut skipped, mut truncated) = (filled(count), filled(count));
                skipped.skip(cut as usize);
                assert_eq!(all(&skipped), (cut..count).collect::<Vec<_>>());
                truncated.truncate(cut as usize);
                assert_eq!(all(&truncated), (0..count.min(cut)).collect::<Vec<_>>());
            }
        }
        let room = |list: &OneOrMany<i32, 16>| list.more.as_ref().map(|more| more.capacity());
        let (mut few, mut many) = (filled(5), filled(100));
        few.skip(5);
        many.skip(100);
        assert!(room(&few).is_some_and(|room| room <= 16) && room(&many).is_none());
    }
}
