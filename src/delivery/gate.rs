//! Whether a destination may be sent to at all: one state machine of breaker, suspension and requested waits.
//!
//! - **Open** (breaker): [`FAILURES_MAX`] failures in a row. No attempt is spent until the pause is over; then one goes
//!   as a probe, and each failed probe doubles the pause up to [`PAUSE_MAX`].
//! - **Suspended**: the destination refused our credential. Its work stays queued, one probe goes each [`PROBE_EVERY`],
//!   and only a delivery that succeeds lifts it. Where a proxy before it refused, or the handshake, any answer of the
//!   destination does.
//! - **Held back**: the destination asked for a wait; nobody sends before it is over. The gate of a pool that takes another's
//!   place shares that wait with it.
//!
//! Time is passed in; the pool that owns the gate tells it of every attempt's end.

use std::time::Duration;

use tokio::time::Instant;

use super::wait::Wait;

/// Failures in a row that open the breaker: more than one restart of a platform's node costs, few enough to spare a
/// dead one.
pub(super) const FAILURES_MAX: u32 = 10;
/// First pause of an opened breaker.
pub(super) const PAUSE_FIRST: Duration = Duration::from_secs(2);
/// Longest pause: a platform that recovers is noticed within a minute.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often a suspended destination is tried.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(60);

/// The gate of one destination.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: State,
    wait: Wait,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Passing {
        failures: u32,
    },
    Barred {
        cause: Cause,
        pause: Duration,
        probe_at: Instant,
        probing: bool,
        failures: u32,
        /// It is not the platform that refused our credential, but a proxy before it, or the handshake.
        on_the_way: bool,
    },
}

impl Default for State {
    fn default() -> State {
        State::Passing { failures: 0 }
    }
}

/// Why nothing but probes goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Too many failures in a row.
    Open,
    /// The credential was refused.
    Suspended,
}

/// What is shown of a gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct GateView {
    /// Failures in a row; while it is open, those of its probes too.
    pub(super) failures: u32,
    /// Why nothing but probes goes out.
    pub(super) cause: Option<Cause>,
    /// A probe is under way.
    pub(super) probing: bool,
    /// When the next probe goes.
    pub(super) probe_at: Option<Instant>,
}

/// Leave to send one request; handed back through [`Gate::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// One of many.
    Ordinary,
    /// The one that tries a barred destination.
    Probe,
}

/// Whether a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Now.
    Go(Pass),
    /// Not before this time.
    NotBefore(Instant),
    /// Not before the probe under way has ended.
    Probing,
}

/// What the end of an attempt says about the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// It took the delivery.
    Well,
    /// It answered, and did not take this conversion: it is up, but says nothing about our credential.
    Answering,
    /// No answer, or one that speaks of its own trouble.
    Failing {
        /// It has too much to do (timeout, `429`, `503`).
        overloaded: bool,
    },
    /// It refused our credential.
    Refusing,
    /// A proxy on the way refused our credential, or the platform our certificate: no request of any operation gets there.
    Barring,
}

impl Gate {
    /// An open gate; what the platform asked for before holds.
    pub(super) fn new(wait: Wait) -> Gate {
        Gate { state: State::default(), wait }
    }

    /// Whether a request may go now. Changes nothing: [`Gate::begin`] does, once there is something to send.
    pub(super) fn admit(&self, now: Instant) -> Admission {
        let (pass, not_before) = match self.state {
            State::Passing { .. } => (Pass::Ordinary, self.wait.until()),
            State::Barred { probing: true, .. } => return Admission::Probing,
            State::Barred { probe_at, .. } => (Pass::Probe, self.wait.until().max(Some(probe_at))),
        };
        match not_before {
            Some(at) if at > now => Admission::NotBefore(at),
            Some(_) | None => Admission::Go(pass),
        }
    }

    /// A request goes out on this pass.
    pub(super) fn begin(&mut self, pass: Pass) {
        match (&mut self.state, pass) {
            (State::Barred { probing, .. }, Pass::Probe) => *probing = true,
            (State::Barred { .. } | State::Passing { .. }, Pass::Ordinary | Pass::Probe) => {}
        }
    }

    /// An attempt with a credential that single operations have of their own has ended: it says nothing of the one that the
    /// destination has refused, and a probe that it took is due again.
    pub(super) fn settle_beside(&mut self, pass: Pass, health: Health, now: Instant) {
        let health = if health == Health::Refusing { Health::Answering } else { health };
        match (&mut self.state, health) {
            (
                State::Barred { cause: Cause::Suspended, on_the_way: false, probing, probe_at, .. },
                Health::Well | Health::Answering,
            ) => {
                if pass == Pass::Probe && *probing {
                    (*probing, *probe_at) = (false, now);
                }
            }
            (State::Barred { .. } | State::Passing { .. }, _) => self.settle(pass, health, now),
        }
    }

