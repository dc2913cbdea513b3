//! The format `seamless` alone, without an allocator: what is left of the module is HMAC.

use token::request::credentials;
use token::seamless::verify as judge;
use token::{Code, Digest, Identity, Leeway, MaxAge, Rejection, Secret};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::only::Only;
use crate::seconds;

/// The most secrets.
const SECRETS: usize = 8;
/// As in `npm/src/module.js`.
const INPUT: usize = 64 * 1024;
/// The outcome that is no code, and one for what can't be.
const IDENTITY: u32 = 0;
const UNREADABLE: u32 = 102;

/// Apart, so that the module's file doesn't hold their zeros.
static BYTES: Only<[u8; INPUT]> = Only::new([0; INPUT]);
static TEXT: Only<[u8; token::MAX_TOKEN_LENGTH]> = Only::new([0; token::MAX_TOKEN_LENGTH]);
/// As in `full/output.rs`; the text has one piece.
static WORDS: Only<[u32; 18]> = Only::new([0; 18]);
static SLIM: Only<Slim> = Only::new(Slim { secrets: None, count: 0, max_age: 0, leeway: 0 });

struct Slim {
    secrets: Option<[Secret; SECRETS]>,
    count: usize,
    /// 0 for the default, as is 0 of the leeway, which is one more than it says.
    max_age: u32,
    leeway: u32,
}

/// Where to write.
#[wasm_bindgen]
pub fn input(_: usize) -> usize {
    BYTES.with(|bytes| bytes.as_mut_ptr().expose_provenance())
}

/// Where the numbers are; the first of them says where the text is.
#[wasm_bindgen]
pub fn output() -> usize {
    WORDS.with(|words| words.as_mut_ptr().expose_provenance())
}

/// Takes one piece of the configuration: `length` bytes of input, or a number. 1 where it is refused.
#[wasm_bindgen]
pub fn set(field: u32, length: usize, value: u32) -> u32 {
    let done = BYTES.with(|bytes| {
        let piece = bytes.get_mut(..length)?;
        let done = SLIM.with(|slim| slim.set(field, piece, value));
        piece.fill(0);
        done
    });
    u32::from(done.is_none())
}

/// Judges a token of that many bytes: 0 for an identity, else its code's place in `Code::ALL`, from 1.
#[wasm_bindgen]
pub fn verify(length: usize, now: f64) -> u32 {
    judged(length, None, now)
}

/// Judges a request by the first of its `Authorization` headers, and how many there are.
#[wasm_bindgen]
pub fn check(_: usize, _: usize, _: i32, length: usize, count: usize, now: f64) -> u32 {
    judged(length, Some(count), now)
}

/// A token, or that many headers.
fn judged(length: usize, headers: Option<usize>, now: f64) -> u32 {
    BYTES.with(|bytes| {
        let Some(used) = bytes.get_mut(..length) else { return UNREADABLE };
        let token = match headers {
            None => Ok(&*used),
            Some(count) => credentials(core::iter::repeat_n(&*used, count))
                .and_then(|found| found.ok_or_else(|| Code::MissingAuthorization.into())),
        };
        let verdict = token.and_then(|token| SLIM.with(|slim| slim.verify(token, seconds(now))));
        // Nothing of the token stays in the buffer.
        used.fill(0);
        verdict.map_or_else(status, |()| IDENTITY)
    })
}

impl Slim {
    fn set(&mut self, field: u32, bytes: &[u8], value: u32) -> Option<()> {
        match field {
            // The numbers of `full/config.rs`.
            3 => self.max_age = value,
            4 => self.leeway = value + 1,
            5 => {
                let digest = match value {
                    1 => Digest::Sha1,
                    256 => Digest::Sha256,
                    512 => Digest::Sha512,
                    _ => return None,
                };
                let secret = Secret::new(bytes, digest).ok()?;
                match &mut self.secrets {
                    None => self.secrets = Some(core::array::from_fn(|_| secret.clone())),
                    Some(secrets) => *secrets.get_mut(self.count)? = secret,
                }
                self.count += 1;
            }
            // The realm's name, which only JavaScript needs, and the end.
            0 | 14 => {}
            _ => return None,
        }
        Some(())
    }

    fn verify(&self, token: &[u8], now: u64) -> Result<(), Rejection> {
        #[cfg(feature = "trap")]
        assert!(token != b"trap", "asked for");
        // A JWT is never tried as something else.
        if token::Format::of(token) == token::Format::Jwt {
            return Err(Code::UnsupportedAlgorithm.into());
        }
        let secrets = self.secrets.as_ref().and_then(|secrets| secrets.get(..self.count)).unwrap_or_default();
        let max_age = MaxAge::try_from(self.max_age).unwrap_or_default();
        let leeway = self.leeway.checked_sub(1).and_then(|leeway| Leeway::try_from(u64::from(leeway)).ok());
        answer(&judge(token, secrets, max_age, leeway.unwrap_or_default(), now)?);
        Ok(())
    }
}

fn answer(identity: &Identity<'_>) {
    let subject = identity.subject().as_bytes();
    let at = TEXT.with(|text| {
        if let Some(place) = text.get_mut(..subject.len()) {
            place.copy_from_slice(subject);
        }
        text.as_ptr().expose_provenance()
    });
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let halves = |value: u64| {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
    };
    let (issued, issued_high) = halves(identity.issued_at());
    let (end, end_high) = halves(identity.expires_at());
    // All of the text is the subject.
    let head = [
        number(at),
        number(subject.len()),
        u32::from(subject.is_ascii()),
        issued,
        issued_high,
        end,
        end_high,
        0,
        u32::MAX,
    ];
    WORDS.with(|words| words.iter_mut().zip(head).for_each(|(word, value)| *word = value));
}

fn status(rejection: Rejection) -> u32 {
    let skew = rejection.skew.map_or(0, |skew| u32::try_from(skew).unwrap_or(u32::MAX));
    WORDS.with(|words| words.iter_mut().skip(3).zip([skew, 0]).for_each(|(word, value)| *word = value));
    let place = Code::ALL.iter().position(|code| *code == rejection.code);
    place.and_then(|place| u32::try_from(place + 1).ok()).unwrap_or(UNREADABLE)
}
