//! Goldens: conversions kept beside routes.toml, each with the request that must become of it, or the reason why nothing is
//! sent. A mapping that changed without meaning to is found before it is deployed.
//!
//! Requests are compared masked, so a golden neither needs nor holds a credential; and as they would go to the platform
//! itself, so that a stand-in that `origin` points at breaks none. Reads the two files of a golden when it
//! is proven, and nothing else; writes nothing.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::difference::{Difference, Headers, differences};
use super::keys::{At, Keys, did_you_mean, list, listed, table, wrong_with_help};
use super::message::{Message, MessageError, written};
use super::report::Faults;
use super::{Destination, Outcome, Rendering, Sample, SampleError};
use crate::mapping::{MASK, Request, Text};

/// `[[destination.NAME.golden]]`: a conversion and what must become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Golden {
    /// A canonical conversion in JSON.
    pub conversion: PathBuf,
    /// What must become of it.
    pub expected: Expected,
    /// Who sends it; `None`: as [`Config::merchant_of`](super::Config::merchant_of) says.
    pub merchant: Option<String>,
}

/// What must become of a golden's conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// The request in this file: an HTTP message.
    Request(PathBuf),
    /// Nothing is sent.
    Nothing {
        /// Of which kind that is.
        outcome: Outcome,
        /// A part of the reason.
        reason: Option<String>,
    },
}

/// What came of proving a golden.
#[derive(Debug)]
pub struct Proof {
    /// `None`: the conversion becomes what it must.
    pub failure: Option<Failure>,
    /// What the request file would hold, where a request is expected and there is one. Masked.
    pub file: Option<String>,
}

/// Why a golden does not hold. `Display` is the whole of it, several lines where several places differ.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// A file could not be read.
    Unreadable {
        /// That file.
        path: PathBuf,
        /// In words.
        reason: String,
    },
    /// The request's file could not be written.
    Unwritable(PathBuf, String),
    /// The conversion's file holds none.
    Conversion(PathBuf, SampleError),
    /// The request's file is not there yet.
    Missing(PathBuf),
    /// The request's file is no HTTP message.
    Message(PathBuf, MessageError),
    /// A request is expected, and nothing is sent.
    NotSent(Outcome, String),
    /// Nothing must be sent, and a request is.
    Sent(Outcome),
    /// Nothing is sent, as it must be, for another reason.
    Otherwise {
        /// What must be, as the golden has it.
        expected: String,
        /// What is.
        got: String,
    },
    /// Another request is sent.
    Differs(Vec<Difference>),
}

impl Golden {
    /// Whether the conversion becomes what it must; `merchant` sends it where the golden names none.
    pub fn prove(&self, destination: &Destination, merchant: &str) -> Proof {
        let fails = |failure| Proof { failure: Some(failure), file: None };
        let sample = match read(&self.conversion).map(|body| Sample::parse(body.as_bytes())) {
            Ok(Ok(sample)) => sample,
            Ok(Err(error)) => return fails(Failure::Conversion(self.conversion.clone(), error)),
            Err(reason) => return fails(Failure::Unreadable { path: self.conversion.clone(), reason }),
        };
        let merchant = self.merchant.as_deref().unwrap_or(merchant);
        let rendering = sample.at_platform(destination, merchant);
        match (&self.expected, rendering) {
            (Expected::Request(file), Rendering::Sent { operation: _, request }) => {
                compare(file, &request, destination)
            }
            (Expected::Request(_), Rendering::Nothing { outcome, reason }) => fails(Failure::NotSent(outcome, reason)),
            (Expected::Nothing { outcome, .. }, Rendering::Sent { .. }) => fails(Failure::Sent(*outcome)),
            (Expected::Nothing { outcome, reason }, Rendering::Nothing { outcome: got, reason: why }) => {
                let agrees = got == *outcome && reason.as_ref().is_none_or(|part| why.contains(part));
                let failure = || Failure::Otherwise {
                    expected: reason.as_ref().map_or(outcome.to_string(), |reason| format!("{outcome}: {reason}")),
                    got: format!("{got}: {why}"),
                };
                Proof { failure: (!agrees).then(failure), file: None }
            }
        }
    }
}

