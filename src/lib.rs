//! One canonical conversion in, every conversion API out.
//!
//! A merchant's back end posts one conversion; the relay answers `202` once it is on stable storage, maps it to each
//! configured destination's own contract, and delivers it there: rate-limited, retried, deduplicated, observable.
//!
//! ```text
//!  merchant ─POST─▶ ingress ──▶ conversion ──▶ queue ──▶ delivery ──▶ destination
//!                   TLS, token,  parse and      durable    map, limit,
//!                   limits       validate       accept     send, judge
//!                                                 ▲            │
//!                                                 └─ retry, dead letter
//! ```
//!
//! The modules stand in reading order, and each names only those before it (a test holds the order):
//!
//! | module | owns |
//! | --- | --- |
//! | [`conversion`] | the canonical schema (one table), parsing, validation, money, time |
//! | [`mapping`] | the expression language: parse, type-check, evaluate, encode to JSON, form and query |
//! | [`config`] | `routes.toml` → checked configuration, presets, secrets, fault reports |
//! | `priority` | who has the processors first where they are short |
//! | [`queue`] | durable accept, deduplication, retry schedule, dead letters, status: a journal and sled |
//! | [`traces`] | spans of requests and attempts for an OpenTelemetry collector, in builds that have them |
//! | [`delivery`] | one worker pool per destination: limiter, breaker, HTTP client, verdicts, backoff |
//! | [`ingress`] | listener, TLS, authentication, inbound limits, the public HTTP API |
//! | [`admin`] | health, metrics, what an operator asks, and the status page |
//! | [`sandbox`] | stand-ins of the five platforms that hold requests to their documents |
//! | [`cli`] | the commands, and the wiring of all of the above |
//!
//! # Invariants
//!
//! * `202` means that `fdatasync` has returned for the conversion and everything it owes. No path answers before it.
//! * An accepted conversion ends, at each destination, in a state that a person can see: delivered, a duplicate, left
//!   out for a reason that is shown, or a dead letter. None is dropped.
//! * A request is a pure function of the stored conversion and the configuration: [`conversion`] and [`mapping`] know no
//!   clock, no randomness, no attempt number, and do no IO. Every attempt carries the same bytes, its access token and its
//!   `traceparent` aside.
//! * Money is a decimal text from the merchant to the partner. No binary float holds an amount anywhere.
//! * Destinations share the queue and nothing else: no pool, no limiter, no client.
//! * Nothing in memory grows with the backlog: windows, read-ahead, bodies, answers and connections have
//!   named limits.
//! * After loading, nothing about the configuration can fail: the mapping is type-checked against the schema at load.
//!
//! # Deliberate absences
//!
//! No plug-ins and no scripting: a destination is TOML, or it is not supported. No plain HTTP beyond loopback, but to a
//! collector of traces. No redirect is followed. No secret type has a `Display`. No task runs detached: whoever starts one waits for it.

pub mod conversion;
pub mod mapping;
pub mod config;
mod priority;
pub mod queue;
pub mod traces;
pub mod delivery;
pub mod ingress;
pub mod admin;
pub mod sandbox;
pub mod cli;
