//! What is stuck and why, in words, worst first: the first thing that the status page says.
//!
//! Pure: how things are goes in, what a person should know and do comes out. A destination is named once, for the worst that
//! can be said of it, and beside that for its dead letters. Where nothing is wrong there is no concern.

use std::cmp::Reverse;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::reload::LastReload;
use crate::config::Config;
use crate::conversion::DestinationName;
use crate::delivery::{Activity, BreakerCause, PoolDetail};
use crate::ingress::Phase;
use crate::ingress::view::{Shown, instant};
use crate::queue::{DeadCounts, Depth, Depths, Disk};

/// The relay as a whole.
pub(super) struct Facts<'a> {
    pub(super) now_ms: u64,
    pub(super) phase: Phase,
    /// Why nothing is stored any more.
    pub(super) failed: Option<String>,
    pub(super) queue_bytes: u64,
    pub(super) queue_bytes_max: u64,
    pub(super) disk: Disk,
    /// The last reload, if it was refused.
    pub(super) refused: Option<&'a LastReload>,
}

/// One configured destination.
pub(super) struct Known<'a> {
    pub(super) detail: &'a PoolDetail,
    pub(super) depth: Depth,
    /// When the time of the oldest that is pending is over. In the past it would be none: what was replayed since is given up as
    /// long after its replay.
    pub(super) gives_up_ms: Option<u64>,
    give_up_after: Duration,
}

impl<'a> Known<'a> {
    /// All that are configured, in that order.
    pub(super) fn all(details: &'a [PoolDetail], depths: &Depths, config: &Config, now_ms: u64) -> Vec<Known<'a>> {
        details.iter().map(|detail| Known::of(detail, depths, config, now_ms)).collect()
    }

    /// One of them.
    pub(super) fn of(detail: &'a PoolDetail, depths: &Depths, config: &Config, now_ms: u64) -> Known<'a> {
        let name = &detail.state.destination;
        let depth = depths.destinations.get(name).cloned().unwrap_or_default();
        let configured = config.destinations.iter().find(|destination| destination.name == *name);
        let give_up_after = configured.map_or(Duration::MAX, |destination| destination.retry.give_up_after);
        Known::new(detail, depth, give_up_after, now_ms)
    }

    fn new(detail: &'a PoolDetail, depth: Depth, give_up_after: Duration, now_ms: u64) -> Known<'a> {
        let after_ms = u64::try_from(give_up_after.as_millis()).unwrap_or(u64::MAX);
        let gives_up_ms = depth.oldest_pending_ms.and_then(|oldest_ms| oldest_ms.checked_add(after_ms));
        let gives_up_ms = gives_up_ms.filter(|at_ms| *at_ms >= now_ms);
        Known { detail, depth, gives_up_ms, give_up_after }
    }

    /// Whether three quarters of the time until the oldest is given up are over.
    fn is_running_out(&self, now_ms: u64) -> bool {
        let left_ms = self.gives_up_ms.and_then(|at_ms| at_ms.checked_sub(now_ms));
        left_ms.is_some_and(|left_ms| Duration::from_millis(left_ms) < self.give_up_after.div_f32(4.0))
    }
}

/// Something that a person should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Concern {
    pub(super) level: Level,
    /// `None`: the relay itself.
    pub(super) destination: Option<String>,
    /// What is the matter: a predicate of the destination, or of the relay.
    pub(super) what: String,
    pub(super) since_ms: Option<u64>,
    pub(super) why: Option<String>,
    pub(super) waiting: u64,
    pub(super) oldest_ms: Option<u64>,
    /// When the time of the oldest is over; nothing where nobody knows whether that is what is held.
    pub(super) gives_up_ms: Option<u64>,
    /// Nothing is handed out, or given up for its time: what was attempted before is when it goes on after that.
    pub(super) is_held: bool,
    /// What to do about it.
    pub(super) advice: String,
}

/// How bad it is; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Nothing gets on before a person has acted.
    Stopped,
    /// It may get better by itself, or it may not.
    Warning,
    /// Somebody should decide something, at some time.
    Notice,
}

impl Level {
    const ALL: [Level; 3] = [Level::Stopped, Level::Warning, Level::Notice];

