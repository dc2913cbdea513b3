//! What the bench programs share.

pub mod edge;
pub mod meter;
