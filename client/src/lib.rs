//! A user's side of seamless: tokens over ssh or HTTP with ssh-agent, and their cache.

#![forbid(unsafe_code)]
