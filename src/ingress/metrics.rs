//! What the public listener counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::problem::Kind;
use crate::config::Overflow;
use crate::conversion::DestinationName;

/// Requests and their answers.
pub(crate) struct Requests {
    accepted: Family<MerchantLabel, Counter>,
    duplicates: Family<MerchantLabel, Counter>,
    refused: Family<RefusedLabel, Counter>,
    overflowed: Family<OverflowLabel, Counter>,
    ack_seconds: Histogram,
}

/// One merchant's counters.
pub(crate) struct Merchant {
    pub(crate) accepted: Counter,
    pub(crate) duplicates: Counter,
}

/// Connections of one listener.
#[derive(Clone, Default)]
pub(crate) struct Connections {
    pub(crate) open: Gauge,
    pub(crate) panics: Counter,
    ended: Family<EndedLabel, Counter>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By either side, nothing left to do.
    Closed,
    /// In the midst of a message.
    BrokenOff,
    /// What came was no HTTP.
    BadProtocol,
    /// Its client's address had as many as it may.
    AddressLimit,
    /// It came past the proxies that are trusted to begin it.
    UntrustedProxy,
    /// It did not begin as a trusted proxy's must.
    BadProxyHeader,
    /// It began with plain HTTP where TLS is spoken.
    PlainHttp,
    /// TLS could not be agreed on.
    HandshakeFailed,
    /// TLS was not agreed on in time.
    HandshakeTimeout,
    /// No whole request head came.
    FirstRequestTimeout,
    /// No further request came.
    Idle,
    /// Its peer took back more of its requests than it may.
    TakenBack,
    /// A request was still in hand when the drain timeout was over.
    DrainTimeout,
}

impl Ending {
    const fn name(self) -> &'static str {
        match self {
            Ending::Closed => "closed",
            Ending::BrokenOff => "broken_off",
            Ending::BadProtocol => "bad_protocol",
            Ending::AddressLimit => "address_limit",
            Ending::UntrustedProxy => "untrusted_proxy",
            Ending::BadProxyHeader => "bad_proxy_header",
            Ending::PlainHttp => "plain_http",
            Ending::HandshakeFailed => "handshake_failed",
            Ending::HandshakeTimeout => "handshake_timeout",
            Ending::FirstRequestTimeout => "first_request_timeout",
            Ending::Idle => "idle",
            Ending::TakenBack => "taken_back",
            Ending::DrainTimeout => "drain_timeout",
        }
    }
}

impl Requests {
    pub(crate) fn new() -> Requests {
        // A quiet disk syncs in 0.2 ms; a loaded one in tens of ms; seconds are an outage.
        let bounds = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
        let refused = Family::<RefusedLabel, Counter>::default();
        // From zero on: what first appears as one has not grown, for who watches it.
        for kind in Kind::ALL {
            drop(refused.get_or_create(&RefusedLabel { reason: kind.name() }));
        }
        Requests {
            accepted: Family::default(),
            duplicates: Family::default(),
            refused,
            overflowed: Family::default(),
            ack_seconds: Histogram::new(bounds),
        }
    }

    pub(crate) fn merchant(&self, name: &str) -> Merchant {
        let label = MerchantLabel { merchant: name.to_owned() };
        Merchant {
            accepted: self.accepted.get_or_create_owned(&label),
            duplicates: self.duplicates.get_or_create_owned(&label),
        }
    }

    pub(crate) fn refused(&self, kind: Kind) {
        self.refused.get_or_create(&RefusedLabel { reason: kind.name() }).inc();
    }

    /// Counts from zero on what comes to a destination that has no more room.
    pub(crate) fn may_overflow(&self, destination: &DestinationName, overflow: Overflow) {
        drop(self.overflowed.get_or_create(&OverflowLabel::of(destination, overflow)));
    }

    pub(crate) fn overflowed(&self, destination: &DestinationName, overflow: Overflow) {
        self.overflowed.get_or_create(&OverflowLabel::of(destination, overflow)).inc();
    }

    pub(crate) fn acknowledged(&self, after: Duration) {
        self.ack_seconds.observe(after.as_secs_f64());
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("capi_relay_accepted", "Conversions answered 202", self.accepted.clone());
        registry.register("capi_relay_duplicates", "Conversions answered as duplicates", self.duplicates.clone());
        registry.register("capi_relay_refused", "Requests of merchants answered with a problem", self.refused.clone());
        let help =
            "Conversions that came while `max_pending` deliveries waited for a destination, by what became of them";
        registry.register("capi_relay_overflowed", help, self.overflowed.clone());
        registry.register(
            "capi_relay_ack_seconds",
            "From the head of a request to its 202: reading, validating, storing durably",
            self.ack_seconds.clone(),
        );
    }
}

impl Connections {
    /// Of another listener of the same relay: its panics are counted with these, and nothing else of it is.
    pub(crate) fn of_panics_alone(&self) -> Connections {
        Connections { panics: self.panics.clone(), ..Connections::default() }
    }

    pub(crate) fn count(&self, ending: Ending) {
        self.ended.get_or_create(&EndedLabel { reason: ending.name() }).inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("capi_relay_connections", "Open connections of the public listener", self.open.clone());
        registry.register(
            "capi_relay_connections_ended",
            "Ended connections of the public listener",
            self.ended.clone(),
        );
        registry.register(
            "capi_relay_request_panics",
            "Requests and connections of both listeners that panicked: each is a fault of the relay",
            self.panics.clone(),
        );
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MerchantLabel {
    merchant: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OverflowLabel {
    destination: String,
    action: &'static str,
}

impl OverflowLabel {
    fn of(destination: &DestinationName, overflow: Overflow) -> OverflowLabel {
        let action = match overflow {
            Overflow::Refuse => "refuse",
            Overflow::DeadLetter => "dead_letter",
            Overflow::Skip => "skip",
        };
        OverflowLabel { destination: destination.as_str().to_owned(), action }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndedLabel {
    reason: &'static str,
}
