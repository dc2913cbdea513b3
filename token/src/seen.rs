//! A bounded memory of JWTs whose signatures were good.
//!
//! A hit saves the signature check and nothing else: the token is decoded and its key looked up again, and time,
//! policy and revocation are judged anew.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;
use core::hash::Hasher as _;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The most tokens that are remembered.
pub const CAPACITY: usize = 256;
const WAYS: usize = 4;
const BUCKETS: usize = CAPACITY / WAYS;
const BUCKET_BITS: u32 = BUCKETS.ilog2();

/// Remembers up to [`CAPACITY`] tokens, whole. All are forgotten when keys, policy or revocations change.
pub struct Seen {
    keys: [u64; 2],
    state: usize,
    buckets: Vec<Bucket>,
}

#[derive(Default)]
struct Bucket {
    tokens: [Option<Zeroizing<Box<[u8]>>>; WAYS],
    next: usize,
}

impl Seen {
    /// An empty memory. The seed keys the choice of the bucket, so that nobody can aim tokens at one: take it from
    /// the operating system, another for every instance.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        let (words, _) = seed.as_chunks();
        let mut keys = [0; 2];
        // All of the seed counts.
        words.iter().enumerate().for_each(|(i, word)| keys[i % 2] ^= u64::from_le_bytes(*word));
        Self { keys, state: 0, buckets: core::iter::repeat_with(Bucket::default).take(BUCKETS).collect() }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.buckets.fill_with(Bucket::default);
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.iter().flat_map(|bucket| &bucket.tokens).flatten().count()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn contains(&mut self, state: usize, token: &[u8]) -> bool {
        self.sync(state);
        self.bucket(token).is_some_and(|bucket| {
            // The whole token, in constant time, and all of the bucket.
            bucket.tokens.iter().flatten().fold(false, |found, known| found | bool::from(known.ct_eq(token)))
        })
    }

    /// Only for a token that was accepted just now, and isn't known.
    pub(crate) fn insert(&mut self, state: usize, token: &[u8]) {
        self.sync(state);
        if let Some(bucket) = self.bucket(token) {
            if let Some(place) = bucket.tokens.get_mut(bucket.next) {
                *place = Some(Zeroizing::new(token.into()));
            }
            bucket.next = (bucket.next + 1) % WAYS;
        }
    }

    fn sync(&mut self, state: usize) {
        if self.state != state {
            self.clear();
            self.state = state;
        }
    }

    fn bucket(&mut self, token: &[u8]) -> Option<&mut Bucket> {
        // Keyed, so that nobody can tell which tokens meet in a bucket; a digest would cost three times all the rest. It is
        // deprecated for DefaultHasher, which is std's and can't be keyed.
        #[allow(deprecated)]
        let mut hash = core::hash::SipHasher::new_with_keys(self.keys[0], self.keys[1]);
        hash.write(token);
        let index = usize::try_from(hash.finish() >> (u64::BITS - BUCKET_BITS)).ok()?;
        self.buckets.get_mut(index)
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn it_is_bounded_and_forgets_on_change() {
        let mut seen = Seen::new([7; 32]);
        for i in 0..1000 {
            let token = format!("token-{i}");
            assert!(!seen.contains(1, token.as_bytes()));
            seen.insert(1, token.as_bytes());
            assert!(seen.contains(1, token.as_bytes()));
            assert!(!seen.contains(1, &token.as_bytes()[1..]));
        }
        assert!(seen.len() <= CAPACITY && seen.len() > CAPACITY / 2);
        assert!(!seen.contains(2, b"token-999"));
        assert!(seen.is_empty());
    }
}
