//! The connections of one thread by slot, and the keys by which others name them.

/// A key is the slot in the low half and the slot's generation in the high half. A slot whose
/// generations are used up is not used again, so no key ever names two connections of a thread.
pub(super) fn key_of(slot: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(slot)
}

pub(super) fn slot_of(key: u64) -> u32 {
    key as u32
}

pub(super) fn generation_of(key: u64) -> u32 {
    (key >> 32) as u32
}

/// Values are boxed: an empty slot costs 16 bytes, and a value can be taken out while it is worked
/// with, which leaves the rest free to be borrowed.
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// Released since the last `recycle`: events of the running turn may still name them.
    released: Vec<u32>,
    occupied: usize,
}

struct Slot<T> {
    generation: u32,
    value: Option<Box<T>>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            released: Vec::new(),
            occupied: 0,
        }
    }

    /// Reserves a slot and tells its key; `None` if there are 2^32 - 1 of them.
    pub(super) fn reserve(&mut self) -> Option<u64> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.slots.len())
                    .ok()
                    .filter(|s| *s != u32::MAX)?;
                self.slots.push(Slot {
                    generation: 1,
                    value: None,
                });
                slot
            }
        };
        self.occupied += 1;
        Some(key_of(slot, self.slots[slot as usize].generation))
    }

    /// Gives up a slot whose value has been taken out, or never put in.
    pub(super) fn release(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        assert!(
            entry.value.is_none(),
            "a slot is released after its value was taken out"
        );
        self.occupied -= 1;
        if entry.generation < u32::MAX {
            entry.generation += 1;
            self.released.push(slot);
        }
    }

    /// Lets the slots that were released during the turn be used again.
    pub(super) fn recycle(&mut self) {
        self.free.append(&mut self.released);
    }

    pub(super) fn put(&mut self, slot: u32, value: Box<T>) {
        let place = &mut self.slots[slot as usize].value;
        debug_assert!(place.is_none());
        *place = Some(value);
    }

    pub(super) fn take(&mut self, slot: u32) -> Option<Box<T>> {
        self.slots.get_mut(slot as usize)?.value.take()
    }

    pub(super) fn take_by_key(&mut self, key: u64) -> Option<Box<T>> {
        let slot = self.slots.get_mut(slot_of(key) as usize)?;
        if slot.generation == generation_of(key) {
            slot.value.take()
        } else {
            None
        }
    }

    /// Slots reserved and not released.
    pub(super) fn occupied(&self) -> usize {
        self.occupied
    }

    /// Slots in all.
    pub(super) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_finds_nothing() {
        let mut slab = Slab::new();
        let first = slab.reserve().unwrap();
        slab.put(slot_of(first), Box::new('a'));
        assert_eq!(slab.take_by_key(first).as_deref(), Some(&'a'));
        slab.release(slot_of(first));
        assert_ne!(
            slot_of(slab.reserve().unwrap()),
            slot_of(first),
            "not before recycling"
        );
        slab.recycle();
        let second = slab.reserve().unwrap();
        assert_eq!(slot_of(second), slot_of(first));
        slab.put(slot_of(second), Box::new('b'));
        assert!(slab.take_by_key(first).is_none());
        assert_eq!(slab.take_by_key(second).as_deref(), Some(&'b'));
        assert_eq!(slab.occupied(), 2);
    }

    #[test]
    fn a_worn_out_slot_is_retired() {
        let mut slab = Slab::<()>::new();
        let slot = slot_of(slab.reserve().unwrap());
        slab.slots[slot as usize].generation = u32::MAX;
        slab.release(slot);
        slab.recycle();
        assert_ne!(slot_of(slab.reserve().unwrap()), slot);
    }
}
