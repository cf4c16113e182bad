use std::collections::BTreeMap;

use super::*;
use crate::admin::destinations::unconfigured;
use crate::delivery::{Breaker, BreakerState, PoolState, Rates};
use crate::queue::DeadKind;

const NOW_MS: u64 = 1_769_860_800_000;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

fn disk(free_bytes: Option<u64>) -> Disk {
    let free_bytes_min = 256 << 20;
    Disk { free_bytes, free_bytes_min, is_full: free_bytes.is_some_and(|free| free < free_bytes_min) }
}

fn facts() -> Facts<'static> {
    Facts {
        now_ms: NOW_MS,
        phase: Phase::Serving,
        failed: None,
        queue_bytes: 0,
        queue_bytes_max: 100 << 20,
        disk: disk(Some(10 << 30)),
        refused: None,
    }
}

fn detail(name: &str, state: Activity, reason: Option<&str>) -> PoolDetail {
    let cause = (state == Activity::Suspended).then_some(BreakerCause::Credential);
    PoolDetail {
        state: PoolState {
            destination: DestinationName::parse(name).unwrap(),
            state,
            since_ms: Some(NOW_MS - MINUTE_MS),
            reason: reason.map(str::to_owned),
            concurrency: 1,
            in_flight: 0,
            last_error: Some("status 503".to_owned()),
        },
        concurrency_max: 16,
        quota: None,
        breaker: Breaker {
            state: BreakerState::Closed,
            cause,
            failures: 0,
            next_probe_ms: None,
            held_back_until_ms: None,
        },
        refused: Vec::new(),
        rates: Rates::default(),
        latency: None,
        errors: Vec::new(),
    }
}

/// The oldest has waited for so long, and is given up after 72 hours.
fn known(detail: &PoolDetail, pending: u64, waited_ms: u64, dead: u64) -> Known<'_> {
    let oldest_pending_ms = (pending > 0).then(|| NOW_MS.saturating_sub(waited_ms));
    let dead = DeadCounts::from_iter([(DeadKind::Rejected, dead)]);
    let depth = Depth { pending, dead, oldest_pending_ms, stopped: None };
    Known::new(detail, depth, Duration::from_secs(72 * 3600), NOW_MS)
}

/// Level, of what, what.
fn said(facts: &Facts<'_>, known: &[Known<'_>]) -> Vec<String> {
    let word = |concern: &Concern| {
        let whose = concern.destination.as_deref().unwrap_or("the relay");
        format!("{} {whose} {}", concern.level.as_str(), concern.what)
    };
    of(facts, known, &[]).iter().map(word).collect()
}

#[test]
fn nothing_is_said_of_what_is_well() {
    let well = detail("a", Activity::Active, None);
    assert_eq!(said(&facts(), &[known(&well, 0, 0, 0), known(&well, 900, LATE_MS - 1, 0)]), [""; 0]);
}

#[test]
fn the_worst_comes_first_and_of_the_same_where_most_waits() {
    let details = [
        detail("late", Activity::Active, None),
        detail("few", Activity::Suspended, Some("status 401")),
        detail("open", Activity::Open, Some("status 503")),
        detail("paused", Activity::Paused, Some("by us")),
        detail("many", Activity::Suspended, Some("status 403")),
    ];
    let [late, few, open, paused, many] = &details;
    let known = [
        known(late, 7, LATE_MS, 1),
        known(few, 1, 0, 0),
        known(open, 9, 0, 0),
        known(paused, 3, 0, 0),
        known(many, 1_204, 0, 0),
    ];
    let full = Facts { queue_bytes: 80 << 20, ..facts() };
    assert_eq!(
        said(&full, &known),
        [
            "stopped many is suspended",
            "stopped few is suspended",
            "warning the relay has a queue that fills up",
            "warning open does not answer as it should",
            "warning late is late",
            "notice paused is paused by a person",
            "notice late has 1 dead letter",
        ]
    );
}

#[test]
fn a_concern_says_since_when_and_why_and_what_waits_and_until_when() {
    let impact = detail("impact", Activity::Suspended, Some("status 401"));
    let found = of(&facts(), &[known(&impact, 1_204, 48 * MINUTE_MS, 0)], &[]);
    let expected = Concern {
        level: Level::Stopped,
        destination: Some("impact".to_owned()),
        what: "is suspended".to_owned(),
        since_ms: Some(NOW_MS - MINUTE_MS),
        why: Some("status 401".to_owned()),
        waiting: 1_204,
        oldest_ms: Some(NOW_MS - 48 * MINUTE_MS),
        gives_up_ms: Some(NOW_MS - 48 * MINUTE_MS + 72 * HOUR_MS),
        is_held: true,
        advice: CREDENTIAL.to_owned(),
    };
    assert_eq!(found, [expected]);
}

