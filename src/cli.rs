//! The commands, and the wiring of all modules. It promises: output on standard output, reports on standard error, and
//! exit codes that a script can read (0 done, 1 the answer is no, 2 usage, 64 bad configuration at start). It holds no
//! logic of its own that another module could own.

mod audit;
mod check;
mod client;
mod compact;
mod dead;
mod demo;
mod destinations;
mod diff;
mod export;
mod forget;
mod import;
mod init;
mod merchant;
mod output;
mod pages;
mod panics;
mod progress;
mod reconcile;
mod recover;
mod refusal;
mod relay;
mod reload;
mod reloader;
mod render;
mod samples;
mod runtimes;
mod sandbox;
mod send;
mod serve;
mod settings;
mod signals;
mod status;
mod test;
mod key;
mod token;
mod trial;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::ingress::descriptors;
use crate::{admin, config, conversion};

pub use relay::{Left, Relay, ReloadError, StartError};

/// Done.
const DONE: u8 = 0;
/// The answer is no: `check`, `test`, `diff`, `health`, `send` refused, `demo` with a violation.
const NO: u8 = 1;
/// Arguments that do not go together, where only their values tell.
const WRONG_USE: u8 = 2;
/// The configuration is wrong, so nothing was started (`EX_USAGE` of sysexits).
const BAD_CONFIGURATION: u8 = 64;

const AFTER_HELP: &str = "Examples:
  capi-relay demo                                  no file, no account: what it does, in seconds
  capi-relay init thrad impact && capi-relay check a routes file to begin with, and what it lacks
  capi-relay serve                                 until SIGTERM or SIGINT
  capi-relay dead list                             what was given up, and why

EXIT STATUS:
  0   done
  1   the answer is no, or could not be had: check, test, diff, health, probe, reload, send refused, demo with a violation
  2   arguments that are wrong, or do not go together
  64  serve: the configuration is wrong, so nothing was started";

