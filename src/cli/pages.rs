//! `completions` and `man`: what a shell and `man` need of the commands, made from the commands themselves.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, DONE, NO, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  capi-relay completions bash > /etc/bash_completion.d/capi-relay
  capi-relay completions zsh > \"${fpath[1]}/_capi-relay\"
  capi-relay completions fish > ~/.config/fish/completions/capi-relay.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  capi-relay man | man -l -
  capi-relay man --dir /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// Writes a page for each command into that folder, instead of printing the first one
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end());
    DONE
}

pub(super) fn man(args: &ManArgs) -> u8 {
    let written = match &args.dir {
        Some(dir) => written_to(dir),
        None => page(),
    };
    match written {
        Ok(said) => {
            output::line(said.trim_end());
            DONE
        }
        Err(error) => {
            output::error(&format!("cannot write the manual: {error}"));
            NO
        }
    }
}

fn page() -> std::io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn written_to(dir: &Path) -> std::io::Result<String> {
    clap_mangen::generate_to(Cli::command(), dir)?;
    Ok(format!("{}/{NAME}.1 and a page for each command are written", dir.display()))
}

const NAME: &str = "capi-relay";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_completed_in_each_shell_and_has_a_page() {
        let commands: Vec<String> =
            Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        assert!(commands.len() > 20, "{commands:?}");
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in &commands {
                assert!(script.contains(command.as_str()), "{shell}: {command}");
            }
        }
        let folder = tempfile::tempdir().unwrap();
        written_to(folder.path()).unwrap();
        for command in commands.iter().filter(|command| *command != "help") {
            let page = std::fs::read_to_string(folder.path().join(format!("{NAME}-{command}.1"))).unwrap();
            assert!(page.contains(".SH SYNOPSIS"), "{command}");
        }
        assert!(page().unwrap().contains("EXIT STATUS"));
    }
}
