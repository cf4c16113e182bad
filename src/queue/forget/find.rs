//! Finding what is meant: by order, by id, or by a person's identifiers in what is pending or dead.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::super::ReadError;
use super::super::record::Record;
use super::super::shared::Shared;
use super::{Forget, MEANT_AT_ONCE};
use crate::conversion::{Conversion, ConversionId, Slot, Value};

/// What was found so far.
#[derive(Default)]
pub(super) struct Found {
    /// Not dealt with yet.
    ids: Vec<ConversionId>,
    /// Dealt with, or about to be.
    taken: HashSet<ConversionId>,
    /// Not to be dealt with.
    left_out: HashSet<ConversionId>,
    /// How far the backlog was looked through, in the order of acceptance.
    after: u64,
}

impl Found {
    pub(super) fn of(ids: Vec<ConversionId>) -> Found {
        Found { ids, ..Found::default() }
    }

    /// What is to be dealt with next.
    pub(super) fn take(&mut self) -> Vec<ConversionId> {
        let ids = std::mem::take(&mut self.ids);
        self.taken.extend(&ids);
        ids
    }

    pub(super) fn leave_out(&mut self, ids: impl Iterator<Item = ConversionId>) {
        self.left_out.extend(ids);
    }

    /// All that was taken and not left out.
    pub(super) fn all(&self) -> Vec<ConversionId> {
        self.taken.difference(&self.left_out).copied().collect()
    }
}

impl Shared {
    /// Adds some of the conversions that are meant, if there are more. Blocks.
    pub(super) fn find(&self, what: &Forget, mut found: Found) -> Result<Found, ReadError> {
        let ids = match what {
            Forget::Order { merchant, order_id } => self.ids_of_order(merchant, order_id)?,
            Forget::Customer { merchant, identifier } => {
                self.ids_of_customer(merchant, &Person::of(identifier), &mut found)?
            }
            Forget::Conversion(id) => self.any_status(*id)?.map(|_| *id).into_iter().collect(),
        };
        for id in ids {
            if !found.taken.contains(&id) && !found.ids.contains(&id) {
                found.ids.push(id);
            }
        }
        Ok(found)
    }

    fn ids_of_customer(
        &self,
        merchant: &str,
        person: &Person,
        found: &mut Found,
    ) -> Result<Vec<ConversionId>, ReadError> {
        let in_window: Vec<Arc<Record>> = self.window().records();
        let is_theirs = |record: &Record| *record.meta.merchant == *merchant && person.is_in(record);
        let mut ids: Vec<_> =
            in_window.iter().filter(|record| is_theirs(record)).map(|record| record.meta.id).collect();
        while ids.len() < MEANT_AT_ONCE
            && let Some(some) = self.ask(|store| store.next_kept(found.after))?
        {
            found.after = some.to;
            ids.extend(some.found.iter().filter(|kept| is_theirs(&kept.record)).map(|kept| kept.record.meta.id));
        }
        Ok(ids)
    }
}

/// An identifier, and its hashes.
struct Person {
    plain: Vec<String>,
    hashed: Vec<String>,
    /// Of a telephone number, however it is spaced.
    digits: Option<String>,
}

impl Person {
    fn of(identifier: &str) -> Person {
        let lower = identifier.trim().to_lowercase();
        let digits = digits_of(&lower);
        let numbers = digits.iter().flat_map(|digits| [digits.clone(), format!("+{digits}")]);
        let hashed = std::iter::once(lower.clone()).chain(numbers);
        let hashed = hashed.flat_map(|text| [hex::encode(Sha256::digest(&text)), hex::encode(Sha1::digest(&text))]);
        Person { plain: vec![identifier.to_owned(), lower.clone()], hashed: hashed.collect(), digits }
    }

    fn is_in(&self, record: &Record) -> bool {
        match record.conversion() {
            Ok(conversion) => self.is_named_in(&conversion),
            // An earlier version's: the words must do.
            Err(_) => self.plain.iter().chain(&self.hashed).any(|text| is_quoted_in(&record.body, text)),
        }
    }

    fn is_named_in(&self, conversion: &Conversion) -> bool {
        let named = IDENTIFIERS.iter().filter_map(|path| conversion.value(Slot::of(path)?));
        named.into_iter().any(|value| {
            let Value::Text(text) = value else { return false };
            let lower = text.trim().to_lowercase();
            let is_number = self.digits.is_some() && digits_of(&lower) == self.digits;
            is_number
                || self.plain.iter().any(|plain| *plain == **text || *plain == lower)
                || self.hashed.contains(&lower)
        })
    }
}

/// Of a telephone number with its country code: what is left without its punctuation, and without the trunk zero of
/// `+49 (0)30`. `None` of anything else.
fn digits_of(text: &str) -> Option<String> {
    let number = text.strip_prefix('+').or_else(|| text.strip_prefix("00"))?;
    let is_punctuation = |sign: char| " ()-./".contains(sign);
    let number = number.replacen("(0)", "", 1);
    let digits: String = number.chars().filter(|sign| !is_punctuation(*sign)).collect();
    (digits.len() >= NUMBER_DIGITS_MIN && digits.bytes().all(|digit| digit.is_ascii_digit())).then_some(digits)
}

fn is_quoted_in(body: &Bytes, text: &str) -> bool {
    let quoted = format!("\"{text}\"");
    body.windows(quoted.len()).any(|part| part == quoted.as_bytes())
}

/// What names a person.
const IDENTIFIERS: [&str; 8] = [
    "customer.id",
    "customer.profile_id",
    "customer.guid",
    "customer.email",
    "customer.email_sha256",
    "customer.email_sha1",
    "customer.phone",
    "customer.phone_sha256",
];
/// Fewer are no telephone number with its country code.
const NUMBER_DIGITS_MIN: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_known_by_what_names_them_however_it_is_written() {
        let named = |identifier: &str, customer: &str| {
            let body = format!(r#"{{"event_id":"e","time":"2026-07-29T10:00:00Z","customer":{customer}}}"#);
            Person::of(identifier).is_named_in(&Conversion::parse(body.as_bytes(), "generated").unwrap())
        };
        let phone = r#"{"phone":"+49 170 1234567"}"#;
        for same in ["+49 170 1234567", "+491701234567", "0049 (170) 123-4567", "+49.170/123 45 67"] {
            assert!(named(same, phone), "{same}");
        }
        for same in ["+49 (0)170 1234567", "0049(0)1701234567"] {
            assert!(named(same, phone), "{same}");
        }
        assert!(named("+491701234567", r#"{"phone":"+49 (0)170 1234567"}"#));
        for other in ["+491701234568", "1701234567", "491701234567", "+49", "170 1234567"] {
            assert!(!named(other, phone), "{other}");
        }
        let hash = hex::encode(Sha256::digest("+491701234567"));
        assert!(named("+49 170 1234567", &format!(r#"{{"phone_sha256":"{hash}"}}"#)));
        assert!(named(" Jane@Example.com", r#"{"email":"jane@example.COM"}"#));
        let hash = hex::encode(Sha256::digest("jane@example.com"));
        assert!(named("Jane@example.com", &format!(r#"{{"email_sha256":"{hash}"}}"#)));
        assert!(!named("joan@example.com", &format!(r#"{{"email_sha256":"{hash}"}}"#)));
        assert!(named("c-0017", r#"{"id":"c-0017"}"#));
        assert!(!named("c-17", r#"{"id":"c-0017"}"#));
    }
}
