//! Power cuts: what was acknowledged is there after any of them.
//!
//! A process that is killed leaves its writes in the system's cache; a machine that loses power does not. So a run of the
//! queue is recorded call by call (`trace`), cut at its syncs and between them, and for each cut the disk is made up as it
//! may then be (`disk`): what was synced, and of what was not, any part. Each of these folders is opened and held to what
//! the run had been promised before the cut (`promises`). What runs is in `scenarios`.

mod disk;
mod promises;
mod scenarios;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::disk::{Act, Disk, Image, Inode, Kept, Names, Step};
use self::promises::{Checked, Fault, Promises, hold, hold_again};
use self::scenarios::{DATA, SCENARIO, Scenario, VOICE, WORKPLACE, WORLD};
use self::trace::Trace;
use super::*;

/// How many crash states are looked at in all; without it [`STATES`].
const STATES_WANTED: &str = "CAPI_RELAY_TEST_POWER_STATES";

#[test]
fn a_first_start_cut_short_loses_nothing_and_opens() {
    check(Scenario::FirstStart);
}

#[test]
fn steady_work_cut_short_loses_nothing() {
    check(Scenario::Steady);
}

#[test]
fn retries_and_what_overflows_are_there_after_a_power_cut() {
    check(Scenario::RetriesAndOverflow);
}

#[test]
fn dead_letters_and_what_was_done_with_them_are_there_after_a_power_cut() {
    check(Scenario::DeadLetters);
}

#[test]
fn forgetting_history_cut_short_loses_nothing_else() {
    check(Scenario::History);
}

#[test]
fn giving_the_stores_file_back_cut_short_loses_nothing() {
    check(Scenario::Generations);
}

#[test]
fn data_keys_made_and_removed_cut_short_lose_nothing() {
    check(Scenario::Sealed);
}

#[test]
fn forgetting_on_request_cut_short_loses_nothing_else_and_brings_nothing_back() {
    check(Scenario::Forgetting);
}

#[test]
fn a_backlog_whose_segments_are_made_written_anew_and_removed_cut_short_loses_nothing() {
    check(Scenario::Backlog);
}

/// What is recovered from here was left by a power cut, or by a kill that left in the cache what was not synced; and so
/// was what the one before it had recovered from.
#[test]
fn a_recovery_cut_short_is_recovered_from_again_and_again() {
    let mut report = Report::of(Scenario::Recovery);
    while report.wants_more() {
        let mut before = recorded(Scenario::RetriesAndOverflow);
        for _ in 0..RECOVERIES {
            let (disk, promises) = before.left_by_an_end();
            before = Recording::of(Scenario::Recovery, disk, promises);
            before.examine(&mut report);
        }
    }
    report.end();
}

/// Records and examines until enough was looked at; no two recordings are the same.
fn check(scenario: Scenario) {
    let mut report = Report::of(scenario);
    while report.wants_more() {
        recorded(scenario).examine(&mut report);
    }
    report.end();
}

fn recorded(scenario: Scenario) -> Recording {
    let mut promises = Promises::default();
    promises.forgets = scenario.forgets();
    Recording::of(scenario, Disk::holding(&Image::default()), promises)
}

/// A run, and what it began with.
struct Recording {
    scenario: Scenario,
    before: Disk,
    promised_before: Promises,
    trace: Trace,
    rng: StdRng,
}

impl Recording {
    fn of(scenario: Scenario, before: Disk, promised_before: Promises) -> Recording {
        let workplace = workplace();
        let (world, voice) = (workplace.path().join(WORLD), workplace.path().join(VOICE));
        std::fs::create_dir(&world).unwrap();
        before.as_seen().write_to(&world);
        let record = workplace.path().join("record");
        let part = "queue::tests::power::scenarios::the_child_that_is_recorded";
        trace::record(part, &[(WORKPLACE, workplace.path()), (SCENARIO, Path::new(scenario.name()))], &record);
        let record = std::fs::read_to_string(record).unwrap();
        let trace = trace::read(&record, &world, &voice, &before);
        let said = std::fs::read_to_string(voice).unwrap();
        let heard: BTreeSet<&str> = trace.said.iter().map(|(_, line)| line.as_str()).collect();
        assert!(!said.is_empty() && said.lines().all(|line| heard.contains(line)), "the record lacks what was said");
        let seed = rand::random();
        println!("{}: {} calls, seed {seed}", scenario.name(), trace.steps.len());
        Recording { scenario, before, promised_before, trace, rng: StdRng::seed_from_u64(seed) }
    }

