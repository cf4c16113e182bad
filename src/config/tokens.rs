//! Digests of bearer tokens: one, or a few while a token is changed; those of the admin listener may have names.

use super::keys::{At, Keys, text};
use super::merchant::name;
use super::report::Faults;
use super::tree::{Node, Value};
use crate::mapping::Text;

/// The digests under `key`, each with its place; `None`: the key is not there.
pub(super) fn digests(keys: &mut Keys<'_>, key: &'static str, faults: &mut Faults) -> Option<Vec<At<[u8; 32]>>> {
    let texts = one_or_several(keys, key, TOKENS_MAX, CHANGING, faults)?;
    let digest = |text: &Text| digest(key, text, faults).map(|value| At { value, span: text.span.clone() });
    Some(texts.iter().filter_map(digest).collect())
}

/// A bearer token of the admin listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// Its SHA-256.
    pub digest: [u8; 32],
    /// Whose it is, for the audit log; `None`: nobody has said.
    pub name: Option<String>,
}

/// The same, or tables of them by name; `None`: the key is not there.
pub(super) fn admin_tokens(keys: &mut Keys<'_>, key: &'static str, faults: &mut Faults) -> Option<Vec<AdminToken>> {
    let node = &keys.entry(key)?.node;
    let Value::Table(table) = &node.value else {
        let digests = digests(keys, key, faults)?;
        return Some(digests.into_iter().map(|digest| AdminToken { digest: digest.value, name: None }).collect());
    };
    if table.entries.is_empty() || table.entries.len() > NAMES_MAX {
        faults.at(node.span.clone(), format!("`{key}` must hold 1 to {NAMES_MAX} names"));
    }
    let mut tokens: Vec<AdminToken> = Vec::new();
    for entry in &table.entries {
        name(&entry.key, "an operator", faults);
        let holder = &entry.key.value;
        for text in texts_of(key, &entry.node, TOKENS_MAX, CHANGING, faults) {
            let Some(digest) = digest(key, &text, faults) else { continue };
            if let Some(known) = tokens.iter().find(|known| known.digest == digest) {
                let other = known.name.as_deref().unwrap_or_default();
                let help = "a token tells people apart: make one for each";
                faults.with_help(text.span.clone(), format!("this token is already `{other}`'s"), help);
            }
            tokens.push(AdminToken { digest, name: Some(holder.clone()) });
        }
    }
    Some(tokens)
}

/// A text, or a list of 1 to `max`; `help` says what several are for.
pub(super) fn one_or_several(
    keys: &mut Keys<'_>,
    key: &'static str,
    max: usize,
    help: &str,
    faults: &mut Faults,
) -> Option<Vec<Text>> {
    Some(texts_of(key, &keys.entry(key)?.node, max, help, faults))
}

fn texts_of(key: &str, node: &Node, max: usize, help: &str, faults: &mut Faults) -> Vec<Text> {
    let Value::List(list) = &node.value else {
        return text(key, node, faults).cloned().into_iter().collect();
    };
    if list.is_empty() || list.len() > max {
        faults.with_help(node.span.clone(), format!("`{key}` must hold 1 to {max}"), help);
    }
    list.iter().filter_map(|item| text(key, item, faults).cloned()).collect()
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
const CHANGING: &str = "two at once are for changing a token: old and new";
/// A team, and what runs by itself.
const NAMES_MAX: usize = 64;
/// Two teams that each change theirs, old and new.
const TOKENS_MAX: usize = 4;
