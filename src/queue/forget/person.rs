//! A person, by an identifier of theirs: whose conversion it is.

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::super::record::Record;
use crate::conversion::{Conversion, Slot, Value};

/// An identifier, and its hashes.
pub(super) struct Person {
    plain: [String; 2],
    hashed: [String; 2],
}

impl Person {
    pub(super) fn of(identifier: &str) -> Person {
        let lower = identifier.trim().to_lowercase();
        let hashed = [hex::encode(Sha256::digest(&lower)), hex::encode(Sha1::digest(&lower))];
        Person { plain: [identifier.to_owned(), lower], hashed }
    }

    pub(super) fn is_in(&self, record: &Record) -> bool {
        match record.conversion() {
            Ok(conversion) => self.is_named_in(&conversion),
            // An earlier version's: the words must do.
            Err(_) => self.plain.iter().chain(&self.hashed).any(|text| is_within(&record.body, text)),
        }
    }

    fn is_named_in(&self, conversion: &Conversion) -> bool {
        let named = IDENTIFIERS.iter().filter_map(|path| conversion.value(Slot::of(path)?));
        named.into_iter().any(|value| {
            let Value::Text(text) = value else { return false };
            let lower = text.trim().to_lowercase();
            self.plain.iter().any(|plain| *plain == **text || *plain == lower) || self.hashed.contains(&lower)
        })
    }
}

fn is_within(body: &Bytes, text: &str) -> bool {
    !text.is_empty() && body.windows(text.len()).any(|part| part == text.as_bytes())
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
