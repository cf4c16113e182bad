//! `test`: proves the goldens, writes their request files on demand, and is the gate that every configuration passes before
//! it serves.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::progress::{Counted, Progress};
use super::{ConfigurationArgs, DONE, NO, ReadingArgs, output, settings};
use crate::config::{Config, Destination, Expected, Failure, Golden, Proof};

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// One destination; may be repeated [default: all]
    #[arg(short, long = "destination", value_name = "NAME")]
    destinations: Vec<String>,
    /// Writes the request files that are missing or do not agree
    #[arg(long)]
    update: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: ReadingArgs,
}

/// One golden and what came of it.
struct Case<'c> {
    destination: &'c Destination,
    golden: &'c Golden,
    proof: Proof,
    done: Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Passed,
    Failed,
    Updated,
    Created,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &TestArgs) -> u8 {
    match test(configuration, args) {
        Ok(true) => DONE,
        Ok(false) => NO,
        Err(error) => {
            output::error(&error);
            NO
        }
    }
}

/// Whether every golden holds, now.
fn test(configuration: &ConfigurationArgs, args: &TestArgs) -> Result<bool, String> {
    let config = settings::load_to_read(configuration, &args.reading)?;
    let chosen = settings::chosen(&config, &args.destinations)?;
    settings::unserved(&config, chosen.iter().copied());
    let goldens = chosen.iter().map(|destination| destination.goldens.len()).sum::<usize>();
    let progress = Progress::start("proving", Counted::Things("goldens", u64::try_from(goldens).unwrap_or(u64::MAX)));
    let mut cases = prove_all(&config, chosen, || progress.add(1));
    drop(progress);
    if args.update {
        update(&config, &mut cases);
    }
    if args.json {
        output::line(&format!("{:#}", as_json(&cases)));
    } else if cases.is_empty() {
        output::error("there are no goldens here: `[[destination.NAME.golden]]` in the routes file adds one");
    } else {
        output::line(&page(&cases));
    }
    Ok(!cases.iter().any(|case| case.done == Done::Failed))
}

/// Goldens that fail. `Display` is the whole of it.
pub(super) struct Failed {
    goldens: Vec<FailedGolden>,
    proven: usize,
}

/// A golden that fails.
struct FailedGolden {
    destination: String,
    conversion: String,
    /// As `test` prints it.
    printed: String,
    /// Why, a place each.
    places: Vec<String>,
}

/// The gate: how many goldens the configuration has, or why it must not serve.
pub(super) fn gate(config: &Config) -> Result<usize, Failed> {
    let cases = prove_all(config, &config.destinations, || ());
    let proven = cases.len();
    let goldens: Vec<FailedGolden> = cases.iter().filter_map(FailedGolden::of).collect();
    if goldens.is_empty() { Ok(proven) } else { Err(Failed { goldens, proven }) }
}

impl Failed {
    /// Destination, conversion, and what is wrong: every place of every golden.
    pub(super) fn places(&self) -> Vec<(&str, &str, &str)> {
        let places = self.goldens.iter().flat_map(|golden| golden.places.iter().map(move |place| (golden, place)));
        places
            .map(|(golden, place)| (golden.destination.as_str(), golden.conversion.as_str(), place.as_str()))
            .collect()
    }

    /// How many of how many.
    pub(super) fn count(&self) -> String {
        format!("{} of {} goldens failed", self.goldens.len(), self.proven)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.goldens.iter().try_for_each(|golden| writeln!(f, "{}", golden.printed))?;
        f.write_str(&self.count())
    }
}

impl FailedGolden {
    fn of(case: &Case<'_>) -> Option<FailedGolden> {
        let failure = case.proof.failure.as_ref()?;
        Some(FailedGolden {
            destination: case.destination.name.to_string(),
            conversion: case.golden.conversion.display().to_string(),
            printed: line(case),
            places: failure.to_string().lines().map(str::to_owned).collect(),
        })
    }
}

/// Every file that a golden is made of.
pub(super) fn files(config: &Config) -> impl Iterator<Item = &Path> {
    let goldens = config.destinations.iter().flat_map(|destination| &destination.goldens);
    goldens.flat_map(|golden| [Some(golden.conversion.as_path()), request(golden)]).flatten()
}

/// Every golden of these destinations; `proven` is told of each.
fn prove_all<'c>(
    config: &'c Config,
    destinations: impl IntoIterator<Item = &'c Arc<Destination>>,
    proven: impl Fn(),
) -> Vec<Case<'c>> {
    let cases = destinations.into_iter().flat_map(|one| one.goldens.iter().map(|golden| (&**one, golden)));
    cases.map(|(destination, golden)| prove(config, destination, golden)).inspect(|_| proven()).collect()
}

