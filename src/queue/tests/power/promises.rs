//! What a recorded process had been promised by some moment, and whether an opened folder keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rand::RngExt;
use rand::rngs::StdRng;

use super::super::*;
use super::scenarios::DESTINATIONS;

/// Where a delivery may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stand {
    state: State,
    attempts: u32,
    /// Whether it is handed out.
    due: bool,
}

/// How a delivery is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Delivered,
    Dead,
    RetryNow,
    RetryInAYear,
    /// Without having used up the attempt.
    PutBack,
    Replay,
    Discard,
}

impl How {
    const ALL: [(How, &str); 7] = [
        (How::Delivered, "delivered"),
        (How::Dead, "dead"),
        (How::RetryNow, "again"),
        (How::RetryInAYear, "later"),
        (How::PutBack, "back"),
        (How::Replay, "replay"),
        (How::Discard, "discard"),
    ];

    pub(super) fn word(self) -> &'static str {
        How::ALL.iter().find(|(how, _)| *how == self).unwrap().1
    }

    fn of(word: &str) -> How {
        How::ALL.iter().find(|(_, known)| *known == word).unwrap().0
    }

    /// Where it stands then, with so many attempts used up before.
    fn stand(self, attempts: u32) -> Stand {
        let spent = attempts.wrapping_add(1);
        let stand = |state, attempts, due| Stand { state, attempts, due };
        match self {
            How::Delivered => stand(State::Delivered, spent, false),
            How::Dead => stand(State::Dead(DeadKind::Rejected), spent, false),
            How::RetryNow => stand(State::Retrying, spent, true),
            How::RetryInAYear => stand(State::Retrying, spent, false),
            How::PutBack => stand(if attempts == 0 { State::Queued } else { State::Retrying }, attempts, true),
            How::Replay => stand(State::Queued, 0, true),
            How::Discard => stand(State::Discarded, attempts, false),
        }
    }
}

#[derive(Debug, Clone)]
struct Known {
    event_id: String,
    padding: usize,
    /// Whether it was acknowledged.
    accepted: bool,
    legs: BTreeMap<String, Leg>,
    erasure: Erasure,
}

/// Whether it was to be forgotten on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Erasure {
    No,
    Asked,
    Done,
}

/// Where a delivery may stand: settlements are lazy, so the last ones may be lost.
#[derive(Debug, Clone)]
struct Leg {
    stands: Vec<Stand>,
    /// Which of them a person asked for. What was before is over once that was acknowledged.
    treated: usize,
}

/// All that was said.
#[derive(Debug, Clone, Default)]
pub(super) struct Promises {
    conversions: BTreeMap<ConversionId, Known>,
    /// Whether what is settled may be gone.
    pub(super) forgets: bool,
}

/// In what a folder fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    DoesNotOpen,
    /// An acknowledged conversion.
    Lost,
    /// Something else than what was promised.
    Differs,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::DoesNotOpen => "does not open",
            Fault::Lost => "has lost what was acknowledged",
            Fault::Differs => "differs from what was promised",
        })
    }
}

pub(super) type Checked<T> = Result<T, (Fault, String)>;

fn differs<T>(what: impl Into<String>) -> Checked<T> {
    Err((Fault::Differs, what.into()))
}

impl Promises {
    pub(super) fn accepted(&self) -> usize {
        self.conversions.values().filter(|known| known.accepted).count()
    }

