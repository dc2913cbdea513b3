//! What the services stand on: the database, files, the audit log, the system.

pub mod age;
pub mod archive;
pub mod audit;
pub mod files;
pub mod http_get;
pub mod sources;
pub mod store;
pub mod system;
