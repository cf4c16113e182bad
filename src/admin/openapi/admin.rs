//! The admin listener's calls.

use serde_json::{Value, json};

use super::super::audit;
use super::super::dead::{LetterView, PageView, kinds};
use super::super::destinations::{DestinationView, DestinationsView};
use super::super::orders::{PauseMeant, ProbedView};
use super::super::plan::PlanView;
use super::super::reconcile::BooksView;
use super::super::reload::{ReloadMeant, ReloadedView};
use super::super::treatment::{DiscardedView, Meant, ReplayedView};
use super::super::{OPENMETRICS, Report, forget};
use super::{Call, Schemas, answer, answer_of, conversion_id, in_path, one_type, order_id};
use crate::ingress::view::{OrderView, StatusView};

pub(super) fn paths(schemas: &mut Schemas) -> Vec<(String, Value)> {
    let server = json!([{ "url": "http://127.0.0.1:9090", "description": "`server.admin`" }]);
    let all = [probes(schemas), looks(schemas), bids(schemas)].into_iter().flatten();
    all.map(|(path, method, call)| (path.to_owned(), json!({ "servers": server, method: call }))).collect()
}

/// Path, method, call.
type Served = (&'static str, &'static str, Value);

fn probes(schemas: &mut Schemas) -> Vec<Served> {
    let report = schemas.answered::<Report>();
    let probe = |summary, refusals| {
        let good = vec![("200", answer("Yes.", &report, &[]))];
        Call { summary, tag: TAG, security: &[], parameters: Vec::new(), body: None, good, refusals }.value()
    };
    vec![
        ("/healthz", "get", probe("Whether the process is alive", &[])),
        ("/readyz", "get", probe("Whether conversions are taken", &["503"])),
    ]
}

fn looks(schemas: &mut Schemas) -> Vec<Served> {
    let look = |summary, parameters, good: Value, refusals| {
        let good = vec![("200", good)];
        Call { summary, tag: TAG, security: GUARDED, parameters, body: None, good, refusals }.value()
    };
    let found = |schema: Value| answer("Found.", &schema, &[]);
    let metrics = answer_of(OPENMETRICS, "OpenMetrics.", &json!({ "type": "string" }), &[]);
    let (plain, one): (&[&str], &[&str]) = (&["400", "401", "503"], &["400", "401", "404", "503"]);
    let destinations = found(schemas.answered::<DestinationsView<'_>>());
    let destination = found(schemas.answered::<DestinationView<'_>>());
    let (status, order) = (schemas.answered::<StatusView<'_>>(), schemas.answered::<OrderView<'_>>());
    let (filter, page) = (filter(schemas), found(schemas.answered::<PageView<'_>>()));
    let all = "State, backlog, rates, breaker and last errors of each destination";
    let letter = found(schemas.answered::<LetterView<'_>>());
    let audit = found(schemas.answered::<audit::Page>());
    let of_letter = "One of them, with what a replay would send and all attempts that are kept";
    let books = found(schemas.answered::<BooksView<'_>>());
    let of_order = "What became of every merchant's conversions of an order";
    vec![
        ("/metrics", "get", look("Metrics", Vec::new(), metrics, plain)),
        ("/openapi.json", "get", look("This document", Vec::new(), found(json!({ "type": "object" })), plain)),
        ("/admin/destinations", "get", look(all, Vec::new(), destinations, plain)),
        (
            "/admin/destinations/{name}",
            "get",
            look("The same of one destination", vec![destination_name()], destination, one),
        ),
        (
            "/admin/conversions/{id}",
            "get",
            look("What became of a conversion", vec![conversion_id()], found(status), one),
        ),
        ("/admin/orders/{order_id}", "get", look(of_order, vec![order_id(), of_merchant()], found(order), one)),
        ("/admin/dead", "get", look("Dead letters, page by page", filter, page, &["400", "401", "503"])),
        (
            "/admin/dead/{destination}/{id}",
            "get",
            look(of_letter, vec![in_path("destination", &name()), conversion_id()], letter, one),
        ),
        ("/admin/audit", "get", look("What was changed, newest first", audit_page(), audit, &["400", "401", "503"])),
        ("/admin/reconcile", "get", look(BOOKS, days(), books, &["400", "401", "503"])),
    ]
}

fn days() -> Vec<Value> {
    let query = |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "query", "description": description, "schema": schema });
    let day = || json!({ "type": "string", "pattern": "^$|^[0-9]{4}-[0-9]{2}-[0-9]{2}$" });
    let text = || json!({ "type": "string" });
    vec![
        query("from", "The first day (UTC) on which they were received; `to` without it. At most 366 days.", day()),
        query("to", "The last; today without it.", day()),
        query("destination", "Only what this one was owed.", text()),
        query("merchant", "Only of this merchant.", text()),
    ]
}

fn of_merchant() -> Value {
    let description = "Of this one, which may be configured no more; without it, of all that are.";
    json!({ "name": "merchant", "in": "query", "description": description, "schema": { "type": "string" } })
}

fn audit_page() -> Vec<Value> {
    let query = |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "query", "description": description, "schema": schema });
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 });
    let after = json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
    vec![query("limit", "At most so many.", limit), query("after", "`next` of the page before.", after)]
}

