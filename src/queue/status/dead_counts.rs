//! How many dead letters there are, by kind.

use super::DeadKind;

/// Dead letters kept for a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeadCounts {
    rejected: u64,
    unknown: u64,
    unmappable: u64,
    exhausted: u64,
    expired: u64,
}

impl DeadCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_kind().fold(0, |total, (_, count)| total.saturating_add(count))
    }

    /// Each kind, in the order of [`DeadKind::ALL`], with how many of it there are.
    pub fn by_kind(&self) -> impl Iterator<Item = (DeadKind, u64)> {
        let mut counts = *self;
        DeadKind::ALL.into_iter().map(move |kind| (kind, *counts.of(kind)))
    }

    fn of(&mut self, kind: DeadKind) -> &mut u64 {
        match kind {
            DeadKind::Rejected => &mut self.rejected,
            DeadKind::Unknown => &mut self.unknown,
            DeadKind::Unmappable => &mut self.unmappable,
            DeadKind::Exhausted => &mut self.exhausted,
            DeadKind::Expired => &mut self.expired,
        }
    }

    pub(in super::super) fn one_more(&mut self, kind: DeadKind) {
        let count = self.of(kind);
        *count = count.saturating_add(1);
    }

    pub(in super::super) fn one_less(&mut self, kind: DeadKind) {
        let count = self.of(kind);
        *count = count.saturating_sub(1);
    }
}

impl FromIterator<(DeadKind, u64)> for DeadCounts {
    fn from_iter<I: IntoIterator<Item = (DeadKind, u64)>>(counts: I) -> DeadCounts {
        let mut all = DeadCounts::default();
        for (kind, more) in counts {
            let count = all.of(kind);
            *count = count.saturating_add(more);
        }
        all
    }
}
