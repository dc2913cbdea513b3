//! What curl prints, withheld until its answer's status is known.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// So much is withheld at most; who sends more than this with a 401 is not asked again.
const MOST: usize = 1024 * 1024;

/// A curl writes the head before the body; one that would keep the head to itself does not hold us up.
const HEAD_COMES: Duration = Duration::from_secs(2);

/// Copies `body` to standard output, unless the answer that `head` tells of has this status. Whether it had.
pub(super) fn pass_unless(body: Option<impl Read>, head: impl Read + Send + 'static, status: u16) -> bool {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut head = BufReader::new(head);
        if let Some(status) = final_status(&mut head) {
            let _ = tell.send(status);
        }
        drop(tell);
        // Nobody may be kept from writing the rest of it.
        let _ = std::io::copy(&mut head, &mut std::io::sink());
    });
    let mut out = Withheld { bytes: Vec::new(), known: None, told };
    let mut buffer = vec![0; 16 * 1024];
    if let Some(mut body) = body {
        while let Ok(count @ 1..) = body.read(&mut buffer) {
            if !out.take(buffer.get(..count).unwrap_or_default(), status) {
                // Our reader has gone away. When `body` is dropped, curl learns it too.
                return false;
            }
        }
    }
    // Without a body the head tells alone; its writer has ended, so this waits for nothing.
    if out.known.is_none() {
        out.known = out.told.recv().ok();
    }
    if out.known == Some(status) {
        return true;
    }
    out.flush();
    false
}

struct Withheld {
    bytes: Vec<u8>,
    known: Option<u16>,
    told: Receiver<u16>,
}

impl Withheld {
    /// Passes it on, withholds it or drops it; false when nobody reads any more.
    fn take(&mut self, bytes: &[u8], unwanted: u16) -> bool {
        if self.known.is_none() {
            self.known = match self.told.recv_timeout(HEAD_COMES) {
                Ok(status) => Some(status),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Some(0),
            };
        }
        if self.known != Some(unwanted) {
            return write(bytes);
        }
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > MOST {
            self.known = Some(0);
            return self.flush();
        }
        true
    }

    fn flush(&mut self) -> bool {
        write(&std::mem::take(&mut self.bytes))
    }
}

fn write(bytes: &[u8]) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).is_ok()
}

/// The status of the first answer that is one: not 1xx, and not a proxy's word that the way is free.
fn final_status(head: &mut impl BufRead) -> Option<u16> {
    let mut status = None;
    let mut line = Vec::new();
    while head.by_ref().take(64 * 1024).read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_ascii_lowercase();
        line.clear();
        if text.starts_with("http/") {
            let mut words = text.splitn(3, ' ');
            let code = words.nth(1).and_then(|code| code.parse::<u16>().ok());
            let is_proxy = words.next().is_some_and(|reason| reason.trim() == "connection established");
            status = code.filter(|code| *code >= 200 && !is_proxy);
        } else if text.is_empty() && status.is_some() {
            return status;
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_that_counts() {
        let of = |text: &str| final_status(&mut text.as_bytes());
        assert_eq!(of("HTTP/1.1 401 Unauthorized\r\nX: y\r\n\r\n"), Some(401));
        assert_eq!(of("HTTP/2 401 \r\n\r\n"), Some(401));
        assert_eq!(of("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 No\r\n\r\n"), Some(401));
        assert_eq!(of("HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 401 No\r\n\r\n"), Some(401));
        assert_eq!(
            of("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 401 No\r\n\r\n"),
            Some(200),
            "the first of several URLs"
        );
        assert_eq!(of("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\nHTTP/1.1 401 No\r\n\r\n"), Some(302));
        assert_eq!(of("HTTP/1.1 503 Busy\r\n"), Some(503), "cut short");
        assert_eq!(of("HTTP/1.1 100 Continue\r\n\r\n"), None);
        assert_eq!(of(""), None);
    }
}
