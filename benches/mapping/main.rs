//! Parse one conversion and render it for the five presets, against what serde_json takes for as much.
//!
//! The floor parses the same bytes to a [`serde_json::Value`] and writes five bodies from typed structs that are ready
//! made: nothing is looked up, checked, hashed, formatted or escaped for a URL there, and it has neither URLs nor headers.
//! Its bodies are ours, byte for byte, but for Impact's: that is a form, and the floor writes the same fields as JSON.
//!
//! `cargo bench --bench mapping` lets criterion measure each part, and then takes all of them in turn in this process, so
//! that whatever else the machine does falls on both sides alike. Its last line is the ratio that the budget speaks of.

mod floor;

use std::hint::black_box;
use std::time::{Duration, Instant};

use allocation_counter::AllocationInfo;
use capi_relay::config::{Config, Decision, Operation, Source};
use capi_relay::conversion::{Conversion, ConversionId, Meta};
use capi_relay::mapping::{Request, Scope, Secrets};
use criterion::Criterion;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use self::floor::Bodies;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let forms = config("\"form\"")?;
    let jsons = config("\"json\"")?;
    let mut criterion = Criterion::default().configure_from_args();
    let mut lines = Vec::new();
    // The realistic one last: its ratio is the last line.
    for (name, body) in [("small", SMALL), ("order", ORDER)] {
        let case = Case::new(name, body, &forms)?;
        let documents = Case::new(name, body, &jsons)?.requests();
        let bodies = Bodies::read(documents.iter().map(|request| &*request.body))?;
        case.criterion(&mut criterion, &bodies);
        lines.push(case.compared(&bodies));
    }
    criterion.final_summary();
    #[expect(clippy::print_stdout, reason = "the figures are what a bench is for")]
    for line in lines {
        println!("{line}");
    }
    Ok(())
}

/// About 1.3 KB: five click ids, customer, device, order, three items.
const ORDER: &[u8] = include_bytes!("order.json");
/// The least that a merchant sends.
const SMALL: &[u8] = include_bytes!("small.json");
/// The destinations, one of each preset.
const FIVE: [&str; 5] = ["thrad", "impact", "scaleo", "trackdesk", "dsp"];
/// Parse and map, over the floor.
const BUDGET: f64 = 1.5;
/// Every part is measured so often, in turn.
const ROUNDS: usize = 201;
/// Runs of one part in one round: some two milliseconds, far above the clock's resolution and below a time slice.
const RUNS: u32 = 200;

/// The repository's own configuration; `encoding` is that of Impact's body.
fn config(encoding: &str) -> Result<Config, Failed> {
    let environment = |name: &str| {
        let value = match name {
            "ACME_TOKEN_SHA256" => "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
            "IMPACT_CAMPAIGN_ID" | "IMPACT_EVENT_TYPE_ID" | "DSP_ADVERTISER_ID" => "12345",
            "SCALEO_DOMAIN" => "track.example.com",
            "DSP_ENDPOINT" => "https://px.dsp.example/signal/v1/conversion",
            _ => "a-credential-of-some-length",
        };
        Some(value.to_owned())
    };
    let source = Source {
        path: "routes.toml".into(),
        text: include_str!("../../routes.toml").to_owned(),
        environment: &environment,
        sets: &[("destination.impact.vars.encoding".to_owned(), encoding.to_owned())],
    };
    Config::load(source).map_err(|report| report.to_string().into())
}

/// What is measured, by name.
type Part<'a> = (&'a str, Box<dyn Fn() + 'a>);

/// One conversion, and the five operations that it goes through.
struct Case<'c> {
    name: &'static str,
    body: &'static [u8],
    conversion: Conversion,
    meta: Meta,
    operations: Vec<&'c Operation>,
}

impl<'c> Case<'c> {
    fn new(name: &'static str, body: &'static [u8], config: &'c Config) -> Result<Self, Failed> {
        let conversion = parsed(body)?;
        let meta = Meta::new(ConversionId::new(1_779_798_896_250, [7; 10]), "acme".into(), None, &conversion);
        let scope = Scope { conversion: &conversion, meta: &meta };
        let mut operations = Vec::new();
        for name in FIVE {
            match config.destination(name).map(|destination| destination.decide(scope)) {
                Some(Decision::Send(operation)) => operations.push(operation),
                Some(Decision::Skipped(_) | Decision::Withheld(_) | Decision::Unsupported(_)) | None => {
                    return Err(format!("{name} does not take it").into());
                }
            }
        }
        Ok(Case { name, body, conversion, meta, operations })
    }

