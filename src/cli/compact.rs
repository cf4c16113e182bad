//! `compact`: the space that the queue's store and backlog take for what is gone, given back at once. A relay that serves does it by
//! itself when it is worth it; this is for a disk that is short now.

use super::progress::{Counted, Progress};
use super::relay::queue_settings;
use super::{ConfigurationArgs, DONE, NO, ReadingArgs, output, settings};
use crate::queue::Queue;

pub(super) fn command(configuration: &ConfigurationArgs) -> u8 {
    // Of the configuration it needs `[queue]` alone.
    let config = match settings::load_to_read(configuration, &ReadingArgs { no_secrets: true }) {
        Ok(config) => config,
        Err(report) => {
            output::error(&report);
            return NO;
        }
    };
    let progress = Progress::start("compacting", Counted::Nothing);
    let compacted = Queue::compact(&queue_settings(&config));
    drop(progress);
    match compacted {
        Ok((before, after)) => {
            output::line(&format!("{}: {before} bytes before, {after} after", config.queue.path.display()));
            DONE
        }
        Err(error) => {
            output::error(&output::chain(&error));
            NO
        }
    }
}
