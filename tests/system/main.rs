//! The whole system with real peers on loopback. Started by `cargo xtask test`, which sets up the peers.

mod backup;
mod browser;
mod caddy;
mod cli;
mod credentials;
mod disks;
mod embedded_ssh;
mod envoy;
mod envoy_vectors;
mod fetched_keys;
mod first_start;
mod http;
mod import;
mod incidents;
mod itsdangerous;
mod jwt_peers;
mod kills;
mod ldap;
mod login;
mod nginx;
mod openssh;
mod package;
mod readme;
mod restart;
mod sources;
mod workers;
