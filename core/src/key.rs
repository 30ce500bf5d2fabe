//! Typed, generational ids for everything a runtime answers later, and the slab that issues them.
//!
//! A late or repeated answer carries a key whose generation has passed; it resolves to nothing and changes
//! nothing (invariant I2). Ids need no randomness, so the same script gives the same ids (I10).

use core::fmt;
use core::marker::PhantomData;

/// An id of something in a [`Slab`]; `T` is only its kind. Two kinds of id cannot be mixed up.
pub struct Key<T> {
    index: u32,
    generation: u32,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.index, self.generation) == (other.index, other.generation)
    }
}

impl<T> Eq for Key<T> {}

impl<T> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Key<T> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.index, self.generation).cmp(&(other.index, other.generation))
    }
}

impl<T> core::hash::Hash for Key<T> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        (self.index, self.generation).hash(state);
    }
}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T> fmt::Display for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// A bounded store of values of type `T` under generational keys of kind `K`.
#[derive(Debug)]
pub struct Slab<T, K = T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    capacity: usize,
    kind: PhantomData<fn() -> K>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T, K> Slab<T, K> {
    /// An empty slab that holds at most `capacity` values.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), capacity, kind: PhantomData }
    }

    /// How many values it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stores `value` under a fresh key.
    ///
    /// # Errors
    /// Gives `value` back when the slab is full.
    pub fn insert(&mut self, value: T) -> Result<Key<K>, T> {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.value = Some(value);
            return Ok(Key { index, generation: slot.generation, kind: PhantomData });
        }
        let Ok(index) = u32::try_from(self.slots.len()) else { return Err(value) };
        if self.slots.len() >= self.capacity {
            return Err(value);
        }
        self.slots.push(Slot { generation: 0, value: Some(value) });
        Ok(Key { index, generation: 0, kind: PhantomData })
    }

    /// Takes the value out; `None` for a key that was used up or never issued.
    pub fn remove(&mut self, key: Key<K>) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    /// Looks at a value.
    #[must_use]
    pub fn get(&self, key: Key<K>) -> Option<&T> {
        self.slots.get(key.index as usize).filter(|slot| slot.generation == key.generation)?.value.as_ref()
    }

    /// Looks at a value to change it.
    pub fn get_mut(&mut self, key: Key<K>) -> Option<&mut T> {
        self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?.value.as_mut()
    }

    /// Every value, to change it, in order of slots.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|slot| slot.value.as_mut())
    }

    /// Every key and value, in order of slots.
    pub fn iter(&self) -> impl Iterator<Item = (Key<K>, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let index = u32::try_from(index).ok()?;
            slot.value.as_ref().map(|value| (Key { index, generation: slot.generation, kind: PhantomData }, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::{BuildHasher as _, BuildHasherDefault};
    use std::hash::DefaultHasher;

    #[test]
    fn a_used_up_key_resolves_to_nothing_though_its_slot_is_taken_again() {
        let mut slab: Slab<char> = Slab::new(4);
        let first = slab.insert('a').expect("room");
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b').expect("room");
        assert_ne!(first, second);
        assert_eq!(slab.remove(first), None);
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&'b')));
    }

    #[test]
    fn a_key_is_shown_by_its_slot_and_how_often_that_was_used_up_and_is_in_that_order() {
        let mut slab: Slab<char> = Slab::new(4);
        let keys = ['a', 'b'].map(|value| slab.insert(value).expect("room"));
        slab.remove(keys[0]);
        let again = slab.insert('c').expect("room");
        assert_eq!(format!("{} {:?} {again:?}", keys[0], keys[1]), "0.0 1.0 0.1");
        assert!(keys[0] < again && again < keys[1]);
    }

    #[test]
    fn keys_are_told_apart_by_their_hashes_too() {
        let mut slab: Slab<char> = Slab::new(4);
        let keys = ['a', 'b'].map(|value| slab.insert(value).expect("room"));
        slab.remove(keys[0]);
        let again = slab.insert('c').expect("room");
        let hash = |key| BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        assert_eq!(hash(keys[1]), hash(keys[1]));
        assert_ne!(hash(keys[0]), hash(keys[1]));
        assert_ne!(hash(keys[0]), hash(again));
    }

    #[test]
    fn a_full_slab_gives_the_value_back() {
        let mut slab: Slab<i32> = Slab::new(1);
        let only = slab.insert(1).expect("room");
        assert_eq!(slab.insert(2), Err(2));
        slab.remove(only);
        assert!(slab.is_empty());
        assert!(slab.insert(3).is_ok());
        assert_eq!(slab.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [3]);
    }
}
