//! `init`: a routes file to begin with.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use clap::Args;

use super::{DONE, NO, WRONG_USE, output};
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
    /// Where to write it; `-`: prints it
    #[arg(short, long, value_name = "PATH", default_value = "routes.toml")]
    output: PathBuf,
    /// Replaces a file that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn command(args: &InitArgs) -> u8 {
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
    if args.output.as_os_str() == "-" {
        output::line(starter.text.trim_end());
        return DONE;
    }
    match write(args, &starter) {
        Ok(()) => {
            output::line(&next(args, &starter));
            DONE
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            output::error(&format!(
                "{} is there already: --force replaces it, -o names another",
                args.output.display()
            ));
            NO
        }
        Err(error) => {
            output::error(&format!("cannot write {}: {error}", args.output.display()));
            NO
        }
    }
}

fn write(args: &InitArgs, starter: &Starter) -> std::io::Result<()> {
    let mut file = if args.force { File::create(&args.output) } else { File::create_new(&args.output) }?;
    file.write_all(starter.text.as_bytes())
}

/// What there is to do now.
fn next(args: &InitArgs, starter: &Starter) -> String {
    let variables: Vec<String> = starter.variables.iter().map(|name| format!("  {name}")).collect();
    let config = match args.output.to_str() {
        Some("routes.toml") => String::new(),
        _ => format!(" -c {}", args.output.display()),
    };
    format!(
        "{} is written. It takes these from the environment:\n\n{}\n\nThen:\n\n  capi-relay token            \
         a merchant's token, and the digest that goes into {}\n  capi-relay check{config}            \
         what is missing or wrong\n  capi-relay serve{config}",
        args.output.display(),
        variables.join("\n"),
        starter.variables.first().map_or("", String::as_str),
    )
}
