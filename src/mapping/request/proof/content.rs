//! What a value is: its type, its words, its length, its decimals and what it tells of a person, against the contract.

use super::Proof;
use crate::conversion::nearest;
use crate::mapping::check::content::{self, Hashed, Origin};
use crate::mapping::check::digest::{self, Form};
use crate::mapping::check::facts::Known;
use crate::mapping::request::Over;
use crate::mapping::request::digest::Digests;
use crate::mapping::request::field::{Field, Limit};
use crate::mapping::request::outputs::{OutputKind, OutputSource, Pii};
use crate::mapping::request::reach::Extent;
use crate::mapping::types::{Base, Ty};
use crate::mapping::{Expression, OutType};

impl Proof<'_> {
    /// What is wrong with one expression by what its output says of type, words, length and decimals.
    pub(super) fn content(&self, output: &OutputSource, extent: Extent, expression: &Expression) -> Option<Wrong> {
        let nothing = Known::nothing();
        let known = self.known.as_ref().unwrap_or(&nothing);
        let words = content::words(expression.node(), known);
        let words_seen = Words {
            some: content::some_words(expression.node(), known),
            literals: content::literals(expression.node()),
            are_all: words.is_some(),
        };
        // The type of an array is not that of its entries.
        let ty = || (extent == Extent::Whole).then(|| self.ty(output, expression, words.as_deref())).flatten();
        ty().or_else(|| decimals(output, expression))
            .or_else(|| word(output, &words_seen))
            .or_else(|| form(output, expression))
            .or_else(|| length(output, expression, &words_seen))
    }

    /// Whether a value that is there can be left out all the same, as one that is too long or not taken.
    pub(super) fn may_be_left_out(&self, field: &Field) -> bool {
        if field.expression.blank().is_some() {
            return false;
        }
        let node = field.expression.node();
        let nothing = Known::nothing();
        let words = content::words(node, self.known.as_ref().unwrap_or(&nothing));
        let all = |fits: &dyn Fn(&str) -> bool| words.as_ref().is_some_and(|words| words.iter().all(|word| fits(word)));
        let is_taken = match field.among.as_deref() {
            Some((among, Over::Omit)) => all(&|word| among.has_word(word)),
            Some((_, Over::Truncate | Over::Reject)) | None => true,
        };
        let fits = |limit: Limit| {
            content::chars_max(node).is_some_and(|most| most <= limit.chars_max)
                || all(&|word| word.chars().count() <= limit.chars_max)
        };
        let is_within = field.limit.filter(|limit| limit.over == Over::Omit).is_none_or(fits);
        !is_taken || !is_within
    }

    fn ty(&self, output: &OutputSource, expression: &Expression, words: Option<&[String]>) -> Option<Wrong> {
        let ty = expression.ty();
        let of_elements = output.target.value.ends_with("[]");
        // Around a scalar `[]` makes an array, and an array stands there as it is.
        let ty = if of_elements && ty.list { Ty::of(ty.base) } else { ty };
        let all = |fits: &dyn Fn(&str) -> bool| words.is_some_and(|words| words.iter().all(|word| fits(word)));
        let fits = match output.kind {
            OutputKind::Any => true,
            OutputKind::Array => ty.list || ty.is_json() || of_elements,
            OutputKind::Object => ty.is_json(),
            OutputKind::Text => ty.out() == OutType::Text || (self.is_flat() && !ty.list),
            OutputKind::Number => ty.is_number() || (self.is_flat() && all(&is_number)),
            OutputKind::Int => {
                let is_whole = ty.is_number() && content::decimals_max(expression.node()) == Some(0);
                ty == Ty::of(Base::Int)
                    || is_whole
                    || (self.is_flat() && all(&is_int))
                    || (ty.is_number() && all(&is_int))
            }
            OutputKind::Bool => {
                ty.out() == OutType::Bool
                    || ty.is_json()
                    || (self.is_flat() && all(&|word| matches!(word, "true" | "false")))
            }
        };
        let is_time = || content::is_written_time(expression.node());
        let remedy = match (output.kind, words) {
            (OutputKind::Int | OutputKind::Number, Some(_)) => "write the number itself, without quotes",
            (OutputKind::Int | OutputKind::Number, None) if !ty.list && is_time() => {
                "a time is a number by `| unix`, `| unix_ms` or `| unix_us`, in the place of what makes a text of it"
            }
            (kind, _) => remedy(kind, ty),
        };
        (!fits).then(|| (format!("is {}, and this is {ty}", output.kind.wanted()), remedy.to_owned()))
    }
}

