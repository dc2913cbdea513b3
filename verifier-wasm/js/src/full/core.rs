//! The verifier of an instance, and its buffers.

use alloc::{vec, vec::Vec};

use token::{Code, Outcome, Rejection, RequestView, Scratch, Verifier};

use super::config::Config;
use super::output::{Output, number};
use super::upkeep::Upkeep;
use token::seen::Seen;

/// A token and some, or all the parts of a request that count: longer ones are cut by the caller and rejected.
const INPUT: usize = 64 * 1024;

/// Numbers that stand for an outcome; the codes follow from 1 in the order of [`Code::ALL`].
const IDENTITY: u32 = 0;
const OPEN: u32 = 100;
const ANONYMOUS: u32 = 101;
const UNREADABLE: u32 = 102;

/// A verifier and the buffers through which JavaScript speaks with it.
pub(crate) struct Core {
    pub(crate) input: Vec<u8>,
    pub(crate) output: Output,
    pub(crate) config: Config,
    pub(crate) verifier: Verifier,
    scratch: Scratch,
    pub(crate) seen: Seen,
    pub(crate) upkeep: Option<Upkeep>,
}

impl Core {
    pub(crate) fn new() -> Self {
        Self {
            input: vec![0; INPUT],
            output: Output::new(),
            config: Config::new(),
            verifier: Verifier::new(""),
            scratch: Scratch::new(),
            seen: Seen::new([0; 32]),
            upkeep: None,
        }
    }

    pub(crate) fn input(&mut self, length: usize) -> usize {
        let room = length.max(INPUT);
        if self.input.len() < room || self.input.len() > INPUT {
            self.input = vec![0; room];
        }
        self.input.as_mut_ptr().expose_provenance()
    }

    pub(crate) fn verify(&mut self, length: usize, now: u64) -> u32 {
        self.before(now);
        let token = self.input.get(..length).unwrap_or_default();
        #[cfg(feature = "trap")]
        assert!(token != b"trap", "asked for");
        let verdict = self.verifier.verify_seen(token, now, &mut self.scratch, &mut self.seen);
        let status = match verdict {
            Ok(identity) => {
                self.output.identity(&identity);
                IDENTITY
            }
            Err(rejection) => status(rejection, &mut self.output),
        };
        self.after(length, status, now)
    }

    pub(crate) fn check(&mut self, request: Request, now: u64) -> u32 {
        self.before(now);
        let Request { method, authority, path, authorization, count } = request;
        let (head, rest) = self.input.split_at_checked(method).unwrap_or_default();
        let (host, rest) = rest.split_at_checked(authority).unwrap_or_default();
        let (target, rest) = rest.split_at_checked(path.unwrap_or(0)).unwrap_or_default();
        let request = View {
            // A method that isn't text is none that a rule names; a host that isn't is refused.
            method: core::str::from_utf8(head).unwrap_or_default(),
            authority: core::str::from_utf8(host).unwrap_or(","),
            path: path.map(|_| target),
            authorization: rest.get(..authorization).unwrap_or_default(),
            count,
        };
        #[cfg(feature = "trap")]
        assert!(!request.authorization.ends_with(b" trap"), "asked for");
        let outcome = self.verifier.check_seen(&request, now, &mut self.scratch, &mut self.seen);
        let status = match outcome {
            Outcome::Open => OPEN,
            Outcome::Anonymous => ANONYMOUS,
            Outcome::Identity(identity) => {
                self.output.identity(&identity);
                IDENTITY
            }
            Outcome::Rejection(rejection) => status(rejection, &mut self.output),
        };
        self.after(method + authority + path.unwrap_or(0) + authorization, status, now)
    }

    fn before(&mut self, now: u64) {
        if let Some(upkeep) = &mut self.upkeep {
            upkeep.install(&mut self.verifier, now);
        }
    }

    /// Leaves nothing of the token in the buffer.
    fn after(&mut self, length: usize, status: u32, now: u64) -> u32 {
        if let Some(used) = self.input.get_mut(..length) {
            used.fill(0);
        }
        if status == place(Code::UnknownKey)
            && let Some(upkeep) = &mut self.upkeep
        {
            upkeep.unknown_kid(now);
        }
        status
    }
}

/// The parts of a request, by their lengths.
pub(crate) struct Request {
    pub(crate) method: usize,
    pub(crate) authority: usize,
    pub(crate) path: Option<usize>,
    pub(crate) authorization: usize,
    pub(crate) count: usize,
}

struct View<'a> {
    method: &'a str,
    authority: &'a str,
    path: Option<&'a [u8]>,
    authorization: &'a [u8],
    count: usize,
}

impl RequestView for View<'_> {
    fn method(&self) -> &str {
        self.method
    }

    fn scheme(&self) -> &str {
        // No rule asks for it.
        ""
    }

    fn authority(&self) -> &str {
        self.authority
    }

    fn path(&self) -> Option<&[u8]> {
        self.path
    }

    fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        // Where there are two, what the second says doesn't matter any more.
        let count = if name == "authorization" { self.count } else { 0 };
        core::iter::repeat_n(self.authorization, count)
    }
}

fn status(rejection: Rejection, output: &mut Output) -> u32 {
    output.rejection(rejection);
    place(rejection.code)
}

fn place(code: Code) -> u32 {
    Code::ALL.iter().position(|other| *other == code).map_or(UNREADABLE, |place| number(place + 1))
}
