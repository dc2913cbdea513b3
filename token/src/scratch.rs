//! Where a token is decoded to.

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroize as _;

use crate::text::MAX_TOKEN_LENGTH;

/// The room that a verifier decodes a token into: make one, use it for every call.
///
/// The first JWT makes it grow to all it ever needs (6 KiB), so later ones allocate nothing. It holds what the last
/// token said until the next one or [`wipe`](Self::wipe), and is wiped when it goes.
#[derive(Default)]
pub struct Scratch(Vec<u8>);

impl Scratch {
    /// An empty one; allocates nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Overwrites what the last token left, and keeps the room.
    pub fn wipe(&mut self) {
        self.0.as_mut_slice().zeroize();
    }

    /// All the room. Any part of a token fits.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.0.resize(MAX_TOKEN_LENGTH / 4 * 3, 0);
        &mut self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}
