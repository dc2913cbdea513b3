//! The fingerprint of RSA keys from the library of CVE-2017-15361 (ROCA).
//!
//! Its primes are k·M + (65537^a mod M), M a product of small primes. So the modulus is a power of 65537 modulo each
//! of those primes, which a random one is for all of them about once in 2^154 (Nemec et al., "The Return of
//! Coppersmith's Attack", section 3).

/// The primes in M of the shortest keys: they are in that of longer ones too.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

pub(super) fn is_vulnerable(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|prime| is_power_of_65537(remainder(modulus, *prime), *prime))
}

fn remainder(number: &[u8], prime: u32) -> u32 {
    number.iter().fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % prime)
}

fn is_power_of_65537(value: u32, prime: u32) -> bool {
    let generator = 65_537 % prime;
    core::iter::successors(Some(1), |power| Some(power * generator % prime))
        .take(usize::try_from(prime).unwrap_or(usize::MAX))
        .any(|power| power == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_told_from_others() {
        // 65537 = 10 mod 11, of order 2.
        assert!(is_power_of_65537(1, 11));
        assert!(is_power_of_65537(10, 11));
        assert!(!is_power_of_65537(2, 11));
        assert!(!is_power_of_65537(0, 11));
        assert_eq!(remainder(&[1, 0, 1], 11), 10);
    }

    #[test]
    fn a_number_made_that_way_is_seen() {
        assert!(is_vulnerable(&[1, 0, 1]));
        assert!(!is_vulnerable(&[1, 0, 3]));
    }
}
