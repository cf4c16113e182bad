//! Room in memory for bodies: so many bytes, of all bodies together, from when they come until they are accepted or refused.
//!
//! Bytes are charged as they come. A body that is whole is dealt with within seconds; one that is still coming stays for as
//! long as its client likes, up to the request timeout, and a few that stop short of their end would keep everybody else
//! out. So where there is no room, those give way that have been coming for longest: whoever sends at a usual pace is done
//! before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::problem::{Kind, Problem};

/// The room of one listener.
pub(super) struct Bodies {
    room: Arc<Semaphore>,
    coming: Mutex<Queue>,
}

/// The bodies that are coming, in the order in which they began.
#[derive(Default)]
struct Queue {
    next: u64,
    bodies: BTreeMap<u64, Arc<Received>>,
}

/// What has come of a body.
struct Received {
    since: Instant,
    /// `None`: it is whole, or has given way.
    held: Mutex<Option<(BytesMut, Room)>>,
    gave_way: CancellationToken,
}

/// A body that is coming, until it is whole or dropped.
pub(super) struct Coming<'b> {
    bodies: &'b Bodies,
    number: u64,
    received: Arc<Received>,
}

/// A body's share of the room, until it is accepted or refused.
#[derive(Default)]
pub(super) struct Room(Option<OwnedSemaphorePermit>);

impl Bodies {
    pub(super) fn new(bytes: usize) -> Bodies {
        Bodies { room: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))), coming: Mutex::default() }
    }

    /// A body begins.
    pub(super) fn begin(&self) -> Coming<'_> {
        let held = Mutex::new(Some((BytesMut::new(), Room::default())));
        let received = Arc::new(Received { since: Instant::now(), held, gave_way: CancellationToken::new() });
        let mut coming = self.coming();
        let number = coming.next;
        coming.next = number.saturating_add(1);
        coming.bodies.insert(number, Arc::clone(&received));
        drop(coming);
        Coming { bodies: self, number, received }
    }

    /// Makes room for so many bytes more. Never waits: bodies that wait for each other's room would wait for ever.
    pub(super) fn grow(&self, room: &mut Room, bytes: usize) -> Result<(), Problem> {
        let more = self.take(bytes)?;
        match &mut room.0 {
            Some(held) => held.merge(more),
            None => room.0 = Some(more),
        }
        Ok(())
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let bytes = u32::try_from(bytes).ok().ok_or_else(full)?;
        loop {
            match Arc::clone(&self.room).try_acquire_many_owned(bytes) {
                Ok(room) => return Ok(room),
                Err(_no_room) if self.give_way(usize::try_from(bytes).unwrap_or(usize::MAX)) => {}
                Err(_no_room) => return Err(full()),
            }
        }
    }

    /// Has the body give way that has been coming for longest; false: all that have been for long would not make enough room.
    fn give_way(&self, bytes: usize) -> bool {
        let mut coming = self.coming();
        let late = || coming.bodies.iter().take_while(|(_, body)| body.since.elapsed() >= USUAL);
        let room = late().fold(self.room.available_permits(), |room, (_, body)| room.saturating_add(body.len()));
        let oldest = late().next().map(|(number, _)| *number).filter(|_| room >= bytes);
        let Some(oldest) = oldest.and_then(|number| coming.bodies.remove(&number)) else { return false };
        drop(coming);
        drop(oldest.held().take());
        oldest.gave_way.cancel();
        true
    }

    fn coming(&self) -> MutexGuard<'_, Queue> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.room.available_permits()
    }
}

impl Received {
    fn held(&self) -> MutexGuard<'_, Option<(BytesMut, Room)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn len(&self) -> usize {
        self.held().as_ref().map_or(0, |(bytes, _room)| bytes.len())
    }
}

impl Coming<'_> {
    /// How much has come.
    pub(super) fn len(&self) -> usize {
        self.received.len()
    }

    /// Takes what has come in addition.
    pub(super) fn extend(&self, data: &Bytes) -> Result<(), Problem> {
        // Before its own is locked: it may be this one that gives way.
        let mut more = Room::default();
        self.bodies.grow(&mut more, data.len())?;
        let mut held = self.received.held();
        let (bytes, room) = held.as_mut().ok_or_else(full)?;
        bytes.extend_from_slice(data);
        room.merge(more);
        Ok(())
    }

    /// Resolves when it has given way.
    pub(super) async fn gave_way(&self) -> Problem {
        self.received.gave_way.cancelled().await;
        full()
    }

    /// Nothing more comes: what there is, and its share of the room.
    pub(super) fn whole(self) -> Result<(Bytes, Room), Problem> {
        let (bytes, room) = self.received.held().take().ok_or_else(full)?;
        Ok((bytes.freeze(), room))
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.bodies.coming().bodies.remove(&self.number);
    }
}

impl Room {
    fn merge(&mut self, more: Room) {
        match (&mut self.0, more.0) {
            (Some(held), Some(more)) => held.merge(more),
            (None, more) => self.0 = more,
            (Some(_), None) => {}
        }
    }
}

fn full() -> Problem {
    Problem::new(Kind::Unavailable, "too many bodies are being received").retry_after(RETRY_AFTER)
}

/// What is being received passes on within moments.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// For so long a body may come undisturbed: 4 MiB take it at 34 Mbit/s, and a usual one a round trip.
const USUAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_has_been_coming_for_longest_gives_way_and_only_then() {
        let bodies = Bodies::new(100);
        let part = |bytes: usize| Bytes::from(vec![b'x'; bytes]);
        let (slow, second) = (bodies.begin(), bodies.begin());
        slow.extend(&part(60)).unwrap();
        second.extend(&part(40)).unwrap();
        let quick = bodies.begin();
        assert!(quick.extend(&part(1)).is_err(), "nobody is late");
        tokio::time::advance(USUAL).await;
        quick.extend(&part(50)).unwrap();
        assert_eq!((bodies.free(), slow.len(), second.len(), quick.len()), (10, 0, 40, 50));
        slow.gave_way().await;
        assert!(slow.extend(&part(1)).is_err() && slow.whole().is_err());
        // A share that is given back is all that it was.
        let (bytes, room) = second.whole().unwrap();
        assert_eq!(bytes, part(40));
        let third = bodies.begin();
        assert!(third.extend(&part(61)).is_err(), "what is whole does not give way");
        assert_eq!((bodies.free(), quick.len()), (10, 50), "and nobody does for too little");
        third.extend(&part(60)).unwrap();
        assert_eq!((bodies.free(), quick.len()), (0, 0));
        drop((room, third, quick));
        assert_eq!(bodies.free(), 100);
        assert!(bodies.coming().bodies.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_more_gives_way_itself_where_it_came_first() {
        let bodies = Bodies::new(100);
        let (slow, second) = (bodies.begin(), bodies.begin());
        slow.extend(&Bytes::from_static(&[b'x'; 60])).unwrap();
        second.extend(&Bytes::from_static(&[b'x'; 40])).unwrap();
        tokio::time::advance(USUAL).await;
        assert!(slow.extend(&Bytes::from_static(b"x")).is_err());
        assert_eq!((bodies.free(), second.len()), (60, 40));
    }
}
