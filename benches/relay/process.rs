//! The servers that are measured, as processes of their own, and what the kernel says of them.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::http::Connection;
use super::sinks::Sinks;
use super::tls::Trust;
use super::{CONNECTIONS, Failed};

/// Which of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Floor,
    Relay,
    /// The relay with TLS towards whoever hands in, and towards destinations.
    Secure,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Floor => "floor",
            Kind::Relay => "relay",
            Kind::Secure => "relay, TLS",
        }
    }
}

/// The merchant's token.
pub(crate) const TOKEN: &str = "token-of-the-bench";

/// One that runs; ended when it is dropped.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// From the start of the process to its first answer.
    pub(crate) start_seconds: f64,
    /// Of one that is spoken to over TLS.
    trust: Option<Trust>,
    child: Child,
    folder: TempDir,
}

impl Server {
    pub(crate) async fn start(kind: Kind, sinks: &Sinks) -> Result<Server, Failed> {
        Server::start_on(kind, sinks, None).await
    }

    /// On that processor alone, if one is named.
    pub(crate) async fn start_on(kind: Kind, sinks: &Sinks, processor: Option<u32>) -> Result<Server, Failed> {
        let folder = tempfile::Builder::new().prefix("relay").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let (program, arguments) = match kind {
            Kind::Floor => {
                let ports = sinks.addresses.iter().map(|address| address.port().to_string());
                (std::env::current_exe()?, std::iter::once("floor".to_owned()).chain(ports).collect())
            }
            Kind::Relay | Kind::Secure => {
                let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
                let path = folder.path().join("routes.toml");
                std::fs::write(&path, routes(folder.path(), port, sinks, kind)?)?;
                let arguments = vec!["serve".to_owned(), "--config".to_owned(), path.display().to_string()];
                (relay_program(), arguments)
            }
        };
        let mut command = match processor {
            Some(processor) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &processor.to_string()]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let output = if kind == Kind::Floor { Stdio::piped() } else { Stdio::null() };
        let since = now();
        let mut child = command.args(arguments).stdout(output).stderr(Stdio::null()).spawn()?;
        let address = match child.stdout.take() {
            Some(said) => first_line(said)?.parse()?,
            None => relay_address(folder.path())?,
        };
        let trust = (kind == Kind::Secure).then(|| sinks.tls.trust());
        let mut server = Server { kind, address, start_seconds: 0.0, trust, child, folder };
        server.first_answer(since).await?;
        Ok(server)
    }

    async fn first_answer(&mut self, since: Instant) -> Result<(), Failed> {
        let probe = b"GET /v1/conversions/none HTTP/1.1\r\nhost: relay\r\n\r\n";
        while since.elapsed() < START_PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the {} ended: {status}", self.kind.name()).into());
            }
            if let Ok(mut connection) = self.connect().await
                && connection.exchange(probe).await.is_ok()
            {
                self.start_seconds = since.elapsed().as_secs_f64();
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err(format!("the {} does not answer", self.kind.name()).into())
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Failed> {
        Connection::open(self.address, self.trust.as_ref()).await
    }

    /// Tells it to end, and waits until it has.
    pub(crate) async fn stop(&mut self) -> Result<(), Failed> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        while self.child.try_wait()?.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Where a relay keeps what it was given, as long as this is there.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> Result<u32, Failed> {
        Ok(u32::try_from(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())?)
    }

    /// User and system time so far.
    pub(crate) fn processor_seconds(&self) -> Result<f64, Failed> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name, in parentheses, may hold spaces; what follows it does not.
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks: u32 = after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
        Ok(f64::from(ticks) / 100.0)
    }

    /// Counts the most bytes in use (`VmHWM`) from now on.
    pub(crate) fn forget_most_memory(&self) -> Result<(), Failed> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    /// Bytes in use now (`VmRSS`) or at most so far (`VmHWM`).
    pub(crate) fn memory(&self, which: &str) -> Result<u64, Failed> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(which)).ok_or("no such line in the status")?;
        let kilobytes: u64 = line.trim_start_matches(':').trim_end_matches("kB").trim().parse()?;
        Ok(kilobytes.saturating_mul(1024))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended cannot be ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn first_line(said: impl Read) -> Result<String, Failed> {
    let mut line = String::new();
    BufReader::new(said).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

fn relay_address(folder: &Path) -> Result<SocketAddr, Failed> {
    let text = std::fs::read_to_string(folder.join("routes.toml"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("listen = ")).ok_or("no `listen`")?;
    Ok(line.trim_matches('"').parse()?)
}

/// The five presets as a merchant would have them, with the sinks in the platforms' places. Two settings are not the presets':
/// Impact's quota of a thousand requests an hour, and how many requests are in flight, which on a machine that is used up must be
/// as many as the floor has.
fn routes(folder: &Path, port: u16, sinks: &Sinks, kind: Kind) -> Result<String, Failed> {
    let digest = hex::encode(Sha256::digest(TOKEN));
    let is_secure = kind == Kind::Secure;
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, &sinks.tls.certificate)?;
    std::fs::write(&key, &sinks.tls.key)?;
    let (certificate, key) = (certificate.display(), key.display());
    let (scheme, transport, trust) = if is_secure {
        let transport = format!("tls = {{ cert = \"{certificate}\", key = \"{key}\" }}");
        ("https", transport, format!("ca_file = \"{certificate}\""))
    } else {
        ("http", "plaintext = true".to_owned(), String::new())
    };
    let mut text = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\n{transport}\nadmin = \"127.0.0.1:0\"\n\
         [queue]\npath = \"{}\"\n[merchant.acme]\ntoken_sha256 = \"{digest}\"\n",
        folder.join("data").display(),
    );
    for (name, address) in sinks.named(is_secure) {
        let needs = match name {
            "thrad" => "secrets.api_key = \"k\"",
            "impact" => {
                "vars.account_sid = \"IR\"\nvars.campaign_id = 1\nvars.event_type_id = 2\nsecrets.auth_token = \"t\"\nlimits.rate = \"1000000/s\"\nlimits.burst = 1000000"
            }
            "scaleo" => "vars.domain = \"t.example\"\nsecrets.api_key = \"k\"\nexpect_currency = \"USD\"",
            "trackdesk" => "vars.tenant = \"acme\"\nvars.conversion_type = \"sale\"",
            _ => {
                "vars.endpoint = \"https://dsp.example/c\"\nvars.advertiser_id = 12\nvars.data_source_key = \"d\"\nsecrets.token = \"t\""
            }
        };
        text.push_str(&format!(
            "[destination.{name}]\npreset = \"{name}\"\norigin = \"{scheme}://{address}\"\n{trust}\n{needs}\nlimits.concurrency = {CONNECTIONS}\n"
        ));
    }
    Ok(text)
}

/// What `CAPI_RELAY_BINARY` names, as it ships, or what cargo has built beside this.
fn relay_program() -> PathBuf {
    std::env::var_os("CAPI_RELAY_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_capi-relay").into(), PathBuf::from)
}

pub(crate) fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0
}

#[expect(clippy::disallowed_methods, reason = "what a bench measures is real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// It makes its folder and starts within milliseconds.
const START_PATIENCE: Duration = Duration::from_secs(20);
