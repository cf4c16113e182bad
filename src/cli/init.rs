//! `init`: a routes file to begin with.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
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

/// Whole or not at all: a relay may watch it.
fn write(path: &Path, force: bool, starter: &Starter) -> std::io::Result<()> {
    if !force {
        return File::create_new(path)?.write_all(starter.text.as_bytes());
    }
    // Where a link leads is what is replaced, and not the link.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match replace(&path, &starter.text) {
        // A file that is mounted by itself, or a folder that takes no other: in place, as an editor would.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ResourceBusy) => {
            File::create(&path)?.write_all(starter.text.as_bytes())
        }
        replaced => replaced,
    }
}

/// By one that is whole, and that who could read the one before can read.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(parent)?;
    file.write_all(text.as_bytes())?;
    if let Ok(before) = std::fs::metadata(path) {
        fchown(file.as_file(), Some(before.uid()), Some(before.gid()))?;
        file.as_file().set_permissions(before.permissions())?;
    }
    file.persist(path)?;
    Ok(())
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