    fn rendered(&self, conversion: &Conversion) -> Vec<Request> {
        let scope = Scope { conversion, meta: &self.meta };
        self.operations.iter().filter_map(|operation| operation.request.render(scope, Secrets::Revealed).ok()).collect()
    }

    fn requests(&self) -> Vec<Request> {
        self.rendered(&self.conversion)
    }

    fn parse_and_map(&self) -> Option<Vec<Request>> {
        parsed(black_box(self.body)).ok().map(|conversion| self.rendered(&conversion))
    }

    /// The digests that the presets ask for, as hex text.
    fn hashes(&self) -> [String; 3] {
        let (email, phone) = (black_box("jane.doe@example.com"), black_box("14155552671"));
        [hex::encode(Sha1::digest(email)), hex::encode(Sha256::digest(email)), hex::encode(Sha256::digest(phone))]
    }

    fn criterion(&self, criterion: &mut Criterion, bodies: &Bodies<'_>) {
        let mut group = criterion.benchmark_group(self.name);
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
        group.bench_function("parse", |bencher| bencher.iter(|| parsed(black_box(self.body))));
        for (name, operation) in FIVE.iter().zip(&self.operations) {
            let scope = Scope { conversion: &self.conversion, meta: &self.meta };
            group.bench_function(*name, |bencher| bencher.iter(|| operation.request.render(scope, Secrets::Revealed)));
        }
        group.bench_function("five", |bencher| bencher.iter(|| self.requests()));
        group.bench_function("parse+five", |bencher| bencher.iter(|| self.parse_and_map()));
        group.bench_function("floor", |bencher| bencher.iter(|| floor::parse_and_write(black_box(self.body), bodies)));
        group.finish();
    }

    /// Every part in turn: the medians, and what each allocates.
    fn compared(&self, bodies: &Bodies<'_>) -> String {
        let mut parts: Vec<Part<'_>> = vec![
            ("parse", Box::new(|| drop(black_box(parsed(black_box(self.body)))))),
            ("five", Box::new(|| drop(black_box(self.requests())))),
        ];
        for (name, operation) in FIVE.iter().zip(&self.operations) {
            let scope = Scope { conversion: &self.conversion, meta: &self.meta };
            parts.push((name, Box::new(move || drop(black_box(operation.request.render(scope, Secrets::Revealed))))));
        }
        parts.push(("the hashes", Box::new(|| drop(black_box(self.hashes())))));
        parts.push(("floor parse", Box::new(|| drop(black_box(floor::parse(black_box(self.body)))))));
        parts.push(("floor five", Box::new(|| drop(black_box(bodies.write())))));
        parts.push(("parse+five", Box::new(|| drop(black_box(self.parse_and_map())))));
        parts.push(("floor", Box::new(|| drop(black_box(floor::parse_and_write(black_box(self.body), bodies))))));
        let mut rounds: Vec<Vec<f64>> = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            rounds.push(parts.iter().map(|(_, run)| nanoseconds(run)).collect());
        }
        let (ours, theirs) = (sizes(&self.requests()), bodies.write());
        let mut text = format!("\n{}: {} bytes in, bodies of {ours} bytes; ", self.name, self.body.len());
        text.push_str(&format!("floor {} bytes\n", theirs.iter().map(Vec::len).sum::<usize>()));
        for (part, (name, run)) in parts.iter().enumerate() {
            let time = median(rounds.iter().filter_map(|round| round.get(part).copied()));
            let AllocationInfo { count_total, bytes_total, .. } = allocation_counter::measure(run);
            text.push_str(&format!("  {name:12} {time:8.0} ns {count_total:5} allocations {bytes_total:7} bytes\n"));
        }
        let ratio = median(rounds.iter().filter_map(|round| match round.as_slice() {
            [.., ours, floor] => Some(ours / floor),
            _ => None,
        }));
        text.push_str(&format!("{}: ratio parse+five / floor = {ratio:.2} (budget {BUDGET:.2})", self.name));
        text
    }
}

fn parsed(body: &[u8]) -> Result<Conversion, Failed> {
    Conversion::parse(body, "evt-generated").map_err(|refusal| format!("{refusal:?}").into())
}

fn sizes(requests: &[Request]) -> usize {
    requests.iter().map(|request| request.body.len()).sum()
}

/// Of one run, over [`RUNS`].
#[expect(clippy::disallowed_methods, reason = "what a bench measures is real time")]
fn nanoseconds(run: &dyn Fn()) -> f64 {
    let begun = Instant::now();
    for _ in 0..RUNS {
        run();
    }
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(RUNS)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
