//! A preset under study: the goldens of its text as it is, and whether those of a mutant are others.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use capi_relay::config::{Config, Confirm, Destination, Rendering, Report, Sample, Source};
use capi_relay::delivery::verdict;
use capi_relay::mapping::{Answer, Secrets};
use http::{HeaderMap, StatusCode};

use super::mutants::Mutant;
use super::probes::{demands, probes};

/// What is studied: a preset's text, and destinations that use it.
pub(super) struct Study<'c> {
    pub(super) name: &'c str,
    pub(super) text: &'c str,
    /// Keys of a destination, each a way in which the preset is used. The first says the most.
    pub(super) variants: &'c [&'c str],
    corpus: &'c [(String, Sample)],
    answers: &'c [Answers],
    /// Of each variant.
    goldens: Vec<Vec<String>>,
    /// What a destination is refused for, or does, with further keys: by these keys.
    loads: Mutex<BTreeMap<String, Arc<str>>>,
}

/// What became of a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// No destination can be built on it.
    Refused,
    /// A golden is another.
    Changed,
    /// Nothing tells it from the preset.
    Survived,
}

/// Bodies of answers with the statuses that may bring them.
pub(super) struct Answers(Vec<Answer>);

/// A golden of a variant: by its place in the list of [`Study::golden`].
type Place = (usize, usize);

/// What tells mutants apart, what did last first. It says what is quick, not what is right.
pub(super) struct Order {
    goldens: Vec<Place>,
    /// Of what is asked of a mutant of a key, that did: by its place in the list of [`Study::asked_otherwise`].
    probes: BTreeMap<String, Vec<usize>>,
}

impl<'c> Study<'c> {
    /// Learns the goldens of the text as it is.
    pub(super) fn new(
        (name, text, variants): (&'c str, &'c str, &'c [&'c str]),
        corpus: &'c [(String, Sample)],
        answers: &'c [Answers],
    ) -> Study<'c> {
        let loads = Mutex::default();
        let mut study = Study { name, text, variants, corpus, answers, goldens: Vec::new(), loads };
        for keys in variants {
            let config = study.load(text, keys).unwrap_or_else(|report| panic!("{name}: {keys}\n{report}"));
            let goldens = (0..study.count()).map(|golden| study.golden(&config.destinations[0], golden));
            let goldens = goldens.collect();
            study.goldens.push(goldens);
        }
        study
    }

    pub(super) fn order(&self) -> Order {
        let of = |variant| (0..self.count()).map(move |golden| (variant, golden));
        Order { goldens: (0..self.variants.len()).flat_map(of).collect(), probes: BTreeMap::new() }
    }

    /// What becomes of a mutant. What told the last ones apart is asked first, then what is asked about its key, then all.
    pub(super) fn fate(&self, mutant: &Mutant, order: &mut Order) -> Fate {
        let text = mutant.of(self.text);
        let mut loaded = Loaded { study: self, text: &text, configs: self.variants.iter().map(|_| None).collect() };
        let mut fate = loaded.fate(0..QUICK, order);
        if fate == Fate::Survived {
            fate = self.asked_otherwise(mutant, &text, order);
        }
        if fate == Fate::Survived {
            fate = loaded.fate(QUICK..order.goldens.len(), order);
        }
        fate
    }

    /// What the contract refuses and what is demanded, with other keys of the destination.
    fn asked_otherwise(&self, mutant: &Mutant, text: &str, order: &mut Order) -> Fate {
        // The target of an output is a name like any other's.
        let key = match mutant.path.as_slice() {
            [.., above, _] if above == "outputs" => above,
            [.., key] => key,
            [] => return Fate::Survived,
        };
        let last = order.probes.entry(key.clone()).or_default();
        let further = probes(self.text, mutant).into_iter().chain(demands(self.text, mutant, self.variants[0]));
        let mut further: Vec<(usize, String)> = further.enumerate().collect();
        further.sort_by_key(|(at, _)| last.iter().position(|last| last == at).unwrap_or(last.len()));
        let tells = |(_, keys): &(usize, String)| self.tried(text, keys) != *self.expected(keys);
        let Some((found, _)) = further.into_iter().find(tells) else { return Fate::Survived };
        last.retain(|at| *at != found);
        last.insert(0, found);
        Fate::Changed
    }

    fn expected(&self, keys: &str) -> Arc<str> {
        let known = self.loads.lock().unwrap().get(keys).cloned();
        known.unwrap_or_else(|| {
            let made: Arc<str> = self.tried(self.text, keys).into();
            self.loads.lock().unwrap().insert(keys.to_owned(), Arc::clone(&made));
            made
        })
    }

    /// What comes of a destination with other keys: what it is refused for, or what it does with the probing conversions.
    fn tried(&self, text: &str, keys: &str) -> String {
        match self.load(text, &keys.replace(BESIDE, self.variants[0])) {
            Err(_) if keys.contains(BESIDE) => "refused".to_owned(),
            Err(report) => {
                let said = |fault: &capi_relay::config::Located| {
                    format!("{}: {}", fault.message, fault.help.as_deref().unwrap_or_default())
                };
                report.located().iter().map(said).collect::<Vec<_>>().join("\n")
            }
            Ok(config) => {
                let kind =
                    ["refund", "adjustment"].into_iter().find(|kind| keys.contains(&format!("operation.{kind}")));
                let of_kind = format!("probe {}", kind.unwrap_or("conversion"));
                let probing = self.corpus.iter().filter(|(name, _)| name.starts_with(&of_kind) || name == "everything");
                let sent = probing.map(|(_, sample)| sent(&config.destinations[0], sample));
                std::iter::once(settings(&config.destinations[0])).chain(sent).collect::<Vec<_>>().join("\n")
            }
        }
    }

    fn load(&self, text: &str, keys: &str) -> Result<Config, Report> {
        let routes = format!("{HEAD}[destination.studied]\npreset = \"{}\"\n{keys}\n", self.name);
        let source = Source { path: "routes.toml".into(), text: routes, environment: &|_| None, sets: &[] };
        Config::load_with_presets(source, &[(self.name, text)])
    }

    /// Goldens of one destination: settings, what each answer means, what becomes of each conversion.
    fn count(&self) -> usize {
        1 + self.answers.len() + self.corpus.len()
    }

    fn golden(&self, destination: &Destination, golden: usize) -> String {
        match golden.checked_sub(1) {
            None => settings(destination),
            Some(at) => match self.answers.get(at) {
                Some(answers) => answers.meanings(destination),
                None => sent(destination, &self.corpus[at - self.answers.len()].1),
            },
        }
    }
}

