//! Dead letters: which are meant, what is shown of them, how they are dealt with.

use std::sync::Arc;

use super::{Attempt, DeadKind};
use crate::conversion::{ConversionId, DestinationName};

/// Which dead letters are meant: those of which all that is said here is so.
#[derive(Debug, Clone, Default)]
pub struct DeadFilter {
    /// Of this destination.
    pub destination: Option<DestinationName>,
    /// Of this kind.
    pub kind: Option<DeadKind>,
    /// Given up at this point or later (Unix ms).
    pub since_ms: Option<u64>,
    /// Given up before this point (Unix ms).
    pub until_ms: Option<u64>,
    /// Of conversions with this order id, whosever they are.
    pub order_id: Option<String>,
    /// Of conversions of this merchant.
    pub merchant: Option<String>,
    /// With these words, in either case, in the reason or in what the destination answered last.
    pub contains: Option<String>,
    /// Of one of these conversions.
    pub ids: Option<Vec<ConversionId>>,
}

impl DeadFilter {
    pub(in super::super) fn matches(&self, letter: &DeadLetter) -> bool {
        self.destination.as_ref().is_none_or(|destination| *destination == letter.destination)
            && self.kind.is_none_or(|kind| kind == letter.kind)
            && self.since_ms.is_none_or(|since_ms| letter.at_ms >= since_ms)
            && self.until_ms.is_none_or(|until_ms| letter.at_ms < until_ms)
            && self.order_id.as_ref().is_none_or(|order_id| letter.order_id.as_ref() == Some(order_id))
            && self.merchant.as_ref().is_none_or(|merchant| **merchant == *letter.merchant)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&letter.id))
            // Last: the others cost nothing beside it.
            && self.contains.as_ref().is_none_or(|words| letter.says(&words.to_lowercase()))
    }
}

/// Which part of a list of dead letters is wanted.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// At most so many letters (0 counts as 1, more than 1,000 as 1,000).
    pub limit: usize,
    /// [`DeadPage::next`] of the page before.
    pub after: Option<String>,
}

/// How dead letters are dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Treatment {
    /// They are owed again, from now on; attempts are counted anew.
    Replay,
    /// Nothing more is sent.
    Discard {
        /// Why, in words: shown in statuses.
        reason: String,
    },
}

/// How many dead letters a treatment was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Treated {
    /// Those that were meant.
    pub matched: u64,
    /// Those that were dealt with: somebody else was faster with the others.
    pub done: u64,
}

/// One page of dead letters, by destination and then oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadPage {
    /// The letters; a page may hold fewer than asked for, also none, and still have a next one.
    pub dead: Vec<DeadLetter>,
    /// Where the next page begins, if there may be one.
    pub next: Option<String>,
}

/// A delivery given up, kept for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The conversion's id.
    pub id: ConversionId,
    /// Where it was to go.
    pub destination: DestinationName,
    /// Why, as a class.
    pub kind: DeadKind,
    /// When it was given up (Unix ms).
    pub at_ms: u64,
    /// The order of the conversion, if it has one.
    pub order_id: Option<String>,
    /// Whose the conversion is.
    pub merchant: Arc<str>,
    /// Attempts used up.
    pub attempts: u32,
    /// Why, in words.
    pub reason: String,
    /// The last attempt, if one was made.
    pub last: Option<Attempt>,
    /// The destination may have it all the same: an attempt that is still kept ended without an answer, or was accepted.
    pub may_have_arrived: bool,
}

impl DeadLetter {
    /// `words` in lower case.
    fn says(&self, words: &str) -> bool {
        let excerpt = self.last.as_ref().and_then(|last| last.excerpt.as_deref());
        [Some(self.reason.as_str()), excerpt].into_iter().flatten().any(|text| text.to_lowercase().contains(words))
    }
}