/// Compares a masked request with its file.
fn compare(file: &Path, request: &Request, destination: &Destination) -> Proof {
    let fails = |failure, text| Proof { failure: Some(failure), file: Some(text) };
    if !file.exists() {
        return fails(Failure::Missing(file.to_owned()), written(request, &[], None));
    }
    let got = Message::of(request);
    let text = match read(file) {
        Ok(text) => text,
        Err(reason) => {
            return Proof { failure: Some(Failure::Unreadable { path: file.to_owned(), reason }), file: None };
        }
    };
    let expected = match Message::parse(&text, &got.body) {
        Ok(expected) => expected,
        Err(error) => return fails(Failure::Message(file.to_owned(), error), written(request, &[], None)),
    };
    let mut found = differences(&expected, &got, Headers::Named);
    for difference in &mut found {
        hide(difference, destination);
    }
    let named: Vec<&str> = expected.headers.iter().map(|(name, _)| name.as_str()).collect();
    let failure = (!found.is_empty()).then_some(Failure::Differs(found));
    Proof { failure, file: Some(written(request, &expected.comments, Some(&named))) }
}

/// A file may hold by mistake what it should show as `***`: no report repeats that.
fn hide(difference: &mut Difference, destination: &Destination) {
    let masked = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains(MASK));
    let Some(expected) = &difference.expected else { return };
    let holds = |expected: &str| destination.secrets.iter().any(|secret| expected.contains(secret.reveal()));
    if holds(expected) || (masked(&difference.got) && !expected.contains(MASK)) {
        difference.expected = Some(NOT_SHOWN.to_owned());
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreadable { path, reason } => write!(f, "{} cannot be read: {reason}", path.display()),
            Failure::Unwritable(path, reason) => write!(f, "{} cannot be written: {reason}", path.display()),
            Failure::Conversion(path, error) => write!(f, "{}: {error}", path.display()),
            Failure::Missing(path) => {
                write!(f, "{} is not there: `capi-relay test --update` writes it", path.display())
            }
            Failure::Message(path, error) => write!(f, "{}: {error}", path.display()),
            Failure::NotSent(outcome, reason) => {
                write!(f, "expected a request, and nothing is sent: {outcome}: {reason}")
            }
            Failure::Sent(outcome) => write!(f, "expected {outcome}, and a request is sent"),
            Failure::Otherwise { expected, got } => write!(f, "expected {expected}, got {got}"),
            Failure::Differs(differences) => {
                let lines: Vec<String> = differences.iter().map(Difference::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

/// Reads `[[destination.NAME.golden]]`. What is in the files is proven, not read; that one is missing is no more than a
/// warning, since one of them may be about to be written, and a relay can run without.
pub(super) fn goldens(keys: &mut Keys<'_>, folder: &Path, merchants: &[&str], faults: &mut Faults) -> Vec<Golden> {
    let Some(entry) = keys.entry("golden") else { return Vec::new() };
    if entry.node.value.as_table().is_some() {
        wrong_with_help(
            "golden",
            "a list of tables",
            &entry.node,
            "in two brackets: `[[destination.NAME.golden]]`",
            faults,
        );
        return Vec::new();
    }
    let cases = list("golden", &entry.node, faults).unwrap_or_default();
    let mut goldens = Vec::with_capacity(cases.len());
    for case in cases {
        let Some(table) = table("golden", case, faults) else { continue };
        let mut keys = Keys::new(table, case.span.clone());
        goldens.extend(golden(&mut keys, folder, merchants, faults));
        keys.finish("a golden", faults);
    }
    goldens
}

fn golden(keys: &mut Keys<'_>, folder: &Path, merchants: &[&str], faults: &mut Faults) -> Option<Golden> {
    let span = keys.span().clone();
    if keys.entry("conversion").is_none() {
        faults.with_help(span.clone(), "a golden needs `conversion`", HELP);
    }
    let conversion = keys.path("conversion", folder, faults);
    let written = (keys.entry("request").is_some(), keys.entry("outcome").is_some());
    let request = keys.path("request", folder, faults);
    missing("conversion", conversion.as_ref(), NO_CONVERSION, faults);
    missing("request", request.as_ref(), NO_REQUEST, faults);
    let outcome = keys.choice("outcome", &Outcome::WORDS, faults);
    let reason = keys.text("reason", faults);
    let merchant = keys.text("merchant", faults);
    match (written, &reason) {
        ((true, true), _) => faults.with_help(span, "a golden has `request` or `outcome`, not both", HELP),
        ((false, false), _) => faults.with_help(span, "a golden needs `request`", HELP),
        ((true, false), Some(reason)) => {
            faults.with_help(reason.span.clone(), "`reason` is why nothing is sent", "it goes with `outcome`");
        }
        ((true, false), None) | ((false, true), _) => {}
    }
    let merchant = merchant.map(|name| known(name, merchants, faults));
    let expected = match (request, outcome) {
        (Some(At { value, span: _ }), None) => Expected::Request(value),
        (None, Some(outcome)) => Expected::Nothing { outcome, reason: reason.map(|text| text.value) },
        (Some(_), Some(_)) | (None, None) => return None,
    };
    Some(Golden { conversion: conversion?.value, expected, merchant })
}

fn missing(key: &str, file: Option<&At<PathBuf>>, help: &str, faults: &mut Faults) {
    if let Some(At { value: path, span }) = file.filter(|file| !file.value.exists()) {
        faults.warn(span.clone(), format!("`{key}` of a golden is not there: {}", path.display()), help);
    }
}

fn known(name: Text, merchants: &[&str], faults: &mut Faults) -> String {
    if !merchants.contains(&name.value.as_str()) {
        let names = || merchants.iter().copied();
        let help = did_you_mean(&name.value, names()).unwrap_or_else(|| format!("the file has {}", listed(names())));
        faults.with_help(name.span, format!("there is no merchant `{}`", name.value), help);
    }
    name.value
}

fn read(path: &Path) -> Result<String, String> {
    let in_words = |error: std::io::Error| error.kind().to_string();
    let file = File::open(path).map_err(in_words)?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes).map_err(in_words)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > BYTES_MAX) {
        return Err("it is larger than 64 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_not_text| "it is not UTF-8 text".to_owned())
}

/// The largest body that a relay can be told to take.
const BYTES_MAX: u64 = 64 << 20;
const NOT_SHOWN: &str = "what is not shown, for a secret stands there (a golden holds `***` in its place)";
const NO_CONVERSION: &str = "write it by hand, a canonical conversion: `capi-relay test --update` writes requests alone, and \
                             `serve` starts when every golden holds";
const NO_REQUEST: &str = "`capi-relay test --update` writes it, to be read before it is kept: `serve` starts when every \
                          golden holds";
const HELP: &str = "`conversion = \"goldens/purchase.json\"` and `request = \"goldens/thrad-purchase.http\"`, \
                    or `outcome = \"skipped\"` where nothing is sent";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::{faults, right, with};
    use super::*;
    use crate::mapping::Secrets;

    const DESTINATION: &str = r#"[destination.partner]
url = "https://px.example.com/events"
auth = { bearer = "{secrets.token}" }
secrets.token = "live-0123456789"
when = "value"
map.amount = "value"
map.order = "order_id !"
"#;
    const SALE: &str = r#"{"time": "2026-11-21T10:00:00Z", "order_id": "o-1", "value": "9.90", "currency": "EUR"}"#;

    /// What comes of a golden over this conversion, with this file where there is one, and the file that there should be.
    #[track_caller]
    fn prove(
        conversion: &str,
        request: Option<&str>,
        expected: &dyn Fn(PathBuf) -> Expected,
    ) -> (String, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let (case, file) = (folder.path().join("case.json"), folder.path().join("case.http"));
        fs::write(&case, conversion).unwrap();
        if let Some(request) = request {
            fs::write(&file, request).unwrap();
        }
        let config = right(&with(DESTINATION));
        let golden = Golden { conversion: case, expected: expected(file), merchant: None };
        let Proof { failure, file } = golden.prove(&config.destinations[0], "acme");
        let place = format!("{}/", folder.path().display());
        (failure.map(|failure| failure.to_string().replace(&place, "")).unwrap_or_default(), file)
    }

    #[track_caller]
    fn request(conversion: &str, file: Option<&str>, expected: &str) -> Option<String> {
        let (failure, file) = prove(conversion, file, &Expected::Request);
        assert_eq!(failure, expected);
        file
    }

    const FILE: &str =
        "POST https://px.example.com/events\nauthorization: Bearer ***\n\n{\"order\": \"o-1\", \"amount\": 9.90}";

    #[test]
    fn a_golden_holds_whatever_its_file_looks_like() {
        request(SALE, Some(FILE), "");
        request(SALE, Some(&FILE.replace("\nauthorization: Bearer ***", "")), "");
        request(SALE, Some(&FILE.replace("9.90", "9.9")), "amount: expected 9.9, got 9.90");
    }

    #[test]
    fn a_stand_in_breaks_no_golden() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("case.json"), SALE).unwrap();
        let origin = "origin = \"http://127.0.0.1:9101\"\nauth = ";
        let config = right(&with(&DESTINATION.replace("auth = ", origin)));
        let golden =
            Golden { conversion: path("case.json"), expected: Expected::Request(path("case.http")), merchant: None };
        let file = golden.prove(&config.destinations[0], "acme").file.unwrap();
        assert!(file.starts_with("POST https://px.example.com/events\n"), "{file}");
        fs::write(path("case.http"), FILE).unwrap();
        assert_eq!(golden.prove(&config.destinations[0], "acme").failure, None);
        let sent = Sample::parse(SALE.as_bytes()).unwrap().at(&config.destinations[0], "acme", Secrets::Masked);
        let Rendering::Sent { request, .. } = sent else { panic!("nothing is sent") };
        assert_eq!(request.url, "http://127.0.0.1:9101/events", "which is what goes out");
    }

    #[test]
    fn a_file_that_is_not_there_is_a_warning_at_its_place() {
        let golden = "[[destination.partner.golden]]\nconversion = '/nowhere/a.json'\nrequest = '/nowhere/a.http'\n";
        let config = right(&with(&format!("{DESTINATION}{golden}")));
        let told: Vec<String> = config
            .warnings
            .located()
            .iter()
            .map(|one| format!("{}:{} {} ({})", one.line, one.column, one.message, one.help.as_deref().unwrap_or("")))
            .collect();
        assert_eq!(
            told,
            [
                format!("18:15 `conversion` of a golden is not there: /nowhere/a.json ({NO_CONVERSION})"),
                format!("19:12 `request` of a golden is not there: /nowhere/a.http ({NO_REQUEST})"),
            ]
        );
        let there = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/purchase.json");
        let golden = format!("[[destination.partner.golden]]\nconversion = '{there}'\noutcome = 'skipped'\n");
        assert!(right(&with(&format!("{DESTINATION}{golden}"))).warnings.is_empty());
    }

    #[test]
    fn what_the_file_should_hold_keeps_its_comments_and_names_the_headers_that_it_named() {
        let text = format!("# why\n{}", FILE.replace("9.90", "1"));
        let file = request(SALE, Some(&text), "amount: expected 1, got 9.90").unwrap();
        let right = "# why\nPOST https://px.example.com/events\nauthorization: Bearer ***\n\n\
                     {\n  \"amount\": 9.90,\n  \"order\": \"o-1\"\n}\n";
        assert_eq!(file, right);
        request(SALE, Some(right), "");
        let all = request(SALE, None, "case.http is not there: `capi-relay test --update` writes it").unwrap();
        assert!(all.contains("content-type: application/json\n") && !all.contains("live-"), "{all}");
    }

    #[test]
    fn a_secret_in_a_file_is_never_repeated() {
        for stale in ["Bearer live-0123456789", "Bearer rotated-away"] {
            let text = FILE.replace("Bearer ***", stale);
            let (failure, file) = prove(SALE, Some(&text), &Expected::Request);
            assert!(failure.starts_with("header authorization: expected what is not shown"), "{failure}");
            assert!(!format!("{failure}{file:?}").contains(stale), "{failure}");
        }
        let elsewhere = FILE.replace("{\"order\"", "{\"token\": \"live-0123456789\", \"order\"");
        let (failure, _) = prove(SALE, Some(&elsewhere), &Expected::Request);
        assert!(failure.starts_with("token: expected what is not shown"), "{failure}");
    }

    #[test]
    fn nothing_sent_is_proven_by_its_outcome_and_a_part_of_its_reason() {
        #[track_caller]
        fn check(conversion: &str, outcome: Outcome, reason: Option<&str>, expected: &str) {
            let nothing = |_| Expected::Nothing { outcome, reason: reason.map(str::to_owned) };
            assert_eq!(prove(conversion, None, &nothing).0, expected);
        }
        let lead = r#"{"time": "2026-11-21T10:00:00Z", "order_id": "o-1"}"#;
        let anonymous = r#"{"time": "2026-11-21T10:00:00Z", "value": 1, "currency": "EUR"}"#;
        check(lead, Outcome::Skipped, None, "");
        check(lead, Outcome::Skipped, Some("value"), "");
        check(
            lead,
            Outcome::Skipped,
            Some("currency"),
            "expected skipped: currency, got skipped: does not apply: value is absent",
        );
        check(lead, Outcome::Withheld, None, "expected withheld, got skipped: does not apply: value is absent");
        check(anonymous, Outcome::Unmappable, Some("order"), "");
        check(SALE, Outcome::Skipped, None, "expected skipped, and a request is sent");
        request(lead, Some(FILE), "expected a request, and nothing is sent: skipped: does not apply: value is absent");
    }

    #[test]
    fn files_that_cannot_be_read_are_told_by_name() {
        let (failure, _) = prove("{}", None, &Expected::Request);
        assert!(failure.starts_with("case.json: it is no conversion: /time: "), "{failure}");
        request(
            SALE,
            Some("no message"),
            "case.http: line 1: a request line is expected: `POST https://px.example.com/events`",
        );
    }

    #[test]
    fn a_golden_names_a_conversion_and_what_becomes_of_it() {
        #[track_caller]
        fn check(golden: &str, expected: &[&str]) {
            let text = with(&format!("{DESTINATION}[[destination.partner.golden]]\n{golden}"));
            assert_eq!(faults(&text), expected);
        }
        check("conversion = 'a'", &["17:1 a golden needs `request`"]);
        check("request = 'a'", &["17:1 a golden needs `conversion`"]);
        check(
            "conversion = 'a'\nrequest = 'b'\noutcome = 'skipped'",
            &["17:1 a golden has `request` or `outcome`, not both"],
        );
        check("conversion = 'a'\noutcome = 'skiped'", &["19:12 `outcome` cannot be `skiped`"]);
        check("conversion = 'a'\nrequest = 'b'\nreason = 'c'", &["20:11 `reason` is why nothing is sent"]);
        check("conversion = 'a'\nrequest = 'b'\nmerchant = 'acm'", &["20:13 there is no merchant `acm`"]);
        check("conversion = 'a'\nrequest = 'b'\nmerchnt = 'acme'", &["20:1 unknown key `merchnt`"]);
    }
}
