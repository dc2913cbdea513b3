//! The keys' upkeep: `token::refresh` decides, JavaScript moves the bytes.

use alloc::string::String;

use token::Verifier;
use token::refresh::{Poll, Refresh, RefreshError, Response, Ticket};

use super::core::Core;
use super::output::word;
use crate::seconds;

/// Keys that are fetched.
pub(crate) struct Upkeep {
    refresh: Refresh,
    /// The fetch that was asked for last, and its number.
    ticket: Option<(u32, Ticket)>,
    tickets: u32,
    /// Whether the verifier has the keys.
    installed: bool,
}

impl Upkeep {
    pub(crate) fn new(issuer: &str) -> Self {
        Self { refresh: Refresh::new(issuer), ticket: None, tickets: 0, installed: false }
    }

    /// Gives the verifier the keys that count at `now`, or takes them away.
    pub(crate) fn install(&mut self, verifier: &mut Verifier, now: u64) {
        let keys = self.refresh.keys(now);
        if keys.is_some() != self.installed {
            self.installed = keys.is_some();
            // The issuer is the one that both were made with.
            _ = verifier.set_public_keys(keys.cloned());
        }
    }

    pub(crate) fn unknown_kid(&mut self, now: u64) {
        self.refresh.on_unknown_kid(now);
    }
}

impl Core {
    pub(crate) fn poll(&mut self, now: u64) -> u32 {
        let Some(upkeep) = &mut self.upkeep else { return 0 };
        match upkeep.refresh.poll(now) {
            Poll::Idle { until } => {
                self.output.set_long(word::FIRST, until);
                0
            }
            Poll::Fetch { ticket, etag } => {
                upkeep.tickets = upkeep.tickets.wrapping_add(1).max(1);
                upkeep.ticket = Some((upkeep.tickets, ticket));
                self.output.say(etag.unwrap_or_default());
                upkeep.tickets
            }
        }
    }

    pub(crate) fn keys(&self, now: u64) -> u32 {
        match &self.upkeep {
            Some(upkeep) if upkeep.refresh.keys(now).is_none() => 0,
            Some(upkeep) if upkeep.refresh.is_overdue(now) => 1,
            _ => 2,
        }
    }

    pub(crate) fn response(
        &mut self,
        number: u32,
        now: u64,
        status: u16,
        body: usize,
        etag: usize,
        [max_age, age]: [f64; 2],
    ) -> u32 {
        let known = |age: f64| (age >= 0.0).then(|| seconds(age));
        let Some(upkeep) = &mut self.upkeep else { return 0 };
        let Some(ticket) = upkeep.find(number) else { return 0 };
        let (body, rest) = self.input.split_at_checked(body).unwrap_or_default();
        let text = |bytes| core::str::from_utf8(bytes).unwrap_or_default();
        let etag = Some(text(rest.get(..etag).unwrap_or_default())).filter(|etag| !etag.is_empty());
        let response = Response { status, body: text(body), etag, max_age: known(max_age), age: known(age) };
        match upkeep.refresh.on_response(ticket, now, &response) {
            Ok(false) => 0,
            Ok(true) => {
                upkeep.installed = false;
                upkeep.install(&mut self.verifier, now);
                1
            }
            Err(error) => {
                self.output.say(&reason(error));
                2
            }
        }
    }

    pub(crate) fn want(&mut self) {
        if let Some(upkeep) = &mut self.upkeep {
            upkeep.refresh.want();
        }
    }

    pub(crate) fn failed(&mut self, number: u32, now: u64) {
        if let Some(upkeep) = &mut self.upkeep
            && let Some(ticket) = upkeep.find(number)
        {
            upkeep.refresh.on_error(ticket, now);
        }
    }
}

impl Upkeep {
    fn find(&self, number: u32) -> Option<Ticket> {
        self.ticket.filter(|(known, _)| *known == number).map(|(_, ticket)| ticket)
    }
}

fn reason(error: RefreshError) -> String {
    match error {
        RefreshError::Status(_) => "it answered with another status than 200".into(),
        RefreshError::Keys(error) => error.message().into(),
        _ => "the answer is older than the keys that are held".into(),
    }
}