    /// One line of what a recorded process says: before it asks, and after it is answered.
    pub(super) fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let id = |text: &str| ConversionId::parse(text).unwrap();
        match words.as_slice() {
            ["offers", of, event_id, padding, destinations] => {
                let queued = Stand { state: State::Queued, attempts: 0, due: true };
                let leg = Leg { stands: vec![queued], treated: 0 };
                let legs = destinations.split(',').map(|destination| (destination.to_owned(), leg.clone())).collect();
                let (event_id, padding) = ((*event_id).to_owned(), padding.parse().unwrap());
                self.conversions
                    .insert(id(of), Known { event_id, padding, accepted: false, legs, erasure: Erasure::No });
            }
            ["accepted", of] => self.conversions.get_mut(&id(of)).unwrap().accepted = true,
            ["settles", of, destination, how, attempts] => {
                let stand = How::of(how).stand(attempts.parse().unwrap());
                self.leg(id(of), destination).stands.push(stand);
            }
            ["forgets", of] => {
                let known = self.conversions.get_mut(&id(of)).unwrap();
                known.erasure = Erasure::Asked;
                for leg in known.legs.values_mut() {
                    let attempts = leg.stands.last().unwrap().attempts;
                    leg.stands.push(How::Discard.stand(attempts));
                }
            }
            ["forgotten", of] => self.conversions.get_mut(&id(of)).unwrap().erasure = Erasure::Done,
            ["treats", how, destination, ids] => {
                for of in ids.split(',') {
                    let leg = self.leg(id(of), destination);
                    leg.treated = leg.stands.len();
                    let attempts = leg.stands[leg.treated - 1].attempts;
                    leg.stands.push(How::of(how).stand(attempts));
                }
            }
            ["treated", destination, ids] => {
                for of in ids.split(',') {
                    let leg = self.leg(id(of), destination);
                    leg.stands.drain(..leg.treated);
                    leg.treated = 0;
                }
            }
            _ => panic!("said: {line}"),
        }
    }

    fn leg(&mut self, id: ConversionId, destination: &str) -> &mut Leg {
        self.conversions.get_mut(&id).unwrap().legs.get_mut(destination).unwrap()
    }
}

/// What was found of each conversion.
type Found = BTreeMap<ConversionId, Vec<(String, Stand)>>;

/// Holds an opened folder to what was promised.
pub(super) async fn hold(queue: &Queue, promises: &Promises, rng: &mut StdRng) -> Checked<Found> {
    let mut found = Found::new();
    for (id, known) in &promises.conversions {
        if let Some(stands) = find(queue, *id, known, promises.forgets).await? {
            found.insert(*id, stands);
        }
    }
    counts(queue, &found).await?;
    let kept: Vec<(ConversionId, &Known)> = found
        .keys()
        .filter_map(|id| Some((*id, promises.conversions.get(id).filter(|known| known.accepted)?)))
        .collect();
    if let Some(index) = kept.len().checked_sub(1) {
        let (id, known) = kept[rng.random_range(0..=index)];
        known_again(queue, id, known, promises.forgets).await?;
    }
    let erased = promises.conversions.iter().find(|(_, known)| known.erasure == Erasure::Done);
    if let Some((id, known)) = erased {
        let again = queue.accept(submission_of(&known.event_id, known.padding, &["a"])).await;
        if !matches!(&again, Ok(Accepted::Duplicate(first)) if first.id == *id && first.destinations.is_empty()) {
            return differs(format!("{id} was forgotten; handed in again it is {again:?}"));
        }
    }
    handed_out(queue, promises, &found).await?;
    match queue.accept(submission(&["a"])).await {
        Ok(Accepted::New(_)) => Ok(found),
        other => differs(format!("a new conversion is answered {other:?}")),
    }
}

/// Where it stands, if it is there.
async fn find(queue: &Queue, id: ConversionId, known: &Known, forgets: bool) -> Checked<Option<Vec<(String, Stand)>>> {
    let status = match queue.status(id).await {
        Ok(Some(_)) if known.erasure == Erasure::Done => return differs(format!("{id} was forgotten, and is there")),
        Ok(Some(status)) => status,
        Ok(None) if known.erasure != Erasure::No => return Ok(None),
        Ok(None) => {
            let is_over = |leg: &Leg| leg.stands.iter().any(|stand| stand.state == State::Delivered);
            let may_be_gone = !known.accepted || forgets && known.legs.values().all(is_over);
            return if may_be_gone { Ok(None) } else { Err((Fault::Lost, format!("{id} has no status"))) };
        }
        Err(error) => return Err((Fault::Lost, format!("the status of {id} cannot be read: {error}"))),
    };
    if status.destinations.len() != known.legs.len() {
        return differs(format!("{id} has {:?}", status.destinations));
    }
    let mut stands = Vec::new();
    for (destination, delivery) in &status.destinations {
        let may = &known.legs[destination.as_str()].stands;
        let fits = |stand: &&Stand| stand.state == delivery.state && stand.attempts == delivery.attempts;
        match may.iter().rev().find(fits) {
            Some(stand) => stands.push((destination.as_str().to_owned(), *stand)),
            None => return differs(format!("{id} for {destination} is {delivery:?}, which is none of {may:?}")),
        }
    }
    Ok(Some(stands))
}