    const fn as_str(self) -> &'static str {
        match self {
            Level::Stopped => "stopped",
            Level::Warning => "warning",
            Level::Notice => "notice",
        }
    }
}

/// Everything that a person should know of, worst first, and of the same level where most waits.
pub(super) fn of(facts: &Facts<'_>, known: &[Known<'_>], unconfigured: &[(&DestinationName, &Depth)]) -> Vec<Concern> {
    let states = known.iter().filter_map(|known| of_state(known, facts.now_ms));
    let dead = known.iter().filter_map(of_dead_letters);
    let left = unconfigured.iter().map(|(name, depth)| of_unconfigured(name, depth));
    let mut all: Vec<Concern> = of_relay(facts).into_iter().chain(left).chain(states).chain(dead).collect();
    // Stable: the relay's own first, then as configured.
    all.sort_by_key(|concern| (concern.level, concern.destination.is_some(), Reverse(concern.waiting)));
    all
}

/// What can be said of one destination, in the words of the page, the worst first.
pub(super) fn of_destination(known: &Known<'_>, now_ms: u64) -> Vec<String> {
    let mut concerns: Vec<Concern> = of_state(known, now_ms).into_iter().chain(of_dead_letters(known)).collect();
    concerns.sort_by_key(|concern| concern.level);
    let words = concerns.into_iter().map(|Concern { what, why, .. }| match why {
        Some(why) => format!("{what}: {why}"),
        None => what,
    });
    words.collect()
}

fn of_relay(facts: &Facts<'_>) -> Vec<Concern> {
    let own = |level, what: &str, why: String, advice: &str| Concern {
        level,
        destination: None,
        what: what.to_owned(),
        since_ms: None,
        why: (!why.is_empty()).then_some(why),
        waiting: 0,
        oldest_ms: None,
        gives_up_ms: None,
        is_held: false,
        advice: advice.to_owned(),
    };
    let mut found = Vec::new();
    if let Some(why) = &facts.failed {
        found.push(own(Level::Stopped, "can store nothing any more, and ends", why.clone(), FAILED));
    } else if facts.phase == Phase::Draining {
        found.push(own(Level::Warning, "is draining and takes nothing new", String::new(), DRAINING));
    }
    let queue =
        format!("{} of {} (queue.max_pending_bytes) are used", mib(facts.queue_bytes), mib(facts.queue_bytes_max));
    match share(facts.queue_bytes, facts.queue_bytes_max) {
        100.. => found.push(own(Level::Stopped, "takes nothing more: its queue is full", queue, QUEUE_FULL)),
        80.. => found.push(own(Level::Warning, "has a queue that fills up", queue, QUEUE_FULL)),
        _ => {}
    }
    let Disk { free_bytes, free_bytes_min, is_full } = facts.disk;
    let disk = match free_bytes {
        Some(free) if is_full && free >= free_bytes_min => {
            format!("{} are said to be free, and a write was refused (a quota?)", mib(free))
        }
        Some(free) => format!("{} are free, {} must stay so (queue.min_free_bytes)", mib(free), mib(free_bytes_min)),
        None => "a write was refused".to_owned(),
    };
    if is_full {
        found.push(own(Level::Stopped, "takes nothing more: its disk is full", disk, DISK_FULL));
    } else if free_bytes.is_some_and(|free| free < free_bytes_min.saturating_mul(2)) {
        found.push(own(Level::Warning, "has a disk that fills up", disk, DISK_FULL));
    }
    if let Some(LastReload { at_ms, refusal: Some(report) }) = facts.refused {
        let first = report.lines().next().unwrap_or_default().to_owned();
        let refused = own(Level::Warning, "has refused a changed configuration", first, RELOAD_REFUSED);
        found.push(Concern { since_ms: Some(*at_ms), ..refused });
    }
    found
}

