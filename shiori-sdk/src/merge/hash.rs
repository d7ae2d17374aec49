//! Hash tables for the words of documents, of which a merge looks up many.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hasher, RandomState},
};

/// A map with a hash that is several times faster than that of the standard library for keys of a
/// few bytes. Each map has a random seed, so that no document can be written to slow it down.
pub(super) type Map<K, V> = HashMap<K, V, Seed>;

/// See [`Map`].
pub(super) type Set<K> = HashSet<K, Seed>;

#[derive(Clone)]
pub(super) struct Seed(u64);

impl Default for Seed {
    fn default() -> Self {
        Self(RandomState::new().hash_one(()))
    }
}

impl BuildHasher for Seed {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded(self.0)
    }
}

/// The folded multiplication of wyhash by Wang Yi: the halves of a product of 128 bits are combined.
pub(super) struct Folded(u64);

impl Folded {
    /// From the digits of the golden ratio.
    const FACTOR: u128 = 0x9E37_79B9_7F4A_7C15;

    /// A hash that is the same in each run.
    pub(super) fn fixed() -> Self {
        Self(0x2D35_8DCC_AA6C_78A5)
    }
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, i: u8) {
        self.write_u64(i.into());
    }

    fn write_u32(&mut self, i: u32) {
        self.write_u64(i.into());
    }

    #[allow(clippy::cast_possible_truncation)] // The halves of the product.
    fn write_u64(&mut self, i: u64) {
        let product = u128::from(self.0 ^ i) * Self::FACTOR;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn write_usize(&mut self, i: usize) {
        self.write_u64(i as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
