//! A segment that may hold what is asked for, and the reading of its records.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::super::codec::Malformed;
use super::super::log::frame;
use super::super::store::StoreError;
use super::form::Kept;
use super::full::Full;
use super::table::By;

/// A segment that may hold what is asked for.
pub(super) enum Place {
    Written(Arc<File>, Vec<u32>),
    Full(Arc<Full>),
}

impl Place {
    /// Of a full segment.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Place::Written(..) => None,
            Place::Full(full) => Some(full.number),
        }
    }

    /// What `take` makes of the records that are meant, in the order of writing.
    pub(super) fn records<T>(
        &self,
        by: By,
        take: impl FnMut(u8, Kept<'_>) -> Result<Option<T>, Malformed>,
    ) -> Result<Vec<T>, StoreError> {
        self.last_records(by, usize::MAX, take)
    }

    /// Of the last `count` records that begin like what is meant, in their order.
    pub(super) fn last_records<T>(
        &self,
        by: By,
        count: usize,
        mut take: impl FnMut(u8, Kept<'_>) -> Result<Option<T>, Malformed>,
    ) -> Result<Vec<T>, StoreError> {
        let mut taken = Vec::new();
        let mut visit = |file: &File, at: u32| {
            let (kind, payload) = read_record(file, u64::from(at)).map_err(StoreError::History)?;
            let kept = Kept::decode(&payload)?;
            if by.is(&kept.names) {
                taken.extend(take(kind, kept)?);
            }
            Ok::<(), StoreError>(())
        };
        match self {
            Place::Written(file, found) => {
                found.iter().skip(found.len().saturating_sub(count)).try_for_each(|at| visit(file, *at))?;
            }
            Place::Full(full) => {
                if let Some((file, mut found)) = full.find(by).map_err(StoreError::History)? {
                    found.sort_unstable();
                    let others = found.len().saturating_sub(count);
                    found.into_iter().skip(others).try_for_each(|at| visit(&file, at))?;
                }
            }
        }
        Ok(taken)
    }
}

fn read_record(file: &File, at: u64) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0_u8; 5];
    file.read_exact_at(&mut head, at)?;
    let [a, b, c, d, kind] = head;
    let len = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if len > RECORD_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "length of a record"));
    }
    let mut payload = vec![0; len];
    file.read_exact_at(&mut payload, at.saturating_add(frame::RECORD_HEAD_BYTES))?;
    Ok((kind, payload))
}

/// A record is a status, which is bounded; this is far beyond, and only damage claims it.
const RECORD_BYTES_MAX: usize = 1 << 20;
