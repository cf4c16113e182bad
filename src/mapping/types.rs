//! The static types of the language: what a path yields, what a filter takes, and what leaves on the wire.

use std::fmt::{self, Display, Formatter};

use crate::conversion::{self, Kind};

/// The wire type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutType {
    /// A text.
    Text,
    /// A number.
    Number,
    /// A truth value.
    Bool,
    /// Known at run time only (`custom.*`), or a list or an object.
    Json,
}

/// What a value is, as far as it is known at load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    Text,
    /// Text that is hashed already.
    Digest,
    Money,
    Int,
    /// An exact decimal that is no money.
    Number,
    Bool,
    Timestamp,
    Date,
    /// Known at run time only: `custom.*`, `body.*`.
    Json,
}

/// A base type, or a list of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ty {
    pub(super) base: Base,
    pub(super) list: bool,
}

impl Ty {
    pub(super) const fn of(base: Base) -> Ty {
        Ty { base, list: false }
    }

    pub(super) const fn list(base: Base) -> Ty {
        Ty { base, list: true }
    }

    pub(super) fn of_field(kind: Kind) -> Ty {
        if matches!(kind, Kind::Digest { .. }) {
            return Ty::of(Base::Digest);
        }
        Ty::of(match kind.ty() {
            conversion::Type::Text => Base::Text,
            conversion::Type::Money => Base::Money,
            conversion::Type::Int => Base::Int,
            conversion::Type::Bool => Base::Bool,
            conversion::Type::Timestamp => Base::Timestamp,
            conversion::Type::Date => Base::Date,
            conversion::Type::Json => Base::Json,
        })
    }

    pub(super) fn out(self) -> OutType {
        if self.list {
            return OutType::Json;
        }
        match self.base {
            Base::Text | Base::Digest | Base::Timestamp | Base::Date => OutType::Text,
            Base::Money | Base::Int | Base::Number => OutType::Number,
            Base::Bool => OutType::Bool,
            Base::Json => OutType::Json,
        }
    }

    pub(super) fn is_json(self) -> bool {
        self == Ty::of(Base::Json)
    }

    pub(super) fn is_number(self) -> bool {
        self.out() == OutType::Number
    }

    /// The type of a value that is one or the other; none if they differ on the wire.
    pub(super) fn or(self, other: Ty) -> Option<Ty> {
        if self.is_json() || other.is_json() {
            return Some(Ty::of(Base::Json));
        }
        let wire = |ty: Ty| Ty::of(ty.base).out();
        if self.list != other.list || wire(self) != wire(other) {
            return None;
        }
        let either = |base| self.base == base || other.base == base;
        let base = match (self.base, other.base) {
            (a, b) if a == b => a,
            _ if either(Base::Digest) => Base::Digest,
            _ if either(Base::Money) => Base::Money,
            _ if self.is_number() => Base::Number,
            _ => Base::Text,
        };
        Some(Ty { base, list: self.list })
    }
}

impl Display for Base {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Base::Text => "text",
            Base::Digest => "a digest",
            Base::Money => "money",
            Base::Int => "a whole number",
            Base::Number => "a number",
            Base::Bool => "true or false",
            Base::Timestamp => "a timestamp",
            Base::Date => "a date",
            Base::Json => "free JSON",
        })
    }
}

impl Display for Ty {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.list {
            f.write_str("a list of ")?;
        }
        f.write_str(match (self.list, self.base) {
            (true, Base::Digest) => "digests",
            (true, Base::Int) => "whole numbers",
            (true, Base::Number) => "numbers",
            (true, Base::Bool) => "true and false",
            (true, Base::Timestamp) => "timestamps",
            (true, Base::Date) => "dates",
            (_, base) => return base.fmt(f),
        })
    }
}

/// What a filter takes. Free JSON goes into any of them and is looked at when it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Text of any kind.
    Text,
    /// Text that is not hashed yet.
    Plain,
    /// Any number.
    Number,
    /// Money alone: it has a currency.
    Money,
    /// Text or a number.
    Numeral,
    Bool,
    Timestamp,
    /// A timestamp or a date.
    Time,
    /// What names a case: text, a whole number, true or false.
    Case,
    /// Anything that has a text of its own.
    Scalar,
    /// A list as a whole.
    List,
    /// A list of numbers as a whole.
    Numbers,
    /// Free JSON that is an object.
    Object,
    /// Anything, a list as a whole too.
    Any,
}

