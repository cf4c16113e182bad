//! What is asked of a mutant beside conversions and answers: what its contract takes in the place of a field's own line, and
//! what a destination is told that lacks a var or a secret, or gives another.

use super::mutants::Mutant;
use super::scan::{Piece, Sort, pieces};
use super::study::BESIDE;

/// Keys of destinations that lay something over what the mutant changes: other expressions in the place of a field whose
/// contract it is, another encoding, another `when`.
pub(super) fn probes(text: &str, mutant: &Mutant) -> Vec<String> {
    let pieces = pieces(text);
    let path: Vec<&str> = mutant.path.iter().map(String::as_str).collect();
    let (operation, own) = match path.as_slice() {
        ["operation", operation, own @ ..] => (Some(*operation), own),
        own => (None, own),
    };
    let above = &mutant.path[..mutant.path.len() - own.len()];
    let over = |lines: &str| match operation {
        None => format!("{BESIDE}{lines}\n"),
        Some(name) => format!("{BESIDE}[destination.studied.operation.{name}]\n{lines}\n"),
    };
    match own {
        ["map", ..] | ["when"] => ["when = \"\"", "when = \"order_id\"", AS_JSON].map(over).into(),
        ["outputs"] => {
            let outputs = pieces
                .iter()
                .map(|piece| &piece.path)
                .find(|path| path.len() == mutant.path.len() + 1 && path.starts_with(&mutant.path));
            let first = outputs.map_or(&mutant.path, |path| path);
            let lines = Contract::of(text, &pieces, first).lines(&first[first.len() - 1]);
            lines.iter().map(|lines| over(lines)).collect()
        }
        ["outputs", target, ..] => {
            let contract = Contract::of(text, &pieces, &[above, &[own[0].to_owned(), (*target).to_owned()]].concat());
            let lines = numbered(target).into_iter().flat_map(|target| contract.lines(&target));
            lines.map(|lines| over(&lines)).collect()
        }
        ["needs", ..] => Vec::new(),
        [_] => {
            let map = [above, &["map".to_owned()]].concat();
            let slot = pieces.iter().filter_map(|piece| piece.path.split_last()).find(|(_, path)| **path == map);
            let slot = slot.map(|(slot, _)| slot.as_str()).unwrap_or_default();
            vec![
                over("body = \"none\""),
                over(AS_JSON),
                over("body = \"json\""),
                over(&format!("idempotency = \"map.{slot}\"")),
                format!("{BESIDE}on_ambiguous = \"dead_letter\"\n"),
            ]
        }
        _ => Vec::new(),
    }
}

/// A series by its ends, and by what would be beyond them.
fn numbered(target: &str) -> Vec<String> {
    let range = target.split_once("..").and_then(|(before, after)| {
        let (name, first) = before.rsplit_once('{')?;
        let (last, rest) = after.split_once('}')?;
        Some((name, first.parse::<u32>().ok()?, last.parse::<u32>().ok()?, rest))
    });
    match range {
        None => vec![target.to_owned()],
        Some((name, first, last, rest)) => {
            [first, last, last + 1, first - 1].map(|number| format!("{name}{number}{rest}")).into()
        }
    }
}

/// What the preset as it is says of a field.
struct Contract {
    chars_max: Option<usize>,
    scale: Option<usize>,
    values: Vec<String>,
    /// Other fields of the same list's entries, each with something that it takes.
    beside: Vec<(String, String)>,
    /// Fields within it.
    below: Vec<String>,
}

impl Contract {
    fn of(text: &str, pieces: &[Piece], path: &[String]) -> Contract {
        let values = |path: &[String], key: &str| -> Vec<String> {
            let is_it = |piece: &&Piece| {
                piece.sort != Sort::Key
                    && piece.path.split_last().is_some_and(|(own, above)| own == key && above == path)
            };
            pieces.iter().filter(is_it).map(|piece| text[piece.at.clone()].to_owned()).collect()
        };
        let number = |key: &str| values(path, key).first().and_then(|number| number.parse().ok());
        let mut contract = Contract {
            chars_max: number("max_length"),
            scale: number("scale"),
            values: values(path, "values"),
            beside: Vec::new(),
            below: Vec::new(),
        };
        let (target, outputs) = path.split_last().unwrap();
        let list = target.split_once("[].");
        for piece in pieces.iter().filter(|piece| piece.sort == Sort::Key && piece.path.len() == path.len()) {
            let Some((other, _)) = piece.path.split_last().filter(|(_, above)| *above == outputs) else { continue };
            if other.strip_prefix(target.as_str()).is_some_and(|rest| rest.starts_with('.')) {
                contract.below.push(other.clone());
            }
            let Some((list, own)) = list else { continue };
            if let Some((_, field)) = other.split_once("[].").filter(|(of, field)| *of == list && *field != own) {
                let word = values(&piece.path, "values").first().cloned().unwrap_or_else(|| "w".to_owned());
                contract.beside.push((field.to_owned(), format!("'{word}'")));
            }
        }
        contract
    }

