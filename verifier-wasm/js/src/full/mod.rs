//! Both formats, rules, revocations, and public keys with their upkeep.

mod config;
mod core;
mod output;
mod upkeep;

use wasm_bindgen::prelude::wasm_bindgen;

use self::core::{Core, Request};
use crate::only::Only;
use crate::seconds;

static CORE: Only<Option<Core>> = Only::new(None);

fn with<R>(run: impl FnOnce(&mut Core) -> R) -> R {
    CORE.with(|core| run(core.get_or_insert_with(Core::new)))
}

/// Where to write at least `length` bytes.
#[wasm_bindgen]
pub fn input(length: usize) -> usize {
    with(|core| core.input(length))
}

/// Where the numbers are; the first of them says where the text is. `output.rs` names them.
#[wasm_bindgen]
pub fn output() -> usize {
    with(|core| core.output.words().expose_provenance())
}

/// Takes one piece of the configuration, named in `config.rs`: `length` bytes of input, or a number. 0, or 1 and a text
/// that says what is wrong; 2 where line and column stand beside it.
#[wasm_bindgen]
pub fn set(field: u32, length: usize, value: u32) -> u32 {
    with(|core| core.set(field, length, value))
}

/// Judges a token of that many bytes: 0 for an identity, else its code's place in `Code::ALL`, from 1.
#[wasm_bindgen]
pub fn verify(length: usize, now: f64) -> u32 {
    with(|core| core.verify(length, seconds(now)))
}

/// Judges a request; 100 is open, 101 anonymous. Its parts lie one behind the other, `path` is -1 for none. Of the
/// `Authorization` headers only the first is there, and how many there are.
#[wasm_bindgen]
pub fn check(
    method: usize,
    authority: usize,
    path: i32,
    authorization: usize,
    count: usize,
    now: f64,
) -> u32 {
    with(|core| {
        core.check(
            Request { method, authority, path: usize::try_from(path).ok(), authorization, count },
            seconds(now),
        )
    })
}

/// How many verified tokens are remembered.
#[wasm_bindgen]
pub fn remembered() -> usize {
    with(|core| core.seen.len())
}

/// The number of a fetch that is to be done now, with its `ETag` as text; 0 for none, and the time to ask again.
#[wasm_bindgen]
pub fn poll(now: f64) -> u32 {
    with(|core| core.poll(seconds(now)))
}

/// 0 where there are no keys that count, 1 where there are but who can should wait for others, 2 where all is well.
#[wasm_bindgen]
pub fn keys(now: f64) -> u32 {
    with(|core| core.keys(seconds(now)))
}

/// Takes the answer of a fetch: body, then `ETag`, in the input; ages are -1 where unknown. 0 where nothing is new, 1 for
/// new keys, 2 and a text that says why it was refused.
#[wasm_bindgen]
pub fn response(number: u32, now: f64, status: u16, body: usize, etag: usize, max_age: f64, age: f64) -> u32 {
    with(|core| core.response(number, seconds(now), status, body, etag, [max_age, age]))
}

/// Notes that a fetch failed.
#[wasm_bindgen]
pub fn failed(number: u32, now: f64) {
    with(|core| core.failed(number, seconds(now)));
}

/// Brings the next fetch forward to now.
#[wasm_bindgen]
pub fn want() {
    with(|core| core.want());
}
