//! What is counted of deliveries, by destination.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::{Activity, Inner, PoolState};
use crate::conversion::DestinationName;
use crate::queue::Verdict;

/// Five milliseconds to forty seconds: a good API's answer up to past the default timeout.
const ATTEMPT_BUCKETS: (f64, f64, u16) = (0.005, 2.0, 14);
/// Ten milliseconds to three days, the default time until a delivery is given up.
const DELIVERY_BUCKETS: [f64; 14] =
    [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0, 259_200.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDestination {
    destination: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByVerdict {
    destination: Arc<str>,
    verdict: &'static str,
}

/// The metrics of all pools.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    deliveries: Family<ByVerdict, Counter>,
    attempt: Family<ByDestination, Histogram>,
    delivery: Family<ByDestination, Histogram>,
    concurrency: Family<ByDestination, Gauge>,
    in_flight: Family<ByDestination, Gauge>,
    limiter_wait: Family<ByDestination, Counter<f64, AtomicU64>>,
    panics: Family<ByDestination, Counter>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let attempt: fn() -> Histogram = || {
            let (start, factor, length) = ATTEMPT_BUCKETS;
            Histogram::new(exponential_buckets(start, factor, length))
        };
        let delivery: fn() -> Histogram = || Histogram::new(DELIVERY_BUCKETS);
        Metrics {
            deliveries: Family::default(),
            attempt: Family::new_with_constructor(attempt),
            delivery: Family::new_with_constructor(delivery),
            concurrency: Family::default(),
            in_flight: Family::default(),
            limiter_wait: Family::default(),
            panics: Family::default(),
        }
    }
}

impl Metrics {
    /// Registers every family under its full name, and what is shown of each destination when it is asked for.
    pub(super) fn register(&self, registry: &mut Registry, shown: Weak<Inner>) {
        let registry = registry.sub_registry_with_prefix("capi_relay");
        registry.register(
            "deliveries",
            "Attempts and deliveries ended without one, by what became of them",
            self.deliveries.clone(),
        );
        registry.register_with_unit(
            "attempt",
            "Time from a request to its judged answer",
            Unit::Seconds,
            self.attempt.clone(),
        );
        registry.register_with_unit(
            "delivery",
            "Time from receiving a conversion to its delivery",
            Unit::Seconds,
            self.delivery.clone(),
        );
        registry.register(
            "concurrency",
            "Attempts that a destination may have in flight now",
            self.concurrency.clone(),
        );
        registry.register("in_flight", "Attempts in flight", self.in_flight.clone());
        registry.register_with_unit(
            "limiter_wait",
            "Time in which the rate of a destination allowed no request",
            Unit::Seconds,
            self.limiter_wait.clone(),
        );
        registry.register(
            "delivery_panics",
            "Deliveries that ended in a fault of the relay itself",
            self.panics.clone(),
        );
        registry.register_collector(Box::new(States(shown)));
    }

    /// A destination that is gone has none in flight, and may have none: as they were last, both would stand for good.
    pub(super) fn forget(&self, destination: &DestinationName) {
        let label = ByDestination { destination: destination.as_str().into() };
        for gauges in [&self.concurrency, &self.in_flight] {
            gauges.remove(&label);
        }
    }

    /// The instruments of one destination.
    pub(super) fn of(&self, destination: &DestinationName) -> Instruments {
        let destination: Arc<str> = destination.as_str().into();
        // From zero on: what first appears as one has not grown, for who watches it.
        for verdict in Verdict::ALL.iter().map(|verdict| verdict.as_str()).chain([EXHAUSTED, DELIVERED_UNCONFIRMED]) {
            drop(self.deliveries.get_or_create(&ByVerdict { destination: Arc::clone(&destination), verdict }));
        }
        let label = ByDestination { destination: Arc::clone(&destination) };
        Instruments {
            deliveries: self.deliveries.clone(),
            attempt: self.attempt.get_or_create_owned(&label),
            delivery: self.delivery.get_or_create_owned(&label),
            concurrency: self.concurrency.get_or_create_owned(&label),
            in_flight: self.in_flight.get_or_create_owned(&label),
            limiter_wait: self.limiter_wait.get_or_create_owned(&label),
            panics: self.panics.get_or_create_owned(&label),
            destination,
        }
    }
}

/// `capi_relay_destination_state`: one for the state that is shown, zero for the others; and how much of their time those that
/// wait have used up.
struct States(Weak<Inner>);

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("States")
    }
}

impl Collector for States {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(inner) = self.0.upgrade() else {
            return Ok(());
        };
        let help = "1 for the state that a destination is in";
        let mut metric = encoder.encode_descriptor("destination_state", help, None, MetricType::Gauge)?;
        for PoolState { destination, state: shown, .. } in inner.states() {
            for state in Activity::ALL {
                let labels = [("destination", destination.as_str()), ("state", state.as_str())];
                ConstGauge::new(i64::from(state == shown)).encode(metric.encode_family(&labels)?)?;
            }
        }
        let help = "Age of the oldest conversion that is pending, from its receipt, as a share of retry.give_up_after";
        let mut metric = encoder.encode_descriptor("oldest_pending_give_up_ratio", help, None, MetricType::Gauge)?;
        for (destination, share) in inner.given_up_shares() {
            let labels = [("destination", destination.as_str())];
            ConstGauge::new(share).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The instruments of one destination.
#[derive(Debug)]
pub(super) struct Instruments {
    destination: Arc<str>,
    deliveries: Family<ByVerdict, Counter>,
    /// `capi_relay_attempt_seconds`.
    pub(super) attempt: Histogram,
    /// `capi_relay_delivery_seconds`.
    pub(super) delivery: Histogram,
    /// `capi_relay_concurrency`.
    pub(super) concurrency: Gauge,
    /// `capi_relay_in_flight`.
    pub(super) in_flight: Gauge,
    /// `capi_relay_limiter_wait_seconds_total`.
    pub(super) limiter_wait: Counter<f64, AtomicU64>,
    /// `capi_relay_delivery_panics_total`.
    pub(super) panics: Counter,
}

impl Instruments {
    /// Counts in `capi_relay_deliveries_total`.
    pub(super) fn count(&self, verdict: &'static str) {
        self.deliveries.get_or_create(&ByVerdict { destination: Arc::clone(&self.destination), verdict }).inc();
    }
}

/// Label of a delivery given up for good, beside its last attempt's own verdict.
pub(super) const EXHAUSTED: &str = "exhausted";

/// Label of a delivery that was accepted and is asked about no more, beside `delivered`.
pub(super) const DELIVERED_UNCONFIRMED: &str = "delivered_unconfirmed";

/// A count as a gauge takes it.
pub(super) fn gauge(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
