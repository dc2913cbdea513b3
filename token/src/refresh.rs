//! When to fetch keys.
