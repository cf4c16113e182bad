//! The books: what was accepted, and what became of it, in numbers and exact sums.
//!
//! Nothing is added up as it happens: it is read, all of it, from memory, the backlog and the history, in this order. A
//! conversion goes from the one to the next and never back, so none is missed; each is counted once, by its place in the order of
//! acceptance, as it stood when it was met. So the sums of the states of a destination's deliveries are what was accepted for
//! it, and what the queue counts as it goes can be held against what is there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::ReadError;
use super::history::Met;
use super::record::{Amount, Change, Leg, Record, Settled, Worth};
use super::shared::Shared;
use super::status::State;
use crate::conversion::{ConversionId, DestinationName, EventKind, Money};

/// Which conversions are added up: those received within these times (Unix ms).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BooksOf {
    /// Then or later.
    pub from_ms: u64,
    /// Before.
    pub until_ms: u64,
    /// Only what this one was owed.
    pub destination: Option<DestinationName>,
    /// Only this merchant's.
    pub merchant: Option<String>,
}

/// What was added up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Books {
    /// Each conversion once; of those for one destination, if only that was asked for.
    pub accepted: BTreeMap<Account, Sum>,
    /// Each delivery once.
    pub deliveries: BTreeMap<(DestinationName, Account, State), Sum>,
    /// Conversions that were forgotten on request: all that is known is that they were.
    pub forgotten: u64,
    /// Conversions, or records of the history, that are damaged, whenever they were received; they are in no sum.
    pub unread: u64,
    /// Of what was settled before then something may be known no more (Unix ms; 0: all of it is known).
    pub known_since_ms: u64,
    /// Where what is there of deliveries that are owed or dead, whenever received, differs from what the queue counts by more
    /// than what was done meanwhile explains.
    pub differences: Vec<Difference>,
}

/// What is added up together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// The day on which it was received, in UTC: days since 1970-01-01.
    pub day: u64,
    /// What it is.
    pub kind: EventKind,
    /// A test conversion.
    pub is_test: bool,
    /// `None`: it has no amount.
    pub currency: Option<Box<str>>,
}

/// Of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// Of their amounts, exactly: the conversions' `value`, a refund's without its sign.
    pub sum: Total,
}

/// An exact sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Total {
    /// Nothing has an amount.
    #[default]
    None,
    /// The sum.
    Exact(Money),
    /// It has more than 28 digits.
    TooLong,
}

/// What is there of a destination's deliveries, and what the queue counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whose they are.
    pub destination: DestinationName,
    /// Owed, by what is there and by what is counted.
    pub pending: (u64, u64),
    /// Dead, likewise.
    pub dead: (u64, u64),
}

impl Sum {
    fn add(&mut self, amount: Option<&Amount>) {
        self.count = self.count.saturating_add(1);
        let Some(Amount { money, .. }) = amount else { return };
        // Of a refund `-20.00` and `20.00` are the same, and must not cancel out; nothing else is below zero.
        let money = money.magnitude();
        self.sum = match self.sum {
            Total::None => Total::Exact(money),
            Total::Exact(sum) => sum.plus(money).map_or(Total::TooLong, Total::Exact),
            Total::TooLong => Total::TooLong,
        };
    }
}

/// A conversion as it was met.
struct Entry<'e> {
    id: ConversionId,
    merchant: &'e str,
    worth: &'e Worth,
    states: &'e [(DestinationName, State)],
}

/// What is being added up.
struct Adding<'a> {
    of: &'a BooksOf,
    /// The last that is in it, in the order of acceptance: a clock that was ahead does not tell what came later.
    newest_seq: u64,
    books: Books,
    met: Seen,
    forgotten: HashSet<ConversionId>,
    /// Owed and dead, by destination.
    standing: BTreeMap<DestinationName, (u64, u64)>,
}

