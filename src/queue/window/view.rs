//! What is shown of conversions in memory, and why a destination's work is held.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::DeadFilter;
use super::super::record::{Change, Event, Leg, Record};
use super::super::status::{Hold, Outcome, Status};
use super::super::store::{DeadEntry, Place, dead_letter};
use super::lane::Lane;
use super::{Entry, Window};
use crate::conversion::{ConversionId, DestinationName};

/// A conversion, and what each destination is owed of it.
type Standing = (Arc<Record>, Arc<Vec<Leg>>);

impl Window {
    pub(in super::super) fn hold(&mut self, destination: &DestinationName, hold: Option<Hold>) {
        self.lanes.of(destination).hold = hold;
    }

    /// The conversions that the store does not have yet.
    pub(in super::super) fn records(&self) -> Vec<Arc<Record>> {
        self.entries.values().map(|entry| Arc::clone(&entry.record)).collect()
    }

    /// Why a destination's work is held, in words.
    pub(in super::super) fn held_because(&self, destination: &DestinationName) -> Option<String> {
        let lane = self.lanes.get(destination)?;
        lane.hold.as_ref().map(|hold| hold.reason.clone()).or_else(|| self.stopped(lane))
    }

    /// The same of all these, where there is a reason.
    pub(in super::super) fn held(&self, legs: &[Leg]) -> BTreeMap<DestinationName, String> {
        let destinations = legs.iter().map(|leg| &leg.destination);
        destinations.filter_map(|name| self.held_because(name).map(|why| (name.clone(), why))).collect()
    }

    /// Why nothing is handed out for a destination with as many dead letters as are kept.
    pub(super) fn stopped(&self, lane: &Lane) -> Option<String> {
        let why = || format!("{} dead letters are kept, and no more: replay or discard them", lane.tally.dead.total());
        (lane.tally.dead.total() >= self.dead_letters_max).then(why)
    }

    /// The same, when the last dead letter has brought it about.
    pub(in super::super) fn just_stopped(&self, destination: &DestinationName) -> Option<String> {
        let lane = self.lanes.get(destination).filter(|lane| lane.tally.dead.total() == self.dead_letters_max)?;
        self.stopped(lane)
    }

    /// The status of a conversion in the window.
    pub(in super::super) fn status(&self, id: ConversionId) -> Option<Status> {
        let entry = self.entries.get(self.by_id.get(&id)?)?;
        Some(entry.record.status(&entry.legs, |destination| self.held_because(destination)))
    }

    /// Ids of a merchant's conversions for an order that are in the window, oldest first.
    pub(in super::super) fn order(&self, merchant: &str, order_id: &str) -> Vec<ConversionId> {
        let of_order = |entry: &&Entry| {
            entry.record.order_id.as_deref() == Some(order_id) && *entry.record.meta.merchant == *merchant
        };
        self.entries.values().filter(of_order).map(|entry| entry.record.meta.id).collect()
    }

    /// A conversion that the store does not have yet, as it stands.
    pub(in super::super) fn entry(&self, id: ConversionId) -> Option<(Arc<Record>, Arc<Vec<Leg>>)> {
        let entry = self.entries.get(self.by_id.get(&id)?)?;
        Some((Arc::clone(&entry.record), Arc::clone(&entry.legs)))
    }

    /// All of them as they stand, and the changes that the store does not have yet.
    pub(in super::super) fn all(&self) -> (Vec<Standing>, Vec<Arc<Change>>) {
        let entries = self.entries.values().map(|entry| (Arc::clone(&entry.record), Arc::clone(&entry.legs)));
        (entries.collect(), self.changes.iter().cloned().collect())
    }

    /// How often a destination's counts have changed.
    pub(in super::super) fn events(&self) -> BTreeMap<DestinationName, u64> {
        self.lanes.iter().map(|lane| (lane.name.clone(), lane.events)).collect()
    }

    /// Dead letters of the window, and the changes on their way to the store that make one of a delivery, or none.
    pub(in super::super) fn dead(&self, filter: &DeadFilter) -> (Vec<DeadEntry>, Vec<Arc<Change>>) {
        let mut found = Vec::new();
        for entry in self.entries.values() {
            for leg in &*entry.legs {
                found.extend(dead_letter(&entry.record, leg).filter(|letter| filter.matches(letter)).map(|letter| {
                    let place = Place::of(&leg.destination, letter.at_ms, entry.record.seq);
                    DeadEntry { place, letter }
                }));
            }
        }
        let concerns = |change: &&Arc<Change>| match change.settlement.event {
            Event::Settled(Outcome::Dead { .. }) | Event::Replayed { .. } | Event::Discarded { .. } => true,
            Event::Settled(_) | Event::Withdrawn { .. } => false,
        };
        (found, self.changes.iter().filter(concerns).cloned().collect())
    }
}
