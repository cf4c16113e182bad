//! How far it reaches what the contract says of a field. Of an array it says it of each entry, so `x[]`, `x[0]` and the
//! entries of a list in `x` are held to what `x` is; and what it says of a person holds of all that stands below, until a
//! field further down says otherwise. Targets of items, of elements and of lists are compared step by step: `ids[].em`
//! reaches `ids[0].em` and the part `em` of a list of tables in `ids`.

use std::collections::BTreeMap;

use super::outputs::{OutputSource, Pii};
use super::target::{Name, Step, Target};

/// The contract's fields, by the member of the body in which they stand: what it says of others reaches no value there.
pub(super) struct Contract<'o> {
    outputs: BTreeMap<Option<Name>, Vec<(Option<Target>, &'o OutputSource)>>,
}

/// What the contract says of one value.
#[derive(Clone, Copy)]
pub(super) struct Hold<'o> {
    /// Whoever says what it is, how long and which word.
    pub(super) own: Option<(Extent, &'o OutputSource)>,
    /// Whoever says what of a person it takes.
    pub(super) pii: Option<&'o OutputSource>,
}

/// How a value stands to the field that is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// It is the field.
    Whole,
    /// It is an entry of the field, or all of them.
    Entry,
    /// It stands somewhere below.
    Below,
}

/// How near an output is: declared by that very text, then the deeper one, then the one that names the element.
type Nearness = (bool, usize, usize);

impl<'o> Contract<'o> {
    pub(super) fn of(outputs: &'o [OutputSource]) -> Contract<'o> {
        let mut contract = Contract { outputs: BTreeMap::new() };
        for output in outputs {
            let target = Target::of(&output.target.value);
            contract.outputs.entry(member(target.as_ref())).or_default().push((target, output));
        }
        contract
    }

    /// What is said of the value at that place, as [`place_within`] writes it.
    pub(super) fn hold(&self, place: &str) -> Hold<'o> {
        let target = Target::of(place);
        let reaching: Vec<(Nearness, Extent, &'o OutputSource)> = self
            .outputs
            .get(&member(target.as_ref()))
            .into_iter()
            .flatten()
            .filter_map(|(declared, output)| {
                if output.target.value == place {
                    return Some(((true, 0, 0), Extent::Whole, *output));
                }
                let (extent, depth, same) = reach(declared.as_ref()?, target.as_ref()?)?;
                Some(((false, depth, same), extent, *output))
            })
            .collect();
        let own = reaching.iter().filter(|(_, extent, _)| *extent != Extent::Below).max_by_key(|(near, ..)| *near);
        let said = reaching.iter().filter(|(.., output)| output.pii != Pii::Unsaid).max_by_key(|(near, ..)| *near);
        Hold { own: own.map(|(_, extent, output)| (*extent, *output)), pii: said.map(|(.., output)| *output) }
    }
}

/// The member of the body in which it stands; `None` where the body is an array, or all of it is meant.
fn member(target: Option<&Target>) -> Option<Name> {
    match target?.steps.first()? {
        Step::Member(name) => Some(name.clone()),
        Step::Element(_) | Step::Each => None,
    }
}

/// Where a part of a list stands, that is named `ids.name` or `ids[0]` in the list `ids`: `ids[].name`, `ids[0]`.
pub(super) fn place_within(list: &str, part: &str) -> String {
    let rest = part.strip_prefix(list).unwrap_or_default();
    let between = if rest.starts_with('.') && !list.ends_with("[]") { "[]" } else { "" };
    format!("{list}{between}{rest}")
}

/// Whether what is said of `declared` reaches a value; with the steps that they share, and how many of them are the same.
fn reach(declared: &Target, value: &Target) -> Option<(Extent, usize, usize)> {
    if declared.is_spread {
        return None;
    }
    let shared = declared.steps.len().min(value.steps.len());
    let (above, further) = declared.steps.split_at_checked(shared)?;
    let (own, below) = value.steps.split_at_checked(shared)?;
    if !above.iter().zip(own).all(|(above, own)| is_alike(above, own)) {
        return None;
    }
    let is_bracket = |step: &Step| matches!(step, Step::Element(_) | Step::Each);
    let extent = match (further, below) {
        ([], []) if value.is_spread => Extent::Below,
        ([], []) => Extent::Whole,
        ([], below) if below.iter().all(is_bracket) && !value.is_spread => Extent::Entry,
        ([], _) => Extent::Below,
        (further, _) if further.iter().all(is_bracket) && !value.is_spread => Extent::Entry,
        _ => return None,
    };
    Some((extent, declared.steps.len(), above.iter().zip(own).filter(|(above, own)| above == own).count()))
}

/// `[]` is any element.
fn is_alike(one: &Step, other: &Step) -> bool {
    match (one, other) {
        (Step::Each, Step::Element(_)) | (Step::Element(_), Step::Each) => true,
        (one, other) => one == other,
    }
}
