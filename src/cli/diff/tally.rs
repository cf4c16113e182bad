//! What changes at one destination: how often, and one example of each kind of change. A kind is the set of places that
//! change, indices of arrays and numbers of items aside.

use std::collections::HashMap;
use std::fmt;

use serde_json::{Value, json};

use crate::cli::output;
use crate::config::{Difference, Place};

/// What becomes of one conversion at one destination under the new routes.
#[derive(Debug)]
pub(super) enum Change {
    /// The same.
    Same,
    /// Another request.
    Changed(Vec<Difference>),
    /// A request where there was none: for this reason.
    NewlySent(String),
    /// No request any more: for this reason.
    NoLongerSent(String),
    /// Nothing is sent, as before, for another reason.
    Reason { old: String, new: String },
}

/// How often, by kind.
#[derive(Debug, Default)]
pub(super) struct Tally {
    same: u64,
    changed: u64,
    newly_sent: u64,
    no_longer_sent: u64,
    reason_changed: u64,
    kinds: HashMap<Vec<String>, Kind>,
    /// Changes of further kinds, which are not kept apart.
    further: u64,
}

/// One kind of change and its first example.
#[derive(Debug)]
struct Kind {
    count: u64,
    line: u64,
    change: Change,
}

impl Change {
    /// Of two requests that differ in these places.
    pub(super) fn of(differences: Vec<Difference>) -> Change {
        if differences.is_empty() { Change::Same } else { Change::Changed(differences) }
    }

    /// What makes two changes one kind.
    fn kind(&self) -> Vec<String> {
        let mut kind = vec![self.word().to_owned()];
        match self {
            Change::Same => {}
            Change::Changed(differences) => kind.extend(places(differences)),
            Change::NewlySent(reason) | Change::NoLongerSent(reason) => kind.push(reason.clone()),
            Change::Reason { old, new } => kind.extend([old.clone(), new.clone()]),
        }
        kind
    }

    fn word(&self) -> &'static str {
        match self {
            Change::Same => "same",
            Change::Changed(_) => "changed",
            Change::NewlySent(_) => "newly_sent",
            Change::NoLongerSent(_) => "no_longer_sent",
            Change::Reason { .. } => "reason_changed",
        }
    }
}

impl Tally {
    /// Counts what becomes of the conversion in this line.
    pub(super) fn count(&mut self, line: u64, change: Change) {
        let place = match change {
            Change::Same => &mut self.same,
            Change::Changed(_) => &mut self.changed,
            Change::NewlySent(_) => &mut self.newly_sent,
            Change::NoLongerSent(_) => &mut self.no_longer_sent,
            Change::Reason { .. } => &mut self.reason_changed,
        };
        *place = place.saturating_add(1);
        if matches!(change, Change::Same) {
            return;
        }
        let key = change.kind();
        if let Some(kind) = self.kinds.get_mut(&key) {
            kind.count = kind.count.saturating_add(1);
        } else if self.kinds.len() < KINDS_MAX {
            self.kinds.insert(key, Kind { count: 1, line, change });
        } else {
            self.further = self.further.saturating_add(1);
        }
    }

    /// Whether nothing changes.
    pub(super) fn is_same(&self) -> bool {
        self.kinds.is_empty()
    }

    pub(super) fn to_json(&self) -> Value {
        let kinds: Vec<Value> = self
            .sorted()
            .into_iter()
            .map(|kind| {
                let (old, new, differences) = match &kind.change {
                    Change::Same => (None, None, Vec::new()),
                    Change::Changed(differences) => (None, None, differences.iter().map(difference).collect()),
                    Change::NewlySent(reason) => (Some(reason), None, Vec::new()),
                    Change::NoLongerSent(reason) => (None, Some(reason), Vec::new()),
                    Change::Reason { old, new } => (Some(old), Some(new), Vec::new()),
                };
                json!({
                    "change": kind.change.word(),
                    "count": kind.count,
                    "line": kind.line,
                    "old": old,
                    "new": new,
                    "differences": differences,
                })
            })
            .collect();
        json!({
            "same": self.same,
            "changed": self.changed,
            "newly_sent": self.newly_sent,
            "no_longer_sent": self.no_longer_sent,
            "reason_changed": self.reason_changed,
            "kinds": kinds,
            "of_further_kinds": self.further,
        })
    }

    /// The most frequent first.
    fn sorted(&self) -> Vec<&Kind> {
        let mut kinds: Vec<&Kind> = self.kinds.values().collect();
        kinds.sort_by_key(|kind| (std::cmp::Reverse(kind.count), kind.line));
        kinds
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} same", self.same)?;
        for (count, word) in [
            (self.changed, "changed"),
            (self.newly_sent, "newly sent"),
            (self.no_longer_sent, "no longer sent"),
            (self.reason_changed, "not sent for another reason"),
        ] {
            if count > 0 {
                write!(f, ", {count} {word}")?;
            }
        }
        for kind in self.sorted() {
            write!(f, "\n  {} × ", kind.count)?;
            match &kind.change {
                Change::Same => {}
                Change::NewlySent(reason) => write!(f, "newly sent, line {}: {}", kind.line, shown(reason))?,
                Change::NoLongerSent(reason) => write!(f, "no longer sent, line {}: {}", kind.line, shown(reason))?,
                Change::Reason { old, new } => {
                    write!(f, "not sent, line {}: {} → {}", kind.line, shown(old), shown(new))?;
                }
                Change::Changed(differences) => {
                    write!(f, "changed, line {}:", kind.line)?;
                    for Difference { place, expected, got } in differences {
                        let side = |value: &Option<String>| value.as_deref().map_or("nothing".to_owned(), shown);
                        write!(f, "\n      {place}: {} → {}", side(expected), side(got))?;
                    }
                }
            }
        }
        if self.further > 0 {
            write!(f, "\n  {} × changes of further kinds", self.further)?;
        }
        Ok(())
    }
}

