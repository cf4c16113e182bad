//! What stands in for traces in a build without the feature `otlp`: nothing is exported, and the merchant's trace is kept as it
//! came.

use http::{Method, Request, StatusCode, Uri};
use prometheus_client::registry::Registry;

use super::{Environment, Outlook, StartError, Wrong, asked};
use crate::conversion::{Conversion, TraceParent};
use crate::queue::{Attempt, Clock, Delivery, Status};

/// What the environment asks for, and this build has not.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    asked: Option<&'static str>,
}

impl Settings {
    /// Looks whether traces are asked for.
    ///
    /// # Errors
    /// None in this build.
    pub fn read(environment: Environment<'_>) -> Result<Settings, Wrong> {
        Ok(Settings { asked: asked(environment) })
    }

    /// What becomes of traces.
    pub fn outlook(&self) -> Outlook {
        self.asked.map_or(Outlook::Off, |variable| Outlook::NotBuilt { variable })
    }
}

/// No traces.
#[derive(Debug, Clone, Default)]
pub struct Traces(());

impl Traces {
    /// Starts nothing.
    ///
    /// # Errors
    /// None in this build.
    pub fn start(_: Settings, _: &Clock) -> Result<Traces, StartError> {
        Ok(Traces(()))
    }

    /// A request of the public API, under this trace of its merchant's.
    pub fn receive<B>(&self, _: &Request<B>, _is_tls: bool, parent: Option<TraceParent>) -> Receipt {
        Receipt(parent)
    }

    /// An attempt begins.
    pub fn attempt(&self, _: &Delivery, _: Option<TraceParent>, _: &Method, _: &Uri) -> Attempting {
        Attempting
    }

    /// Nothing is counted.
    pub fn register_metrics(&self, _: &mut Registry) {}

    /// Nothing is waited for.
    pub async fn close(&self) {}
}

/// A request that is being answered.
#[derive(Debug, Clone, Copy)]
pub struct Receipt(Option<TraceParent>);

impl Receipt {
    /// The one conversion that it carries.
    pub fn whole(&self) -> Entry {
        Entry(self.0)
    }

    /// One of several that it carries.
    pub fn part(&self) -> Entry {
        Entry(self.0)
    }

    /// The answer to it.
    pub fn answered<'e>(self, _: StatusCode, _: impl IntoIterator<Item = &'e mut Entry>) {}
}

/// A conversion that a request carries.
#[derive(Debug, Clone, Copy)]
pub struct Entry(Option<TraceParent>);

impl Entry {
    /// The trace that is kept with it.
    pub fn trace(&self) -> Option<TraceParent> {
        self.0
    }

    /// What it is.
    #[must_use]
    pub fn of(self, _: &Conversion) -> Entry {
        self
    }

    /// It is on disk.
    #[must_use]
    pub fn kept(self, _: &Status, _is_new: bool) -> Entry {
        self
    }
}

/// An attempt that is being made.
#[derive(Debug, Clone, Copy)]
pub struct Attempting;

impl Attempting {
    /// How it ended: by which operation, and whether two requests went out.
    pub fn ended(self, _: &Attempt, _operation: Option<&str>, _repeated: bool) {}
}
