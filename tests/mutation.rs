//! Every single-token mutation of the presets of the five platforms is refused when it is loaded, or changes a golden: what
//! a preset says is held, word by word, by its check or by what becomes of a conversion, of an answer, of an override.

mod allowed;
mod corpus;
mod lex;
mod mutants;
mod probes;
mod scan;
mod siblings;
mod study;
mod variants;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZero;
use std::sync::{LazyLock, Mutex};

use capi_relay::config::{Sample, presets};

use self::allowed::{Allowed, allowed};
use self::mutants::{Mutant, mutants};
use self::study::{Answers, Fate, Study};

static CORPUS: LazyLock<Vec<(String, Sample)>> = LazyLock::new(corpus::corpus);
static ANSWERS: LazyLock<Vec<Answers>> = LazyLock::new(Answers::all);

/// Kills every mutant of a preset, but those that are allowed to live.
#[expect(clippy::print_stdout, reason = "how many there were is for who runs it")]
#[track_caller]
fn check(preset: &str, variants: &[&str]) {
    let text = presets().iter().find(|(name, _)| *name == preset).map(|(_, text)| *text).unwrap();
    let mutants = mutants(text);
    let fates = fates((preset, text, variants), &mutants);
    let count = |wanted: Fate| fates.iter().filter(|fate| **fate == wanted).count();
    let (alive, killed): (Vec<_>, Vec<_>) = mutants.iter().zip(&fates).partition(|(_, fate)| **fate == Fate::Survived);
    let is_allowed = |mutant: &Mutant| allowed(preset).iter().any(|allowed| allowed.is(mutant, text));
    let mut survivors = String::new();
    for (mutant, _) in alive.iter().filter(|(mutant, _)| !is_allowed(mutant)) {
        survivors.push_str(&shown(preset, text, mutant));
    }
    for allowed in allowed(preset) {
        let is_dead = killed.iter().any(|(mutant, _)| allowed.is(mutant, text));
        if is_dead || !alive.iter().any(|(mutant, _)| allowed.is(mutant, text)) {
            let Allowed { key, changes, .. } = allowed;
            writeln!(survivors, "allowed, and not alive: {key}: {changes:?}").unwrap();
        }
    }
    let allowed = alive.iter().filter(|(mutant, _)| is_allowed(mutant)).count();
    println!(
        "{preset}: {} mutants, {} refused, {} changed, {allowed} allowed",
        mutants.len(),
        count(Fate::Refused),
        count(Fate::Changed)
    );
    assert!(survivors.is_empty(), "{preset}: survivors\n{survivors}");
}

/// What becomes of each; as many of them beside one another as there are cores, for the longest preset is as long as all
/// others.
fn fates(studied: (&str, &str, &[&str]), mutants: &[Mutant]) -> Vec<Fate> {
    let study = Study::new(studied, &CORPUS, &ANSWERS);
    // Those of one place are told apart by the same.
    let chunks = Mutex::new(mutants.chunks(64).enumerate());
    let fates = Mutex::new(BTreeMap::new());
    let work = || {
        let mut order = study.order();
        loop {
            let Some((at, chunk)) = chunks.lock().unwrap().next() else { break };
            let of_chunk: Vec<Fate> = chunk.iter().map(|mutant| study.fate(mutant, &mut order)).collect();
            fates.lock().unwrap().insert(at, of_chunk);
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    fates.into_inner().unwrap().into_values().flatten().collect()
}

/// `file:line:column key: token → what it becomes`.
fn shown(preset: &str, text: &str, mutant: &Mutant) -> String {
    let before = &text[..mutant.at.start];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("src/presets/{preset}.toml:{line}:{column} {}: {}\n", mutant.key(), mutant.change(text))
}

#[test]
fn every_single_token_mutation_of_thrad_is_refused_or_changes_a_golden() {
    check("thrad", variants::THRAD);
}

#[test]
fn every_single_token_mutation_of_impact_is_refused_or_changes_a_golden() {
    check("impact", variants::IMPACT);
}

#[test]
fn every_single_token_mutation_of_scaleo_is_refused_or_changes_a_golden() {
    check("scaleo", variants::SCALEO);
}

#[test]
fn every_single_token_mutation_of_trackdesk_is_refused_or_changes_a_golden() {
    check("trackdesk", variants::TRACKDESK);
}

#[test]
fn every_single_token_mutation_of_trackdesk_get_is_refused_or_changes_a_golden() {
    check("trackdesk-get", variants::TRACKDESK);
}

#[test]
fn every_single_token_mutation_of_dsp_is_refused_or_changes_a_golden() {
    check("dsp", variants::DSP);
}

/// A preset with words that do nothing.
const LOOSE: &str = r#"
url = "https://px.example.com/{vars.account}"
when = "order_id && (value || value)"

[map]
order = "order_id ?? event_id !"
note = "notes.public | string"

[outputs]
order = { type = "text", max_length = 64, doc = "the order" }
note = { type = "text", doc = "a note" }

[needs.vars.account]
type = "text"
required = true
"#;

#[test]
fn a_word_of_a_preset_that_does_nothing_survives_its_mutation() {
    let mutants = mutants(LOOSE);
    let fates = fates(("loose", LOOSE, &["vars.account = \"a-1\"\n"]), &mutants);
    let alive = mutants.iter().zip(fates).filter(|(_, fate)| *fate == Fate::Survived);
    let alive: Vec<String> = alive.map(|(mutant, _)| format!("{}: {}", mutant.key(), mutant.change(LOOSE))).collect();
    let expected = [
        "when: || → &&",
        "when: without value ||",
        "when: without || value",
        "map.order: without ?? event_id !",
        "map.order: event_id → event_type",
        "map.order: event_id → kind",
        "map.order: event_id → time",
        "map.order: ! → ",
        "map.note: without | string",
    ];
    assert_eq!(alive, expected);
}

#[test]
fn each_token_is_taken_away_altered_and_exchanged() {
    let text = "when = \"order_id && !test\"\nlimits = { rate = \"9/h\" } # a comment\n\
                [outputs]\na = { type = \"text\", doc = \"for people\" }\n[map]\na = \"value | decimal(2)\"\n";
    let changes: Vec<String> = mutants(text).iter().map(|it| format!("{}: {}", it.key(), it.change(text))).collect();
    insta::with_settings!({snapshot_path => "mutation", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!("mutants", changes.join("\n"));
    });
}
