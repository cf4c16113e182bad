//! The signals that end a command, and the one that reloads.

use tokio::signal::unix::{self, SignalKind, signal};

/// SIGTERM and SIGINT end; SIGHUP (a service manager's reload, a terminal that closes) must not.
pub(super) struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
}

/// What a signal asks for.
pub(super) enum Signal {
    /// The end; the signal's name.
    End(&'static str),
    /// A reload.
    Hangup,
}

/// SIGHUP from when it was first listened for: one that comes before anybody waits for it is kept.
pub(super) struct Hangups(unix::Signal);

impl Hangups {
    /// From now on SIGHUP ends nothing.
    pub(super) fn listen() -> Result<Hangups, String> {
        listen(SignalKind::hangup()).map(Hangups)
    }
}

impl Signals {
    pub(super) fn listen(hangups: Hangups) -> Result<Signals, String> {
        let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        Ok(Signals { terminate, interrupt, hangup: hangups.0 })
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::End("SIGTERM"),
            _ = self.interrupt.recv() => Signal::End("SIGINT"),
            _ = self.hangup.recv() => Signal::Hangup,
        }
    }

    /// Waits for the end; the name of the signal that asked for it. A hangup meanwhile is left for [`Signals::next`].
    pub(super) async fn ended(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn ended() -> Result<(), String> {
    Signals::listen(Hangups::listen()?)?.ended().await;
    Ok(())
}

fn listen(kind: SignalKind) -> Result<unix::Signal, String> {
    signal(kind).map_err(|error| format!("cannot listen for signals: {error}"))
}
