//! A batch: a JSON array of conversions, or one a line. Each is judged for itself, and all are handed to the queue
//! together, in their order.

use std::fmt;

use http::{StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::{Deserializer as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::conversions::Kept;
use super::fields::Media;
use super::problem::{Document, Kind, Problem, Reply, json};
use super::view::ReceiptView;

/// The conversions of a batch, as they were written; `None` when the body is one conversion.
pub(super) fn items(media: Media, body: &[u8]) -> Result<Option<Vec<&[u8]>>, Problem> {
    let items = match media {
        Media::Lines => lines(body),
        Media::Json if is_array(body) => elements(body)?,
        Media::Json => return Ok(None),
    };
    if items.len() > ITEMS_MAX {
        return Err(Problem::new(Kind::BatchTooLarge, format!("at most {ITEMS_MAX} conversions in one request")));
    }
    Ok(Some(items))
}

fn is_array(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
}

/// One too many at most. Empty lines are none, so that a file may end with one.
fn lines(body: &[u8]) -> Vec<&[u8]> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty()).take(ITEMS_MAX.saturating_add(1)).collect()
}

fn elements(body: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = reader.deserialize_seq(Elements).and_then(|elements| reader.end().map(|()| elements));
    read.map_err(|error| Problem::new(Kind::MalformedJson, error.to_string()))
}

/// The elements' texts, one too many at most; the others are read and left.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of conversions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() <= ITEMS_MAX {
            match elements.next_element::<&'de RawValue>()? {
                Some(element) => items.push(element.get().as_bytes()),
                None => return Ok(items),
            }
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(items)
    }
}

/// The answer to a batch: as a whole accepted, in part, or not at all.
pub(super) fn answer(verdicts: &[Result<Kept, Problem>]) -> Reply {
    let count = |is: fn(&Result<Kept, Problem>) -> bool| verdicts.iter().filter(|verdict| is(verdict)).count();
    let view = BatchView {
        accepted: count(|verdict| verdict.as_ref().is_ok_and(|kept| kept.is_new)),
        duplicates: count(|verdict| verdict.as_ref().is_ok_and(|kept| !kept.is_new)),
        refused: count(Result::is_err),
        results: verdicts.iter().map(ItemView::new).collect(),
    };
    let refusals = || verdicts.iter().filter_map(|verdict| verdict.as_ref().err());
    let may_be_sent_again = refusals().filter_map(Problem::wait).max();
    let mut reply = if verdicts.is_empty() {
        Problem::new(Kind::InvalidBatch, "the batch holds no conversion").into_reply_with(view)
    } else if view.refused == 0 {
        let is_settled = verdicts.iter().flatten().all(|kept| kept.was_waited_for && kept.status.is_settled());
        json(if is_settled { StatusCode::OK } else { StatusCode::ACCEPTED }, &view)
    } else if view.refused < verdicts.len() {
        json(StatusCode::MULTI_STATUS, &view)
    } else {
        let detail = format!("none of {} conversions was accepted: `results` says why", verdicts.len());
        // When each may be sent again as it is, so may all.
        let kind =
            if refusals().all(|problem| problem.wait().is_some()) { Kind::Unavailable } else { Kind::InvalidBatch };
        Problem::new(kind, detail).into_reply_with(view)
    };
    if let Some(wait) = may_be_sent_again {
        reply.headers_mut().insert(header::RETRY_AFTER, super::problem::seconds(wait));
    }
    reply
}

/// What became of a batch.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Batch")]
pub(crate) struct BatchView<'a> {
    accepted: usize,
    duplicates: usize,
    refused: usize,
    /// In the order in which they were sent.
    results: Vec<ItemView<'a>>,
}

/// What became of one of a batch.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Item")]
#[serde(untagged)]
enum ItemView<'a> {
    Kept(ReceiptView<'a>),
    Refused(Document<'a>),
}

impl<'a> ItemView<'a> {
    fn new(verdict: &'a Result<Kept, Problem>) -> ItemView<'a> {
        match verdict {
            Ok(kept) => ItemView::Kept(kept.receipt()),
            Err(problem) => ItemView::Refused(problem.document()),
        }
    }
}

/// More make one answer slow and its repetition costly.
pub(crate) const ITEMS_MAX: usize = 1000;
