//! Who may hold a connection, and who gives way when there are too many.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// How many connections a door holds before it turns some away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// At a time.
    pub connections: usize,
    /// Of one IPv4 address or one IPv6 /64 at a time.
    pub per_address: usize,
}

/// How long a connection that speaks is safe from newcomers that have no better claim. A log-in takes
/// six round trips; one that is older than this is dripping, or asking someone for a passphrase. Over HTTP it is one
/// between two requests.
const PATIENCE: Duration = Duration::from_secs(2);

/// The connections that are held.
///
/// Where there are too many, whom to turn away decides who can lock whom out:
///
/// - Refusing newcomers alone lets eight addresses hold all 512 with a hundred packets a second, for ever.
/// - Dropping the oldest alone lets a flood cut everyone who is about to log in, and turns an honest
///   burst into one where nobody finishes.
///
/// So the room is shared by address. A newcomer takes the place of the oldest *unproven* connection of
/// the address that holds the most of them, if that is more than its own has; among equals only of one that
/// is silent or had its time ([`PATIENCE`]); else it is refused. An address over its own cap competes with
/// itself alone, by the same rule. Proven connections are never dropped, and over HTTP there are none. To lock out
/// one address an attacker needs 512 others.
#[derive(Debug)]
pub(in crate::doors) struct Slots {
    caps: Caps,
    table: Mutex<Table>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// By arrival, the oldest first.
    held: BTreeMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    origin: Origin,
    since: Instant,
    progress: Arc<Progress>,
    cut: oneshot::Sender<()>,
}

/// One connection's place. Given back on drop, so it lives in the stream.
#[derive(Debug)]
pub(in crate::doors) struct Slot {
    slots: Arc<Slots>,
    id: u64,
    pub(in crate::doors) since: Instant,
    pub(in crate::doors) progress: Arc<Progress>,
    /// Ready when the connection has to go.
    pub(in crate::doors) cut: oneshot::Receiver<()>,
}

/// How far a connection has come: the stream and the handler say so, the table goes by it.
#[derive(Debug, Default)]
pub(in crate::doors) struct Progress(AtomicU8);

/// What counts as one address: an IPv6 network hands out a /64 to each of its hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Origin(IpAddr);

impl Slots {
    pub(in crate::doors) fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self { caps, table: Mutex::default(), freed: Notify::new() })
    }

    /// A place for a connection from there, if need be another's.
    pub(in crate::doors) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        self.admit_up_to(address, self.caps.per_address, Held::may_go)
    }

    /// The same for one that speaks for many, such as a proxy: only the cap on all counts, and what it keeps open for
    /// its next request is not cut to make room for another of its own.
    pub(in crate::doors) fn admit_many(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        self.admit_up_to(address, usize::MAX, |held, _| !held.progress.has_spoken())
    }

    fn admit_up_to(
        self: &Arc<Self>,
        address: IpAddr,
        per_address: usize,
        may_go: fn(&Held, Instant) -> bool,
    ) -> Option<Slot> {
        let origin = Origin::of(address);
        let since = Instant::now();
        let mut table = self.table();
        if table.held.values().filter(|h| h.origin == origin).count() >= per_address {
            table.cut_oldest(|h| h.origin == origin && may_go(h, since))?;
        } else if table.held.len() >= self.caps.connections {
            let own = table.waiting(origin);
            match table.greediest() {
                Some((greedy, most)) if most > own + 1 => table.cut_oldest(|h| h.origin == greedy)?,
                _ => table.cut_oldest(|h| may_go(h, since))?,
            }
        }

        let id = table.next;
        table.next += 1;
        let progress = Arc::<Progress>::default();
        let (cut, cut_here) = oneshot::channel();
        table.held.insert(id, Held { origin, since, progress: Arc::clone(&progress), cut });
        Some(Slot { slots: Arc::clone(self), id, since, progress, cut: cut_here })
    }

    /// Cuts one unproven connection of the address that holds the most, where file handles have run out.
    pub(in crate::doors) fn shed(&self) {
        let mut table = self.table();
        if let Some((greedy, _)) = table.greediest() {
            let _ = table.cut_oldest(|h| h.origin == greedy);
        }
    }

    /// Cuts all, proven or not.
    pub(in crate::doors) fn cut_all(&self) {
        self.table().held.clear();
    }

    /// Ready when no connection is left.
    pub(in crate::doors) async fn emptied(&self) {
        loop {
            let freed = self.freed.notified();
            if self.table().held.is_empty() {
                return;
            }
            freed.await;
        }
    }

    /// Ready when a place may have become free: one was given back, or somebody had their time.
    pub(in crate::doors) async fn freed(&self) {
        const LOOK_AGAIN: Duration = Duration::from_millis(50);
        let _ = tokio::time::timeout(LOOK_AGAIN, self.freed.notified()).await;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// How many of that origin have proven nothing yet.
    fn waiting(&self, origin: Origin) -> usize {
        self.held.values().filter(|h| h.origin == origin && !h.progress.is_proven()).count()
    }

    /// The origin with the most unproven connections.
    fn greediest(&self) -> Option<(Origin, usize)> {
        let mut counts = HashMap::<Origin, usize>::new();
        for held in self.held.values().filter(|h| !h.progress.is_proven()) {
            *counts.entry(held.origin).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count)
    }

    /// Cuts the oldest unproven connection of those.
    fn cut_oldest(&mut self, which: impl Fn(&Held) -> bool) -> Option<()> {
        let id = *self.held.iter().find(|(_, h)| !h.progress.is_proven() && which(h))?.0;
        // Dropping the sender is the signal.
        self.held.remove(&id).map(|held| drop(held.cut))
    }
}