/// The depths and the list of dead letters say the same as the statuses.
async fn counts(queue: &Queue, found: &Found) -> Checked<()> {
    let count = |destination: &str, counts: fn(State) -> bool| {
        let stands = found.values().flatten().filter(|(of, stand)| of == destination && counts(stand.state));
        u64::try_from(stands.count()).unwrap()
    };
    for destination in DESTINATIONS {
        let depth = queue.depths().destinations.get(&name(destination)).cloned().unwrap_or_default();
        let pending = count(destination, |state| matches!(state, State::Queued | State::Retrying));
        let dead = count(destination, |state| matches!(state, State::Dead(_)));
        if (depth.pending, depth.dead.total()) != (pending, dead) {
            return differs(format!("{destination}: {depth:?}, and the statuses say {pending} pending, {dead} dead"));
        }
        let filter = DeadFilter { destination: Some(name(destination)), ..DeadFilter::default() };
        let listed = queue.dead_letters(filter, PageRequest { limit: 1000, after: None }).await;
        let listed = listed.or_else(|error| differs(error.to_string()))?.dead.len();
        if u64::try_from(listed).unwrap() != dead {
            return differs(format!("{destination}: {listed} dead letters are listed, and {dead} are counted"));
        }
    }
    Ok(())
}

/// Handed in again it is a duplicate, and its order leads to it.
async fn known_again(queue: &Queue, id: ConversionId, known: &Known, forgets: bool) -> Checked<()> {
    let order = queue.order("acme", &format!("order-{}", known.event_id)).await;
    let order = order.or_else(|error| differs(error.to_string()))?;
    if order.iter().map(|status| status.id).ne([id]) {
        return differs(format!("the order of {id} has {order:?}"));
    }
    let again = queue.accept(submission_of(&known.event_id, known.padding, &["a"])).await;
    match again {
        Ok(Accepted::Duplicate(first)) if first.id == id => Ok(()),
        Ok(Accepted::New(_)) if forgets => Ok(()),
        other => differs(format!("{id} handed in again is {other:?}")),
    }
}

/// What is due is handed out, each once, as it was handed in.
async fn handed_out(queue: &Queue, promises: &Promises, found: &Found) -> Checked<()> {
    for destination in DESTINATIONS {
        let due = |stands: &Vec<(String, Stand)>| stands.iter().any(|(of, stand)| of == destination && stand.due);
        let mut due: BTreeSet<ConversionId> =
            found.iter().filter(|(_, stands)| due(stands)).map(|(id, _)| *id).collect();
        let mut held = Vec::new();
        while !due.is_empty() {
            let to = name(destination);
            let Ok(delivery) = tokio::time::timeout(PATIENCE, queue.next(&to)).await else {
                return differs(format!("{destination} is not handed {due:?}"));
            };
            let id = delivery.meta().id;
            if !due.remove(&id) {
                return differs(format!("{destination} is handed {id}, which is not due"));
            }
            let known = &promises.conversions[&id];
            if delivery.lease.record.body != submission_of(&known.event_id, known.padding, &[]).body {
                return differs(format!("the body of {id} is another"));
            }
            held.push(delivery);
        }
    }
    Ok(())
}

/// Opened once more it says the same.
pub(super) async fn hold_again(queue: &Queue, promises: &Promises, found: &Found) -> Checked<()> {
    for (id, stands) in found {
        let known = &promises.conversions[id];
        let again = find(queue, *id, known, false).await?;
        if again.as_ref() != Some(stands) {
            return differs(format!("{id} was {stands:?}, and opened once more it is {again:?}"));
        }
    }
    Ok(())
}