impl Adding<'_> {
    fn add(&mut self, seq: u64, entry: &Entry<'_>) {
        if !self.met.insert(seq) {
            return;
        }
        for (destination, state) in entry.states {
            let standing = self.standing.entry(destination.clone()).or_default();
            match state {
                State::Queued | State::Retrying | State::Held | State::Accepted => {
                    standing.0 = standing.0.saturating_add(1);
                }
                State::Dead(_) => standing.1 = standing.1.saturating_add(1),
                State::Delivered
                | State::Duplicate
                | State::Skipped
                | State::Withheld
                | State::Unsupported
                | State::Discarded => {}
            }
        }
        let received_ms = entry.id.unix_ms();
        let is_meant = |name: &DestinationName| self.of.destination.as_ref().is_none_or(|only| only == name);
        let meant: Vec<_> = entry.states.iter().filter(|(name, _)| is_meant(name)).collect();
        let is_theirs = self.of.merchant.as_deref().is_none_or(|merchant| merchant == entry.merchant);
        let is_within = (self.of.from_ms..self.of.until_ms).contains(&received_ms) && seq <= self.newest_seq;
        if !is_within || !is_theirs || meant.is_empty() && self.of.destination.is_some() {
            return;
        }
        let amount = entry.worth.amount.as_ref();
        let account = Account {
            day: received_ms.checked_div(DAY_MS).unwrap_or(0),
            kind: entry.worth.kind,
            is_test: entry.worth.is_test,
            currency: amount.map(|amount| amount.currency.clone()),
        };
        for (destination, state) in meant {
            self.books.deliveries.entry((destination.clone(), account.clone(), *state)).or_default().add(amount);
        }
        self.books.accepted.entry(account).or_default().add(amount);
    }

    /// Of the backlog or of memory, with what is on its way there.
    fn add_kept(&mut self, record: &Record, legs: &[Leg], changes: Option<&Vec<Arc<Change>>>) {
        let stand = |leg: &Leg| {
            // Hardly any has one on its way: only then there is something to copy.
            let changed = changes.map(|changes| {
                let mut changed = leg.clone();
                let theirs = changes.iter().filter(|change| change.destination == leg.destination);
                theirs.for_each(|change| _ = changed.apply(&change.settlement));
                changed.state()
            });
            (leg.destination.clone(), changed.unwrap_or_else(|| leg.state()))
        };
        let states: Vec<_> = legs.iter().map(stand).collect();
        let (id, merchant) = (record.meta.id, &*record.meta.merchant);
        self.add(record.seq, &Entry { id, merchant, worth: &record.worth, states: &states });
    }

    fn add_met(&mut self, met: Met) {
        match met {
            Met::Settled(settled) => {
                let Settled { id, merchant, seq, worth, legs, .. } = &*settled;
                let states: Vec<_> = legs.iter().map(|leg| (leg.destination.clone(), leg.state())).collect();
                self.add(*seq, &Entry { id: *id, merchant, worth, states: &states });
            }
            Met::Forgotten(id) => {
                if (self.of.from_ms..self.of.until_ms).contains(&id.unix_ms()) {
                    self.forgotten.insert(id);
                }
            }
            Met::Unread(records) => self.books.unread = self.books.unread.saturating_add(records),
        }
    }
}

impl Shared {
    /// Adds up. Reads all that waits and what was settled of those days. Blocks.
    pub(super) fn books(&self, of: &BooksOf) -> Result<Books, ReadError> {
        let (met, forgotten, standing) = (Seen::default(), HashSet::new(), BTreeMap::new());
        let mut adding = Adding { of, newest_seq: 0, books: Books::default(), met, forgotten, standing };
        let received = of.from_ms..=of.until_ms;
        adding.books.differences = self.add_all_kept(&mut adding)?;
        // Last: it has what has gone there meanwhile. Of what a crash has left in both, what is kept is right.
        self.history.scan(&received, &|| self.is_stopped(), &mut |met| adding.add_met(met))?;
        let mut books = adding.books;
        books.known_since_ms = self.history.complete_since_ms();
        books.forgotten = u64::try_from(adding.forgotten.len()).unwrap_or(u64::MAX);
        Ok(books)
    }