fn destination_name() -> Value {
    in_path("name", &name())
}

fn name() -> Value {
    json!({ "type": "string", "pattern": "^[a-z][a-z0-9_-]*$", "maxLength": 64 })
}

/// Which dead letters; an empty value is none.
fn filter(schemas: &mut Schemas) -> Vec<Value> {
    let query = |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "query", "description": description, "schema": schema });
    let text = || json!({ "type": "string" });
    let instant = || json!({ "type": "string", "pattern": "^$|^[0-9]{4}-[0-9]{2}-[0-9]{2}T" });
    let kind = json!({ "anyOf": [kinds(&mut schemas.answered), { "type": "string", "maxLength": 0 }] });
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 });
    vec![
        query("destination", "Of this one.", text()),
        query("kind", "Of this kind.", kind),
        query("since", "Given up at this time (RFC 3339) or later.", instant()),
        query("until", "Given up before.", instant()),
        query("order_id", "Of this order.", text()),
        query("merchant", "Of this merchant.", text()),
        query("contains", "With these words, in either case, in the reason or in the last answer.", text()),
        query("limit", "At most so many.", limit),
        query("after", "`next` of the page before.", text()),
    ]
}

fn bids(schemas: &mut Schemas) -> Vec<Served> {
    let bid = |summary, body: Option<&Value>, done: Value, refusals| {
        let (body, good) = (body.map(|schema| one_type("application/json", schema)), vec![("200", done)]);
        Call { summary, tag: TAG, security: GUARDED, parameters: Vec::new(), body, good, refusals }.value()
    };
    let done = |schema: Value| answer("Done.", &schema, &[]);
    let (letters, to_forget) = (schemas.read::<Meant>(), schemas.read::<forget::Meant>());
    let plan = schemas.answered::<PlanView<'_>>();
    let or_plan =
        |schema: Value| answer("Done; or, with `plan`, what would be done.", &json!({ "anyOf": [schema, plan] }), &[]);
    let replayed = or_plan(schemas.answered::<ReplayedView>());
    let discarded = or_plan(schemas.answered::<DiscardedView>());
    let forgotten = done(schemas.answered::<forget::ForgottenView>());
    let reloaded = done(schemas.answered::<ReloadedView<'_>>());
    let refusals: &[&str] = &["400", "401", "408", "413", "415", "503"];
    let forget = "Erases what was received for an order, of a customer, or one conversion";
    let reload = schemas.read::<ReloadMeant>();
    let of_reload: &[&str] = &["400", "401", "408", "413", "415", "422", "503"];
    let reload = bid("Reads the configuration anew", Some(&reload), reloaded, of_reload);
    let reload = may_be_empty(reload);
    let mut bids = vec![
        ("/admin/dead/replay", "post", bid("Dead letters are owed again", Some(&letters), replayed, refusals)),
        (
            "/admin/dead/discard",
            "post",
            bid("Nothing more is sent of dead letters", Some(&letters), discarded, refusals),
        ),
        ("/admin/forget", "post", bid(forget, Some(&to_forget), forgotten, refusals)),
        ("/admin/reload", "post", reload),
    ];
    bids.extend(orders(schemas));
    bids
}

/// Nothing need be said.
fn may_be_empty(mut call: Value) -> Value {
    if let Some(body) = call.get_mut("requestBody") {
        body["required"] = false.into();
    }
    call
}

/// What one destination is told.
fn orders(schemas: &mut Schemas) -> Vec<Served> {
    let order = |summary, body: Option<&Value>, description: &str, done: &Value, refusals| {
        let body = body.map(|schema| one_type("application/json", schema));
        let (parameters, good) = (vec![destination_name()], vec![("200", answer(description, done, &[]))]);
        Call { summary, tag: TAG, security: GUARDED, parameters, body, good, refusals }.value()
    };
    let destination = schemas.answered::<DestinationView<'_>>();
    let (probed, why) = (schemas.answered::<ProbedView<'_>>(), schemas.read::<PauseMeant>());
    let pause = "Stops sending to a destination, until it is resumed, also over a restart; its work waits";
    let of_pause: &[&str] = &["400", "401", "404", "408", "413", "415", "503"];
    let pause = order(pause, Some(&why), "It is paused.", &destination, of_pause);
    let pause = may_be_empty(pause);
    let resume = "Sends to a destination again; one that is suspended, or whose breaker is open, is probed at once";
    let resume = order(resume, None, "It is resumed.", &destination, &["400", "401", "404", "503"]);
    let probe = "Makes one attempt now, whatever breaker, suspension and requested waits say";
    let probe = order(probe, None, "It was made.", &probed, &["400", "401", "404", "409", "503"]);
    vec![
        ("/admin/destinations/{name}/pause", "post", pause),
        ("/admin/destinations/{name}/resume", "post", resume),
        ("/admin/destinations/{name}/probe", "post", probe),
    ]
}

const TAG: &str = "admin";
const BOOKS: &str = "What was accepted in some days and what became of it, in numbers and exact sums";
/// With the admin token, or without where none is configured.
const GUARDED: &[Option<&str>] = &[None, Some("admin")];
