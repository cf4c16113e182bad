//! `export`: pending work, dead letters and what is known of settled conversions as a file. Standard output holds the file
//! alone; what is said of it goes to standard error.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::progress::{Counted, Progress, Through};
use super::relay::queue_settings;
use super::{ConfigurationArgs, DONE, NO, output, settings};
use crate::conversion::DestinationName;
use crate::queue::{Clock, Exported, Queue, Selection, Standing};

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Only conversions with a delivery to this destination that is pending or dead. A conversion goes whole
    #[arg(short, long, value_name = "NAME")]
    destination: Option<String>,
    /// Only those with a dead letter
    #[arg(long)]
    dead: bool,
    /// Only those with a pending delivery
    #[arg(long, conflicts_with = "dead")]
    pending: bool,
    /// What is settled too: all that the history keeps, instead of what was received within `queue.dedup_window`
    #[arg(long, conflicts_with_all = ["destination", "dead", "pending"])]
    history: bool,
    /// Nothing of what is settled: where the file goes, a repeat of it is a second sale
    #[arg(long, conflicts_with = "history")]
    no_settled: bool,
    /// The file to write; `-` is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: String,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &ExportArgs) -> u8 {
    match export(configuration, args) {
        Ok(exported) => told(&exported, args),
        Err(error) => {
            output::error(&error);
            NO
        }
    }
}

fn told(exported: &Exported, args: &ExportArgs) -> u8 {
    let Exported { conversions, pending, dead, settled, unread, unread_history } = *exported;
    let (conversions, pending) = (output::counted(conversions, "conversion"), output::counted(pending, "delivery"));
    let settled = args.settled().map_or_else(String::new, |_| format!("; beside them {settled} settled"));
    output::error(&format!("{conversions} exported: {pending} pending, {dead} dead{settled}"));
    let damaged = [(unread, "damaged conversion"), (unread_history, "damaged history record")];
    for (count, noun) in damaged.into_iter().filter(|(count, _)| *count > 0) {
        let more = output::counted(count, noun);
        output::error(&format!("{more} not in the export: `capi-relay recover` says where the damage is"));
    }
    if unread == 0 && unread_history == 0 { DONE } else { NO }
}

/// Which of what is settled is taken along.
enum SettledOf {
    Window,
    History,
}

impl ExportArgs {
    /// `None`: nothing of it.
    fn settled(&self) -> Option<SettledOf> {
        match (self.no_settled || self.destination.is_some() || self.dead || self.pending, self.history) {
            (true, _) => None,
            (false, true) => Some(SettledOf::History),
            (false, false) => Some(SettledOf::Window),
        }
    }
}

fn export(configuration: &ConfigurationArgs, args: &ExportArgs) -> Result<Exported, String> {
    let config = settings::load_for_folder(configuration)?;
    let destination = args
        .destination
        .as_deref()
        .map(|text| DestinationName::parse(text).ok_or_else(|| format!("`{text}` is no name of a destination")));
    let standing = match (args.dead, args.pending) {
        (true, _) => Some(Standing::Dead),
        (false, true) => Some(Standing::Pending),
        (false, false) => None,
    };
    let destination = destination.transpose()?;
    let settled_within = args.settled().map(|settled| match settled {
        SettledOf::Window => config.queue.dedup_window,
        SettledOf::History => Duration::MAX,
    });
    let selection = Selection { destination, standing, settled_within };
    let queue = queue_settings(&config);
    let write = |out: &mut dyn Write| {
        // A file that is shown on the terminal is not written into.
        let is_shown = args.output == "-" && io::stdout().is_terminal();
        let progress = (!is_shown).then(|| Progress::start("exporting", Counted::Bytes(None)));
        let export = |out: &mut dyn Write| Queue::export(&queue, Clock::system(), &selection, out);
        let exported = match &progress {
            Some(progress) => export(&mut Through(out, progress)),
            None => export(out),
        };
        let exported = exported.map_err(|error| output::chain(&error))?;
        // One that is configured no more may still be owed something.
        let known = || config.destinations.iter().map(|destination| destination.name.as_str()).collect::<Vec<_>>();
        match &selection.destination {
            Some(name) if exported.conversions == 0 && !known().contains(&name.as_str()) => Err(format!(
                "no destination `{name}` is configured, and none is owed anything; configured are {}",
                known().join(", ")
            )),
            _ => Ok(exported),
        }
    };
    if args.output == "-" {
        return write(&mut BufWriter::new(io::stdout().lock()));
    }
    // Where a link leads is what is replaced, and not the link.
    let path = std::fs::canonicalize(&args.output).unwrap_or_else(|_| PathBuf::from(&args.output));
    let failed = |error: io::Error| format!("cannot write {}: {error}", path.display());
    if std::fs::metadata(&path).is_ok_and(|there| !there.is_file()) {
        // A device or a pipe is written into; a folder refuses that.
        let mut into = BufWriter::new(OpenOptions::new().write(true).open(&path).map_err(failed)?);
        let exported = write(&mut into)?;
        return into.flush().map(|()| exported).map_err(failed);
    }
    let mut part = path.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = BufWriter::new(create(&part).map_err(failed)?);
    let exported = write(&mut file);
    let whole = exported.and_then(|exported| finish(file, &part, &path).map(|()| exported).map_err(failed));
    if whole.is_err() {
        // What is left of it is no export; that it stays is of no consequence.
        drop(std::fs::remove_file(&part));
    }
    whole
}

/// For this user alone: conversions hold personal data. And for this export alone: what an earlier one has left there is
/// written over, what another one is writing is not touched.
fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(io::Error::other("another export is writing it")),
        // Where files cannot be locked there is no telling.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    // It may have been given its name meanwhile, or be a link to something else.
    let (named, locked) = (std::fs::symlink_metadata(path)?, file.metadata()?);
    if (named.dev(), named.ino()) != (locked.dev(), locked.ino()) {
        return Err(io::Error::other(format!("{} is not this export's", path.display())));
    }
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.set_len(0)?;
    Ok(file)
}

/// A file under that name is a whole one, on stable storage. It is locked until it has that name.
fn finish(file: BufWriter<File>, part: &Path, path: &Path) -> io::Result<()> {
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    std::fs::rename(part, path)?;
    drop(file);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
