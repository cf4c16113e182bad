//! Local stand-ins of the five platforms: the relay's conscience.
//!
//! Each platform listens on its own loopback port, holds every request to the vendor's document, deduplicates as that
//! platform does and gives its documented answers and errors. One file per platform holds that vendor's rules, each
//! beside the field it is about, so a rule can be read next to the document it comes from.
//!
//! Promises:
//! - a request that breaks the document is *recorded with every breach* and answered with that platform's own
//!   validation error, so a wrong mapping is seen as a rejection and never as a success;
//! - the rules are written from the documents alone and share nothing with the mapping or its presets;
//! - memory is bounded ([`RECEIVED_MAX`], [`RECEIVED_BYTES_MAX`], [`HANDLES_MAX`]), counters are never lost;
//! - no clock, no randomness, no disk: the same requests in the same order get the same answers.
//!
//! It never leaves 127.0.0.1, speaks plain HTTP/1.1, and is stricter than a vendor where a vendor would silently drop
//! or guess: no nulls, no empty values, no `"None"` sent as text, no default leant on that would move a date or money.
//! Where a document is silent (a status code, the shape of an error) the answer is a sensible one and a comment says so.
//!
//! Errors reachable through data, so that a demonstration needs no script: ids beginning with `missing_` are unknown to
//! the platform (for Trackdesk's UUIDs: beginning with `00000000-`), Thrad's `nobid_…` clicks carry no bid id, and
//! Scaleo's `trash_…` clicks end as trash leads.

mod rules;
mod request;
mod memory;
mod thrad;
mod impact;
mod scaleo;
mod trackdesk;
mod dsp;
mod server;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::server::Stand;

pub use self::memory::{HANDLES_MAX, RECEIVED_BYTES_MAX, RECEIVED_MAX};
pub use self::request::BODY_BYTES_MAX;

/// A platform that has a stand-in, in the order of the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Platform {
    /// Thrad, *Conversion API*.
    Thrad,
    /// Impact, *Create a conversion* and *Actions*.
    Impact,
    /// Scaleo, *Create conversion by click ID* and the `conv-change` postback.
    Scaleo,
    /// Trackdesk, *Postback* (POST and GET) and the status update.
    Trackdesk,
    /// The Freshpaint partner contract, *Conversions API for Ad Platforms & DSPs*.
    Dsp,
}

impl Platform {
    /// All of them, in the order of the ports.
    pub const ALL: [Platform; 5] =
        [Platform::Thrad, Platform::Impact, Platform::Scaleo, Platform::Trackdesk, Platform::Dsp];

    /// The name as destinations are named: `thrad`, `impact`, `scaleo`, `trackdesk`, `dsp`.
    pub const fn name(self) -> &'static str {
        match self {
            Platform::Thrad => "thrad",
            Platform::Impact => "impact",
            Platform::Scaleo => "scaleo",
            Platform::Trackdesk => "trackdesk",
            Platform::Dsp => "dsp",
        }
    }
}

/// The accounts that the stand-ins know. The default holds fixed credentials that are plainly no secrets.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// Bearer key of Thrad.
    pub thrad_api_key: String,
    /// Account SID of Impact: user name and part of the path.
    pub impact_account_sid: String,
    /// Password of Impact.
    pub impact_auth_token: String,
    /// Manager's `api-key` of Scaleo.
    pub scaleo_api_key: String,
    /// A valid `api-key` of Scaleo whose role may not create conversions: answered `403`.
    pub scaleo_affiliate_key: String,
    /// Advertiser security token of Scaleo's postbacks.
    pub scaleo_security_token: String,
    /// The Scaleo goal's setting *Multiple Conversions*. With *No* a second conversion of a click is an error. The
    /// default is *Yes*: one click may lead to several orders, and refusing the second would turn away right requests.
    /// With *Yes* Scaleo recognises no repeat, so a request sent twice has two effects, here as there.
    pub scaleo_multiple_conversions: bool,
    /// `x-api-key` of Trackdesk: optional when a conversion is created, needed for updates.
    pub trackdesk_api_key: String,
    /// Bearer token of the DSP.
    pub dsp_token: String,
}

impl Default for Accounts {
    fn default() -> Accounts {
        Accounts {
            thrad_api_key: "sandbox-thrad-key".into(),
            impact_account_sid: "IRsandbox0000000001".into(),
            impact_auth_token: "sandbox-impact-token".into(),
            scaleo_api_key: "sandbox-scaleo-key".into(),
            scaleo_affiliate_key: "sandbox-scaleo-affiliate-key".into(),
            scaleo_security_token: "sandbox-scaleo-security-token".into(),
            scaleo_multiple_conversions: true,
            trackdesk_api_key: "sandbox-trackdesk-key".into(),
            dsp_token: "sandbox-dsp-token".into(),
        }
    }
}

/// What a platform does to the next requests. `times` counts requests, `None` is until the next script; afterwards the
/// platform follows its document again.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Follow the document.
    Document,
    /// Answer this, whatever the request says; nothing takes effect.
    Answer {
        /// HTTP status.
        status: u16,
        /// Headers beside `Content-Length`.
        headers: Vec<(String, String)>,
        /// Body as it stands.
        body: String,
        /// How many requests; `None` is until the next script.
        times: Option<usize>,
    },
    /// Answer with one of the platform's own errors; nothing takes effect.
    Fail {
        /// Which error.
        failure: Failure,
        /// How many requests; `None` is until the next script.
        times: Option<usize>,
    },
    /// Follow the document, and answer only after `delay`: the effect comes first.
    Slow {
        /// How long the answer is held back.
        delay: Duration,
        /// How many requests; `None` is until the next script.
        times: Option<usize>,
    },
    /// Follow the document, then reset the connection instead of answering: the ambiguous failure.
    LoseAnswer {
        /// How many requests; `None` is until the next script.
        times: Option<usize>,
    },
    /// Read the request and never answer; nothing takes effect.
    Hang,
    /// Read the request and reset the connection (TCP RST); nothing takes effect.
    Reset,
}

