//! `import`: takes in what `export` wrote.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader};

use clap::Args;

use super::progress::{Counted, Progress, Through};
use super::relay::queue_settings;
use super::{ConfigurationArgs, DONE, NO, output, settings};
use crate::queue::{Clock, Imported, Queue};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// What `export` wrote; `-` is standard input
    #[arg(value_name = "FILE")]
    file: String,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &ImportArgs) -> u8 {
    match import(configuration, args) {
        Ok(Imported { new, settled, known, refused }) => {
            let new = output::counted(new, "conversion");
            output::line(&format!("{new} imported, {settled} settled, {known} known already, {refused} refused"));
            if refused == 0 { DONE } else { NO }
        }
        Err(error) => {
            output::error(&format!("{}: {error}", args.file));
            NO
        }
    }
}

fn import(configuration: &ConfigurationArgs, args: &ImportArgs) -> Result<Imported, String> {
    let config = settings::load_for_folder(configuration)?;
    let (input, bytes): (Box<dyn BufRead>, Option<u64>) = if args.file == "-" {
        (Box::new(io::stdin().lock()), None)
    } else {
        let file = File::open(&args.file).map_err(|error| error.to_string())?;
        let whole = file.metadata().ok().filter(Metadata::is_file).map(|metadata| metadata.len());
        (Box::new(BufReader::new(file)), whole)
    };
    let progress = Progress::start("importing", Counted::Bytes(bytes));
    let mut input = Through(input, &progress);
    let mut refused = |line: u64, why: &str| progress.report(&format!("line {line}: {why}"));
    let imported = Queue::import(&queue_settings(&config), Clock::system(), &mut input, &mut refused);
    imported.map_err(|error| output::chain(&error))
}