fn shown(text: &str) -> String {
    output::cut(text, SHOWN_CHARS_MAX)
}

fn difference(difference: &Difference) -> Value {
    let Difference { place, expected, got } = difference;
    json!({"part": place.part(), "path": place.path(), "old": expected, "new": got})
}

/// The set of places that change, and whether each comes, goes or becomes another value.
fn places(differences: &[Difference]) -> Vec<String> {
    let places: Vec<(String, char)> = differences
        .iter()
        .map(|difference| {
            let how = match (&difference.expected, &difference.got) {
                (None, _) => '+',
                (_, None) => '-',
                (Some(_), Some(_)) => '~',
            };
            (without_indices(&difference.place), how)
        })
        .collect();
    // `ItemSku1` and `ItemSku2` that change alike in one request are numbered over items.
    let mut numbered: HashMap<(String, char), usize> = HashMap::new();
    for (place, how) in &places {
        let count = numbered.entry((without_number(place), *how)).or_default();
        *count = count.saturating_add(1);
    }
    let mut set: Vec<String> = places
        .into_iter()
        .map(|(place, how)| {
            let common = without_number(&place);
            let alike = numbered.get(&(common.clone(), how)).is_some_and(|count| *count > 1);
            format!("{how}{}", if alike { common } else { place })
        })
        .collect();
    set.sort_unstable();
    set.dedup();
    set
}

/// `items[3].sku` as `items[].sku`.
fn without_indices(place: &Place) -> String {
    let mut text = String::new();
    let mut rest = place.path();
    while let Some((before, after)) = rest.split_once('[') {
        text.push_str(before);
        text.push('[');
        let digits = after.len().saturating_sub(after.trim_start_matches(|c: char| c.is_ascii_digit()).len());
        rest = if after.get(digits..).is_some_and(|rest| rest.starts_with(']')) {
            after.get(digits..).unwrap_or_default()
        } else {
            after
        };
    }
    text.push_str(rest);
    format!("{} {text}", place.part())
}

/// `ItemText3_1` as `ItemText{i}_1`.
fn without_number(place: &str) -> String {
    let Some(start) = place.find(|c: char| c.is_ascii_digit()) else { return place.to_owned() };
    let (before, number_on) = place.split_at(start);
    format!("{before}{{i}}{}", number_on.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// Kinds that are kept apart with an example each: more than anybody reads, and memory that does not grow with the file.
const KINDS_MAX: usize = 100;
/// A report stays readable; `--json` shows the whole.
const SHOWN_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(paths: &[&str]) -> Change {
        let difference = |path: &&str| Difference {
            place: Place::Body((*path).to_owned()),
            expected: Some("1".to_owned()),
            got: Some("2".to_owned()),
        };
        Change::of(paths.iter().map(difference).collect())
    }

    #[test]
    fn a_kind_is_the_set_of_places_whatever_the_index_or_the_items_number() {
        #[track_caller]
        fn check(a: &[&str], b: &[&str], same: bool) {
            assert_eq!(changed(a).kind() == changed(b).kind(), same, "{a:?} and {b:?}");
        }
        check(&["a", "b"], &["b", "a"], true);
        check(&["a"], &["b"], false);
        check(&["items[0].sku"], &["items[1].sku", "items[7].sku"], true);
        check(&["ItemSku1", "ItemSku2"], &["ItemSku1", "ItemSku2", "ItemSku3"], true);
        check(&["Text1"], &["Text2"], false);
        check(&["['a[b']"], &["['a[c']"], false);
        check(&["a"], &["a", "b"], false);
    }

    #[test]
    fn kinds_beyond_the_limit_are_counted_and_not_kept() {
        let mut tally = Tally::default();
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
        let pairs = names.iter().flat_map(|one| names.iter().map(move |two| format!("{one}.{two}")));
        for (line, path) in (1_u64..).zip(pairs) {
            tally.count(line, changed(&[&path]));
        }
        tally.count(500, changed(&["a.a"]));
        tally.count(501, Change::Same);
        let json = tally.to_json();
        assert_eq!((&json["changed"], &json["of_further_kinds"]), (&json!(122), &json!(21)));
        assert_eq!(json["kinds"].as_array().unwrap().len(), KINDS_MAX);
        assert_eq!(json["kinds"][0]["line"], 1, "the most frequent comes first");
        assert_eq!(json["same"], 1);
    }
}
