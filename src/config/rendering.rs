//! What becomes of a conversion at a destination, up to the wire and without it: what `render` prints, goldens prove and
//! `diff` compares. Pure.

use std::fmt;

use super::{Config, Decision, Destination, OnUnmappable};
use crate::conversion::{Conversion, ConversionId, JsonError, Meta, Problem, Refusal, Timestamp};
use crate::mapping::{Request, RequestTemplate, Scope, Secrets, Unmappable};

/// A conversion out of a file, as the relay would have accepted it.
///
/// What only a running relay knows is fixed, so that a rendering is the same every time: `meta.id` (and a missing
/// `event_id`) is `00000000-0000-7000-8000-000000000000`, `meta.received_at` the conversion's own `time`, there is no
/// `meta.idempotency_key`, and `meta.dedup_key` follows from these as ever.
#[derive(Debug)]
pub struct Sample {
    conversion: Conversion,
    id: ConversionId,
}

/// Why a file holds no conversion. Names places, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// Not JSON at all.
    #[error("it is no JSON: {0}")]
    Malformed(JsonError),
    /// JSON, but no conversion: every problem of it.
    #[error("it is no conversion: {}", listed(.0))]
    Invalid(Vec<Problem>),
}

/// What one destination is sent, or why nothing.
#[derive(Debug)]
pub enum Rendering {
    /// A request.
    Sent {
        /// The operation that it is made by.
        operation: String,
        /// What goes out.
        request: Request,
    },
    /// Nothing.
    Nothing {
        /// Of which kind that is.
        outcome: Outcome,
        /// In words; of what is unmappable, the field and what it lacks.
        reason: String,
    },
}

/// Why nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It does not apply.
    Skipped,
    /// Consent is refused.
    Withheld,
    /// The destination has no call for it.
    Unsupported,
    /// A required field is absent, or a rule is broken.
    Unmappable,
}

impl Sample {
    /// Parses and validates one conversion.
    ///
    /// # Errors
    /// Every problem of it.
    pub fn parse(body: &[u8]) -> Result<Sample, SampleError> {
        let id = ConversionId::new(0, [0; 10]);
        let conversion = Conversion::parse(body, &id.to_string()).map_err(|refusal| match refusal {
            Refusal::Malformed(error) => SampleError::Malformed(error),
            Refusal::Invalid(problems) => SampleError::Invalid(problems),
        })?;
        Ok(Sample { conversion, id })
    }

    /// When the conversion happened.
    pub fn happened(&self) -> jiff::Timestamp {
        self.conversion.time().instant()
    }

    /// What becomes of it at a destination when this merchant sends it.
    pub fn at(&self, destination: &Destination, merchant: &str, secrets: Secrets) -> Rendering {
        let meta = self.meta(merchant);
        destination.render(Scope { conversion: &self.conversion, meta: &meta }, secrets)
    }

    /// How the destination would be asked what became of it, where it is sent and asked about.
    ///
    /// # Errors
    /// When something of the question is absent in the conversion: then it is not asked about.
    pub fn question_at(
        &self,
        destination: &Destination,
        merchant: &str,
        secrets: Secrets,
    ) -> Option<Result<Request, Unmappable>> {
        let meta = self.meta(merchant);
        let scope = Scope { conversion: &self.conversion, meta: &meta };
        let Decision::Send(operation) = destination.decide(scope) else { return None };
        operation.confirm.as_ref().map(|confirm| confirm.question.shown(scope, secrets))
    }

    /// The same at the platform itself, whatever stand-in `origin` points at; masked.
    pub(super) fn at_platform(&self, destination: &Destination, merchant: &str) -> Rendering {
        let meta = self.meta(merchant);
        let scope = Scope { conversion: &self.conversion, meta: &meta };
        destination.render_by(scope, |request| request.unmoved().render(scope, Secrets::Masked))
    }

    fn meta(&self, merchant: &str) -> Meta {
        let mut meta = Meta::new(self.id, merchant.into(), None, &self.conversion);
        meta.received_at = Timestamp::from_instant(self.conversion.time().instant());
        meta
    }
}

impl Destination {
    /// What it is sent of a conversion.
    pub fn render(&self, scope: Scope<'_>, secrets: Secrets) -> Rendering {
        self.render_by(scope, |request| request.render(scope, secrets))
    }

    fn render_by(
        &self,
        scope: Scope<'_>,
        render: impl FnOnce(&RequestTemplate) -> Result<Request, Unmappable>,
    ) -> Rendering {
        let nothing = |outcome, reason| Rendering::Nothing { outcome, reason };
        match self.decide(scope) {
            Decision::Send(operation) => match render(&operation.request) {
                Ok(request) => Rendering::Sent { operation: operation.name.clone(), request },
                Err(unmappable) => match operation.on_unmappable {
                    OnUnmappable::DeadLetter => nothing(Outcome::Unmappable, unmappable.to_string()),
                    OnUnmappable::Skip => nothing(Outcome::Skipped, format!("unmappable: {unmappable}")),
                },
            },
            Decision::Skipped(reason) => nothing(Outcome::Skipped, reason),
            Decision::Withheld(reason) => nothing(Outcome::Withheld, reason),
            Decision::Unsupported(reason) => nothing(Outcome::Unsupported, reason),
        }
    }
}

