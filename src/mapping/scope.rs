//! What expressions may name beside the canonical paths: the destination's constants, and the scope of one evaluation.

use std::collections::BTreeMap;
use std::fmt;

use crate::conversion::{Conversion, Meta};

/// A credential: prints `***`, has no `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a credential.
    pub fn new(value: String) -> Self {
        Secret(value)
    }

    /// The credential itself: for the bytes of a request, and nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// What stands in a masked rendering where a secret, or what is computed from one, would stand.
pub(crate) const MASK: &str = "***";

/// A constant of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Var {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

/// What a preset declares a var to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VarType {
    /// A text.
    Text,
    /// A whole number.
    Int,
    /// A truth value.
    Bool,
}

/// Constants of a destination, known when expressions are compiled: unset optional vars and secrets are declared and
/// absent.
#[derive(Debug, Clone, Default)]
pub struct Constants {
    /// Name → type, and value unless it is unset.
    pub vars: BTreeMap<String, (VarType, Option<Var>)>,
    /// Name → credential, unless it is unset.
    pub secrets: BTreeMap<String, Option<Secret>>,
}

/// What a request is computed from. Nothing else: no clock, no attempt number, no randomness.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The conversion as stored.
    pub conversion: &'a Conversion,
    /// What the relay knows about it.
    pub meta: &'a Meta,
}

/// Whether secrets stand in a rendering or `***`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// For the wire.
    Revealed,
    /// For people.
    Masked,
}

/// Whether `item.*` may be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Once per request.
    Top,
    /// Once per item.
    Item,
    /// Once per request, when it is finished: what is signed may name its parts.
    Signature,
}

impl Place {
    pub(super) fn has_item(self) -> bool {
        matches!(self, Place::Item)
    }
}