/// Relays conversions: one in, every conversion API out.
#[derive(Debug, Parser)]
#[command(name = "capi-relay", version, about, max_term_width = 110, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    configuration: ConfigurationArgs,
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
struct ConfigurationArgs {
    /// The routes file [default: ./routes.toml, then /etc/capi-relay/routes.toml]
    #[arg(short, long, global = true, env = "CAPI_RELAY_CONFIG", value_name = "PATH")]
    config: Option<PathBuf>,
    /// Lays a value over the file: --set destination.thrad.origin=http://127.0.0.1:9101
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// How a command that sends nothing reads the configuration.
#[derive(Debug, Args)]
struct ReadingArgs {
    /// Stands in for secrets, token digests and TLS files that are missing: for CI, where what is shown is masked anyway.
    /// Vars are part of what is sent: they must be set, or have defaults (`${env:NAME:-default}`)
    #[arg(long)]
    no_secrets: bool,
}

/// Where a running relay is.
#[derive(Debug, Args)]
struct AdminArgs {
    /// Address of the admin listener [default: from the configuration]
    #[arg(long, env = "CAPI_RELAY_ADMIN", value_name = "HOST:PORT")]
    admin: Option<String>,
    /// Bearer token of the admin listener, where it needs one
    #[arg(
        long,
        env = "CAPI_RELAY_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    admin_token: Option<String>,
    #[command(flatten)]
    trust: TrustArgs,
}

/// Whom a command trusts to be the relay.
#[derive(Debug, Args)]
struct TrustArgs {
    /// PEM file of the CA that the relay's certificate must be signed by
    /// [default: on this machine any certificate will do, elsewhere the public CAs']
    #[arg(long, env = "CAPI_RELAY_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl TrustArgs {
    /// The CA's file, where there is a certificate to hold against it.
    fn ca_for(&self, url: &url::Url) -> Option<&Path> {
        self.ca.as_deref().filter(|_| url.scheme() == "https")
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes a commented routes file for the chosen presets
    Init(init::InitArgs),
    /// Runs the relay until SIGTERM or SIGINT
    Serve(serve::ServeArgs),
    /// Checks the configuration and prints every fault with its place
    Check(check::CheckArgs),
    /// Prints the exact requests that a conversion becomes, without sending them
    Render(render::RenderArgs),
    /// Proves the goldens: that each conversion kept beside the routes file becomes the request kept with it
    Test(test::TestArgs),
    /// Shows what another routes file would change on the wire, over a file of conversions
    Diff(diff::DiffArgs),
    /// Prints a preset as TOML, or lists their names
    Preset {
        /// Its name
        name: Option<String>,
        /// As a Markdown table instead: each of the vendor's fields and what it is made of
        #[arg(long, requires = "name")]
        fields: bool,
    },
    /// Prints the JSON Schema of the canonical conversion or of routes.toml, or the API as OpenAPI
    Schema {
        /// As a Markdown table instead
        #[arg(long)]
        markdown: bool,
        /// Of routes.toml instead, for editors: `#:schema ./routes.schema.json` on its first line
        #[arg(long, conflicts_with = "markdown")]
        routes: bool,
        /// The HTTP API of both listeners instead, as OpenAPI 3.1
        #[arg(long, conflicts_with_all = ["markdown", "routes"])]
        openapi: bool,
    },
    /// Makes a merchant's bearer token and the digest that goes into routes.toml
    Token(token::TokenArgs),
    /// Makes a key for `queue.encryption`
    Key(key::KeyArgs),
    /// Posts a conversion, or a file of them, to a running relay
    Send(send::SendArgs),
    /// Shows what became of a conversion, or of an order's
    Status(status::StatusArgs),
    /// Shows the destinations: state, backlog, rates; or one of them from near
    Destinations(destinations::DestinationsArgs),
    /// Stops sending to a destination, also over a restart; its work waits
    Pause(destinations::PauseArgs),
    /// Sends to a destination again
    Resume(destinations::OrderArgs),
    /// Makes one attempt at a destination now, whatever its breaker or a suspension say
    Probe(destinations::OrderArgs),
    /// Has the relay read its configuration anew, and says what changed, or every fault
    Reload(reload::ReloadArgs),
    /// Dead letters: deliveries given up, kept for a person
    Dead {
        #[command(subcommand)]
        command: dead::DeadCommand,
    },
    /// Shows what was changed through the admin API, and by whom
    Audit(audit::AuditArgs),
    /// Adds up what was accepted and what became of it: numbers and exact sums by day, destination, currency and state
    Reconcile(reconcile::ReconcileArgs),
    /// Erases what was received for an order or of a customer; what is owed of it is sent to nobody
    Forget(forget::ForgetArgs),
    /// Gives back what the queue's store holds of what is gone, while no relay uses the folder
    Compact,
    /// Writes pending work and dead letters as a file, while no relay uses the folder: a backup, or for another machine
    Export(export::ExportArgs),
    /// Takes in what `export` wrote, while no relay uses the folder
    Import(import::ImportArgs),
    /// Rebuilds a damaged folder from what is whole in it; without --yes it says what it would do
    Recover(recover::RecoverArgs),
    /// Runs local stand-ins of the five platforms
    Sandbox(sandbox::SandboxArgs),
    /// Starts the stand-ins and a relay, sends sample conversions and shows what each platform received
    Demo(demo::DemoArgs),
    /// Exits 0 if the relay is ready, 1 if not
    Health(AdminArgs),
    /// Prints what a shell needs to complete commands and options
    Completions(pages::CompletionsArgs),
    /// Prints the manual page
    Man(pages::ManArgs),
}

/// Runs the command line and says how the process ends.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    panics::log();
    // A folder's files may be more than the usual limit.
    descriptors::raise();
    let code = match cli.command {
        Command::Init(args) => init::command(&cli.configuration, &args),
        Command::Serve(args) => serve::command(&cli.configuration, &args),
        Command::Check(args) => check::command(&cli.configuration, &args),
        Command::Render(args) => render::command(&cli.configuration, &args),
        Command::Test(args) => test::command(&cli.configuration, &args),
        Command::Diff(args) => diff::command(&cli.configuration, &args),
        Command::Preset { name, fields } => preset(name.as_deref(), fields),
        Command::Schema { openapi: true, .. } => {
            output::line(&format!("{:#}", admin::document()));
            DONE
        }
        Command::Schema { markdown, routes, .. } => schema(markdown, routes),
        Command::Token(args) => token::command(&args),
        Command::Key(args) => key::command(&args),
        Command::Send(args) => send::command(&cli.configuration, &args),
        Command::Status(args) => status::command(&cli.configuration, &args),
        Command::Destinations(args) => destinations::command(&cli.configuration, &args),
        Command::Pause(args) => destinations::pause(&cli.configuration, &args),
        Command::Resume(args) => destinations::resume(&cli.configuration, &args),
        Command::Probe(args) => destinations::probe(&cli.configuration, &args),
        Command::Reload(args) => reload::command(&cli.configuration, &args),
        Command::Audit(args) => audit::command(&cli.configuration, &args),
        Command::Reconcile(args) => reconcile::command(&cli.configuration, &args),
        Command::Dead { command } => dead::command(&cli.configuration, &command),
        Command::Forget(args) => forget::command(&cli.configuration, &args),
        Command::Compact => compact::command(&cli.configuration),
        Command::Export(args) => export::command(&cli.configuration, &args),
        Command::Import(args) => import::command(&cli.configuration, &args),
        Command::Recover(args) => recover::command(&cli.configuration, &args),
        Command::Sandbox(args) => sandbox::command(&cli.configuration, &args),
        Command::Demo(args) => demo::command(&args),
        Command::Health(args) => health(&cli.configuration, &args),
        Command::Completions(args) => pages::completions(&args),
        Command::Man(args) => pages::man(&args),
    };
    ExitCode::from(if code == DONE && output::is_cut() { NO } else { code })
}

fn preset(name: Option<&str>, fields: bool) -> u8 {
    let presets = config::presets();
    let Some(name) = name else {
        for (name, _) in presets {
            output::line(name);
        }
        return DONE;
    };
    let Some((_, text)) = presets.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = presets.iter().map(|(name, _)| *name).collect();
        output::error(&format!("there is no preset `{name}`; there are: {}", known.join(", ")));
        return WRONG_USE;
    };
    let table = if fields { config::preset_fields(name) } else { None };
    output::line(table.as_deref().unwrap_or(text).trim_end());
    DONE
}

fn schema(markdown: bool, routes: bool) -> u8 {
    if markdown {
        output::line(conversion::markdown_table().trim_end());
    } else {
        output::line(&format!("{:#}", if routes { config::routes_schema() } else { conversion::json_schema() }));
    }
    DONE
}

fn health(configuration: &ConfigurationArgs, args: &AdminArgs) -> u8 {
    match client::admin(configuration, args, "/readyz") {
        Ok(answer) if answer.is_success() => DONE,
        Ok(answer) => {
            output::error(&format!("not ready: {}", answer.detail()));
            NO
        }
        Err(error) => {
            output::error(&error);
            NO
        }
    }
}