fn prove<'c>(config: &Config, destination: &'c Destination, golden: &'c Golden) -> Case<'c> {
    let proof = golden.prove(destination, config.merchant_of(destination));
    let done = if proof.failure.is_none() { Done::Passed } else { Done::Failed };
    Case { destination, golden, proof, done }
}

/// Writes the files of those that fail, where a request is expected and there is one; never a file that another golden
/// agrees with, so of two that contradict each other one fails.
fn update(config: &Config, cases: &mut [Case<'_>]) {
    let held: BTreeSet<&Path> = cases.iter().filter(|case| case.done == Done::Passed).filter_map(file_of).collect();
    let mut written: BTreeSet<&Path> = BTreeSet::new();
    for case in cases.iter_mut().filter(|case| case.done == Done::Failed) {
        let (Some(path), Some(text)) = (file_of(case), &case.proof.file) else { continue };
        if written.contains(path) {
            *case = prove(config, case.destination, case.golden);
            continue;
        }
        if held.contains(path) {
            continue;
        }
        let is_new = matches!(case.proof.failure, Some(Failure::Missing(_)));
        match write(path, text) {
            Ok(()) => {
                case.done = if is_new { Done::Created } else { Done::Updated };
                written.insert(path);
            }
            Err(error) => case.proof.failure = Some(Failure::Unwritable(path.to_owned(), error.kind().to_string())),
        }
    }
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)
}

fn file_of<'c>(case: &Case<'c>) -> Option<&'c Path> {
    request(case.golden)
}

fn request(golden: &Golden) -> Option<&Path> {
    match &golden.expected {
        Expected::Request(path) => Some(path),
        Expected::Nothing { .. } => None,
    }
}

fn page(cases: &[Case<'_>]) -> String {
    let count = |done: Done| cases.iter().filter(|case| case.done == done).count();
    let mut text: String = cases.iter().map(|case| line(case) + "\n").collect();
    text.push_str(&format!("{} passed", count(Done::Passed)));
    for done in [Done::Failed, Done::Updated, Done::Created] {
        if count(done) > 0 {
            text.push_str(&format!(", {} {}", count(done), done.as_str()));
        }
    }
    text
}

/// One line; below it what failed, a place a line.
fn line(case: &Case<'_>) -> String {
    let mark = if case.done == Done::Failed { "FAILED" } else { case.done.as_str() };
    let mut text = format!("{mark:<8} {}: {}", case.destination.name, case.golden.conversion.display());
    match &case.golden.expected {
        Expected::Request(path) => text.push_str(&format!(" → {}", path.display())),
        Expected::Nothing { outcome, reason: None } => text.push_str(&format!(" → {outcome}")),
        Expected::Nothing { outcome, reason: Some(reason) } => text.push_str(&format!(" → {outcome}: {reason}")),
    }
    let failure = case.proof.failure.as_ref().filter(|_| case.done != Done::Created).map(Failure::to_string);
    for line in failure.iter().flat_map(|failure| failure.lines()) {
        text.push_str(&format!("\n         {line}"));
    }
    text
}

impl Done {
    const fn as_str(self) -> &'static str {
        match self {
            Done::Passed => "passed",
            Done::Failed => "failed",
            Done::Updated => "updated",
            Done::Created => "created",
        }
    }
}

fn as_json(cases: &[Case<'_>]) -> Value {
    let failed = cases.iter().filter(|case| case.done == Done::Failed).count();
    json!({ "failed": failed, "goldens": cases.iter().map(one_as_json).collect::<Vec<Value>>() })
}

fn one_as_json(case: &Case<'_>) -> Value {
    let outcome = match &case.golden.expected {
        Expected::Request(_) => None,
        Expected::Nothing { outcome, reason: _ } => Some(outcome.as_str()),
    };
    let (reason, differences) = match &case.proof.failure {
        None => (None, Vec::new()),
        Some(Failure::Differs(differences)) => (None, differences.iter().map(output::difference).collect()),
        Some(failure) => (Some(failure.to_string()), Vec::new()),
    };
    json!({
        "destination": case.destination.name.as_str(),
        "conversion": case.golden.conversion.display().to_string(),
        "request": file_of(case).map(|path| path.display().to_string()),
        "outcome": outcome,
        "result": case.done.as_str(),
        "reason": reason,
        "differences": differences,
    })
}