    /// Lines of a destination that put something else into a field.
    fn lines(&self, target: &str) -> Vec<String> {
        let removed: String = self.below.iter().map(|below| format!("map.\"{below}\" = \"\"\n")).collect();
        let line = |expression: &String| match target.split_once("[].") {
            None => format!("{removed}map.\"{target}\" = \"{expression}\""),
            Some((list, field)) => {
                let others: String =
                    self.beside.iter().map(|(name, value)| format!(", {name} = \"{value}\"")).collect();
                format!("map.{list} = [{{ {field} = \"{expression}\"{others} }}]")
            }
        };
        let lines: Vec<String> = self.expressions(target.contains("{i")).iter().map(line).collect();
        let untyped =
            if target.contains("{i") { ["item.quantity", "item.custom.probe !"] } else { ["12", "custom.probe !"] };
        let as_json = untyped.map(|expression| format!("{AS_JSON}\n{}", line(&expression.to_owned())));
        lines.into_iter().chain(as_json).chain(["require_any = []".to_owned()]).collect()
    }

    /// A contract that says something else takes others of these.
    fn expressions(&self, of_item: bool) -> Vec<String> {
        let limit = self.chars_max.unwrap_or(300);
        let decimals = self.scale.unwrap_or(6);
        let letters = |chars: usize| format!("'{}'", "x".repeat(chars));
        let texts = std::iter::once("'w'".to_owned()).chain([limit - 1, limit, limit + 1].map(letters));
        let plain = ["email", "email_sha256", "email_sha1", "email | md5", "email | sha512", "id"]
            .map(|name| format!("customer.{name}"));
        let numbers = [decimals, decimals + 1].map(|digits| format!("0.{}", "1".repeat(digits)));
        let numbers = ["12", "1.5", "value"].map(str::to_owned).into_iter().chain(numbers);
        // A line of an item names something of it.
        let within = |path: &'static str| {
            move |expression: String| if of_item { format!("{path} ?? {expression}") } else { expression }
        };
        let free = if of_item { "item.custom.probe" } else { "custom.probe" };
        let free = [
            format!("{free} | string"),
            format!("{free} | string !"),
            free.to_owned(),
            format!("{free} !"),
            String::new(),
            "true".to_owned(),
            "custom".to_owned(),
        ];
        let words = self.values.iter().map(|word| format!("'{word}'")).map(within("item.mpn"));
        let found = texts.chain(plain).map(within("item.mpn")).chain(numbers.map(within("item.quantity")));
        found.chain(free).chain(["items[].sku".to_owned()]).chain(words).collect()
    }
}

/// Keys of destinations that lack the var or secret that the mutant changes, or give another.
pub(super) fn demands(text: &str, mutant: &Mutant, keys: &str) -> Vec<String> {
    let path: Vec<&str> = mutant.path.iter().map(String::as_str).collect();
    let ["needs", below @ ..] = path.as_slice() else { return Vec::new() };
    let mut demands = vec![String::new()];
    if let ["vars", var, ..] = below {
        let own = format!("vars.{var} ");
        let without: String =
            keys.lines().filter(|line| !line.starts_with(&own)).map(|line| format!("{line}\n")).collect();
        let values = pieces(text).into_iter().filter(|piece| {
            piece.sort == Sort::Text && matches!(piece.path.as_slice(), [.., of, key] if of == var && key == "values")
        });
        let words = values.map(|piece| format!("\"{}\"", &text[piece.at]));
        for value in ["\"word\"", "7", "true", "\"\""].map(str::to_owned).into_iter().chain(words) {
            demands.push(format!("{without}vars.{var} = {value}\n"));
        }
        demands.push(without);
    }
    demands
}

/// A text of a query or a form is a text whatever it is made of; in JSON it shows.
const AS_JSON: &str = "method = \"POST\"\nbody = \"json\"";
