//! `recover`: makes a folder that opening refuses one that opens, from what is whole in it. Without `--yes` it says what it
//! would do, and changes nothing.

use clap::Args;

use super::progress::{Counted, Progress};
use super::relay::queue_settings;
use super::{ConfigurationArgs, DONE, NO, output, settings};
use crate::queue::{Clock, OpenError, Queue, Recovered, Settings, Survey};

#[derive(Debug, Args)]
pub(super) struct RecoverArgs {
    /// Does it; without it, only says what would be done
    #[arg(long)]
    yes: bool,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &RecoverArgs) -> u8 {
    // Of the configuration it needs `[queue]` alone.
    let config = match settings::load_for_folder(configuration) {
        Ok(config) => config,
        Err(report) => {
            output::error(&report);
            return NO;
        }
    };
    let queue = queue_settings(&config);
    let path = queue.path.display();
    let done = match surveyed(&queue) {
        Ok(survey) if survey.is_whole() => {
            output::line(&format!("{path}: nothing is damaged; there is nothing to recover"));
            Ok(DONE)
        }
        Ok(survey) if !args.yes => {
            found(&survey);
            planned(&survey);
            output::line("nothing was changed; `capi-relay recover --yes` does it");
            Ok(NO)
        }
        Ok(_) => recovered(&queue).map(|recovered| {
            found(&recovered.survey);
            did(&recovered);
            DONE
        }),
        Err(error) => Err(error),
    };
    done.unwrap_or_else(|error: OpenError| {
        output::error(&output::chain(&error));
        NO
    })
}

fn surveyed(queue: &Settings) -> Result<Survey, OpenError> {
    let _progress = Progress::start("looking at the folder", Counted::Nothing);
    Queue::survey(queue)
}

fn recovered(queue: &Settings) -> Result<Recovered, OpenError> {
    let _progress = Progress::start("recovering", Counted::Nothing);
    Queue::recover(queue, Clock::system())
}

fn found(survey: &Survey) {
    let part = |name: &str, wrong: Option<&String>| {
        output::line(&format!("{name}: {}", wrong.map_or("whole", String::as_str)));
    };
    part("store", survey.store.as_ref());
    part("history", survey.history.as_ref());
    for wrong in &survey.journal {
        output::line(wrong);
    }
    let missing: Vec<String> =
        survey.missing.iter().map(|range| format!("{} to {}", range.start(), range.end())).collect();
    if !missing.is_empty() {
        output::line(&format!("sequence numbers that are missing from the journal: {}", missing.join(", ")));
    }
    let received =
        survey.received.as_ref().map_or_else(String::new, |(from, to)| format!(", received from {from} to {to}"));
    let conversions = output::counted(survey.conversions, "conversion");
    let settlements = output::counted(survey.settlements, "settlement");
    output::line(&format!("the journal holds {conversions}{received}, and {settlements}"));
}

fn planned(survey: &Survey) {
    if survey.store.is_some() {
        output::line(if survey.store_stays {
            "would keep copies of the backlog's damaged files, take out what is damaged, and leave all else of the store"
        } else {
            "would move the store aside and make a new one"
        });
        output::line(
            "would take up again what lies in the backlog's files and the history does not know as settled, as it stood when \
             it was moved there: what became of it since, attempts and dead letters, is lost, and it is delivered again; \
             where the history does not go back so far, or is damaged, it would keep copies of the files instead",
        );
    }
    if survey.history.is_some() {
        output::line("would begin the history anew with what can be read of it");
    }
    if !survey.journal.is_empty() {
        output::line("would keep what can be read of the journal, and move its damaged segments aside");
    }
    output::line("would rebuild what the journal holds and nothing else knows");
}

fn did(recovered: &Recovered) {
    for path in &recovered.aside {
        output::line(&format!("moved aside: {}", path.display()));
    }
    if let Some(keys) = &recovered.keys {
        output::line(&format!("the keys that it is sealed with were copied: {}", keys.display()));
    }
    if recovered.survey.store.is_some() {
        let (taken_up, too_old) = (output::counted(recovered.taken_up, "conversion"), recovered.too_old);
        output::line(&format!("{taken_up} taken up again from the backlog's files"));
        if too_old > 0 {
            let left = output::counted(too_old, "conversion");
            output::line(&format!(
                "{left} left there, for nothing says whether they were settled: the files are kept in quarantine/"
            ));
        }
    }
    let were = if recovered.rebuilt == 1 { "was" } else { "were" };
    output::line(&format!("{} {were} rebuilt from the journal", output::counted(recovered.rebuilt, "conversion")));
    if recovered.gone > 0 {
        let are = if recovered.gone == 1 { "is" } else { "are" };
        let gone = output::counted(recovered.gone, "settlement");
        output::line(&format!("{gone} {are} of conversions that are no longer there:"));
        for (id, destination) in &recovered.gone_first {
            output::line(&format!("  {id} {destination}"));
        }
        let listed = u64::try_from(recovered.gone_first.len()).unwrap_or(u64::MAX);
        if listed < recovered.gone {
            output::line(&format!("  and {} more", recovered.gone.saturating_sub(listed)));
        }
    }
    output::line("the folder can be served again");
}
