//! A cache of verified tokens.