impl Config {
    /// Who sends where nothing else is said: the first merchant of the file that sends to the destination. Of one that nobody
    /// sends to (see [`Config::is_served`]) a mapping can be proven before it is in use, as the first merchant's.
    pub fn merchant_of(&self, destination: &Destination) -> &str {
        let sends = self.merchants.iter().find(|merchant| merchant.sends_to(&destination.name));
        sends.or_else(|| self.merchants.first()).map_or("", |merchant| &merchant.name)
    }

    /// Whether any merchant sends to the destination.
    pub fn is_served(&self, destination: &Destination) -> bool {
        self.merchants.iter().any(|merchant| merchant.sends_to(&destination.name))
    }
}

impl Outcome {
    /// Every outcome, by the word that it is written as.
    pub(super) const WORDS: [(&'static str, Outcome); 4] = [
        ("skipped", Outcome::Skipped),
        ("withheld", Outcome::Withheld),
        ("unsupported", Outcome::Unsupported),
        ("unmappable", Outcome::Unmappable),
    ];

    /// As it is written in a golden and shown by `render`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Skipped => "skipped",
            Outcome::Withheld => "withheld",
            Outcome::Unsupported => "unsupported",
            Outcome::Unmappable => "unmappable",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{}: {}", problem.pointer, problem.detail)).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PARTNER, right, with};
    use super::*;

    #[test]
    fn what_only_a_running_relay_knows_is_fixed() {
        let map = "map.event = \"meta.id\"\nmap.at = \"meta.received_at\"\nmap.key = \"meta.dedup_key\"\n\
                   map.own = \"event_id\"\nmap.header = \"meta.idempotency_key\"";
        let config = right(&with(&PARTNER.replace("map.event = \"event_type\"", map)));
        let sample = Sample::parse(br#"{"time": "2026-11-21T10:00:00+01:00", "order_id": "o-1"}"#).unwrap();
        let destination = &config.destinations[0];
        let Rendering::Sent { operation, request } =
            sample.at(destination, config.merchant_of(destination), Secrets::Masked)
        else {
            panic!("nothing is sent")
        };
        assert_eq!(operation, "conversion");
        assert_eq!(
            String::from_utf8_lossy(&request.body),
            r#"{"event":"00000000-0000-7000-8000-000000000000","at":"2026-11-21T09:00:00Z","key":"acme/order/o-1/purchase_completed/conversion","own":"00000000-0000-7000-8000-000000000000"}"#
        );
    }

    #[test]
    fn a_file_without_a_conversion_is_told_by_place_and_never_by_value() {
        #[track_caller]
        fn check(body: &str, expected: &str) {
            assert_eq!(Sample::parse(body.as_bytes()).unwrap_err().to_string(), expected);
        }
        check("{", "it is no JSON: EOF while parsing an object at line 1 column 1");
        check(
            r#"{"time": "yesterday", "value": 1}"#,
            "it is no conversion: /time: must be an RFC 3339 time with an offset, such as 2026-05-26T12:34:56Z; \
             /currency: is required, because there is an amount at /value",
        );
    }

    #[test]
    fn the_merchant_is_the_first_that_sends_there() {
        let two = "[merchant.globex]\ntoken_sha256 = \
                   \"8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa5\"\n";
        let other = PARTNER.replace("partner", "other");
        let text = with(&format!("{two}{PARTNER}{other}"));
        let text = text.replacen("[merchant.acme]\n", "[merchant.acme]\ndestinations = [\"other\"]\n", 1);
        let config = right(&text);
        let merchants: Vec<&str> =
            config.destinations.iter().map(|destination| config.merchant_of(destination)).collect();
        assert_eq!(merchants, ["globex", "acme"]);
        assert!(config.destinations.iter().all(|destination| config.is_served(destination)));
    }

    #[test]
    fn a_destination_of_no_merchant_is_rendered_as_the_firsts_and_known_as_nobodys() {
        let other = PARTNER.replace("partner", "other");
        let text = with(&format!("{PARTNER}{other}"));
        let text = text.replacen("[merchant.acme]\n", "[merchant.acme]\ndestinations = [\"other\"]\n", 1);
        let config = right(&text);
        let served: Vec<bool> = config.destinations.iter().map(|destination| config.is_served(destination)).collect();
        assert_eq!(served, [false, true]);
        assert_eq!(config.merchant_of(&config.destinations[0]), "acme");
    }
}
