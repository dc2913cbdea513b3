//! Request paths that every server reads alike, and the ones that are turned away.

use alloc::vec::Vec;

use crate::Code;

/// The path of a request target, cut at `?`, without its percent-encoding.
///
/// Refuses what proxies and servers are known to read in different ways, so that what is judged here is what the
/// server behind serves: `/open/../admin`, `/open%2f..%2fadmin`, `//admin`, `/open;/../admin` came through Envoy raw.
/// What is left to decode makes no new segments, so that `/%61dmin` is judged as the `/admin` it is.
pub(crate) fn normal(target: &[u8]) -> Result<Vec<u8>, Code> {
    let path = target.split(|b| *b == b'?').next().unwrap_or_default();
    if path.first() != Some(&b'/') {
        return Err(Code::BadPath);
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let decoded = match byte {
            b'\\' | b';' | b'#' | 0..=0x20 | 0x7f.. => return Err(Code::BadPath),
            b'/' if out.last() == Some(&b'/') => return Err(Code::BadPath),
            b'%' => {
                let [high, low, tail @ ..] = rest else { return Err(Code::BadPath) };
                rest = tail;
                match hex(*high)? << 4 | hex(*low)? {
                    b'.' | b'/' | b'\\' | b'%' | b';' | 0..0x20 | 0x7f => return Err(Code::BadPath),
                    decoded => decoded,
                }
            }
            _ => *byte,
        };
        out.push(decoded);
    }
    if out.split(|b| *b == b'/').any(|segment| matches!(segment, b"." | b"..")) {
        return Err(Code::BadPath);
    }
    Ok(out)
}

/// Whether `path` is `prefix` or lies below it: whole segments, never a part of one.
pub(crate) fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    match path.strip_prefix(prefix) {
        Some([]) | Some([b'/', ..]) => true,
        Some(_) => prefix.last() == Some(&b'/'),
        None => false,
    }
}

fn hex(digit: u8) -> Result<u8, Code> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(Code::BadPath),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_segments_match() {
        for (path, prefix, below) in [
            ("/api", "/api", true),
            ("/api/", "/api", true),
            ("/api/v1", "/api", true),
            ("/apiary", "/api", false),
            ("/api", "/api/", false),
            ("/api/v1", "/api/", true),
            ("/", "/", true),
            ("/x", "/", true),
            ("/API", "/api", false),
        ] {
            assert_eq!(is_below(path.as_bytes(), prefix.as_bytes()), below, "{path} {prefix}");
        }
    }
}
