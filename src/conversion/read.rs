//! Reading JSON value by value out of serde_json, with every number as its text and every member in its order.
//!
//! serde_json hands an integer of 64 bits over as it is, which loses nothing of its text, and any other number as a map
//! with one marked member. The mark is told from an equal key in the document by *how* it arrives, never by its text:
//! see [`KeySeed`].

use std::borrow::Cow;
use std::fmt;

use compact_str::{CompactString, ToCompactString as _};
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What stands where a reader wanted something else than a container, or has read past one.
pub(super) enum Found<'de> {
    Null,
    Bool(bool),
    /// A number as it was written.
    Number(CompactString),
    Text(Cow<'de, str>),
    Array,
    Object,
}

/// Reads one JSON value; each reader takes the containers that it wants. What a value comes to is made where it is met, so
/// that nothing large travels back through the parser.
pub(super) trait Read<'de>: Sized {
    type Output;

    /// A scalar stands there, or a container that was read past.
    fn other(self, found: Found<'de>) -> Self::Output;

    /// An array stands there.
    fn array<A: SeqAccess<'de>>(self, elements: A) -> Result<Self::Output, A::Error> {
        skip_elements(elements)?;
        Ok(self.other(Found::Array))
    }

    /// An object stands there.
    fn object<A: MapAccess<'de>>(self, members: Members<'de, A>) -> Result<Self::Output, A::Error> {
        members.skip()?;
        Ok(self.other(Found::Object))
    }
}

/// Reads past the rest of an array, whatever its depth; answers whether there was any.
pub(super) fn skip_elements<'de, A: SeqAccess<'de>>(mut elements: A) -> Result<bool, A::Error> {
    let mut any = false;
    while elements.next_element::<IgnoredAny>()?.is_some() {
        any = true;
    }
    Ok(any)
}

/// The members of an object, in order.
pub(super) struct Members<'de, A> {
    first: Option<Cow<'de, str>>,
    rest: A,
}

impl<'de, A: MapAccess<'de>> Members<'de, A> {
    pub(super) fn next_name(&mut self) -> Result<Option<Cow<'de, str>>, A::Error> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        match self.rest.next_key_seed(KeySeed)? {
            None => Ok(None),
            Some(Key::Name(name)) => Ok(Some(name)),
            Some(Key::NumberMark) => Err(A::Error::custom("a number of several parts")),
        }
    }

    pub(super) fn value<R: Read<'de>>(&mut self, reader: R) -> Result<R::Output, A::Error> {
        self.rest.next_value_seed(Reading(reader))
    }

    /// Reads past the rest, whatever its depth.
    pub(super) fn skip(mut self) -> Result<(), A::Error> {
        while self.next_name()?.is_some() {
            self.skip_value()?;
        }
        Ok(())
    }

    pub(super) fn skip_value(&mut self) -> Result<(), A::Error> {
        self.rest.next_value::<IgnoredAny>().map(drop)
    }
}

/// Makes a reader of ours one of serde's.
pub(super) struct Reading<R>(pub(super) R);

impl<'de, R: Read<'de>> DeserializeSeed<'de> for Reading<R> {
    type Value = R::Output;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, R: Read<'de>> Visitor<'de> for Reading<R> {
    type Value = R::Output;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(self.0.other(Found::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(self.0.other(Found::Bool(value)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(self.0.other(Found::Number(number.to_compact_string())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self.0.other(Found::Number(number.to_compact_string())))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Err(E::custom("a number without its text"))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(self.0.other(Found::Text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.other(Found::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Self::Value, A::Error> {
        self.0.array(elements)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        match members.next_key_seed(KeySeed)? {
            Some(Key::NumberMark) => {
                members.next_value::<String>().map(|number| self.0.other(Found::Number(number.into())))
            }
            Some(Key::Name(name)) => self.0.object(Members { first: Some(name), rest: members }),
            None => self.0.object(Members { first: None, rest: members }),
        }
    }
}

enum Key<'de> {
    NumberMark,
    Name(Cow<'de, str>),
}

/// Reads a key as an *option*: serde_json answers `Some(key)` for a key of the document, and a bare text for its mark of a
/// number. So a document whose key equals the mark is an object like any other.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_some<D: Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(NameVisitor)
    }

    fn visit_str<E>(self, _mark: &str) -> Result<Self::Value, E> {
        Ok(Key::NumberMark)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Key::Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Key::Name(Cow::Owned(name.to_owned())))
    }
}
