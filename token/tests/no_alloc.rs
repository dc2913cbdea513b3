//! Verifying allocates nothing, once the scratch has been used.

// Helpers may too; clippy.toml's leave reaches functions marked #[test] alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(all(feature = "hmac", feature = "eddsa"))]
// Only a global allocator sees every allocation, and the trait is unsafe.
#![allow(unsafe_code)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use support::{list, number, text, vectors};
use token::{Audiences, Demand, Leeway, MaxAge, PublicKeys, Revocation, Scratch, Secret, Verifier, seamless};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: hands everything on to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

#[test]
fn seamless_tokens() {
    let file = vectors("seamless-v1.json");
    for case in support::cases(&file) {
        let digest = text(case, "digest").parse().unwrap();
        let secrets: Vec<_> =
            list(case, "secrets").iter().map(|s| Secret::new(s.as_bytes(), digest).unwrap()).collect();
        let (token, now) = (text(case, "token").as_bytes(), number(case, "now"));
        let count = allocations(|| {
            let verdict = seamless::verify(token, &secrets, MaxAge::default(), Leeway::ZERO, now);
            assert_eq!(verdict.is_ok(), text(case, "verdict") == "ok");
        });
        assert_eq!(count, 0, "{case}");
    }
}

#[test]
fn jwts() {
    let file = vectors("jwt.json");
    let policy = &file["cases"][0]["policy"];
    let keys = PublicKeys::from_jwks(text(policy, "issuer"), &file["jwks"].to_string()).unwrap();
    let revoked = (0..100).map(|i| Revocation::Jti(format!("jti-{i}")));
    let verifier = Verifier::new("corp")
        .with_public_keys(keys, Audiences::new([text(policy, "audience")]).unwrap())
        .with_revocations(revoked.collect());
    let mut scratch = Scratch::new();
    let now = number(&file["cases"][0], "now");
    for case in support::cases(&file) {
        let token = text(case, "token").as_bytes();
        // The rsa crate allocates.
        if text(case, "name").contains("RS256") {
            continue;
        }
        let first = allocations(|| _ = verifier.verify(token, now, &mut scratch));
        assert!(first <= 1, "{case}");
        let demand = Demand { audiences: &[text(policy, "audience")], scopes: &["read"] };
        let again = allocations(|| {
            _ = verifier.verify(token, now, &mut scratch);
            _ = verifier.verify_with(token, &demand, now, &mut scratch);
        });
        assert_eq!(again, 0, "{case}");
    }
}