#[test]
fn what_is_to_be_done_goes_by_why_it_is_stuck() {
    #[track_caller]
    fn check(known: &Known<'_>, expected: (Level, &str, &str)) {
        let found = of(&facts(), std::slice::from_ref(known), &[]);
        let first = found.first().map(|concern| (concern.level, concern.what.as_str(), concern.advice.as_str()));
        assert_eq!(first, Some(expected));
    }
    let mut some = detail("a", Activity::Suspended, Some("refund: status 401"));
    some.breaker.cause = None;
    check(&known(&some, 1, 0, 0), (Level::Stopped, "is suspended for some operations", CREDENTIAL));

    let full = Some("100 dead letters are kept");
    let stopped = detail("a", Activity::Stopped, full);
    let mut of_dead = known(&stopped, 5, 0, 100);
    of_dead.depth.stopped = full.map(str::to_owned);
    check(&of_dead, (Level::Stopped, "is stopped by its dead letters", MANY_DEAD));
    assert_eq!(said(&facts(), &[of_dead]).len(), 1, "the dead letters are not told a second time");
    // Both must be mended before anything is sent.
    for (state, first) in [
        (Activity::Suspended, "stopped a is suspended"),
        (Activity::Paused, "stopped a is stopped by its dead letters"),
    ] {
        let both = detail("a", state, Some("status 401"));
        let mut of_both = known(&both, 5, 0, 100);
        of_both.depth.stopped = full.map(str::to_owned);
        let found = said(&facts(), &[of_both]);
        assert_eq!((found.len(), found[0].as_str()), (2, first), "{found:?}");
    }

    let mut held = detail("a", Activity::Active, None);
    held.breaker.held_back_until_ms = Some(NOW_MS + MINUTE_MS);
    check(&known(&held, 1, LATE_MS, 0), (Level::Warning, "has asked us to wait", ASKED_TO_WAIT));
    held.breaker.held_back_until_ms = Some(NOW_MS);
    check(&known(&held, 1, LATE_MS, 0), (Level::Warning, "is late", LATE));

    let mut open = detail("a", Activity::Open, Some("status 503"));
    open.state.since_ms = Some(NOW_MS - OPEN_FOR_LONG_MS);
    check(&known(&open, 1, 0, 0), (Level::Stopped, "does not answer as it should", FAILING));
}

#[test]
fn what_is_given_up_soon_is_as_bad_as_what_is_stopped() {
    for (state, hours, expected) in [
        (Activity::Paused, 53, Level::Notice),
        (Activity::Paused, 55, Level::Stopped),
        (Activity::Open, 55, Level::Stopped),
        (Activity::Active, 55, Level::Stopped),
        // Replayed since: until when it is tried is not known.
        (Activity::Active, 73, Level::Warning),
        (Activity::Stopped, 55, Level::Stopped),
        (Activity::Stopped, 73, Level::Stopped),
    ] {
        let detail = detail("a", state, None);
        let mut known = known(&detail, 1, hours * HOUR_MS, 0);
        known.depth.stopped = (state == Activity::Stopped).then(|| "100 dead letters are kept".to_owned());
        let found = of(&facts(), &[known], &[]);
        assert_eq!(found[0].level, expected, "{state:?} after {hours} h");
        assert_eq!(found[0].gives_up_ms.is_some(), hours < 72, "{state:?} after {hours} h");
    }
}

#[test]
fn what_is_held_is_not_said_to_be_given_up_while_nothing_changes() {
    #[track_caller]
    fn check(detail: &PoolDetail, stopped: Option<&str>, expected: (bool, bool)) {
        let mut known = known(detail, 1, HOUR_MS, 0);
        known.depth.stopped = stopped.map(str::to_owned);
        let [concern] = of(&facts(), &[known], &[]).try_into().unwrap();
        assert_eq!((concern.gives_up_ms.is_some(), concern.is_held), expected, "{}", concern.what);
    }
    check(&detail("a", Activity::Open, None), None, (true, false));
    check(&detail("a", Activity::Active, None), None, (true, false));
    check(&detail("a", Activity::Paused, None), None, (true, true));
    check(&detail("a", Activity::Suspended, None), None, (true, true));
    check(&detail("a", Activity::Stopped, None), Some("100 dead letters are kept"), (true, true));
    // The oldest may be of these operations, or of the others.
    let mut some = detail("a", Activity::Suspended, None);
    some.breaker.cause = None;
    check(&some, None, (false, false));
}

