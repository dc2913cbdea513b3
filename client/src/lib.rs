#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod agent;
mod cache;
mod destination;
mod error;
mod fetch;
mod identity;
mod options;
mod origin;
pub mod servers;
mod token;

pub use cache::Cache;
pub use destination::Destination;
pub use error::{Error, Kind, Result};
pub use fetch::{check, fetch};
pub use options::{Options, Wish};
pub use token::Token;
