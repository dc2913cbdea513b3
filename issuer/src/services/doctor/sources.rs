//! Whether the key sources can be asked.

use super::List;
use crate::config::KeysBy;
use crate::realm::Realm;

impl List<'_> {
    pub(super) fn sources(&mut self, realm: &Realm) {
        if realm.sources.is_empty() {
            return;
        }
        let sources = match realm.sources.all() {
            Ok(sources) => sources,
            Err(error) => return self.trouble(&error, "mend [[sources]] in realm.toml"),
        };
        for source in sources {
            let mend =
                format!("until it answers, nobody whom only it knows can log in: look at {}", source.name());
            self.part(format!("{} answers", source.name()), |list| {
                if let Err(error) = source.check() {
                    list.trouble(&error, &mend);
                }
            });
        }
        if self.around.account.is_some() && realm.config.sshd.keys == KeysBy::File {
            self.warning(
                "sshd reads authorized_keys, and the keys of [[sources]] are not in there",
                format!("set keys = \"command\" under [sshd] in realm.toml, then: {}", self.call("sync", "")),
            );
        }
    }
}
