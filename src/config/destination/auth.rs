//! `auth = { … }`: how a destination's requests prove who sends them.

use crate::config::keys::{Keys, text};
use crate::config::report::Faults;
use crate::config::tree::Entry;
use crate::mapping::{AuthSource, Text};

/// Reads `auth = { … }`: exactly one scheme, its credential from `secrets`, so that it is masked wherever it shows.
pub(super) fn auth(entry: &Entry, faults: &mut Faults) -> Option<AuthSource> {
    let mut keys = Keys::of(entry, faults)?;
    let bearer = keys.entry("bearer").and_then(|entry| text("bearer", &entry.node, faults).cloned());
    let basic = keys.entry("basic").and_then(|entry| two(entry, "user", "password", faults));
    let header = keys.entry("header").and_then(|entry| two(entry, "name", "value", faults));
    let query = keys.entry("query").and_then(|entry| two(entry, "name", "value", faults));
    let schemes = ["bearer", "basic", "header", "query"];
    let given = schemes.iter().filter(|scheme| keys.entry(scheme).is_some()).count();
    if given != 1 {
        let help = "`{ bearer = \"{secrets.token}\" }`, `{ basic = { user, password } }`, \
                    `{ header = { name, value } }` or `{ query = { name, value } }`";
        faults.with_help(keys.span().clone(), "`auth` needs exactly one scheme", help);
    }
    keys.finish("`auth`", faults);
    let source = bearer
        .map(AuthSource::Bearer)
        .or(basic.map(|(user, password)| AuthSource::Basic { user, password }))
        .or(header.map(|(name, value)| AuthSource::Header { name, value }))
        .or(query.map(|(name, value)| AuthSource::Query { name, value }))?;
    credential_from_secrets(&source, faults);
    Some(source)
}

fn two(entry: &Entry, first: &'static str, second: &'static str, faults: &mut Faults) -> Option<(Text, Text)> {
    let mut keys = Keys::of(entry, faults)?;
    let (one, two) = (keys.text(first, faults), keys.text(second, faults));
    for key in [first, second] {
        if keys.entry(key).is_none() {
            faults.at(keys.span().clone(), format!("`{}` needs `{first}` and `{second}`", entry.key.value));
        }
    }
    keys.finish(&format!("`{}`", entry.key.value), faults);
    Some((one?, two?))
}

fn credential_from_secrets(source: &AuthSource, faults: &mut Faults) {
    let (text, from_secrets) = match source {
        AuthSource::Bearer(text) => (text, names_secret(text)),
        AuthSource::Basic { user, password } => (password, names_secret(user) || names_secret(password)),
        AuthSource::Header { name: _, value } | AuthSource::Query { name: _, value } => (value, names_secret(value)),
    };
    if !from_secrets {
        let message = "the credential in `auth` does not come from `secrets`";
        let help = "give it as `secrets.token = \"${env:TOKEN}\"` and name it here as `{secrets.token}`";
        faults.with_help(text.span.clone(), message, help);
    }
}

fn names_secret(text: &Text) -> bool {
    text.value.contains("secrets.")
}