    /// Holds what is there of deliveries that are owed or dead against what is counted. Blocks.
    pub(super) fn compare(&self) -> Result<(), ReadError> {
        let of = BooksOf { from_ms: 0, until_ms: 0, destination: None, merchant: None };
        let (met, forgotten, standing) = (Seen::default(), HashSet::new(), BTreeMap::new());
        let mut adding = Adding { of: &of, newest_seq: 0, books: Books::default(), met, forgotten, standing };
        let differences = self.add_all_kept(&mut adding)?;
        let apart = |(there, counted): (u64, u64)| there.abs_diff(counted);
        let all = differences.iter().map(|difference| apart(difference.pending).saturating_add(apart(difference.dead)));
        let unaccounted = all.fold(0_u64, u64::saturating_add);
        self.metrics.unaccounted.set(i64::try_from(unaccounted).unwrap_or(i64::MAX));
        for Difference { destination, pending, dead } in differences {
            let ((pending, pending_counted), (dead, dead_counted)) = (pending, dead);
            tracing::error!(%destination, pending, pending_counted, dead, dead_counted, "what is kept is not what is counted");
        }
        Ok(())
    }

    /// Memory and the backlog. Says where they are not what is counted.
    fn add_all_kept(&self, adding: &mut Adding<'_>) -> Result<Vec<Difference>, ReadError> {
        let (counted, events, (entries, changes)) = {
            let window = self.window();
            adding.newest_seq = window.newest_seq();
            (window.depths(), window.events(), window.all())
        };
        let mut by_id: HashMap<ConversionId, Vec<Arc<Change>>> = HashMap::new();
        changes.into_iter().for_each(|change| by_id.entry(change.id).or_default().push(change));
        entries.iter().for_each(|(record, legs)| adding.add_kept(record, legs, None));
        drop(entries);
        let mut after = 0;
        while let Some(some) = self.ask(|store| store.next_kept(after))? {
            if self.is_stopped() {
                return Err(ReadError::Closed("the relay is ending".to_owned()));
            }
            after = some.to;
            adding.books.unread = adding.books.unread.saturating_add(u64::try_from(some.unread).unwrap_or(u64::MAX));
            for kept in &some.found {
                adding.add_kept(&kept.record, &kept.legs, by_id.get(&kept.record.meta.id));
            }
        }
        let counted = counted.destinations.into_iter().map(|(name, depth)| (name, (depth.pending, depth.dead.total())));
        let now = self.window().events();
        let done_meanwhile = |name: &DestinationName| {
            let of = |events: &BTreeMap<DestinationName, u64>| events.get(name).copied().unwrap_or(0);
            of(&now).saturating_sub(of(&events))
        };
        Ok(differences(&adding.standing, &counted.collect(), done_meanwhile))
    }
}

/// `explained`: by so much at most a destination's counts have changed meanwhile.
fn differences(
    there: &BTreeMap<DestinationName, (u64, u64)>,
    counted: &BTreeMap<DestinationName, (u64, u64)>,
    explained: impl Fn(&DestinationName) -> u64,
) -> Vec<Difference> {
    let is_apart = |name: &DestinationName, (there, counted): (u64, u64)| there.abs_diff(counted) > explained(name);
    let names: HashSet<&DestinationName> = there.keys().chain(counted.keys()).collect();
    let mut differences: Vec<Difference> = names
        .into_iter()
        .map(|name| {
            let of = |all: &BTreeMap<DestinationName, (u64, u64)>| all.get(name).copied().unwrap_or_default();
            let (there, counted) = (of(there), of(counted));
            Difference { destination: name.clone(), pending: (there.0, counted.0), dead: (there.1, counted.1) }
        })
        .filter(|difference| {
            let name = &difference.destination;
            is_apart(name, difference.pending) || is_apart(name, difference.dead)
        })
        .collect();
    differences.sort_unstable_by(|a, b| a.destination.cmp(&b.destination));
    differences
}

/// Sequence numbers, some million of them in little room: they lie close together.
#[derive(Default)]
struct Seen(HashMap<u64, u64, foldhash::fast::FixedState>);

impl Seen {
    /// Whether it was not in it.
    fn insert(&mut self, seq: u64) -> bool {
        let bits = self.0.entry(seq >> 6).or_default();
        let bit = 1_u64.rotate_left(u32::try_from(seq & 63).unwrap_or(0));
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    }
}

/// A day has so many milliseconds.
const DAY_MS: u64 = 86_400_000;
