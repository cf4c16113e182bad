//! The keys of routes.toml by table, for people: what may stand there and what it means.

/// A key of a table.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) doc: &'static str,
}

/// What may stand under a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Text,
    Flag,
    /// A whole number from one to the other.
    Count(u32, u32),
    /// A definition of the schema.
    Ref(&'static str),
    Words(&'static [&'static str]),
    /// The name of a preset.
    Preset,
    /// Of texts.
    List,
    TextOrList,
    /// A text or a list, or one of these by name.
    TextOrListByName,
    /// Lists of texts.
    Groups,
    /// Texts, whole numbers and truth values by name.
    Constants,
    /// Lists of texts by name.
    Lists,
    Table(&'static [Key]),
    FlagOrTable(&'static [Key]),
    /// Of which exactly one is given.
    OneTable(&'static [Key]),
    /// Tables by name.
    Named(&'static [Key]),
    NamedRef(&'static str),
    Tables(&'static [Key]),
}

use Shape::{
    Constants, Count, Flag, FlagOrTable, Groups, List, Lists, Named, NamedRef, OneTable, Preset, Ref, Table, Tables,
    Text, TextOrList, TextOrListByName, Words,
};

const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, doc }
}

const COUNT: Shape = Count(1, u32::MAX);
const DURATION: Shape = Ref("duration");
const SIZE: Shape = Ref("size");
const RATE: Shape = Ref("rate");
const CONDITION: Shape = Ref("condition");
const LINES: Shape = Ref("lines");
const TEXTS: Shape = Ref("texts");

#[rustfmt::skip]
pub(super) const ROOT: &[Key] = &[
    key("server", Table(SERVER), "How the relay listens."),
    key("queue", Table(QUEUE), "Where it keeps what it has accepted."),
    key("merchant", Named(MERCHANT), "Who may send, by name."),
    key("destination", NamedRef("destination"), "Where conversions go, by name."),
];

#[rustfmt::skip]
pub(super) const SERVER: &[Key] = &[
    key("listen", Text, "Address of the public listener: `0.0.0.0:8443`."),
    key("tls", Table(TLS), "Certificate and key, or a self-signed one for a trial."),
    key("plaintext", Flag, "HTTP in the clear: on loopback, or with `behind_proxy`."),
    key("behind_proxy", Flag, "A proxy in front ends TLS and names the client."),
    key("admin", Text, "Address of the admin listener; default `127.0.0.1:9090`."),
    key("admin_token_sha256", TextOrListByName, "SHA-256 of the admin bearer token, or a list while it is changed, or one of these for each name: `{ ana = \"…\" }`; needed beyond loopback."),
    key("body_max", SIZE, "Largest request body; default `4MiB`."),
    key("connections_max", COUNT, "Most connections at once; default 10000."),
    key("requests_at_once_max", COUNT, "Most requests worked on at once, once their bodies are there; more wait for their turn, and after a second or more in vain are answered 503; default 64 for each processor."),
    key("connections_per_address_max", COUNT, "Most connections at once of one client address, loopback excepted; default 256."),
    key("trusted_proxies", List, "Networks of the proxies whose word for the client's address is taken: `10.0.0.0/8`."),
    key("proxy_protocol", Flag, "Each connection begins with a PROXY header (version 1 or 2), and comes from a trusted proxy."),
    key("forwarded_header", Words(&["forwarded", "x-forwarded-for"]), "The header in which the trusted proxies name the client; default: either, and where they name different ones, both count."),
    key("request_timeout", DURATION, "From the first byte of a request to its whole body; default `30s`."),
    key("idle_timeout", DURATION, "How long a connection may be silent; default `75s`."),
    key("drain_timeout", DURATION, "How long a stopping relay waits for what is in hand; default `25s`."),
    key("log", Words(&["text", "json"]), "Form of the log; default `text`."),
];

#[rustfmt::skip]
pub(super) const TLS: &[Key] = &[
    key("self_signed", Flag, "A certificate made at start, for a trial."),
    key("cert", Text, "PEM file, leaf first."),
    key("key", Text, "PEM file."),
    key("client_ca", Text, "PEM file of those who sign client certificates; without it nobody is asked for one."),
    key("client_crl", Text, "PEM file of revoked client certificates."),
    key("client_auth", Words(&["required", "optional"]), "Whether each client must show a certificate; default `required`."),
];

#[rustfmt::skip]
pub(super) const QUEUE: &[Key] = &[
    key("engine", Words(&["sled"]), "The store."),
    key("path", Text, "The data folder, on a disk that survives a restart."),
    key("allow_volatile", Flag, "Takes a file system that forgets at a restart."),
    key("max_pending_bytes", SIZE, "Stored bytes of undelivered conversions, beyond which nothing is accepted; default `8GiB`."),
    key("max_dead_letters", COUNT, "Dead letters of one destination, with which nothing more is sent to it; default `100000`."),
    key("min_free_bytes", SIZE, "Free bytes of the disk, below which nothing is accepted; default `256MiB`."),
    key("dedup_window", DURATION, "How long a repeat is recognised; default `72h`."),
    key("history", Table(HISTORY), "What is kept of settled conversions."),
    key("encryption", Table(ENCRYPTION), "Encrypts what is stored."),
];

#[rustfmt::skip]
pub(super) const ENCRYPTION: &[Key] = &[
    key("key", Text, "32 bytes in hex or Base64 (`capi-relay key`): seals the data keys, of which each serves a day."),
    key("old_keys", List, "Keys that were in its place before; needed for one start."),
];

#[rustfmt::skip]
pub(super) const HISTORY: &[Key] = &[
    key("keep", DURATION, "How long the status of a settled conversion is kept; default `7d`."),
];

#[rustfmt::skip]
pub(super) const MERCHANT: &[Key] = &[
    key("token_sha256", TextOrList, "SHA-256 of the bearer token (`capi-relay token`), or a list while it is changed."),
    key("client_certificates", List, "Names in its client certificates: `CN=shop`, `dns:…`, `uri:…`, `email:…`; beside a token both are needed."),
    key("signing_secrets", TextOrList, "Keys (`whsec_…`) of which one signs each request, as Standard Webhooks has it; in addition to the token."),
    key("rate", RATE, "Conversions, those of a batch counted one by one."),
    key("burst", COUNT, "How many at once."),
    key("destinations", List, "Where they go; default: to all."),
];

/// The keys of one request, with those of a destination.
macro_rules! request_keys {
    ($($own:expr),* $(,)?) => { &[
        key("when", CONDITION, "Which conversions it is for; takes the place of the preset's."),
        key("only_when", CONDITION, "What must hold besides `when`: narrows a preset and keeps its guards."),
        key("otherwise", Text, "What is said, beside the part of `when` that fails, where that does not hold."),
        key("method", Words(&["GET", "POST", "PUT", "PATCH", "DELETE"]), "The HTTP method; default `POST`, without a body `GET`."),
        key("url", Text, "Absolute; `{expr}` is interpolated, up to the path from vars alone."),
        key("headers", TEXTS, "Header fields; `{expr}` is interpolated."),
        key("query", LINES, "Further parameters of the URL."),
        key("body", Text, "How `map` is sent: `json`, `form`, or `none` as the query."),
        key("map", LINES, "The fields: where each stands, and what it is made of."),
        key("auth", OneTable(AUTH), "Who sends it: one scheme, its credential from `secrets`."),
        key("require_any", Groups, "Of each group at least one field is present."),
        key("exactly_one", Groups, "Of each group exactly one field is present."),
        key("required_with", Lists, "Where the key is present (`items`: in each item), the fields are."),
        key("omit_with", Lists, "The key is left out where one of the fields is present."),
        key("max_length", Named(MAX_LENGTH), "The most characters of a field."),
        key("outputs", NamedRef("output"), "What the contract says of each field; `*`: further fields are taken too."),
        key("idempotency", Text, "The output that the platform deduplicates on: `header.Idempotency-Key`, `map.externalId`; `none`: on nothing, whatever the destination says."),
        key("on_ambiguous", Words(&["retry", "dead_letter"]), "What a request without an answer means."),
        key("on_unmappable", Words(&["dead_letter", "skip"]), "What becomes of a conversion that no request can be made of."),
        key("test", Words(&["carry", "skip"]), "What becomes of test conversions; default: as the destination says, and there `skip`."),
        key("duplicate_when", CONDITION, "Over the answer: the platform has it already."),
        key("delivered_when", CONDITION, "Over the answer; default: any 2xx."),
        key("rejected_when", CONDITION, "Over the answer: it will never be taken, whatever the status."),
        key("suspended_when", CONDITION, "Over the answer: the credential is wrong, whatever the status."),
        key("ambiguous_when", CONDITION, "Over the answer: it leaves open whether the platform took it."),
        key("throttled_when", CONDITION, "Over the answer: too many requests, as a 429 says, whatever the status."),
        key("retry_when", CONDITION, "Over the answer, beside 408, 425, 429 and 5xx."),
        key("wait_header", Table(WAIT_HEADER), "A header that says how long to wait, beside `Retry-After`."),
        key("capture", TEXTS, "What is kept of the answer, by name: `body.id`."),
        key("confirm", FlagOrTable(CONFIRM), "How it is asked what became of what it accepted; `true`: as the preset says."),
        $($own),*
    ] };
}

#[rustfmt::skip]
pub(super) const OPERATION: &[Key] = request_keys!(
    key("kind", Words(&["conversion", "refund", "adjustment"]), "The kind of conversion that it is for; default: the one of its name, or any."),
    key("limits", Table(RATES), "A rate of its own."),
);

#[rustfmt::skip]
pub(super) const RATES: &[Key] = &[
    key("rate", RATE, "Requests."),
    key("burst", COUNT, "How many at once, after a pause."),
];

#[rustfmt::skip]
pub(super) const DESTINATION: &[Key] = request_keys!(
    key("preset", Preset, "A built-in destination below this one: `capi-relay preset` lists them."),
    key("vars", Constants, "Constants that expressions name as `vars.x`; `\"${env:NAME:-default}\"` is read as the type it must be."),
    key("secrets", TEXTS, "Credentials that expressions name as `secrets.x`: `\"${env:NAME}\"`."),
    key("origin", Text, "`scheme://host[:port]` that replaces the URLs' own: a stand-in."),
    key("operation", NamedRef("operation"), "Further calls: `refund`, `adjustment`, or any other name."),
    key("expect_currency", Text, "The only currency that it takes: `EUR`."),
    key("max_age", DURATION, "Older conversions become dead letters."),
    key("consent", Words(&["require", "carry", "ignore"]), "What a refused consent means; default `require`: it is withheld."),
    key("dedup_window", DURATION, "How long the platform recognises a repeat by `idempotency`."),
    key("limits", Table(LIMITS), "How fast it is asked."),
    key("retry", Table(RETRY), "When a delivery is attempted again, and when given up."),
    key("ca_file", Text, "PEM file of an extra root."),
    key("client_certificate", Table(CLIENT_CERTIFICATE), "What we show of ourselves where a certificate is asked for."),
    key("proxy", Text, "`http://host:port` that is asked for a tunnel; `none`: not even the environment's (`HTTPS_PROXY`, `NO_PROXY`)."),
    key("max_pending", COUNT, "How many deliveries may wait for it; unlimited within the queue's own budget."),
    key("on_overflow", Words(&["refuse", "dead_letter", "skip"]), "What becomes of more; default `refuse`: 503 to the merchant."),
    key("traceparent", Flag, "A merchant's `traceparent` is passed on with each attempt; default `true`."),
    key("allow_private", Flag, "It may be at a private or link-local address; default `false`."),
    key("golden", Tables(GOLDEN), "Conversions and the requests that must become of them."),
);

#[rustfmt::skip]
pub(super) const AUTH: &[Key] = &[
    key("bearer", Text, "`{secrets.token}`"),
    key("basic", Table(&[key("user", Text, "Without a colon."), key("password", Text, "`{secrets.password}`")]), "User and password."),
    key("header", Table(NAME_VALUE), "A header of the destination's own."),
    key("query", Table(NAME_VALUE), "A parameter at the end of the query."),
    key("hmac", Table(HMAC), "A signature over the finished request."),
    key("standard_webhooks", Text, "`{secrets.signing_key}`: the headers of Standard Webhooks, signed with this key (`whsec_…`)."),
    key("oauth", Table(OAUTH), "An access token, fetched and renewed."),
];

#[rustfmt::skip]
pub(super) const HMAC: &[Key] = &[
    key("algorithm", Words(&["sha1", "sha256", "sha512"]), "The hash."),
    key("key", Text, "`{secrets.key}`"),
    key("key_encoding", Words(&["text", "hex", "base64"]), "How the key is written; default `text`."),
    key("header", Text, "The header that the signature stands in."),
    key("query", Text, "Instead: the query parameter."),
    key("encoding", Words(&["hex", "base64"]), "How the signature is written; default `hex`."),
    key("prefix", Text, "What stands before it: `sha256=`."),
    key("sign", Text, "What is signed: a template, also over `{body}`, `{method}`, `{url}`, `{path}`, `{query}`; default `{body}`."),
];

#[rustfmt::skip]
pub(super) const OAUTH: &[Key] = &[
    key("grant", Words(&["refresh_token", "client_credentials"]), "How the token is asked for."),
    key("token_url", Text, "Where; `https`, or loopback."),
    key("client_id", Text, "Who asks."),
    key("client_secret", Text, "`{secrets.client_secret}`"),
    key("refresh_token", Text, "`{secrets.refresh_token}`, for that grant."),
    key("scope", Text, "What is asked for."),
    key("audience", Text, "Whom it is for."),
    key("client_auth", Words(&["body", "basic"]), "Where id and secret stand; default `body`."),
    key("header_scheme", Text, "The word before the token; default `Bearer`."),
];

#[rustfmt::skip]
pub(super) const NAME_VALUE: &[Key] = &[
    key("name", Text, "Its name."),
    key("value", Text, "Its whole value, with `{secrets.x}`."),
];

#[rustfmt::skip]
pub(super) const OUTPUT: &[Key] = &[
    key("type", Words(&["text", "number", "int", "bool", "object", "array", "any"]), "What it is on the wire; default `any`."),
    key("required", Flag, "It stands in every request; of an item: for every item."),
    key("max_length", COUNT, "The most characters."),
    key("values", List, "The only values that are taken."),
    key("over", Words(&["truncate", "omit", "reject"]), "What becomes of a value that is too long, none of `values` or not the digest that `pii` asks for; default `reject`."),
    key("scale", Count(0, 18), "The most decimals of a number."),
    key("pii", TextOrList, "What of a person it takes: `none`, `plain`, `hashed`, or the algorithms `md5`, `sha1`, `sha256`, `sha512`."),
    key("unmapped", Text, "Why no line of the map sets it."),
    key("doc", Text, "What it means."),
];

#[rustfmt::skip]
pub(super) const MAX_LENGTH: &[Key] = &[
    key("limit", COUNT, "The most characters."),
    key("over", Words(&["truncate", "omit", "reject"]), "What becomes of a longer one; default `reject`."),
];

#[rustfmt::skip]
pub(super) const CONFIRM: &[Key] = &[
    key("url", Text, "Absolute; `{captured.x}` is what was captured: a path behind the host, or else encoded."),
    key("headers", TEXTS, "Header fields; `{expr}` is interpolated."),
    key("after", DURATION, "Before the first question; default `1m`."),
    key("every", DURATION, "Between two questions; default `5m`."),
    key("tries", COUNT, "Answers that leave it open, until it is a dead letter; default 20."),
    key("confirmed_when", CONDITION, "Over the answer: it is delivered."),
    key("duplicate_when", CONDITION, "Over the answer: the platform had it already."),
    key("rejected_when", CONDITION, "Over the answer: it is a dead letter."),
    key("reason", Text, "What of the answer says why: `body.reason`."),
];

#[rustfmt::skip]
pub(super) const WAIT_HEADER: &[Key] = &[
    key("name", Text, "`X-RateLimit-Reset`"),
    key("unit", Words(&["seconds", "unix"]), "Seconds from now, or since 1970."),
];

#[rustfmt::skip]
pub(super) const LIMITS: &[Key] = &[
    key("rate", RATE, "Requests."),
    key("burst", COUNT, "How many at once, after a pause."),
    key("concurrency", COUNT, "Most requests in flight; default 16."),
    key("connect_timeout", DURATION, "For the connection; default `5s`."),
    key("header_timeout", DURATION, "Until the answer's head; default `timeout`."),
    key("timeout", DURATION, "Until the whole answer; default `30s`."),
];

#[rustfmt::skip]
pub(super) const CLIENT_CERTIFICATE: &[Key] = &[
    key("cert", Text, "PEM file, leaf first."),
    key("key", Text, "PEM file of its private key."),
];

#[rustfmt::skip]
pub(super) const RETRY: &[Key] = &[
    key("first", DURATION, "Before the second attempt, at most; default `1s`."),
    key("max", DURATION, "Between attempts, at most; default `15m`."),
    key("give_up_after", DURATION, "Since the conversion was accepted; default `72h`, never longer than `queue.dedup_window`."),
];

#[rustfmt::skip]
pub(super) const GOLDEN: &[Key] = &[
    key("conversion", Text, "File of a canonical conversion in JSON."),
    key("request", Text, "File of the request that must become of it; `capi-relay test --update` writes it."),
    key("outcome", Words(&["skipped", "withheld", "unsupported", "unmappable"]), "Instead: why nothing is sent."),
    key("reason", Text, "With `outcome`: a part of the reason."),
    key("merchant", Text, "Who sends it; default: the first that sends there."),
];
