//! Room in memory for bodies: so many bytes, of all bodies together, from when they come until they are accepted or refused.
//!
//! Bytes are charged as they come. A body that is whole is dealt with within seconds; one that is still coming stays for as
//! long as its client likes, up to the request timeout, and a few that stop short of their end would keep everybody else
//! out. So where there is no room, those give way that have been coming for longest: whoever sends at a usual pace is done
//! before. Of all of it one merchant has half at most, so that however much it sends, there is room for the others.

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
    /// Of the room, what one merchant may have.
    share_bytes: usize,
    coming: Mutex<Queue>,
}

/// The bodies that are coming, in the order in which they began.
#[derive(Default)]
struct Queue {
    next: u64,
    bodies: BTreeMap<u64, Arc<Received>>,
}

/// What one merchant may have of the room, all its bodies together.
#[derive(Clone)]
pub(super) struct Share(Arc<Semaphore>);

/// What has come of a body.
struct Received {
    since: Instant,
    share: Share,
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

/// What a body has of the room and of its merchant's share, until it is accepted or refused.
#[derive(Default)]
pub(super) struct Room(Option<[OwnedSemaphorePermit; 2]>);

impl Bodies {
    /// Room for so many bytes, and in any case for a body as long as one may be; so has each merchant's share.
    pub(super) fn new(bytes: usize, one_bytes_max: usize) -> Bodies {
        let bytes = bytes.max(one_bytes_max).min(Semaphore::MAX_PERMITS);
        let share_bytes = (bytes / SHARES).max(one_bytes_max.min(bytes));
        Bodies { room: Arc::new(Semaphore::new(bytes)), share_bytes, coming: Mutex::default() }
    }

    /// A merchant's share, of which nothing is taken.
    pub(super) fn share(&self) -> Share {
        Share(Arc::new(Semaphore::new(self.share_bytes)))
    }

    /// A body begins.
    pub(super) fn begin(&self, share: &Share) -> Coming<'_> {
        let held = Mutex::new(Some((BytesMut::new(), Room::default())));
        let (share, gave_way) = (share.clone(), CancellationToken::new());
        let received = Arc::new(Received { since: Instant::now(), share, held, gave_way });
        let mut coming = self.coming();
        let number = coming.next;
        coming.next = number.saturating_add(1);
        coming.bodies.insert(number, Arc::clone(&received));
        drop(coming);
        Coming { bodies: self, number, received }
    }

    /// Makes room for so many bytes more. Never waits: bodies that wait for each other's room would wait for ever.
    pub(super) fn grow(&self, share: &Share, room: &mut Room, bytes: usize) -> Result<(), Problem> {
        // Its own first: where that is used up, nobody else has to give way.
        let of_share = self.take(&share.0, bytes, |body| Arc::ptr_eq(&body.share.0, &share.0))?;
        let of_room = self.take(&self.room, bytes, |_| true)?;
        room.merge(Room(Some([of_share, of_room])));
        Ok(())
    }

    /// Takes so many bytes of the room or of a share, which `all` have theirs of.
    fn take(
        &self,
        of: &Arc<Semaphore>,
        bytes: usize,
        all: impl Fn(&Received) -> bool,
    ) -> Result<OwnedSemaphorePermit, Problem> {
        let permits = u32::try_from(bytes).ok().ok_or_else(full)?;
        loop {
            match Arc::clone(of).try_acquire_many_owned(permits) {
                Ok(taken) => return Ok(taken),
                Err(_no_room) if self.give_way(of.available_permits(), bytes, &all) => {}
                Err(_no_room) => return Err(full()),
            }
        }
    }