impl Takes {
    /// Whether a list goes in whole; into the others its entries go one by one.
    pub(super) fn whole_lists(self) -> bool {
        matches!(self, Takes::List | Takes::Numbers | Takes::Any)
    }

    pub(super) fn accepts(self, ty: Ty) -> bool {
        let base = ty.base;
        let free = base == Base::Json;
        let wire = Ty::of(base).out();
        match self {
            Takes::Scalar | Takes::Any => true,
            Takes::List => ty.list || ty.is_json(),
            Takes::Numbers => ty.is_json() || (ty.list && (free || wire == OutType::Number)),
            Takes::Object => ty.is_json(),
            // Free JSON has no currency.
            Takes::Money => base == Base::Money,
            Takes::Text => free || matches!(base, Base::Text | Base::Digest),
            Takes::Plain => free || base == Base::Text,
            Takes::Number => free || wire == OutType::Number,
            Takes::Numeral => free || wire == OutType::Number || base == Base::Text,
            Takes::Bool => free || base == Base::Bool,
            Takes::Timestamp => free || base == Base::Timestamp,
            Takes::Time => free || matches!(base, Base::Timestamp | Base::Date),
            Takes::Case => free || matches!(base, Base::Text | Base::Int | Base::Bool),
        }
    }

    /// What would make `ty` fit.
    pub(super) fn remedy(self, ty: Ty) -> Option<&'static str> {
        if matches!(self, Takes::List | Takes::Object) || (self == Takes::Numbers && !ty.list) {
            return None;
        }
        match (self, ty.base) {
            (Takes::Plain, Base::Digest) => {
                Some("a digest is text already: sha256('base64') encodes it otherwise; never hash twice")
            }
            (Takes::Text | Takes::Plain | Takes::Case, Base::Money | Base::Int | Base::Number) => {
                Some("put `| string` before it")
            }
            (Takes::Text | Takes::Plain, Base::Bool) => Some("put `| bool('yes', 'no')` or `| string` before it"),
            (Takes::Text | Takes::Plain, Base::Timestamp) => {
                Some("put `| rfc3339`, `| strftime('%Y-%m-%d')` or `| string` before it")
            }
            (Takes::Text | Takes::Plain, Base::Date) => Some("put `| strftime('%Y%m%d')` or `| string` before it"),
            (Takes::Number | Takes::Numbers, Base::Text) => Some("put `| number` before it"),
            (Takes::Money, _) => Some("only fields such as `value` are money, in the conversion's currency"),
            _ => None,
        }
    }
}

impl Display for Takes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Takes::Text => "text",
            Takes::Plain => "plain text",
            Takes::Number => "a number",
            Takes::Money => "money",
            Takes::Numeral => "text or a number",
            Takes::Bool => "true or false",
            Takes::Timestamp => "a timestamp",
            Takes::Time => "a timestamp or a date",
            Takes::Case => "text, a whole number, true or false",
            Takes::Scalar => "one value",
            Takes::List => "a list",
            Takes::Numbers => "a list of numbers",
            Takes::Object => "an object",
            Takes::Any => "anything",
        })
    }
}

/// What a filter gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    Text,
    /// Text, and a digest if one came in.
    SameText,
    Digest,
    Int,
    Number,
    /// A number, and money if money came in.
    SameNumber,
    /// What its first argument is.
    Argument,
    /// What came in, or else its first argument.
    Either,
    /// What the values of its map are.
    Entry,
    Texts,
    /// What the list's entries are.
    Part,
    Json,
}

impl Display for Gives {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Gives::Text | Gives::SameText => "text",
            Gives::Digest => "a digest",
            Gives::Int => "a whole number",
            Gives::Number => "a number",
            Gives::SameNumber => "a number, of money money",
            Gives::Argument => "one of its arguments",
            Gives::Either => "what came in, or its argument",
            Gives::Entry => "a value of the map",
            Gives::Texts => "a list of texts",
            Gives::Part => "an entry of the list",
            Gives::Json => "an object",
        })
    }
}
