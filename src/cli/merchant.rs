//! Who `send` and `status` are at the public API: where that is, and all that a merchant may have to show there, alone or
//! together: a bearer token, a client certificate, a signature. What of it is needed, the relay says.

use std::path::PathBuf;

use clap::Args;

use super::client::{self, Call, Trust};
use super::{ConfigurationArgs, ReadingArgs, TrustArgs, settings};
use crate::config::Transport;
use crate::mapping::WebhookKey;

/// Where the public API of a running relay is, and as whom.
#[derive(Debug, Args)]
pub(super) struct RelayArgs {
    /// Its URL [default: the configuration's own listener, on this machine]
    #[arg(long, env = "CAPI_RELAY_URL", value_name = "URL")]
    url: Option<String>,
    /// The merchant's bearer token
    #[arg(long, env = "CAPI_RELAY_TOKEN", value_name = "TOKEN", hide_env_values = true, allow_hyphen_values = true)]
    token: Option<String>,
    /// PEM file of the merchant's client certificate, leaf first
    #[arg(long, env = "CAPI_RELAY_CLIENT_CERTIFICATE", value_name = "FILE", requires = "client_key")]
    client_certificate: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, env = "CAPI_RELAY_CLIENT_KEY", value_name = "FILE", requires = "client_certificate")]
    client_key: Option<PathBuf>,
    /// Signs each request as Standard Webhooks has it: one of the merchant's `signing_secrets`
    #[arg(long, env = "CAPI_RELAY_SIGNING_SECRET", value_name = "SECRET", hide_env_values = true)]
    signing_secret: Option<String>,
}

/// What a merchant speaks with, read and found to be usable.
pub(super) struct Voice {
    token: Option<String>,
    key: Option<WebhookKey>,
    trust: Trust,
}

impl RelayArgs {
    /// The URL of one path of the public API.
    pub(super) fn url(&self, configuration: &ConfigurationArgs, path: &str) -> Result<url::Url, String> {
        let origin = match &self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                // Whoever hands in need not have the relay's secrets.
                let read = settings::load_to_read(configuration, &ReadingArgs { no_secrets: true });
                let server = read.map_err(|report| format!("{report}\nor say where the relay is: --url URL"))?.server;
                let scheme = if matches!(server.transport, Transport::Plain) { "http" } else { "https" };
                format!("{scheme}://{}", client::reachable(server.listen))
            }
        };
        client::parse(&format!("{origin}{path}"))
    }

    /// Whether any of a merchant's credentials is given.
    pub(super) fn is_of_a_merchant(&self) -> bool {
        self.token.is_some() || self.client_certificate.is_some() || self.signing_secret.is_some()
    }

    /// Reads the files and the secret; an error names the option and what would be right, and nothing of what was read.
    pub(super) fn voice(&self, trust: &TrustArgs, url: &url::Url) -> Result<Voice, String> {
        let own = self.client_certificate.as_deref().zip(self.client_key.as_deref());
        let key = self.signing_secret.as_deref().map(WebhookKey::parse).transpose();
        let key = key.map_err(|error| {
            format!("`--signing-secret`: {error}: it is one of the merchant's `signing_secrets`, as the relay has it")
        })?;
        Ok(Voice { token: self.token.clone(), key, trust: Trust::read(trust.ca_for(url), own)? })
    }
}

impl Voice {
    /// A request of the merchant's, to be filled in.
    pub(super) fn call(&self) -> Call<'_> {
        Call { token: self.token.as_deref(), key: self.key.as_ref(), trust: self.trust.clone(), ..Call::default() }
    }
}
