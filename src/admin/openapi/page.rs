//! The status page, and what it listens to.

use serde_json::{Value, json};

use super::super::overview::OverviewView;
use super::{Call, Schemas, answer, answer_of};

pub(super) fn paths(schemas: &mut Schemas) -> Vec<(String, Value)> {
    let overview = schemas.answered::<OverviewView<'_>>();
    let server = json!([{ "url": "http://127.0.0.1:9090", "description": "`server.admin`" }]);
    let look = |summary, security, good: Value, refusals| {
        let (parameters, good) = (Vec::new(), vec![("200", good)]);
        Call { summary, tag: "admin", security, parameters, body: None, good, refusals }.value()
    };
    let text = json!({ "type": "string" });
    let page = answer_of("text/html; charset=utf-8", "It holds no data.", &text, &[]);
    let events = answer_of("text/event-stream", EVENTS, &text, &[]);
    let calls = [
        ("/", look("The status page", &[], page, &["400"])),
        (
            "/admin/overview",
            look("The relay at one glance", GUARDED, answer("Found.", &overview, &[]), &["400", "401", "503"]),
        ),
        ("/admin/events", look("The relay at one glance, told as it changes", GUARDED, events, &["400", "401", "503"])),
    ];
    calls.into_iter().map(|(path, call)| (path.to_owned(), json!({ "servers": server, "get": call }))).collect()
}

const GUARDED: &[Option<&str>] = &[None, Some("admin")];
const EVENTS: &str = "Server-sent events, their data JSON: `overview` first, as `GET /admin/overview` answers it, and again where \
    the destinations are others; then what has changed since, at most once a second: `relay`, `concerns`, `removed` and \
    `destination` (one of `destinations`), each as it stands in the overview. Silence is broken by a comment every 15 s.";
