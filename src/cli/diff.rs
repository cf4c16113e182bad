//! `diff OLD NEW --conversions FILE`: what another routes file would change on the wire, over real conversions. Nothing is
//! sent; secrets are compared and never shown; memory does not grow with the file.

mod lines;
mod tally;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use self::lines::{Line, Lines};
use self::tally::{Change, Tally};
use super::{ConfigurationArgs, DONE, NO, ReadingArgs, output, settings};
use crate::config::{Config, Destination, Merchant, Rendering, Sample, changes};
use crate::mapping::Secrets;

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The routes file as it is
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The routes file as it would be
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Conversions, one JSON object a line; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    conversions: String,
    /// One destination; may be repeated [default: all]
    #[arg(short, long = "destination", value_name = "NAME")]
    destinations: Vec<String>,
    /// Who sends them: only that merchant's destinations [default: the first merchant of OLD, all destinations]
    #[arg(long, value_name = "NAME")]
    merchant: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: ReadingArgs,
}

/// A destination in both files, or in one of them.
struct Pair<'c> {
    old: Option<&'c Destination>,
    new: Option<&'c Destination>,
    tally: Tally,
}

/// A line that is no conversion.
struct BadLine {
    number: u64,
    reason: String,
}

/// What the whole comparison came to.
struct Comparison<'c> {
    conversions: u64,
    bad: u64,
    /// The first of them.
    bad_lines: Vec<BadLine>,
    pairs: Vec<Pair<'c>>,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &DiffArgs) -> u8 {
    match diff(configuration, args) {
        Ok(true) => DONE,
        Ok(false) => NO,
        Err(error) => {
            output::error(&error);
            NO
        }
    }
}

/// Whether every line was compared and nothing changes.
fn diff(configuration: &ConfigurationArgs, args: &DiffArgs) -> Result<bool, String> {
    let old = settings::read(&args.old, configuration, &args.reading)?;
    let new = settings::read(&args.new, configuration, &args.reading)?;
    let merchants = match &args.merchant {
        None => None,
        Some(name) => Some((settings::merchant(&old, name)?, settings::merchant(&new, name)?)),
    };
    let sender = match merchants {
        Some((merchant, _)) => &*merchant.name,
        None => old.merchants.first().map_or("", |merchant| &*merchant.name),
    };
    let pairs = chosen(pairs(&old, &new, merchants), &args.destinations)?;
    let comparison = compare(open(&args.conversions)?, pairs, sender)
        .map_err(|error| format!("cannot read {}: {error}", args.conversions))?;
    if args.json {
        output::line(&format!("{:#}", as_json(&comparison)));
    } else {
        output::line(&page(&comparison));
    }
    let same = comparison.pairs.iter().all(|pair| pair.tally.is_same());
    Ok(same && comparison.bad == 0 && comparison.conversions > 0)
}

fn open(file: &str) -> Result<Box<dyn BufRead>, String> {
    if file == "-" {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let file = std::fs::File::open(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    Ok(Box::new(BufReader::new(file)))
}

/// The destinations of both files by name, in the order of OLD and then of NEW. One that is gone and one that is new are
/// taken for the same under another name where they have the same preset, or both none, and no other could be meant.
fn pairs<'c>(old: &'c Config, new: &'c Config, merchants: Option<(&Merchant, &Merchant)>) -> Vec<Pair<'c>> {
    let routed = |config: &'c Config, merchant: Option<&Merchant>| -> Vec<&'c Destination> {
        let sends = |destination: &&Arc<Destination>| merchant.is_none_or(|one| one.sends_to(&destination.name));
        config.destinations.iter().filter(sends).map(|destination| &**destination).collect()
    };
    let (old, new) = (routed(old, merchants.map(|(old, _)| old)), routed(new, merchants.map(|(_, new)| new)));
    let in_both = |one: &Destination, others: &[&'c Destination]| others.iter().any(|other| other.name == one.name);
    let gone: Vec<&Destination> = old.iter().copied().filter(|one| !in_both(one, &new)).collect();
    let added: Vec<&Destination> = new.iter().copied().filter(|one| !in_both(one, &old)).collect();
    let alone = |one: &Destination, among: &[&'c Destination]| {
        let mut alike = among.iter().copied().filter(|other| other.preset == one.preset);
        alike.next().filter(|_| alike.next().is_none())
    };
    let renamed = |one: &Destination| alone(one, &gone).and_then(|_| alone(one, &added));
    let mut pairs: Vec<Pair<'c>> = old
        .iter()
        .map(|one| {
            let same = new.iter().copied().find(|other| other.name == one.name);
            Pair { old: Some(one), new: same.or_else(|| renamed(one)), tally: Tally::default() }
        })
        .collect();
    for one in added {
        if !pairs.iter().any(|pair| pair.new.is_some_and(|other| other.name == one.name)) {
            pairs.push(Pair { old: None, new: Some(one), tally: Tally::default() });
        }
    }
    pairs
}

fn chosen<'c>(pairs: Vec<Pair<'c>>, names: &[String]) -> Result<Vec<Pair<'c>>, String> {
    let is = |pair: &Pair<'_>, name: &str| pair.sides().any(|side| side.name.as_str() == name);
    if let Some(unknown) = names.iter().find(|name| !pairs.iter().any(|pair| is(pair, name))) {
        let known: Vec<String> = pairs.iter().map(Pair::title).collect();
        return Err(format!("there is no destination `{unknown}`; there are: {}", known.join(", ")));
    }
    Ok(pairs.into_iter().filter(|pair| names.is_empty() || names.iter().any(|name| is(pair, name))).collect())
}

fn compare<'c>(file: Box<dyn BufRead>, pairs: Vec<Pair<'c>>, sender: &str) -> std::io::Result<Comparison<'c>> {
    let mut comparison = Comparison { conversions: 0, bad: 0, bad_lines: Vec::new(), pairs };
    let mut lines = Lines::new(file);
    while let Some((number, line)) = lines.next()? {
        let sample = match line {
            Line::Blank => continue,
            Line::Long => Err(lines::too_long()),
            Line::Text(text) => Sample::parse(text).map_err(|error| error.to_string()),
        };
        match sample {
            Ok(sample) => {
                comparison.conversions = comparison.conversions.saturating_add(1);
                for pair in &mut comparison.pairs {
                    let change = pair.change(&sample, sender);
                    pair.tally.count(number, change);
                }
            }
            Err(reason) => {
                comparison.bad = comparison.bad.saturating_add(1);
                if comparison.bad_lines.len() < BAD_LINES_MAX {
                    comparison.bad_lines.push(BadLine { number, reason });
                }
            }
        }
    }
    Ok(comparison)
}