/// The worst that can be said of a destination's state.
fn of_state(known: &Known<'_>, now_ms: u64) -> Option<Concern> {
    let (state, breaker, depth) = (&known.detail.state, &known.detail.breaker, &known.depth);
    let is_running_out = known.is_running_out(now_ms);
    let worse = |level: Level| if is_running_out { Level::Stopped } else { level };
    let say = |level, what: &str, why: Option<&str>, advice: &str| Concern {
        level: worse(level),
        destination: Some(state.destination.as_str().to_owned()),
        what: what.to_owned(),
        since_ms: state.since_ms,
        why: why.map(str::to_owned),
        waiting: depth.pending,
        oldest_ms: depth.oldest_pending_ms,
        gives_up_ms: known.gives_up_ms,
        is_held: false,
        advice: advice.to_owned(),
    };
    let held = |concern| Concern { is_held: true, ..concern };
    let reason = state.reason.as_deref();
    match state.state {
        Activity::Paused => Some(held(say(Level::Notice, "is paused by a person", reason, PAUSED))),
        Activity::Suspended if breaker.cause == Some(BreakerCause::Credential) => {
            Some(held(say(Level::Stopped, "is suspended", reason, CREDENTIAL)))
        }
        Activity::Suspended => {
            let some = say(Level::Stopped, "is suspended for some operations", reason, CREDENTIAL);
            Some(Concern { gives_up_ms: None, ..some })
        }
        // For its dead letters, which are told beside.
        Activity::Stopped => None,
        Activity::Open => {
            let for_long = state.since_ms.is_some_and(|ms| now_ms.saturating_sub(ms) >= OPEN_FOR_LONG_MS);
            let level = if for_long { Level::Stopped } else { Level::Warning };
            Some(say(level, "does not answer as it should", reason, FAILING))
        }
        Activity::Active => {
            let held_ms = breaker.held_back_until_ms.unwrap_or(0).saturating_sub(now_ms);
            let age_ms = depth.oldest_pending_ms.map_or(0, |oldest_ms| now_ms.saturating_sub(oldest_ms));
            let late = (age_ms >= LATE_MS || is_running_out).then(|| {
                let late = match held_ms {
                    0 => say(Level::Warning, "is late", state.last_error.as_deref(), LATE),
                    _ => say(Level::Warning, "has asked us to wait", state.last_error.as_deref(), ASKED_TO_WAIT),
                };
                Concern { since_ms: None, ..late }
            });
            late.filter(|_| depth.pending > 0)
        }
    }
}

fn of_dead_letters(known: &Known<'_>) -> Option<Concern> {
    let (dead, state) = (known.depth.dead.total(), &known.detail.state);
    if let Some(why) = &known.depth.stopped {
        return Some(Concern {
            level: Level::Stopped,
            destination: Some(state.destination.as_str().to_owned()),
            what: "is stopped by its dead letters".to_owned(),
            // Nobody knows.
            since_ms: None,
            why: Some(why.clone()),
            waiting: known.depth.pending,
            oldest_ms: known.depth.oldest_pending_ms,
            gives_up_ms: known.gives_up_ms,
            is_held: true,
            advice: MANY_DEAD.to_owned(),
        });
    }
    if dead == 0 {
        return None;
    }
    let (noun, level) = (if dead == 1 { "dead letter" } else { "dead letters" }, Level::Notice);
    let what = format!("has {dead} {noun}");
    let destination = Some(state.destination.as_str().to_owned());
    let (why, advice) = (Some(by_kind(&known.depth.dead)), DEAD.to_owned());
    Some(Concern {
        level,
        destination,
        what,
        since_ms: None,
        why,
        waiting: 0,
        oldest_ms: None,
        gives_up_ms: None,
        is_held: false,
        advice,
    })
}

/// `rejected`, or `3 rejected, 1 expired`.
fn by_kind(dead: &DeadCounts) -> String {
    let some: Vec<_> = dead.by_kind().filter(|(_kind, count)| *count > 0).collect();
    if let [(only, _count)] = *some {
        return only.as_str().to_owned();
    }
    some.iter().map(|(kind, count)| format!("{count} {}", kind.as_str())).collect::<Vec<_>>().join(", ")
}

fn of_unconfigured(name: &DestinationName, depth: &Depth) -> Concern {
    let dead = match depth.dead.total() {
        0 => None,
        1 => Some("1 dead letter is kept".to_owned()),
        dead => Some(format!("{dead} dead letters are kept")),
    };
    Concern {
        level: if depth.pending > 0 { Level::Stopped } else { Level::Notice },
        destination: Some(name.as_str().to_owned()),
        what: GONE.to_owned(),
        since_ms: None,
        why: dead,
        waiting: depth.pending,
        oldest_ms: depth.oldest_pending_ms,
        gives_up_ms: None,
        is_held: true,
        advice: UNCONFIGURED.to_owned(),
    }
}

