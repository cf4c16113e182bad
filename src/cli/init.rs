//! `init`: a routes file to begin with.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{ConfigurationArgs, DONE, NO, WRONG_USE, output};
use crate::config::{self, Starter};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  capi-relay init thrad impact             writes ./routes.toml for the two
  capi-relay init meta -o -                prints one
  capi-relay preset                        lists the presets")]
pub(super) struct InitArgs {
    /// Presets of the destinations
    #[arg(required = true, value_name = "PRESET")]
    presets: Vec<String>,
    /// The merchant's name
    #[arg(long, value_name = "NAME", default_value = "shop")]
    merchant: String,
    /// Where to write it; `-`: prints it [default: --config, else ./routes.toml]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Replaces a file that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &InitArgs) -> u8 {
    if !config::is_merchant_name(&args.merchant) {
        output::error("--merchant: a name is of letters, digits, `-` and `_`");
        return WRONG_USE;
    }
    let presets: Vec<&str> = args.presets.iter().map(String::as_str).collect();
    let starter = match config::starter(&args.merchant, &presets) {
        Ok(starter) => starter,
        Err(error) => {
            output::error(&error);
            return WRONG_USE;
        }
    };
    let output = args.output.as_deref().or(configuration.config.as_deref()).unwrap_or(Path::new(DEFAULT));
    if output.as_os_str() == "-" {
        output::line(starter.text.trim_end());
        return DONE;
    }
    match write(output, args.force, &starter) {
        Ok(()) => {
            output::line(&next(output, &starter));
            DONE
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            output::error(&format!("{} is there already: --force replaces it, -o names another", output.display()));
            NO
        }
        Err(error) => {
            output::error(&format!("cannot write {}: {error}", output.display()));
            NO
        }
    }
}

fn write(path: &Path, force: bool, starter: &Starter) -> std::io::Result<()> {
    let mut file = if force { File::create(path) } else { File::create_new(path) }?;
    file.write_all(starter.text.as_bytes())
}

/// What there is to do now.
fn next(path: &Path, starter: &Starter) -> String {
    let variables: Vec<String> = starter.variables.iter().map(|name| format!("  {name}")).collect();
    let config = match path.to_str() {
        Some(DEFAULT) => String::new(),
        _ => format!(" -c {}", path.display()),
    };
    format!(
        "{} is written. It takes these from the environment:\n\n{}\n\nThen:\n\n  capi-relay token            \
         a merchant's token, and the digest that goes into {}\n  capi-relay check{config}            \
         what is missing or wrong\n  capi-relay serve{config}",
        path.display(),
        variables.join("\n"),
        starter.variables.first().map_or("", String::as_str),
    )
}

/// Where it is looked for first.
const DEFAULT: &str = "routes.toml";
