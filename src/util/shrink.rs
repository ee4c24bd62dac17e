//! Maps that give their memory back when a crowd has left.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// To be called after an entry was removed. The map moves only when it has lost three quarters of
/// what it could hold, so each removal pays for a part of one move at the most.
pub(crate) fn shrink<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    let emptied = map.is_empty() && map.capacity() > FEW;
    let thin = map.capacity() > KEPT && map.len() < map.capacity() / 4;
    if emptied || thin {
        map.shrink_to(map.len() * 2);
    }
}

/// What the smallest map holds that holds anything. An empty one may keep that, so that the first
/// entry that comes and goes does not cost an allocation each time.
const FEW: usize = 3;
/// A map that is in use may keep room for so many.
const KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_shrinks_with_its_crowd_and_moves_seldom() {
        let mut map: HashMap<u32, u32> = (0..100_000).map(|n| (n, n)).collect();
        let mut moves = 0;
        for n in 0..100_000 {
            let before = map.capacity();
            map.remove(&n);
            shrink(&mut map);
            // Without a move a removal may cost one place, until the next insertion.
            moves += u32::from(map.capacity() + 1 < before);
            assert!(map.capacity() <= KEPT.max(map.len() * 4 + 4), "{n}");
        }
        assert_eq!(map.capacity(), 0);
        assert!(moves < 20, "{moves}");
    }

    #[test]
    fn one_that_comes_and_goes_costs_nothing() {
        let mut map = HashMap::from([(1, 1)]);
        let capacity = map.capacity();
        map.remove(&1);
        shrink(&mut map);
        assert!((1..=FEW).contains(&capacity) && map.capacity() == capacity);
    }
}