/// Something that a person should know of.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Concern")]
pub(super) struct ConcernView<'a> {
    /// `stopped`: nothing gets on before a person has acted; `warning`: it may get better by itself; `notice`: something is to
    /// be decided at some time.
    #[schemars(schema_with = "levels")]
    level: &'static str,
    /// Nothing: it is the relay itself.
    destination: Option<&'a str>,
    /// What is the matter, as in `is suspended`.
    what: &'a str,
    #[schemars(with = "Option<jiff::Timestamp>")]
    since: Option<Shown<jiff::Timestamp>>,
    why: Option<&'a str>,
    /// Deliveries.
    waiting: u64,
    /// When the oldest of them was received.
    #[schemars(with = "Option<jiff::Timestamp>")]
    oldest_pending_at: Option<Shown<jiff::Timestamp>>,
    /// When the time of the oldest of them is over (`retry.give_up_after`): it becomes a dead letter about then, or with its first
    /// attempt if that comes later.
    #[schemars(with = "Option<jiff::Timestamp>")]
    gives_up_at: Option<Shown<jiff::Timestamp>>,
    /// Nothing is given up for its time as things are; where it goes on only after `gives_up_at`, what was attempted before is.
    is_held: bool,
    /// What to do.
    advice: &'a str,
}

impl<'a> ConcernView<'a> {
    pub(super) fn new(concern: &'a Concern) -> ConcernView<'a> {
        ConcernView {
            level: concern.level.as_str(),
            destination: concern.destination.as_deref(),
            what: &concern.what,
            since: concern.since_ms.and_then(instant),
            why: concern.why.as_deref(),
            waiting: concern.waiting,
            oldest_pending_at: concern.oldest_ms.and_then(instant),
            gives_up_at: concern.gives_up_ms.and_then(instant),
            is_held: concern.is_held,
            advice: &concern.advice,
        }
    }
}

fn levels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": Level::ALL.map(Level::as_str) })
}

/// In per cent.
fn share(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(100)
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_euclid(1 << 20))
}

/// A first attempt and its first repetitions are over by then.
const LATE_MS: u64 = 5 * 60 * 1000;
/// A platform's restart is over by then.
const OPEN_FOR_LONG_MS: u64 = 10 * 60 * 1000;

const FAILED: &str = "Mend the disk of the data folder, or its rights, and start the relay again: nothing that was acknowledged is lost.";
const DRAINING: &str = "Nothing: it ends when the attempts in hand have ended, and what was accepted is on disk.";
const QUEUE_FULL: &str =
    "See which destination is stuck, below: its work fills the queue. Merchants are told to come again.";
const DISK_FULL: &str =
    "Make room on the disk of the data folder; accepting goes on by itself. Nothing that was accepted is lost.";
const RELOAD_REFUSED: &str = "The one before stays in force. Mend what the report names (below, under Relay): the file is read again when it changes.";
const PAUSED: &str = "Resume it when its reason is gone; until then its work waits on disk.";
const MANY_DEAD: &str = "See its dead letters, below. Mend the mapping or what they name, then replay or discard them: sending goes on by itself.";
const CREDENTIAL: &str = "Put the right credential where routes.toml takes it from: a changed file is read by itself, the environment at a restart. It is tried each minute; Probe tries at once.";
const FAILING: &str =
    "Ask the platform, or its status page. Its work waits on disk and is tried again by itself; Probe tries at once.";
const LATE: &str = "Its attempts fail, or its rate is too low for what comes in: see its last error, and its limits.";
const ASKED_TO_WAIT: &str = "Nothing, if the wait is short: it goes on by itself. Probe tries at once.";
const DEAD: &str = "See why, below, then replay or discard them. Nothing more is tried for them until then.";
pub(super) const GONE: &str = "is no longer configured";
const UNCONFIGURED: &str =
    "Configure it again, under the same name, and its work goes on; dead letters can be discarded.";

#[cfg(test)]
mod tests;