#[test]
fn the_relay_speaks_of_its_own_queue_disk_and_configuration() {
    #[track_caller]
    fn check(facts: &Facts<'_>, expected: &[&str]) {
        assert_eq!(said(facts, &[]), expected);
    }
    check(&Facts { queue_bytes: 79 << 20, ..facts() }, &[]);
    check(&Facts { queue_bytes: 100 << 20, ..facts() }, &["stopped the relay takes nothing more: its queue is full"]);
    check(&Facts { disk: disk(None), ..facts() }, &[]);
    check(&Facts { disk: disk(Some(400 << 20)), ..facts() }, &["warning the relay has a disk that fills up"]);
    let full = "stopped the relay takes nothing more: its disk is full";
    check(&Facts { disk: disk(Some((256 << 20) - 1)), ..facts() }, &[full]);
    let refused = Facts { disk: Disk { is_full: true, ..disk(Some(10 << 30)) }, ..facts() };
    check(&refused, &[full]);
    assert_eq!(
        of(&refused, &[], &[])[0].why.as_deref(),
        Some("10240 MiB are said to be free, and a write was refused (a quota?)")
    );
    check(&Facts { phase: Phase::Draining, ..facts() }, &["warning the relay is draining and takes nothing new"]);
    let failed = Facts { phase: Phase::Draining, failed: Some("fdatasync: EIO".to_owned()), ..facts() };
    check(&failed, &["stopped the relay can store nothing any more, and ends"]);
    let refused = LastReload { at_ms: NOW_MS, refusal: Some("routes.toml: no\nsecond line".to_owned()) };
    let after = Facts { refused: Some(&refused), ..facts() };
    check(&after, &["warning the relay has refused a changed configuration"]);
    assert_eq!(of(&after, &[], &[])[0].why.as_deref(), Some("routes.toml: no"), "the whole of it stands below");
}

#[test]
fn dead_letters_are_told_by_their_kinds() {
    let well = detail("a", Activity::Active, None);
    let why = |dead: &[(DeadKind, u64)]| {
        let depth = Depth { dead: dead.iter().copied().collect(), ..Depth::default() };
        of_destination(&Known::new(&well, depth, Duration::ZERO, NOW_MS), NOW_MS)
    };
    assert_eq!(why(&[]), [""; 0]);
    assert_eq!(why(&[(DeadKind::Unmappable, 1)]), ["has 1 dead letter: unmappable"]);
    assert_eq!(
        why(&[(DeadKind::Expired, 2), (DeadKind::Rejected, 40)]),
        ["has 42 dead letters: 40 rejected, 2 expired"]
    );
}

#[test]
fn work_of_a_destination_that_is_gone_is_told() {
    let name = |name: &str| DestinationName::parse(name).unwrap();
    let depth = |pending, dead| Depth {
        pending,
        dead: DeadCounts::from_iter([(DeadKind::Exhausted, dead)]),
        ..Depth::default()
    };
    let destinations =
        BTreeMap::from([(name("gone"), depth(3, 0)), (name("here"), depth(3, 0)), (name("settled"), depth(0, 9))]);
    let depths = Depths { destinations, pending_bytes: 0 };
    let here = detail("here", Activity::Active, None);
    let known = [known(&here, 3, 0, 0)];
    let left = unconfigured(&depths, std::slice::from_ref(&here));
    let found = of(&facts(), &known, &left);
    assert_eq!(found.len(), 2);
    let settled = (found[1].level, found[1].destination.as_deref(), found[1].why.as_deref());
    assert_eq!(settled, (Level::Notice, Some("settled"), Some("9 dead letters are kept")));
    assert_eq!((found[0].destination.as_deref(), found[0].waiting), (Some("gone"), 3));
    assert_eq!((found[0].what.as_str(), found[0].level), ("is no longer configured", Level::Stopped));
}
