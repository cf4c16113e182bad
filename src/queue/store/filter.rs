//! Bloom filters in front of the deduplication entries: a key never seen costs no read of the store.
//!
//! One filter per bucket, each of a fixed size, and only so many: memory does not grow with what was accepted. A filter that
//! is missing, or not yet filled after a start, or crowded, answers "perhaps", and the store is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::super::record::KeyHash;
use super::{Store, StoreError};

/// The filters of the newest buckets.
#[derive(Debug)]
pub(in super::super) struct Filters(Mutex<Buckets>);

#[derive(Debug)]
struct Buckets {
    filters: BTreeMap<u32, Filter>,
    /// Buckets that had entries at the start and whose filters are not filled yet, newest last; with the last key read.
    unread: Vec<(u32, Option<KeyHash>)>,
    /// No bucket before this one has entries.
    first: u32,
}

/// Zeroed memory takes no room before it is written to, so an idle relay pays nothing for it.
#[derive(Debug)]
struct Filter(Vec<u64>);

impl Filters {
    /// For a store whose entries begin with bucket `first` (`None`: it has none), in bucket `current`.
    pub(in super::super) fn new(first: Option<u32>, last: Option<u32>, current: u32) -> Filters {
        let first = first.unwrap_or(u32::MAX).min(current);
        let known = current.saturating_sub(KEPT_MAX).max(first);
        // The one after the current: the clock may have been set back since.
        let next = current.saturating_add(1);
        let ahead = last
            .filter(|last| *last > next)
            .map(|last| last.saturating_sub(KEPT_MAX).max(next.saturating_add(1))..=last);
        let unread = (known..=next).chain(ahead.into_iter().flatten()).map(|bucket| (bucket, None)).collect();
        Filters(Mutex::new(Buckets { filters: BTreeMap::new(), unread, first }))
    }

    /// The buckets of `range` that may hold the key, newest first.
    pub(in super::super) fn candidates(&self, range: std::ops::RangeInclusive<u32>, key: &KeyHash) -> Vec<u32> {
        let buckets = self.lock();
        let from = (*range.start()).max(buckets.first);
        // Behind the range: accepted before the clock was set back.
        let beyond = range.end().saturating_add(1)..;
        let unread = buckets.unread.iter().map(|(bucket, _)| *bucket).filter(|bucket| beyond.contains(bucket));
        let ahead: BTreeSet<u32> =
            buckets.filters.range(beyond.clone()).map(|(bucket, _)| *bucket).chain(unread).collect();
        (from..=*range.end())
            .chain(ahead)
            .rev()
            .filter(|bucket| {
                buckets.unread.iter().any(|(unread, _)| unread == bucket)
                    || buckets.is_forgotten(*bucket)
                    || buckets.filters.get(bucket).is_some_and(|filter| filter.may_hold(key))
            })
            .collect()
    }

    /// Notes a key before it is only to be found in the store.
    pub(in super::super) fn insert(&self, bucket: u32, key: &KeyHash) {
        let mut buckets = self.lock();
        buckets.first = buckets.first.min(bucket);
        if buckets.is_forgotten(bucket) {
            return;
        }
        buckets.filters.entry(bucket).or_insert_with(Filter::new).insert(key);
        let newest = buckets.filters.last_key_value().map_or(bucket, |(newest, _)| *newest);
        buckets.filters.retain(|bucket, _| *bucket >= newest.saturating_sub(KEPT_MAX));
    }

    /// Fills filters from the store, so many keys at once. Returns whether there is more to do.
    pub(in super::super) fn fill(&self, store: &Store, keys_max: usize) -> Result<bool, StoreError> {
        let Some((bucket, after)) = self.lock().unread.last().copied() else {
            return Ok(false);
        };
        let keys = store.dedup_keys(bucket, after, keys_max)?;
        for key in &keys {
            self.insert(bucket, key);
        }
        let mut buckets = self.lock();
        if keys.len() < keys_max {
            buckets.unread.pop();
        } else if let Some((_, after)) = buckets.unread.last_mut() {
            *after = keys.last().copied();
        }
        Ok(!buckets.unread.is_empty())
    }

    /// Buckets before this one are out of the window.
    pub(in super::super) fn expire(&self, before: u32) {
        let mut buckets = self.lock();
        buckets.first = buckets.first.max(before);
        buckets.filters.retain(|bucket, _| *bucket >= before);
        buckets.unread.retain(|(bucket, _)| *bucket >= before);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Buckets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buckets {
    /// Whether a bucket is so old that no filter is kept for it: then it always has to be asked.
    fn is_forgotten(&self, bucket: u32) -> bool {
        let newest = self.filters.last_key_value().map_or(bucket, |(newest, _)| *newest);
        let newest = self.unread.last().map_or(newest, |(unread, _)| newest.max(*unread));
        bucket < newest.saturating_sub(KEPT_MAX)
    }
}

impl Filter {
    fn new() -> Filter {
        Filter(vec![0; WORDS])
    }

    fn insert(&mut self, key: &KeyHash) {
        for (word, bit) in places(key) {
            if let Some(word) = self.0.get_mut(word) {
                *word |= bit;
            }
        }
    }

    fn may_hold(&self, key: &KeyHash) -> bool {
        places(key).all(|(word, bit)| self.0.get(word).is_some_and(|word| word & bit != 0))
    }
}

/// Four places, from four parts of the hash.
fn places(key: &KeyHash) -> impl Iterator<Item = (usize, u64)> {
    let (parts, _) = key.as_chunks::<4>();
    parts.iter().map(|part| {
        let place = u32::from_le_bytes(*part);
        let word = usize::try_from(place >> 6).unwrap_or(0) & WORDS.saturating_sub(1);
        (word, 1_u64.wrapping_shl(place & 63))
    })
}

/// The length of a bucket: an eighth of the window, between a minute and a day.
pub(super) fn bucket_ms(window: Duration) -> u64 {
    let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    window_ms.checked_div(8).unwrap_or(0).clamp(60_000, 86_400_000)
}

/// Words of a filter: 2 MiB. By the formula, one wrong "perhaps" in 480 at a million keys, in 7 at four million.
const WORDS: usize = 1 << 18;
/// Filters kept beside the newest: the eight buckets of a window, the one going out and the next one.
const KEPT_MAX: u32 = 10;