    /// An attempt has ended. Attempts begun before the gate was barred count only when they succeed.
    pub(super) fn settle(&mut self, pass: Pass, health: Health, now: Instant) {
        self.state = match (self.state, health) {
            (_, Health::Well) => State::default(),
            (State::Passing { .. }, Health::Answering) => State::default(),
            (State::Passing { failures }, Health::Failing { .. }) => {
                let failures = failures.saturating_add(1);
                if failures < FAILURES_MAX {
                    State::Passing { failures }
                } else {
                    barred((Cause::Open, false), PAUSE_FIRST, failures, now)
                }
            }
            (State::Passing { .. } | State::Barred { cause: Cause::Open, .. }, Health::Refusing | Health::Barring) => {
                barred((Cause::Suspended, health == Health::Barring), PROBE_EVERY, 0, now)
            }
            (State::Barred { cause: Cause::Open, .. }, Health::Answering) => State::default(),
            // It got there, which is what was in doubt.
            (State::Barred { on_the_way: true, .. }, Health::Answering) if pass == Pass::Probe => State::default(),
            (State::Barred { cause: Cause::Open, probing: true, failures, .. }, Health::Failing { .. })
                if pass == Pass::Probe =>
            {
                after_probe(self.state, pass, failures.saturating_add(1), now)
            }
            // Past the proxy, and refused behind it.
            (State::Barred { cause: Cause::Suspended, pause, probing: true, failures, .. }, Health::Refusing)
                if pass == Pass::Probe =>
            {
                barred((Cause::Suspended, false), pause, failures, now)
            }
            (
                State::Barred { failures, .. },
                Health::Answering | Health::Failing { .. } | Health::Refusing | Health::Barring,
            ) => after_probe(self.state, pass, failures, now),
        };
    }

    /// The attempt on this pass ended without a word about the destination (it panicked): a probe may go again at its
    /// next turn.
    pub(super) fn abandon(&mut self, pass: Pass, now: Instant) {
        self.state = after_probe(self.state, pass, self.view().failures, now);
    }

    /// The destination asked us to wait.
    pub(super) fn hold(&mut self, until: Instant) {
        self.wait.ask(until);
    }

    /// A person wants to know now: the next probe is due, requested waits are forgotten.
    pub(super) fn probe_now(&mut self, now: Instant) {
        self.wait.forget();
        if let State::Barred { probe_at, .. } = &mut self.state {
            *probe_at = now;
        }
    }

    /// What is shown of it.
    pub(super) fn view(&self) -> GateView {
        match self.state {
            State::Passing { failures } => GateView { failures, cause: None, probing: false, probe_at: None },
            State::Barred { cause, probe_at, probing, failures, .. } => {
                GateView { failures, cause: Some(cause), probing, probe_at: (!probing).then_some(probe_at) }
            }
        }
    }

    /// Why nothing but probes goes out, if so.
    pub(super) fn barred(&self) -> Option<Cause> {
        match self.state {
            State::Passing { .. } => None,
            State::Barred { cause, .. } => Some(cause),
        }
    }
}

fn barred((cause, on_the_way): (Cause, bool), pause: Duration, failures: u32, now: Instant) -> State {
    State::Barred { cause, pause, probe_at: later(now, pause), probing: false, failures, on_the_way }
}

/// The state after an attempt that lifted nothing: a probe's end sets the time of the next one.
fn after_probe(state: State, pass: Pass, failures: u32, now: Instant) -> State {
    match (state, pass) {
        (State::Barred { cause, pause, probing: true, on_the_way, .. }, Pass::Probe) => {
            let pause = if cause == Cause::Open { pause.saturating_mul(2).min(PAUSE_MAX) } else { pause };
            barred((cause, on_the_way), pause, failures, now)
        }
        (State::Barred { .. } | State::Passing { .. }, Pass::Probe | Pass::Ordinary) => state,
    }
}

