//! A Cloudflare Worker that stands in front of an origin: what `rules.json` asks of a request, a token must give.
//!
//! [`edge`] is what happens to a request, in terms of what a runtime offers; it is tested natively. `worker` is that
//! runtime: Workers' requests, clock, KV and fetch.

// Natively there is no Worker to use it.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
mod edge;
#[cfg(target_arch = "wasm32")]
mod worker;
