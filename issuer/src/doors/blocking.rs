//! The one way from the asynchronous doors into the synchronous services.

use std::time::Duration;

use crate::error::{Error, Result};

/// A service that needs longer has lost its client.
const DEADLINE: Duration = Duration::from_secs(10);

/// Runs `service` on a thread where it may block, and waits up to 10 s for it.
///
/// What runs past that is not stopped, it only goes unheard: a mint stays audited, its token is dropped.
pub async fn blocking<T, F>(service: F) -> Result<T>
where
    F: FnOnce() -> Result<T> + Send + 'static,
    T: Send + 'static,
{
    match tokio::time::timeout(DEADLINE, tokio::task::spawn_blocking(service)).await {
        Ok(Ok(result)) => result,
        // Its panic message is on stderr already; here it would reach a client.
        Ok(Err(_)) => Err(Error::internal("a service stopped unexpectedly")),
        Err(_) => Err(Error::internal(format!("no answer within {} s", DEADLINE.as_secs()))
            .hint("a lock is held or the disk does not answer; `seamless doctor` says which")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passes_the_result_on() {
        assert_eq!(blocking(|| Ok(1)).await, Ok(1));
        assert_eq!(blocking(|| Err::<(), _>(Error::policy("no"))).await, Err(Error::policy("no")));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_without_its_message() {
        let error = blocking(|| -> Result<()> { panic!("tok.en") }).await.unwrap_err();
        assert_eq!(error.message(), "a service stopped unexpectedly");
    }

    #[tokio::test]
    async fn waits_no_longer_than_its_deadline() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        // Tokio's clock stands still while a blocking task runs, so it is moved by hand.
        tokio::time::pause();
        let waiting = tokio::spawn(blocking(move || {
            let _ = held.recv();
            Ok(())
        }));
        tokio::task::yield_now().await;
        tokio::time::advance(DEADLINE + Duration::from_millis(1)).await;
        assert_eq!(waiting.await.unwrap().unwrap_err().message(), "no answer within 10 s");
        drop(release);
    }
}
