//! The body of what changes something: JSON, small, and there in time.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use crate::ingress::fields;
use crate::ingress::problem::{Kind, Problem};

/// The same, where nothing need be said.
pub(super) async fn json_or_nothing(request: Request<&mut Incoming>) -> Result<Bytes, Problem> {
    if request.body().is_end_stream() { Ok(Bytes::new()) } else { json(request).await }
}

pub(super) async fn json(request: Request<&mut Incoming>) -> Result<Bytes, Problem> {
    fields::check_plain_json(request.headers())?;
    let body = Limited::new(request.into_body(), BYTES_MAX);
    #[expect(clippy::disallowed_methods, reason = "the body is wrapped in Limited on the line above")]
    let body = timeout(TIMEOUT, body.collect()).await;
    let body = body.map_err(|_late| Problem::new(Kind::RequestTimeout, "the body did not come within 10 s"))?;
    let body = body.map_err(|error| {
        let is_large = error.is::<LengthLimitError>();
        let large = || Problem::new(Kind::BodyTooLarge, "the body is larger than 64 KiB");
        if is_large { large() } else { Problem::new(Kind::BadRequest, "the body broke off") }
    })?;
    Ok(body.to_bytes())
}

/// Some 1,500 ids.
const BYTES_MAX: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);