impl Held {
    /// Whether a newcomer with no better claim may have its place.
    fn may_go(&self, now: Instant) -> bool {
        !self.progress.has_spoken() || now.duration_since(self.since) >= PATIENCE
    }
}

impl Progress {
    const SPOKEN: u8 = 1;
    const PROVEN: u8 = 2;

    /// The client has said more than its version.
    pub(in crate::doors) fn spoke(&self) {
        self.0.fetch_max(Self::SPOKEN, Ordering::AcqRel);
    }

    /// The client has proved a key.
    pub(in crate::doors) fn proved(&self) {
        self.0.fetch_max(Self::PROVEN, Ordering::AcqRel);
    }

    pub(in crate::doors) fn is_proven(&self) -> bool {
        self.0.load(Ordering::Acquire) >= Self::PROVEN
    }

    fn has_spoken(&self) -> bool {
        self.0.load(Ordering::Acquire) >= Self::SPOKEN
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.table().held.remove(&self.id);
        self.slots.freed.notify_waiters();
    }
}

impl Origin {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) if !v6.is_loopback() => {
                Self(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))))
            }
            other => Self(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(connections: usize, per_address: usize) -> Arc<Slots> {
        Slots::new(Caps { connections, per_address })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn spoken(slot: Option<Slot>) -> Slot {
        let slot = slot.unwrap();
        slot.progress.spoke();
        slot
    }

    fn is_cut(slot: &mut Slot) -> bool {
        !matches!(slot.cut.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_over_its_cap_competes_with_itself() {
        let slots = slots(10, 2);
        let mut other = spoken(slots.admit(ip("192.0.2.9")));
        let mut first = spoken(slots.admit(ip("192.0.2.1")));
        let mut second = spoken(slots.admit(ip("::ffff:192.0.2.1")));
        assert!(slots.admit(ip("192.0.2.1")).is_none(), "nobody had their time");

        tokio::time::advance(PATIENCE).await;
        let _third = slots.admit(ip("192.0.2.1")).unwrap();
        assert!(is_cut(&mut first));
        assert!(!is_cut(&mut second) && !is_cut(&mut other));
    }

    #[tokio::test(start_paused = true)]
    async fn a_proven_connection_stays() {
        let slots = slots(10, 1);
        let mut held = slots.admit(ip("192.0.2.1")).unwrap();
        held.progress.proved();
        tokio::time::advance(PATIENCE * 10).await;
        assert!(slots.admit(ip("192.0.2.1")).is_none());
        slots.shed();
        assert!(!is_cut(&mut held));
        drop(held);
        assert!(slots.admit(ip("192.0.2.1")).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn when_full_the_greedy_give_way_at_once() {
        let slots = slots(4, 3);
        let mut honest = spoken(slots.admit(ip("192.0.2.1")));
        let mut greedy: Vec<_> = (0..3).map(|_| spoken(slots.admit(ip("198.51.100.1")))).collect();
        let _newcomer = spoken(slots.admit(ip("192.0.2.2")));
        assert!(is_cut(&mut greedy[0]) && !is_cut(&mut greedy[1]) && !is_cut(&mut honest));
        // The greedy one itself gets nobody's place.
        assert!(slots.admit(ip("198.51.100.1")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn among_equals_only_who_may_go_goes() {
        let slots = slots(2, 2);
        let mut first = spoken(slots.admit(ip("192.0.2.1")));
        let _second = spoken(slots.admit(ip("192.0.2.2")));
        assert!(slots.admit(ip("192.0.2.3")).is_none());
        tokio::time::advance(PATIENCE).await;
        assert!(slots.admit(ip("192.0.2.3")).is_some());
        assert!(is_cut(&mut first));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_holds_no_place() {
        let slots = slots(10, 2);
        let mut silent = slots.admit(ip("192.0.2.1")).unwrap();
        let mut speaking = spoken(slots.admit(ip("192.0.2.1")));
        assert!(slots.admit(ip("192.0.2.1")).is_some());
        assert!(is_cut(&mut silent) && !is_cut(&mut speaking));
    }

    #[tokio::test(start_paused = true)]
    async fn emptied_waits_for_the_last() {
        let slots = slots(2, 2);
        slots.emptied().await;
        let slot = slots.admit(ip("192.0.2.1")).unwrap();
        let waiting = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.emptied().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(slot);
        waiting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_speaks_for_many_keeps_what_it_has_open() {
        let slots = slots(3, 1);
        let mut kept: Vec<_> = (0..2).map(|_| spoken(slots.admit_many(ip("192.0.2.1")))).collect();
        let mut silent = slots.admit_many(ip("192.0.2.1")).unwrap();
        tokio::time::advance(PATIENCE * 10).await;
        let _fourth = spoken(slots.admit_many(ip("192.0.2.1")));
        assert!(is_cut(&mut silent), "silence holds no place");
        assert!(slots.admit_many(ip("192.0.2.1")).is_none(), "it waits for its own");
        assert!(!kept.iter_mut().any(is_cut));
        assert!(slots.admit(ip("192.0.2.9")).is_some(), "which others need not");
        assert!(is_cut(&mut kept[0]));
    }

    #[test]
    fn an_ipv6_host_is_its_network() {
        assert_eq!(Origin::of(ip("2001:db8::1")), Origin::of(ip("2001:db8::ffff:2")));
        assert_ne!(Origin::of(ip("2001:db8::1")), Origin::of(ip("2001:db8:0:1::1")));
        assert_eq!(Origin::of(ip("::ffff:192.0.2.1")), Origin::of(ip("192.0.2.1")));
        assert_ne!(Origin::of(ip("192.0.2.1")), Origin::of(ip("192.0.2.2")));
    }
}