/// What is wrong, to follow the field's name, and what would be right.
pub(super) type Wrong = (String, String);

fn remedy(kind: OutputKind, ty: Ty) -> &'static str {
    match (kind, ty.base) {
        (OutputKind::Array, _) => "write the target with `[]` after it, or name a list",
        (OutputKind::Object, _) => "name an object, such as one under `custom`, or set its members one by one",
        (OutputKind::Text, _) if ty.list => "`| join(',')` makes one text of it",
        (OutputKind::Text, Base::Json) => {
            "`| string` makes text of one value, `| json` of an object, `| join(',')` of a list"
        }
        (OutputKind::Text, Base::Bool) => "`| bool('yes', 'no')`, or `| string`",
        (OutputKind::Text, _) => "`| string` makes text of it",
        (OutputKind::Int, Base::Money) => {
            "`| minor_units` counts the currency's smallest unit, `| micros` millionths; `| decimal(0)` rounds"
        }
        (OutputKind::Int, Base::Timestamp) => "`| unix`, `| unix_ms` or `| unix_us`",
        (OutputKind::Int | OutputKind::Number, Base::Date) => "`| strftime('%Y%m%d') | int`",
        (OutputKind::Int, Base::Number) => "`| decimal(0)` rounds; `| int` takes what has no decimals",
        (OutputKind::Int, _) => "`| int`",
        (OutputKind::Number, Base::Timestamp) => "`| unix` or `| unix_ms`",
        (OutputKind::Number, _) => "`| number`",
        (OutputKind::Bool, _) => "`| lookup({yes: true, no: false})`",
        (OutputKind::Any, _) => "",
    }
}

fn is_number(word: &str) -> bool {
    crate::conversion::Money::parse(word).is_ok()
}

/// `1.0` and `1`, where a number stands.
fn is_same_amount(one: &str, other: &str, kind: OutputKind) -> bool {
    let amount = |text| crate::conversion::Money::parse(text).ok().map(crate::conversion::Money::decimal);
    matches!(kind, OutputKind::Number | OutputKind::Int) && amount(one).is_some_and(|one| amount(other) == Some(one))
}

fn is_int(word: &str) -> bool {
    word.parse::<i64>().is_ok()
}

fn decimals(output: &OutputSource, expression: &Expression) -> Option<Wrong> {
    let most = output.decimals_max?;
    if !expression.ty().is_number() {
        return None;
    }
    let fits = content::decimals_max(expression.node()).is_some_and(|decimals| decimals <= most);
    let message = format!("takes {most} decimals, and this may have more");
    (!fits).then(|| (message, format!("`| decimal_max({most})` rounds what has more, half away from zero")))
}

/// The words that a value can be.
struct Words {
    some: Vec<String>,
    /// Those of them that stand in the expression as alternatives of their own.
    literals: Vec<String>,
    /// It can be nothing else.
    are_all: bool,
}

impl Words {
    /// The first that does not fit where it should. What is left out may be a word of the schema or of a lookup, but no
    /// literal, and not all that it can be: such a line would never send it.
    fn unfit(&self, over: Over, fits: impl Fn(&String) -> bool) -> Option<&String> {
        let unfit = self.some.iter().find(|word| !fits(word))?;
        match over {
            Over::Omit if self.are_all && !self.some.iter().any(&fits) => Some(unfit),
            Over::Omit => self.literals.iter().find(|word| !fits(word)),
            Over::Truncate | Over::Reject => Some(unfit),
        }
    }
}

