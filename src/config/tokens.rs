//! Digests of bearer tokens: one, or a few while a token is changed.

use super::keys::{At, Keys, text};
use super::report::Faults;
use super::tree::Value;
use crate::mapping::Text;

/// The digests under `key`, each with its place; `None`: the key is not there.
pub(super) fn digests(keys: &mut Keys<'_>, key: &'static str, faults: &mut Faults) -> Option<Vec<At<[u8; 32]>>> {
    let texts = one_or_several(keys, key, TOKENS_MAX, "two at once are for changing a token: old and new", faults)?;
    let digest = |text: &Text| digest(key, text, faults).map(|value| At { value, span: text.span.clone() });
    Some(texts.iter().filter_map(digest).collect())
}

/// A text, or a list of 1 to `max`; `help` says what several are for.
pub(super) fn one_or_several(
    keys: &mut Keys<'_>,
    key: &'static str,
    max: usize,
    help: &str,
    faults: &mut Faults,
) -> Option<Vec<Text>> {
    let node = &keys.entry(key)?.node;
    let Value::List(list) = &node.value else {
        return Some(text(key, node, faults).cloned().into_iter().collect());
    };
    if list.is_empty() || list.len() > max {
        faults.with_help(node.span.clone(), format!("`{key}` must hold 1 to {max}"), help);
    }
    Some(list.iter().filter_map(|item| text(key, item, faults).cloned()).collect())
}

/// 64 hex digits.
fn digest(key: &str, text: &Text, faults: &mut Faults) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    match hex::decode_to_slice(&text.value, &mut digest) {
        Ok(()) => Some(digest),
        Err(_) => {
            faults.with_help(text.span.clone(), format!("`{key}` must be a SHA-256 in 64 hex digits"), TOKEN_HELP);
            None
        }
    }
}

pub(super) const TOKEN_HELP: &str = "`capi-relay token` makes a token and prints its SHA-256";
/// Two teams that each change theirs, old and new.
const TOKENS_MAX: usize = 4;
