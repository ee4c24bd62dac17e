//! A list that nearly always has one item, which lies in it and not behind another pointer.

/// Items in the order of their arrival.
#[derive(Debug)]
pub(super) struct Few<T> {
    first: Option<T>,
    /// Empty while there is no first.
    more: Vec<T>,
}

impl<T> Few<T> {
    pub(super) const fn new() -> Self {
        Self {
            first: None,
            more: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn push(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.more.push(item);
        }
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        match at.checked_sub(1) {
            None => self.first.as_mut(),
            Some(at) => self.more.get_mut(at),
        }
    }

    /// Takes the item out. Those behind it move up.
    pub(super) fn remove(&mut self, at: usize) -> Option<T> {
        let Some(behind) = at.checked_sub(1) else {
            let next = (!self.more.is_empty()).then(|| self.more.remove(0));
            return std::mem::replace(&mut self.first, next);
        };
        (behind < self.more.len()).then(|| self.more.remove(behind))
    }

    /// Puts the first so many items at the end.
    pub(super) fn rotate(&mut self, count: usize) {
        let Some(first) = self.first.take() else {
            return;
        };
        // One move of all of them, however many: a client may have thousands.
        self.more.insert(0, first);
        let count = count % self.more.len();
        self.more.rotate_left(count);
        self.first = Some(self.more.remove(0));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.more)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().chain(&mut self.more)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list() {
        let mut few = Few::new();
        assert!(few.is_empty() && few.remove(0).is_none());
        (0..5).for_each(|n| few.push(n));
        assert_eq!((few.len(), few.remove(7)), (5, None));
        assert_eq!(few.get_mut(0), Some(&mut 0));
        few.rotate(2);
        assert_eq!(few.iter().copied().collect::<Vec<_>>(), [2, 3, 4, 0, 1]);
        few.rotate(9);
        few.rotate(0);
        assert_eq!(few.iter().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 0]);
        few.rotate(1);
        assert_eq!(
            (few.remove(0), few.remove(1), few.remove(2)),
            (Some(2), Some(4), Some(1))
        );
        few.iter_mut().for_each(|n| *n += 1);
        assert_eq!(few.iter().copied().collect::<Vec<_>>(), [4, 1]);
        assert_eq!(few.get_mut(2), None);
        few.clear();
        assert_eq!(few.len(), 0);
    }
}
