//! The mapping language: how a conversion becomes a request, and what an answer means.
//!
//! An expression goes this way, each step its own module: text (`source`) → tokens (`lexer`) → tree (`syntax`,
//! `parser`) → checked and folded (`check`, against `types` and the one table of `filters`) → a compact program over
//! slots of the schema (`program`, `predicate`, `ops`). All of it happens at load; a conversion only runs programs.
//!
//! ```text
//! field   := expr [ "??" ( "null" | "''" ) ]     for want of a value, null or an empty text is sent
//! expr    := pipe { "??" pipe } [ "!" ]          the first that is present; "!": required
//! pipe    := primary { "|" filter }
//! primary := path | literal | function "(" expr {"," expr} ")" | "(" expr ")"
//! function:= concat | sum | product | difference | each
//! literal := 'text' | 12 | 3.5 | true | false | ['a', 'b'] | {key: 'value'}
//! filter  := name [ "(" arg {"," arg} ")" ]      arg: a literal, vars.x or secrets.x
//! cond    := adds  == != < <= > >= in  && || !  contains(text, part)  matches(text, 'pattern')
//!            and a bare path (present and not false)
//! ```
//!
//! What the grammar does not say:
//!
//! - A quote inside a text is written twice. A path enters free JSON by `custom.a`, `custom['any key']` and `custom.list[0]`.
//! - **Absent is absent.** An empty text, `null`, `[]` and `{}` are no values: `??`, `default` and `!` pass over them, and they
//!   never leave, but where a field of the map ends with `?? null` or `?? ''`. A filter of what is absent is absent (but
//!   `default`), and so is a function with an absent part. An unset optional var is absent; as an argument it leaves the
//!   filter without a value, as an optional argument it is as if not written.
//! - **Types are checked at load.** The alternatives of `??` look alike on the wire (text, number, true or false); numbers and
//!   times go into text filters through `string` and the like, so nobody hashes a float by accident; what is hashed is not
//!   hashed again.
//! - `custom.*` and `body.*` are free JSON: their type shows when they are there. A scalar leaves as the JSON it is; into a
//!   filter it goes if it fits (a text filter takes texts; a time filter takes texts of RFC 3339), else the field is
//!   *unmappable*.
//! - `items[].sku` is the list of all items' values, and `each(expr)` that of `expr` over each item's `item.*`. Filters work on
//!   each entry, `join`, `json`, `nth` and `total` on the whole; as a field's value it is a JSON array of the entries that are
//!   present.
//! - `sum`, `product` and `difference` are exact, and money where a part is money; more than 28 digits are *unmappable*.
//! - Regular expressions are compiled at load and take time linear in the text they search.
//! - Comparisons are by value (`1.50 == 1.5`, times by their instant) and never across kinds. In a `when`, what is absent
//!   equals nothing, so `consent.tracking != false` holds without consent data. In a predicate over an answer nothing follows
//!   from what is not there: every comparison with it is false, `!=` too. What cannot be computed counts as absent.
//! - In an answer there are `status`, `header.<name>`, `body.<path>` (keys without regard to case) and `body`, its text.
//!
//! Promises: pure and total. No input panics, recurses without bound or allocates more than its output; the same conversion
//! and configuration give the same bytes. A fault or an error names no value and no secret.
//!
//! Never: IO, a clock, randomness, a log; parsing at run time; time zones other than those compiled in.

mod source;
mod scope;
mod lexer;
mod syntax;
mod parser;
mod types;
mod value;
mod agent;
mod pattern;
mod ops;
mod filters;
mod answer;
mod finished;
mod program;
mod predicate;
mod check;
mod expression;
mod interpolation;
mod condition;
mod request;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod laws;
#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use condition::{AnswerCondition, CAPTURE_CHARS_MAX, Capture, Condition};
pub use expression::names_field;
pub(crate) use expression::{Blank, Expression};
pub use filters::{FilterDoc, filters};
pub(crate) use finished::Finished;
pub(crate) use interpolation::{Escape, Interpolation, concat_meant};
pub use interpolation::{bare_path, template_names_field};
pub use request::{
    Applies, AuthSource, ClientAuth, Encoding, Given, Grant, Headers, HmacAlgorithm, HmacSource, KeyEncoding, MapLine,
    MapSource, OAuth, OAuthSource, OutputKind, OutputSource, Over, Pii, Request, RequestSource, RequestTemplate,
    RulesSource, SignatureEncoding, SignaturePlace, Unmappable, WebhookKey,
};
pub use scope::{Constants, Scope, Secret, Secrets, Var, VarType};
pub(crate) use scope::{MASK, Place};
pub use source::{Fault, FileId, Span, Text};
pub(crate) use types::OutType;
pub(crate) use value::{EvalError, Out, Val};
