//! A Worker that verifies tokens.
