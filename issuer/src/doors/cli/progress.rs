//! A bar on standard error for what takes more than a second; on a terminal only, and gone at the end.

use std::cell::OnceCell;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::progress::Progress;

use super::Context;

/// What takes less shows nothing.
const SOON: Duration = Duration::from_secs(1);

/// How often the bar is drawn, a second.
const HERTZ: u8 = 8;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Things of this name, such as `keys`.
    Things(&'static str),
    /// Bytes, shown as KiB, MiB and so on.
    Bytes,
}

/// The bar of one piece of work.
pub(super) struct Bar {
    what: &'static str,
    unit: Unit,
    since: Instant,
    seen: bool,
    shown: OnceCell<ProgressBar>,
}

impl Context {
    /// A bar for `what`, such as `importing`.
    pub(super) fn progress(&self, what: &'static str, unit: Unit) -> Bar {
        let seen = !self.out.json && std::io::stderr().is_terminal();
        Bar { what, unit, since: Instant::now(), seen, shown: OnceCell::new() }
    }

    /// The bar for what `sync` does, which follows every change to keys.
    pub(super) fn sync_progress(&self) -> Bar {
        self.progress("writing authorized_keys", Unit::Things("keys"))
    }
}

impl Progress for Bar {
    fn at(&self, done: u64, of: Option<u64>) {
        if !self.seen || (self.shown.get().is_none() && self.since.elapsed() < SOON) {
            return;
        }
        let bar = self.shown.get_or_init(|| self.draw(of));
        if let Some(of) = of {
            bar.set_length(of);
        }
        bar.set_position(done);
    }
}

impl Bar {
    fn draw(&self, of: Option<u64>) -> ProgressBar {
        let target = ProgressDrawTarget::stderr_with_hz(HERTZ);
        let bar = ProgressBar::with_draw_target(of, target).with_elapsed(self.since.elapsed());
        let (count, rate) = match (self.unit, of) {
            (Unit::Things(name), None) => (format!("{{human_pos}} {name}"), "{rate}"),
            (Unit::Things(name), Some(_)) => (format!("{{human_pos}} of {{human_len}} {name}"), "{rate}"),
            (Unit::Bytes, None) => ("{binary_bytes}".to_owned(), "{binary_bytes_per_sec}"),
            (Unit::Bytes, Some(_)) => {
                ("{binary_bytes} of {binary_total_bytes}".to_owned(), "{binary_bytes_per_sec}")
            }
        };
        let rest = if of.is_some() { "  {wide_bar}  {eta} left" } else { "  {elapsed}" };
        // A template of ours that did not parse would fall back to the library's own.
        if let Ok(style) = ProgressStyle::with_template(&format!("{{msg}}  {count}  {rate}{rest}")) {
            bar.set_style(style.with_key("rate", steady_rate));
        }
        bar.set_message(self.what);
        bar
    }
}

/// Since the beginning, in whole things: the library's own has four decimals and begins too high.
fn steady_rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let rate = u128::from(state.pos()) * 1000 / state.elapsed().as_millis().max(1);
    let _ = write!(out, "{}/s", HumanCount(u64::try_from(rate).unwrap_or(u64::MAX)));
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.shown.get() {
            bar.finish_and_clear();
        }
    }
}
