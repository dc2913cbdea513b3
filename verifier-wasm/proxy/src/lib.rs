//! seamless-token over proxy-wasm: an authentication filter for Envoy and its kin.
//!
//! Everything that decides is in `token`; [`filter`] moves what it needs in and what it says out, through the small
//! trait [`host::Host`], so that all of it is tested without a proxy. `abi` is the proxy's side of that trait; only wasm
//! has it.

#[cfg(target_arch = "wasm32")]
mod abi;
pub mod filter;
pub mod headers;
pub mod host;
pub mod keys;