    /// Lines at which to cut: where a sync begins and where it has returned, where something was said, and in between.
    fn cuts(&mut self, count: usize) -> BTreeSet<usize> {
        let syncs = self.trace.steps.iter().filter(|step| matches!(step.act, Act::Sync(_)));
        let syncs: Vec<usize> = syncs.flat_map(|step| [step.entered.saturating_sub(1), step.left]).collect();
        let said = &self.trace.said;
        let last = self.trace.steps.last().map_or(0, |step| step.left);
        let mut cuts = BTreeSet::new();
        for turn in 0..count {
            cuts.insert(match turn % 4 {
                0 | 1 => syncs[self.rng.random_range(0..syncs.len())],
                2 => said[self.rng.random_range(0..said.len())].0,
                _ => self.rng.random_range(0..=last),
            });
        }
        cuts
    }

    /// Cuts, opens, and reports what was found.
    fn examine(&mut self, report: &mut Report) {
        let cuts = self.cuts(report.wanted_of_a_recording().div_ceil(STATES_OF_A_CUT));
        let mut at = At::the_start_of(self);
        let mut seen = BTreeSet::new();
        for cut in cuts {
            at.go_to(cut, &self.trace);
            let mut ways = ALWAYS.to_vec();
            ways.extend([Kept::Some(self.rng.random_range(1..5)), Kept::Some(self.rng.random_range(5..10))]);
            ways.extend(std::iter::repeat_n(Kept::AllButOneBlock, (at.disk.blocks() / 4).min(ONE_LACKING_MAX)));
            for kept in ways {
                let names = if self.rng.random() { Names::InOrder } else { Names::EachForItself };
                let image = at.disk.cut(&at.under_way(&self.trace), kept, names, &mut self.rng);
                if seen.insert((image.digest(), at.heard)) {
                    let held = held(self.scenario, &image, &at.promises, &mut self.rng);
                    report.add(held, &image, (cut, kept, names));
                }
            }
        }
        at.go_to(usize::MAX, &self.trace);
        report.recorded(self, &at.promises);
    }

    /// The disk as it is when the power is cut or the process is killed, where a file is about to be synced, in the second half.
    fn left_by_an_end(&mut self) -> (Disk, Promises) {
        let steps = &self.trace.steps;
        let written: BTreeSet<Inode> = steps.iter().filter_map(|step| step.act.writes_to()).collect();
        let syncs = steps.iter().filter(|step| matches!(step.act, Act::Sync(inode) if written.contains(&inode)));
        let begun: Vec<usize> = syncs.map(|step| step.entered.saturating_sub(1)).collect();
        let mut at = At::the_start_of(self);
        at.go_to(begun[self.rng.random_range(begun.len() / 2..begun.len())], &self.trace);
        let under_way = at.under_way(&self.trace);
        if self.rng.random_range(0..3) > 0 {
            at.disk.kill(&under_way);
            return (at.disk, at.promises);
        }
        let image = at.disk.cut(&under_way, Kept::Some(5), Names::EachForItself, &mut self.rng);
        (Disk::holding(&image), at.promises)
    }
}

/// A moment of a run.
struct At {
    line: usize,
    done: usize,
    heard: usize,
    disk: Disk,
    promises: Promises,
}

impl At {
    fn the_start_of(recording: &Recording) -> At {
        let (disk, promises) = (recording.before.clone(), recording.promised_before.clone());
        At { line: 0, done: 0, heard: 0, disk, promises }
    }

    /// Goes on until that line of the record, and what it tells of has been done.
    fn go_to(&mut self, line: usize, trace: &Trace) {
        for step in trace.steps[self.done..].iter().take_while(|step| step.left <= line) {
            self.disk.apply(step);
            self.done += 1;
        }
        for (_, said) in trace.said[self.heard..].iter().take_while(|(at, _)| *at <= line) {
            self.promises.hear(said);
            self.heard += 1;
        }
        self.line = line;
    }

    /// Calls that have begun and not returned.
    fn under_way<'t>(&self, trace: &'t Trace) -> Vec<&'t Step> {
        trace.steps[self.done..].iter().filter(|step| step.entered <= self.line).collect()
    }
}

/// Opens the folder and holds it to the promises; now and then twice, for opening changes it.
fn held(scenario: Scenario, image: &Image, promises: &Promises, rng: &mut StdRng) -> Checked<()> {
    let world = workplace();
    image.write_to(world.path());
    let path = world.path().join(DATA);
    // What is forgotten is forgotten by the run, not here.
    let settings = Settings { history_keep: Duration::from_secs(7200), ..scenario.settings(&path) };
    let opened = || -> Checked<Queue> {
        let open = || Queue::open_with(&settings, Clock::system(), small());
        let opened = std::panic::catch_unwind(open).map_err(|_panic| (Fault::DoesNotOpen, "it panics".to_owned()))?;
        opened.map_err(|error| (Fault::DoesNotOpen, error.to_string()))
    };
    // A runtime for each: dropped, it has waited for what still reads the folder.
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime().block_on(async { hold(&opened()?, promises, rng).await })?;
    if rng.random_range(0..8) == 0 {
        runtime().block_on(async { hold_again(&opened()?, promises, &found).await })?;
    }
    Ok(())
}

