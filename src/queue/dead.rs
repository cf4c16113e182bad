//! Dead letters: listed without reading the others, replayed, discarded.
//!
//! Dealing with one is a settlement as a worker's report is: it goes to the window, the journal and the store in the same
//! way, numbered behind the one that made it a dead letter. So a crash leaves it done or not done, and doing it twice does
//! it once.

use std::collections::{BTreeMap, HashSet};
use std::sync::PoisonError;

use super::record::{Change, Event, Leg, Settlement};
use super::shared::Shared;
use super::status::{DeadFilter, DeadLetter, DeadPage, PageRequest, Treated, Treatment};
use super::store::{DeadEntry, DeadFound, Place, dead_letter};
use super::{ReadError, Stored};
use crate::conversion::{ConversionId, DestinationName};

impl Shared {
    /// Blocks.
    pub(super) fn dead_letters(&self, filter: &DeadFilter, page: &PageRequest) -> Result<DeadPage, ReadError> {
        if let Some(ids) = &filter.ids {
            return self.dead_letters_of(ids, filter);
        }
        let limit = page.limit.clamp(1, PAGE_MAX);
        let first = Place::first(filter.destination.as_ref(), filter.since_ms.unwrap_or(0));
        let from = match &page.after {
            Some(mark) => Place::parse(mark).ok_or(ReadError::Mark)?.max(first),
            None => first,
        };
        let (in_window, changes) = self.window().dead(filter);
        let changed: HashSet<(ConversionId, DestinationName)> =
            changes.iter().map(|change| (change.id, change.destination.clone())).collect();
        let DeadFound { entries: stored, next, lost } = self.ask(|store| store.dead(filter, &from, limit))?;
        self.note_lost(lost);
        // What is on its way to the store counts, not what the store has.
        let unchanged = stored.into_iter().filter(|entry| !changed.contains(&entry.letter.key()));
        let on_their_way = changed.iter().map(|(id, destination)| self.dead_entry(*id, destination));
        let on_their_way: Vec<Option<DeadEntry>> = on_their_way.collect::<Result<_, _>>()?;
        let matching = on_their_way.into_iter().flatten().filter(|entry| filter.matches(&entry.letter));
        let mut found: BTreeMap<Place, DeadLetter> = BTreeMap::new();
        for DeadEntry { place, letter } in in_window.into_iter().chain(matching).chain(unchanged) {
            if place >= from && next.as_ref().is_none_or(|next| place < *next) {
                found.insert(place, letter);
            }
        }
        let over = found.keys().nth(limit).cloned();
        let next = over.or(next).map(|place| place.mark());
        Ok(DeadPage { dead: found.into_values().take(limit).collect(), next })
    }

    /// A conversion that is still owed to someone, or given up somewhere. Blocks.
    pub(super) fn stored(&self, id: ConversionId) -> Result<Option<Stored>, ReadError> {
        let in_window = self.window().entry(id);
        if let Some((record, _legs)) = in_window {
            return Ok(Some(Stored { meta: record.meta.clone(), conversion: record.conversion() }));
        }
        let Some(kept) = self.kept(id)? else { return Ok(None) };
        Ok(Some(Stored { conversion: kept.record.conversion(), meta: kept.record.meta }))
    }

    /// Each is counted once, however often it is come to.
    fn note_lost(&self, lost: Vec<Place>) {
        if lost.is_empty() {
            return;
        }
        tracing::error!(count = lost.len(), "the store names dead letters whose conversions it does not have");
        let mut known = self.lost_dead.lock().unwrap_or_else(PoisonError::into_inner);
        for place in lost {
            if known.insert(place) {
                self.metrics.lost.inc();
            }
        }
    }

    fn dead_letters_of(&self, ids: &[ConversionId], filter: &DeadFilter) -> Result<DeadPage, ReadError> {
        let (mut dead, mut seen) = (Vec::new(), HashSet::new());
        // One that is named twice is one.
        for id in ids.iter().filter(|id| seen.insert(**id)) {
            let in_window = self.window().entry(*id);
            if let Some((record, legs)) = in_window {
                dead.extend(legs.iter().filter_map(|leg| dead_letter(&record, leg)));
            } else if let Some(kept) = self.kept_now(*id)? {
                dead.extend(kept.legs.iter().filter_map(|leg| dead_letter(&kept.record, leg)));
            }
        }
        dead.retain(|letter| filter.matches(letter));
        Ok(DeadPage { dead, next: None })
    }

    /// A stored delivery that is given up, or is being so, as it is listed.
    fn dead_entry(&self, id: ConversionId, destination: &DestinationName) -> Result<Option<DeadEntry>, ReadError> {
        let Some(kept) = self.kept_now(id)? else { return Ok(None) };
        let letter = leg_to(&kept.legs, destination).and_then(|leg| dead_letter(&kept.record, leg));
        Ok(letter.map(|letter| DeadEntry { place: Place::of(destination, letter.at_ms, kept.record.seq), letter }))
    }

    /// Deals with one page of dead letters; says where the next begins. Blocks. One at a time: only so nobody else deals
    /// with them meanwhile. What was given up since `begun_ms` is not of it; what bears a time to come was given up before,
    /// by a clock that was ahead.
    pub(super) fn treat(
        &self,
        filter: &DeadFilter,
        page: &PageRequest,
        treatment: &Treatment,
        begun_ms: Option<u64>,
    ) -> Result<(Treated, Option<String>), ReadError> {
        let DeadPage { mut dead, next } = self.dead_letters(filter, page)?;
        if let Some(begun_ms) = begun_ms {
            let now_ms = self.clock.unix_ms();
            dead.retain(|letter| letter.at_ms <= begun_ms || letter.at_ms > now_ms);
        }
        let mut treated = Treated::default();
        for letter in &dead {
            treated.matched = treated.matched.saturating_add(1);
            if self.treat_one(letter, treatment)? {
                treated.done = treated.done.saturating_add(1);
            }
        }
        Ok((treated, next))
    }

    fn treat_one(&self, letter: &DeadLetter, treatment: &Treatment) -> Result<bool, ReadError> {
        let Some((seq, legs)) = self.standing(letter.id)? else { return Ok(false) };
        let Some(leg) = leg_to(&legs, &letter.destination) else { return Ok(false) };
        let Some((was, _given_up_ms)) = leg.dead() else { return Ok(false) };
        let at_ms = self.clock.unix_ms();
        let event = match treatment {
            Treatment::Replay => Event::Replayed { due_ms: at_ms, was },
            Treatment::Discard { reason } => Event::Discarded { reason: reason.clone(), was },
        };
        let settlement = Settlement::new(leg.revision.saturating_add(1), at_ms, event, None);
        self.change(Change { seq, id: letter.id, destination: letter.destination.clone(), settlement });
        Ok(true)
    }

    /// So many that their changes leave room for those of the workers.
    pub(super) fn treated_at_once(&self) -> usize {
        (self.options.changes_max / 4).clamp(1, TREATED_MAX)
    }
}

fn leg_to<'l>(legs: &'l [Leg], destination: &DestinationName) -> Option<&'l Leg> {
    legs.iter().find(|leg| leg.destination == *destination)
}

impl DeadLetter {
    fn key(&self) -> (ConversionId, DestinationName) {
        (self.id, self.destination.clone())
    }
}

/// Letters on one page.
const PAGE_MAX: usize = 1000;
/// Letters dealt with between two syncs.
const TREATED_MAX: usize = 256;