/// A mutant's destinations, each built when it is first asked.
struct Loaded<'s> {
    study: &'s Study<'s>,
    text: &'s str,
    configs: Vec<Option<Config>>,
}

impl Loaded<'_> {
    /// What some of the goldens say; one that tells the mutant apart is the first for the next.
    fn fate(&mut self, goldens: Range<usize>, order: &mut Order) -> Fate {
        for at in goldens {
            let (variant, golden) = order.goldens[at];
            let Some(destination) = self.destination(variant) else { return Fate::Refused };
            if self.study.golden(&destination, golden) != self.study.goldens[variant][golden] {
                order.goldens[..=at].rotate_right(1);
                return Fate::Changed;
            }
        }
        Fate::Survived
    }

    fn destination(&mut self, variant: usize) -> Option<Arc<Destination>> {
        if self.configs[variant].is_none() {
            self.configs[variant] = self.study.load(self.text, self.study.variants[variant]).ok();
        }
        self.configs[variant].as_ref().map(|config| Arc::clone(&config.destinations[0]))
    }
}

/// How the destination is asked, and what it is told of its operations, but the texts of conditions.
fn settings(destination: &Destination) -> String {
    let Destination { limits, retry, consent, expect_currency, max_age, .. } = destination;
    let mut said = format!("{limits:?} {retry:?} {consent:?} {expect_currency:?} {max_age:?}");
    for operation in &destination.operations {
        let lacks = operation.request.lacks().map(|lacks| lacks.to_string());
        said.push_str(&format!(
            "\n{} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {lacks:?}",
            operation.name,
            operation.kind,
            operation.idempotency,
            operation.on_ambiguous,
            operation.on_unmappable,
            operation.test,
            operation.rate,
            operation.judge.wait_header,
        ));
        if let Some(Confirm { question, after, every, tries, judge }) = &operation.confirm {
            said.push_str(&format!(" {question:?} {after:?} {every:?} {tries} {:?}", judge.wait_header));
        }
    }
    said
}

impl Answers {
    /// Every status with this body.
    fn with(body: &'static str) -> Answers {
        let status = |status: u16| StatusCode::from_u16(status).unwrap();
        let answer = |code| Answer::new(status(code), HeaderMap::new(), Bytes::from_static(body.as_bytes()));
        Answers(STATUSES.into_iter().map(answer).collect())
    }

    pub(super) fn all() -> Vec<Answers> {
        BODIES.into_iter().map(Answers::with).collect()
    }

    /// What each means to each operation, and what is kept of it.
    fn meanings(&self, destination: &Destination) -> String {
        let mut said = String::new();
        for operation in &destination.operations {
            for answer in &self.0 {
                said.push_str(&format!("{:?} ", verdict(&operation.judge, answer.clone())));
            }
            for (name, capture) in &operation.judge.capture {
                said.push_str(&format!("{name}: {:?} ", capture.take(&self.0[0])));
            }
            let Some(Confirm { judge, .. }) = &operation.confirm else { continue };
            for answer in &self.0 {
                let rejected = judge.rejected_when.as_ref().map(|condition| condition.holds(answer));
                said.push_str(&format!("{:?} {rejected:?} ", verdict(judge, answer.clone())));
            }
            for (name, capture) in &judge.capture {
                said.push_str(&format!("{name}: {:?} ", capture.take(&self.0[0])));
            }
        }
        said
    }
}

