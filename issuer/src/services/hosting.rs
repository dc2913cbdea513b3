//! What the host says of itself and of us.

use crate::backends::system::accounts;

/// This host's full name.
#[must_use]
pub fn host_name() -> String {
    accounts::host_name()
}

/// The home of the account that this process runs as.
#[must_use]
pub fn own_home() -> Option<std::path::PathBuf> {
    accounts::home_of_this_process()
}

/// The account that this process runs as.
#[must_use]
pub fn own_account_name() -> Option<String> {
    accounts::own_name()
}
