//! `serve.sock` in the realm: where this realm's own processes that do no network ask what the key sources know.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::Result;
use crate::realm::Realm;
use crate::services::sources;

/// The most that are answered at a time: sshd runs no more log-ins at once unless told to.
const MOST: usize = 100;

/// Answers until the process ends, if the realm has key sources at all.
pub fn serve(realm: &Arc<Realm>) -> Result<()> {
    if realm.sources.is_empty() {
        return Ok(());
    }
    let listener = sources::listen(realm)?;
    let realm = Arc::clone(realm);
    std::thread::spawn(move || {
        let busy = Arc::new(AtomicUsize::new(0));
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Out of file handles, most likely.
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            if busy.fetch_add(1, Ordering::SeqCst) >= MOST {
                busy.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let (realm, busy) = (Arc::clone(&realm), Arc::clone(&busy));
            std::thread::spawn(move || {
                // Who went away needs no answer.
                let _ = sources::answer(&realm, stream);
                busy.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    Ok(())
}
