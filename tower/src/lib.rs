//! Verification for tower services.