fn later(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause).unwrap_or(now)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAILING: Health = Health::Failing { overloaded: false };

    fn open(now: Instant) -> Gate {
        let mut gate = Gate::default();
        for _ in 0..FAILURES_MAX {
            assert_eq!(gate.admit(now), Admission::Go(Pass::Ordinary));
            gate.settle(Pass::Ordinary, FAILING, now);
        }
        assert_eq!(gate.barred(), Some(Cause::Open));
        gate
    }

    fn probe(gate: &mut Gate, health: Health, now: Instant) {
        assert_eq!(gate.admit(now), Admission::Go(Pass::Probe));
        gate.begin(Pass::Probe);
        assert_eq!(gate.admit(now), Admission::Probing, "one at a time");
        gate.settle(Pass::Probe, health, now);
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let now = Instant::now();
        for interruption in [Health::Well, Health::Answering] {
            let mut gate = Gate::default();
            for _ in 1..FAILURES_MAX {
                gate.settle(Pass::Ordinary, FAILING, now);
            }
            gate.settle(Pass::Ordinary, interruption, now);
            for _ in 1..FAILURES_MAX {
                gate.settle(Pass::Ordinary, FAILING, now);
            }
            assert_eq!(gate.barred(), None);
            gate.settle(Pass::Ordinary, FAILING, now);
            assert_eq!(gate.barred(), Some(Cause::Open));
        }
    }

    #[test]
    fn an_open_gate_lets_one_through_after_a_growing_pause() {
        let mut now = Instant::now();
        let mut gate = open(now);
        for seconds in [2, 4, 8, 16, 32, 60, 60] {
            let due = now + Duration::from_secs(seconds);
            assert_eq!(gate.admit(now), Admission::NotBefore(due));
            now = due;
            probe(&mut gate, FAILING, now);
        }
        now += PAUSE_MAX;
        probe(&mut gate, Health::Well, now);
        assert_eq!(gate.barred(), None);
        assert_eq!(gate.admit(now), Admission::Go(Pass::Ordinary));
    }

    #[test]
    fn an_open_gate_shows_the_failures_that_opened_it_and_those_of_its_probes() {
        let now = Instant::now();
        let mut gate = open(now);
        assert_eq!(gate.view().failures, FAILURES_MAX);
        gate.settle(Pass::Ordinary, FAILING, now);
        assert_eq!(gate.view().failures, FAILURES_MAX, "begun before");
        probe(&mut gate, FAILING, now + PAUSE_FIRST);
        assert_eq!(gate.view().failures, FAILURES_MAX + 1);
        gate.begin(Pass::Probe);
        gate.abandon(Pass::Probe, now + PAUSE_MAX);
        assert_eq!(gate.view().failures, FAILURES_MAX + 1, "nothing is known of that one");
        gate.settle(Pass::Ordinary, Health::Well, now);
        assert_eq!(gate.view(), GateView::default());
    }

    #[test]
    fn an_answer_of_any_kind_closes_an_open_gate() {
        let now = Instant::now();
        let mut gate = open(now);
        probe(&mut gate, Health::Answering, now + PAUSE_FIRST);
        assert_eq!(gate.barred(), None);
    }

    #[test]
    fn attempts_begun_before_the_gate_was_barred_do_not_lengthen_the_pause() {
        let now = Instant::now();
        let mut gate = open(now);
        for _ in 0..20 {
            gate.settle(Pass::Ordinary, FAILING, now);
        }
        assert_eq!(gate.admit(now), Admission::NotBefore(now + PAUSE_FIRST));
        gate.settle(Pass::Ordinary, Health::Well, now);
        assert_eq!(gate.barred(), None, "but their success is one");
    }

    #[test]
    fn a_refused_credential_suspends_until_a_success() {
        let mut now = Instant::now();
        let mut gate = Gate::default();
        gate.settle(Pass::Ordinary, Health::Refusing, now);
        gate.settle(Pass::Ordinary, Health::Refusing, now);
        for health in [Health::Refusing, FAILING, Health::Answering] {
            assert_eq!(gate.barred(), Some(Cause::Suspended));
            assert_eq!(gate.admit(now), Admission::NotBefore(now + PROBE_EVERY));
            now += PROBE_EVERY;
            probe(&mut gate, health, now);
        }
        now += PROBE_EVERY;
        probe(&mut gate, Health::Well, now);
        assert_eq!(gate.admit(now), Admission::Go(Pass::Ordinary));
    }

    #[test]
    fn an_open_gate_whose_probe_is_refused_is_suspended() {
        let now = Instant::now();
        let mut gate = open(now);
        probe(&mut gate, Health::Refusing, now + PAUSE_FIRST);
        assert_eq!(gate.barred(), Some(Cause::Suspended));
    }

    #[test]
    fn another_credential_neither_lifts_a_suspension_nor_takes_its_probe() {
        let mut now = Instant::now();
        let mut gate = Gate::default();
        gate.settle(Pass::Ordinary, Health::Refusing, now);
        gate.settle_beside(Pass::Ordinary, Health::Well, now);
        assert_eq!(gate.admit(now), Admission::NotBefore(now + PROBE_EVERY));
        now += PROBE_EVERY;
        for health in [Health::Well, Health::Answering, Health::Refusing] {
            assert_eq!(gate.admit(now), Admission::Go(Pass::Probe));
            gate.begin(Pass::Probe);
            gate.settle_beside(Pass::Ordinary, health, now);
            assert_eq!(gate.admit(now), Admission::Probing, "the probe is another attempt");
            gate.settle_beside(Pass::Probe, health, now);
            assert_eq!(gate.barred(), Some(Cause::Suspended));
        }
        gate.begin(Pass::Probe);
        gate.settle_beside(Pass::Probe, FAILING, now);
        assert_eq!(gate.admit(now), Admission::NotBefore(now + PROBE_EVERY));
        let mut gate = Gate::default();
        gate.settle_beside(Pass::Ordinary, Health::Refusing, now);
        assert_eq!(gate.barred(), None);
        gate.settle_beside(Pass::Ordinary, Health::Barring, now);
        assert_eq!(gate.barred(), Some(Cause::Suspended), "a proxy lets nothing pass");
    }

    #[test]
    fn what_gets_past_the_proxy_that_refused_lifts_the_suspension_whatever_its_credential() {
        let now = Instant::now();
        let barred = || {
            let mut gate = Gate::default();
            gate.settle(Pass::Ordinary, Health::Barring, now);
            assert_eq!(gate.barred(), Some(Cause::Suspended));
            gate
        };
        for health in [Health::Well, Health::Answering, Health::Refusing] {
            let mut gate = barred();
            gate.begin(Pass::Probe);
            gate.settle_beside(Pass::Probe, health, now);
            assert_eq!(gate.barred(), None, "{health:?}");
        }
        let mut gate = barred();
        probe(&mut gate, Health::Answering, now + PROBE_EVERY);
        assert_eq!(gate.barred(), None);
        let mut gate = barred();
        gate.settle(Pass::Ordinary, Health::Answering, now);
        gate.settle_beside(Pass::Ordinary, Health::Answering, now);
        assert_eq!(gate.barred(), Some(Cause::Suspended), "begun before");
        let mut gate = barred();
        probe(&mut gate, Health::Barring, now + PROBE_EVERY);
        gate.settle_beside(Pass::Ordinary, FAILING, now);
        assert_eq!(gate.barred(), Some(Cause::Suspended), "it got nowhere");
        // Behind the proxy the destination refuses: from then on only a success counts.
        let mut gate = barred();
        probe(&mut gate, Health::Refusing, now + PROBE_EVERY);
        gate.settle_beside(Pass::Ordinary, Health::Well, now);
        gate.settle(Pass::Ordinary, Health::Answering, now);
        assert_eq!(gate.barred(), Some(Cause::Suspended));
    }

    #[test]
    fn a_requested_wait_holds_back_everything_and_the_longest_counts() {
        let now = Instant::now();
        let long = now + Duration::from_secs(3600);
        let mut gate = open(now);
        gate.hold(long);
        gate.hold(now + Duration::from_secs(1));
        assert_eq!(gate.admit(now + PAUSE_MAX), Admission::NotBefore(long), "probes too");
        gate.settle(Pass::Ordinary, Health::Well, now);
        assert_eq!(gate.admit(now), Admission::NotBefore(long), "also after a success");
        assert_eq!(gate.admit(long), Admission::Go(Pass::Ordinary));
    }

    #[test]
    fn a_person_may_probe_at_once() {
        let now = Instant::now();
        let mut gate = open(now);
        gate.hold(now + Duration::from_secs(3600));
        gate.probe_now(now);
        assert_eq!(gate.admit(now), Admission::Go(Pass::Probe));
    }

    #[test]
    fn a_probe_that_panicked_does_not_block_the_next() {
        let now = Instant::now();
        let mut gate = open(now);
        gate.begin(Pass::Probe);
        gate.abandon(Pass::Probe, now);
        assert_eq!(gate.admit(now), Admission::NotBefore(now + PAUSE_FIRST * 2));
    }

    proptest! {
        /// Whatever happens, the gate opens again by itself within the longest pause: no sequence of ends bars it for
        /// good.
        #[test]
        fn never_bars_for_good(ends in proptest::collection::vec((0u8..5, 0u64..120), 0..200)) {
            let mut now = Instant::now();
            let mut gate = Gate::default();
            for (end, seconds) in ends {
                now += Duration::from_secs(seconds);
                let Admission::Go(pass) = gate.admit(now) else { continue };
                gate.begin(pass);
                match end {
                    0 => gate.settle(pass, Health::Well, now),
                    1 => gate.settle(pass, Health::Answering, now),
                    2 => gate.settle(pass, FAILING, now),
                    3 => gate.settle(pass, Health::Refusing, now),
                    _ => gate.abandon(pass, now),
                }
            }
            let settled = matches!(gate.admit(now + PAUSE_MAX.max(PROBE_EVERY)), Admission::Go(_));
            prop_assert!(settled);
        }
    }
}