impl<'c> Pair<'c> {
    fn sides(&self) -> impl Iterator<Item = &'c Destination> {
        self.old.into_iter().chain(self.new)
    }

    fn title(&self) -> String {
        match (self.old, self.new) {
            (Some(old), Some(new)) if old.name == new.name => old.name.to_string(),
            (Some(old), Some(new)) => format!("{} → {} (taken as renamed)", old.name, new.name),
            (Some(old), None) => format!("{} (removed)", old.name),
            (None, Some(new)) => format!("{} (added)", new.name),
            (None, None) => String::new(),
        }
    }

    fn change(&self, sample: &Sample, sender: &str) -> Change {
        let at = |side: Option<&Destination>, secrets| side.map(|destination| sample.at(destination, sender, secrets));
        match (at(self.old, Secrets::Revealed), at(self.new, Secrets::Revealed)) {
            (Some(Rendering::Sent { request: old, .. }), Some(Rendering::Sent { request: new, .. })) => {
                if old == new {
                    return Change::Same;
                }
                let masked = (at(self.old, Secrets::Masked), at(self.new, Secrets::Masked));
                match masked {
                    (
                        Some(Rendering::Sent { request: old_masked, .. }),
                        Some(Rendering::Sent { request: new_masked, .. }),
                    ) => Change::of(changes(&old, &new, &old_masked, &new_masked)),
                    _ => Change::Same,
                }
            }
            (Some(Rendering::Sent { .. }), None) => Change::NoLongerSent(GONE.to_owned()),
            (Some(Rendering::Sent { .. }), Some(Rendering::Nothing { outcome, reason })) => {
                Change::NoLongerSent(format!("{outcome}: {reason}"))
            }
            (None, Some(Rendering::Sent { .. })) => Change::NewlySent(NEW.to_owned()),
            (Some(Rendering::Nothing { outcome, reason }), Some(Rendering::Sent { .. })) => {
                Change::NewlySent(format!("was {outcome}: {reason}"))
            }
            (
                Some(Rendering::Nothing { outcome, reason }),
                Some(Rendering::Nothing { outcome: new_outcome, reason: new_reason }),
            ) if (outcome, &reason) != (new_outcome, &new_reason) => {
                Change::Reason { old: format!("{outcome}: {reason}"), new: format!("{new_outcome}: {new_reason}") }
            }
            (Some(Rendering::Nothing { .. }) | None, Some(Rendering::Nothing { .. }) | None) => Change::Same,
        }
    }
}

fn page(comparison: &Comparison<'_>) -> String {
    let mut text = String::new();
    for pair in &comparison.pairs {
        text.push_str(&format!("{}: {}\n", pair.title(), pair.tally));
    }
    for bad in &comparison.bad_lines {
        text.push_str(&format!("line {}: {}\n", bad.number, bad.reason));
    }
    text.push_str(&format!("{} compared", output::counted(comparison.conversions, "conversion")));
    if comparison.bad > 0 {
        text.push_str(&format!(", {} could not be", output::counted(comparison.bad, "line")));
    }
    text
}

fn as_json(comparison: &Comparison<'_>) -> Value {
    let name = |side: Option<&Destination>| side.map(|destination| destination.name.as_str().to_owned());
    let destinations: Vec<Value> = comparison
        .pairs
        .iter()
        .map(|pair| {
            let mut one = json!({"old": name(pair.old), "new": name(pair.new)});
            if let (Value::Object(one), Value::Object(tally)) = (&mut one, pair.tally.to_json()) {
                one.extend(tally);
            }
            one
        })
        .collect();
    let bad: Vec<Value> =
        comparison.bad_lines.iter().map(|bad| json!({"line": bad.number, "reason": bad.reason})).collect();
    json!({"conversions": comparison.conversions, "bad": comparison.bad, "bad_lines": bad, "destinations": destinations})
}

const GONE: &str = "the destination is removed";
const NEW: &str = "the destination is new";

/// Lines that are no conversion, shown one by one; beyond it they are counted.
const BAD_LINES_MAX: usize = 20;
