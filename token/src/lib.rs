//! Token core.
#![no_std]