    /// Has that of `all` give way that has been coming for longest; false: with what is free, those that have been for long
    /// would not make enough room.
    fn give_way(&self, free: usize, bytes: usize, all: impl Fn(&Received) -> bool) -> bool {
        let mut coming = self.coming();
        let long = || coming.bodies.iter().take_while(|(_, body)| body.since.elapsed() >= USUAL);
        let late = || long().filter(|(_, body)| all(body));
        let room = late().fold(free, |room, (_, body)| room.saturating_add(body.len()));
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
        self.bodies.grow(&self.received.share, &mut more, data.len())?;
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
            (Some(held), Some(more)) => held.iter_mut().zip(more).for_each(|(held, more)| held.merge(more)),
            (None, more) => self.0 = more,
            (Some(_), None) => {}
        }
    }
}

fn full() -> Problem {
    Problem::new(Kind::Unavailable, "too many bodies are being received").retry_after(RETRY_AFTER)
}

/// A merchant has one of so many parts of the room at most: the rest is for all others.
const SHARES: usize = 2;
/// What is being received passes on within moments.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// For so long a body may come undisturbed: 4 MiB take it at 34 Mbit/s, and a usual one a round trip.
const USUAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// A body whose merchant may have all of the room.
    fn alone(bodies: &Bodies) -> Coming<'_> {
        bodies.begin(&Share(Arc::new(Semaphore::new(Semaphore::MAX_PERMITS))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_merchant_has_half_of_the_room_and_only_its_own_bodies_give_way_for_more() {
        let bodies = Bodies::new(100, 1);
        let part = |bytes: usize| Bytes::from(vec![b'x'; bytes]);
        let (share, other) = (bodies.share(), bodies.share());
        let (others, first, second) = (bodies.begin(&other), bodies.begin(&share), bodies.begin(&share));
        others.extend(&part(50)).unwrap();
        first.extend(&part(30)).unwrap();
        second.extend(&part(10)).unwrap();
        assert!(second.extend(&part(11)).is_err(), "there is no more of its share");
        assert_eq!(bodies.free(), 10, "though there is of the room");
        tokio::time::advance(USUAL).await;
        let third = bodies.begin(&share);
        assert!(third.extend(&part(51)).is_err(), "never more than its share");
        third.extend(&part(25)).unwrap();
        assert_eq!((others.len(), first.len(), second.len(), third.len()), (50, 0, 10, 25), "the other came before");
        drop((first, second, third));
        assert_eq!(bodies.free(), 50);
        assert_eq!(share.0.available_permits(), 50, "all of it is given back");
    }

    #[test]
    fn a_share_has_room_for_one_body_as_long_as_one_may_be() {
        let bodies = Bodies::new(100, 80);
        bodies.grow(&bodies.share(), &mut Room::default(), 80).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_been_coming_for_longest_gives_way_and_only_then() {
        let bodies = Bodies::new(100, 1);
        let part = |bytes: usize| Bytes::from(vec![b'x'; bytes]);
        let (slow, second) = (alone(&bodies), alone(&bodies));
        slow.extend(&part(60)).unwrap();
        second.extend(&part(40)).unwrap();
        let quick = alone(&bodies);
        assert!(quick.extend(&part(1)).is_err(), "nobody is late");
        tokio::time::advance(USUAL).await;
        quick.extend(&part(50)).unwrap();
        assert_eq!((bodies.free(), slow.len(), second.len(), quick.len()), (10, 0, 40, 50));
        slow.gave_way().await;
        assert!(slow.extend(&part(1)).is_err() && slow.whole().is_err());
        // A share that is given back is all that it was.
        let (bytes, room) = second.whole().unwrap();
        assert_eq!(bytes, part(40));
        let third = alone(&bodies);
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
        let bodies = Bodies::new(100, 1);
        let (slow, second) = (alone(&bodies), alone(&bodies));
        slow.extend(&Bytes::from_static(&[b'x'; 60])).unwrap();
        second.extend(&Bytes::from_static(&[b'x'; 40])).unwrap();
        tokio::time::advance(USUAL).await;
        assert!(slow.extend(&Bytes::from_static(b"x")).is_err());
        assert_eq!((bodies.free(), second.len()), (60, 40));
    }
}
