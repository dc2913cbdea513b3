//! How often somebody may ask, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// The most that is remembered at a time: two generations of half of it.
const MOST: usize = 65_536;

/// A rate for each of many: as many at once as a minute gives, and evenly after that.
///
/// What nobody asked for in a while is forgotten, which is the same as its allowance being full. Whoever floods it with
/// new names can have others forgotten too; they get their allowance back, which locks nobody out.
#[derive(Debug)]
pub struct Limiter<K> {
    /// Messages a minute; 0: any.
    per_minute: u32,
    generations: Mutex<Generations<K>>,
}

#[derive(Debug)]
struct Generations<K> {
    current: HashMap<K, Bucket>,
    previous: HashMap<K, Bucket>,
}

/// What is left, in sixtieths of a message, as of a second.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u64,
    at: u64,
}

/// What one message costs.
const MESSAGE: u64 = 60;

impl<K: Eq + Hash> Limiter<K> {
    /// So many messages a minute for each; 0: any number.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        let generations = Generations { current: HashMap::new(), previous: HashMap::new() };
        Self { per_minute, generations: Mutex::new(generations) }
    }

    /// Takes one message of `who` at `now`, in Unix seconds; or says in how many seconds there is one again.
    pub fn take(&self, who: K, now: u64) -> Result<(), u64> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let rate = u64::from(self.per_minute);
        let full = rate * MESSAGE;
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bucket = generations.find(&who).unwrap_or(Bucket { left: full, at: now });
        // A clock that was set back gives nothing, and takes nothing.
        bucket.left =
            full.min(bucket.left.saturating_add(now.saturating_sub(bucket.at).saturating_mul(rate)));
        bucket.at = now;
        let taken = bucket.left.checked_sub(MESSAGE);
        bucket.left = taken.unwrap_or(bucket.left);
        generations.put(who, bucket);
        match taken {
            Some(_) => Ok(()),
            None => Err((MESSAGE - bucket.left).div_ceil(rate)),
        }
    }
}

impl<K: Eq + Hash> Generations<K> {
    fn find(&mut self, who: &K) -> Option<Bucket> {
        self.current.get(who).copied().or_else(|| self.previous.remove(who))
    }

    fn put(&mut self, who: K, bucket: Bucket) {
        if self.current.len() >= MOST / 2 && !self.current.contains_key(&who) {
            self.previous = std::mem::take(&mut self.current);
        }
        self.current.insert(who, bucket);
    }
}

/// What counts as one address: an IPv6 network hands out a /64 to each of its hosts.
#[must_use]
pub fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_at_once_and_then_evenly() {
        let limiter = Limiter::new(30);
        assert!((0..30).all(|_| limiter.take("ada", 1000).is_ok()));
        assert_eq!(limiter.take("ada", 1000), Err(2));
        assert_eq!(limiter.take("ada", 1001), Err(1));
        assert_eq!(limiter.take("bob", 1001), Ok(()), "another's is another's");
        assert_eq!(limiter.take("ada", 1002), Ok(()));
        assert_eq!(limiter.take("ada", 1002), Err(2));
        assert_eq!(limiter.take("ada", 900), Err(2), "a clock set back");
        assert_eq!(limiter.take("ada", 5000), Ok(()));
        assert!((0..29).all(|_| limiter.take("ada", 5000).is_ok()));
        assert!(limiter.take("ada", 5000).is_err(), "never more than a minute's");
    }

    #[test]
    fn none_means_any() {
        let limiter = Limiter::new(0);
        assert!((0..10_000).all(|_| limiter.take(1, 0).is_ok()));
    }

    /// Attack: ask under ever new names until the memory is full.
    #[test]
    fn memory_is_bounded_and_the_busy_are_remembered() {
        let limiter = Limiter::new(1);
        assert_eq!(limiter.take(0, 0), Ok(()));
        for name in 1..200_000 {
            let _ = limiter.take(name, 0);
            if name % 10_000 == 0 {
                assert!(limiter.take(0, 0).is_err(), "still known after {name}");
            }
        }
        let generations = limiter.generations.lock().unwrap();
        assert!(generations.current.len() + generations.previous.len() <= MOST);
    }

    #[test]
    fn an_ipv6_host_is_its_network() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(origin(ip("2001:db8::1")), origin(ip("2001:db8::ffff:2")));
        assert_ne!(origin(ip("2001:db8::1")), origin(ip("2001:db8:0:1::1")));
        assert_eq!(origin(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }
}