/// An error of a platform's document that a script may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The credential is wrong.
    WrongCredential,
    /// The click (or the source) is not known.
    ClickNotFound,
    /// The request is invalid.
    Invalid,
    /// Too many requests: `429` with `X-RateLimit-Reset` in seconds until the reset on Impact, `Retry-After` elsewhere.
    Throttled {
        /// Seconds to wait.
        seconds: u32,
    },
    /// The platform is down: `503`.
    Unavailable,
}

/// One request as a platform saw it.
#[derive(Debug, Clone)]
pub struct Received {
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Body; bytes that are no UTF-8 are replaced.
    pub body: String,
    /// Which call of the platform it is: `conversion`, `reversal`, `modification`, `status`, `submission`, `unknown`.
    pub operation: &'static str,
    /// Which order or event the request is about (the platform's own dedup handle); empty when it names none.
    pub handle: String,
    /// Breaches of the vendor's document, `field: rule`; empty when the request is right.
    pub violations: Vec<String>,
    /// Whether it changed something on the platform: a new conversion, or the first of equal changes.
    pub effect: bool,
    /// Status of the answer; 0 when none was given.
    pub answered: u16,
}

/// Totals of one platform since the start; they outlive the requests that [`Sandbox::received`] still holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests read.
    pub requests: u64,
    /// Requests with at least one breach.
    pub violations: u64,
    /// Requests that changed something.
    pub effects: u64,
    /// Requests recognised as repeats.
    pub duplicates: u64,
    /// Requests that broke off before their end (a relay was killed): not judged, and in no other number.
    pub incomplete: u64,
    /// Conversions whose handle came after [`HANDLES_MAX`] others and is missing from `arrivals` and `effects`.
    pub untracked: u64,
}

/// The running stand-ins. Dropping it ends them soon; [`Sandbox::stop`] waits until they have ended.
#[derive(Debug)]
pub struct Sandbox {
    thrad: Arc<Stand>,
    impact: Arc<Stand>,
    scaleo: Arc<Stand>,
    trackdesk: Arc<Stand>,
    dsp: Arc<Stand>,
    tasks: TaskTracker,
    running: DropGuard,
}

impl Sandbox {
    /// Binds `base_port` and the four ports after it, in the order of [`Platform::ALL`], on 127.0.0.1; 0 takes five
    /// free ports.
    ///
    /// # Errors
    /// When a port cannot be bound, or `base_port` leaves no room for five.
    pub async fn start(accounts: Accounts, base_port: u16) -> io::Result<Sandbox> {
        let accounts = Arc::new(accounts);
        let tasks = TaskTracker::new();
        let stopping = CancellationToken::new();
        let running = stopping.clone().drop_guard();
        let open = |platform: Platform, offset: u16| {
            server::open(platform, Arc::clone(&accounts), base_port, offset, &tasks, &stopping)
        };
        let sandbox = Sandbox {
            thrad: open(Platform::Thrad, 0).await?,
            impact: open(Platform::Impact, 1).await?,
            scaleo: open(Platform::Scaleo, 2).await?,
            trackdesk: open(Platform::Trackdesk, 3).await?,
            dsp: open(Platform::Dsp, 4).await?,
            running,
            tasks: tasks.clone(),
        };
        tasks.close();
        Ok(sandbox)
    }

    /// Where a platform listens.
    pub fn address(&self, platform: Platform) -> SocketAddr {
        self.stand(platform).address()
    }

    /// What a platform received, oldest first: the newest [`RECEIVED_MAX`] requests, fewer when their text passes
    /// [`RECEIVED_BYTES_MAX`].
    pub fn received(&self, platform: Platform) -> Vec<Received> {
        self.stand(platform).state().ledger.received()
    }

    /// Totals of a platform since the start.
    pub fn counts(&self, platform: Platform) -> Counts {
        self.stand(platform).state().ledger.counts()
    }

    /// How often each conversion arrived, by handle, whatever it was answered. Changes of conversions do not count.
    pub fn arrivals(&self, platform: Platform) -> HashMap<String, u32> {
        self.stand(platform).state().ledger.arrivals()
    }

    /// How often each conversion took effect, by handle: more than 1 is a double payment.
    pub fn effects(&self, platform: Platform) -> HashMap<String, u32> {
        self.stand(platform).state().ledger.effects()
    }

    /// What a platform does to the next requests; replaces the script before it.
    pub fn script(&self, platform: Platform, behaviour: Behaviour) {
        self.stand(platform).state().script = behaviour;
    }

    /// Ends all listeners and connections, held ones included, and waits for their tasks.
    pub async fn stop(self) {
        drop(self.running);
        self.tasks.wait().await;
    }

    fn stand(&self, platform: Platform) -> &Stand {
        match platform {
            Platform::Thrad => &self.thrad,
            Platform::Impact => &self.impact,
            Platform::Scaleo => &self.scaleo,
            Platform::Trackdesk => &self.trackdesk,
            Platform::Dsp => &self.dsp,
        }
    }
}

#[cfg(test)]
mod tests;