/// What was found.
struct Report {
    scenario: Scenario,
    wanted: usize,
    recordings: usize,
    calls: usize,
    acknowledged: usize,
    states: usize,
    faults: BTreeMap<Fault, usize>,
    examples: String,
}

impl Report {
    fn of(scenario: Scenario) -> Report {
        let wanted = std::env::var_os(STATES_WANTED).map_or(STATES, |text| text.to_str().unwrap().parse().unwrap());
        Report {
            scenario,
            wanted: wanted.div_ceil(SCENARIOS),
            recordings: 0,
            calls: 0,
            acknowledged: 0,
            states: 0,
            faults: BTreeMap::new(),
            examples: String::new(),
        }
    }

    /// One that has failed needs no more.
    fn wants_more(&self) -> bool {
        self.states < self.wanted && self.faults.is_empty() && self.recordings < RECORDINGS_MAX
    }

    fn wanted_of_a_recording(&self) -> usize {
        let most = if self.scenario == Scenario::Recovery { STATES_OF_A_RECOVERY } else { STATES_OF_A_RECORDING };
        self.wanted.saturating_sub(self.states).clamp(1, most)
    }

    fn recorded(&mut self, recording: &Recording, promises: &Promises) {
        self.recordings += 1;
        self.calls += recording.trace.steps.len();
        self.acknowledged += promises.accepted();
    }

    fn add(&mut self, held: Checked<()>, image: &Image, (cut, kept, names): (usize, Kept, Names)) {
        self.states += 1;
        let Err((fault, why)) = held else { return };
        let count = self.faults.entry(fault).or_default();
        *count += 1;
        if *count <= EXAMPLES {
            let left = tempfile::Builder::new().prefix("power-cut-").disable_cleanup(true).tempdir().unwrap();
            image.write_to(left.path());
            let left = left.path().display();
            let example =
                format!("cut at line {cut}, {kept:?} of what was not synced, names {names:?}: it {fault}: {why}");
            writeln!(self.examples, "{example}\n  (left in {left})").unwrap();
        }
    }

    /// Fails with all that was found.
    fn end(self) {
        let of = |fault| self.faults.get(&fault).copied().unwrap_or_default();
        let (closed, lost, differ) = (of(Fault::DoesNotOpen), of(Fault::Lost), of(Fault::Differs));
        let figures = format!(
            "{}: {} states of {} recordings ({} calls, {} acknowledged): {closed} do not open, {lost} have lost what was \
             acknowledged, {differ} differ otherwise",
            self.scenario.name(),
            self.states,
            self.recordings,
            self.calls,
            self.acknowledged,
        );
        println!("{figures}");
        assert!(self.faults.is_empty(), "{figures}\n{}", self.examples);
        assert!(self.states >= self.wanted / 2, "{figures}: too few were found");
    }
}

/// In memory if there is room: what a disk may hold is made up here, so no disk is needed.
fn workplace() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let has_room = crate::queue::folder::free_bytes(memory).is_ok_and(|free| free > MEMORY_BYTES_MIN);
    let made = if has_room { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.unwrap()
}

/// For every cut; two random ones are added.
const ALWAYS: [Kept; 4] = [Kept::Nothing, Kept::Everything, Kept::TheLastBlock, Kept::AllButOneBlock];
/// For one block in four another try without one of them, but never more of these: a large write is not whole without any.
const ONE_LACKING_MAX: usize = 6;
/// On average so many of these six are states that were not seen before.
const STATES_OF_A_CUT: usize = 2;
/// In an ordinary run; a thorough one has 5,000 and more.
const STATES: usize = 420;
const SCENARIOS: usize = 7;
/// Then it is recorded anew.
const STATES_OF_A_RECORDING: usize = 300;
/// There are many ways to end before it.
const STATES_OF_A_RECOVERY: usize = 40;
const RECORDINGS_MAX: usize = 100;
/// One behind the other.
const RECOVERIES: usize = 3;
/// Told of each kind of fault, and left for a look.
const EXAMPLES: usize = 3;
/// Several workplaces of a few megabytes, and what the queue wants to have free.
const MEMORY_BYTES_MIN: u64 = 256 * 1024 * 1024;
