//! Whether log-ins over HTTP can work.

use super::List;
use crate::realm::Realm;
use crate::services::handshake::{secrets, server_name};

impl List<'_> {
    pub(super) fn crtauth(&mut self, realm: &Realm) {
        let settings = &realm.config.crtauth;
        if !settings.enabled {
            return;
        }
        self.part("log-ins over HTTP have their secret", |list| {
            if let Err(error) = secrets::load(realm) {
                list.trouble(&error, "mend [crtauth] secret in realm.toml");
            }
        });
        let host = server_name(&realm.config.issuer);
        if !settings.server_name.is_empty() && !settings.server_name.eq_ignore_ascii_case(host) {
            self.warning(
                format!("challenges name {}, and the issuer's host is {host}", settings.server_name),
                format!(
                    "clients sign for the host that they went to: have them log in at {}",
                    settings.server_name
                ),
            );
        }
    }
}