/// What becomes of a conversion: the request, or why there is none. The term that failed is left out of the reason: that
/// its text is another is no change of what it does.
fn sent(destination: &Destination, sample: &Sample) -> String {
    match sample.at(destination, "acme", Secrets::Revealed) {
        Rendering::Sent { operation, request } => {
            let mut said = format!("{operation}: {} {}\n", request.method, request.url);
            for (name, value) in request.headers.iter() {
                said.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
            }
            said + &String::from_utf8_lossy(&request.body)
        }
        Rendering::Nothing { outcome, reason } => {
            let words = destination.operations.iter().filter_map(|operation| operation.otherwise.as_deref());
            let told: Vec<&str> = words.filter(|words| reason.contains(words)).collect();
            let said = if told.is_empty() { reason.split(DOES_NOT_APPLY).take(1).collect() } else { told };
            format!("{outcome}: {said:?}")
        }
    }
}

const DOES_NOT_APPLY: &str = "does not apply: ";

/// Goldens that are asked before anything else: about as many as one line of a preset needs.
const QUICK: usize = 12;

/// In keys of a destination: the first variant's stand here.
pub(super) const BESIDE: &str = "# beside\n";

const HEAD: &str = r#"[server]
listen = "127.0.0.1:8443"
plaintext = true
[queue]
path = "/var/lib/capi-relay"
[merchant.acme]
token_sha256 = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"
"#;

const STATUSES: [u16; 26] = [
    199, 200, 201, 204, 299, 300, 301, 302, 399, 400, 401, 403, 404, 408, 409, 422, 425, 429, 499, 500, 501, 502, 503,
    504, 505, 599,
];
const BODIES: [&str; 42] = [
    "",
    "Conversion already exists",
    "System error",
    "Already exists",
    "system error",
    "Xlready exists",
    "Xystem error",
    r#"{"status": "ok"}"#,
    r#"{"status": "OK"}"#,
    r#"{"status": "duplicate"}"#,
    r#"{"status": "Duplicate"}"#,
    r#"{"status": "Error"}"#,
    r#"{"status": "Success"}"#,
    r#"{"status": 0}"#,
    r#"{"status": 2}"#,
    r#"{"status": "error", "code": 422}"#,
    r#"{"status": "queued"}"#,
    r#"{"status": 1}"#,
    r#"{"Status": "QUEUED", "QueuedUri": "/Advertisers/x/APISubmissions/A-1"}"#,
    r#"{"Status": "ERROR", "errors": []}"#,
    r#"{"Status": "error", "ActionId": "1000.1.1"}"#,
    r#"{"Message": "x", "Errors": [{"Field": "x"}]}"#,
    r#"{"ActionId": "1000.1.1", "ActionUri": "/x"}"#,
    r#"{"status": "success", "info": {"transaction_id": "t-1", "lead_id": 7, "conv_status": "approved"}}"#,
    r#"{"status": "success", "info": {"conv_status": "trash"}}"#,
    r#"{"status": "success", "info": {"conv_status": "Trash"}}"#,
    r#"{"info": {"conv_status": "TRASH"}}"#,
    r#"{"status": "success", "message": "1 < 2"}"#,
    r#"{"status": "error", "info": {"conv_status": "trash"}}"#,
    r#"{"info": "trash", "conv_status": "trash", "queued_uri": "q", "action_id": "a", "transaction_id": "t", "lead_id": "l"}"#,
    r#"{"message": "Conversion already exists: System error"}"#,
    r#"{"message": "conversion type not found"}"#,
    "<html><body>Bad Gateway</body></html>",
    r#"{"Status": "Complete", "ErrorType": "", "ErrorReason": ""}"#,
    r#"{"Status": "Complete"}"#,
    r#"{"Status": "Complete", "ErrorType": "DUPLICATE", "ErrorReason": "CONV_DUPLICATE"}"#,
    r#"{"Status": "Complete", "ErrorType": "x"}"#,
    r#"{"Status": "Complete", "ErrorReason": "x"}"#,
    r#"{"Status": "COMPLETE", "ErrorType": "x", "ErrorReason": "conv_duplicate"}"#,
    r#"{"Status": "Queued", "ErrorReason": ""}"#,
    r#"{"Status": "Queued", "ErrorReason": "CONV_DUPLICATE"}"#,
    r#"{"Status": "Queued", "ErrorType": "x", "ErrorReason": "x"}"#,
];