fn word(output: &OutputSource, words: &Words) -> Option<Wrong> {
    let values = &output.values;
    if values.is_empty() {
        return None;
    }
    let is_taken = |word: &String| values.iter().any(|value| value == word || is_same_amount(value, word, output.kind));
    let wrong = words.unfit(output.over, is_taken)?;
    let listed = values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    let help = nearest(wrong, values.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
    let help = help.unwrap_or_else(|| {
        let can_be_left_out = !words.literals.contains(wrong) && output.over != Over::Omit;
        let omit = if can_be_left_out { "; `over = \"omit\"` leaves out those that are not taken" } else { "" };
        format!("`| lookup({{…}})` turns one word into another{omit}")
    });
    Some((format!("is one of {listed}, and this can be `{wrong}`"), help))
}

/// No conversion has any of the values that are taken.
fn form(output: &OutputSource, expression: &Expression) -> Option<Wrong> {
    let wrong = content::never_one_of(expression.node(), &output.values)?;
    let listed = output.values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    let help = "`| lower` brings it to lower case, `| lookup({…})` turns one word into another";
    Some((format!("is one of {listed}, and {wrong}"), help.to_owned()))
}

fn length(output: &OutputSource, expression: &Expression, words: &Words) -> Option<Wrong> {
    let most = output.chars_max?;
    if expression.ty().out() != OutType::Text {
        return None;
    }
    if let Some(word) = words.unfit(output.over, |word| word.chars().count() <= most) {
        return Some((format!("takes {most} characters, and `{word}` has more"), "write a shorter one".to_owned()));
    }
    let least = content::chars_min(expression.node());
    (least > most).then(|| {
        let help =
            "write it shorter: in another format, or with `| truncate(…)` where the destination says so".to_owned();
        (format!("takes {most} characters, and this has at least {least}"), help)
    })
}

/// What is wrong with it by what the output says of a person's data.
pub(super) fn personal(output: &OutputSource, expression: &Expression) -> Option<Wrong> {
    let origins = content::origins(expression.node());
    let wrong = origins.iter().find_map(|origin| match &output.pii {
        Pii::Unsaid => None,
        Pii::Forbidden => forbidden(origin),
        Pii::Plain => plain(origin),
        Pii::Hashed(algorithms) => hashed(origin, algorithms),
    });
    match &output.pii {
        Pii::Hashed(algorithms) => wrong.or_else(|| unlike_a_digest(expression, algorithms)),
        Pii::Unsaid | Pii::Forbidden | Pii::Plain => wrong,
    }
}

/// What leaves a hashed field in another form than a hash has.
fn unlike_a_digest(expression: &Expression, algorithms: &[String]) -> Option<Wrong> {
    let forms = digest::forms(expression.node());
    let digests = Digests::new(algorithms, &forms);
    forms.iter().find_map(|form| match form {
        Form::Altered => {
            let message = format!("is {}, and what follows the hash makes something else of it", wanted(algorithms));
            Some((message, "change the text before it is hashed: `customer.id | lower | sha256`".to_owned()))
        }
        Form::Word(word) if !digests.has(word) => {
            let message = format!("is {}, and `{word}` is no digest", wanted(algorithms));
            Some((message, format!("a digest is written as {}, or made by a filter", digests.wanted())))
        }
        Form::Word(_) | Form::Digest { .. } | Form::Respelled { .. } | Form::Unseen => None,
    })
}

fn wanted(algorithms: &[String]) -> String {
    if algorithms.is_empty() { "hashed".to_owned() } else { format!("hashed ({})", algorithms.join(" or ")) }
}

fn forbidden(origin: &Origin) -> Option<Wrong> {
    (origin.personal && !origin.free && origin.hashed.is_none()).then(|| {
        let message = format!("takes nothing that names a person, and `{}` does", origin.path);
        (message, "name an id, or hash it: `| trim | lower | sha256`".to_owned())
    })
}

fn plain(origin: &Origin) -> Option<Wrong> {
    let hashed = origin.hashed?;
    let message = format!("is sent as it is, and `{}` is hashed ({})", origin.path, hashed.name());
    Some((message, "name the plain field, or leave this one out".to_owned()))
}

fn hashed(origin: &Origin, algorithms: &[String]) -> Option<Wrong> {
    let wanted = wanted(algorithms);
    let filter = algorithms.first().map_or("sha256", String::as_str);
    match origin.hashed {
        None if origin.free => None,
        None => {
            let lower = if origin.email { "trim | lower | " } else { "" };
            Some((
                format!("is {wanted}, and `{}` is plain", origin.path),
                format!("`{} | {lower}{filter}`", origin.path),
            ))
        }
        Some(hashed) if !algorithms.is_empty() && !algorithms.iter().any(|known| known == hashed.name()) => {
            let message = format!("is {wanted}, and `{}` is hashed with {}", origin.path, hashed.name());
            Some((message, format!("hash the plain field with `{filter}`, or leave this alternative out")))
        }
        // Two spellings of one address would be two people.
        Some(Hashed::By(_)) if origin.email && !origin.lowered => {
            let message = format!("is {wanted}, and `{}` is hashed as it was typed", origin.path);
            Some((
                message,
                format!("`{} | trim | lower | {filter}`: addresses are compared in lower case", origin.path),
            ))
        }
        Some(_) => None,
    }
}
