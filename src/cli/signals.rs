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

impl Signals {
    pub(super) fn listen() -> Result<Signals, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::End("SIGTERM"),
            _ = self.interrupt.recv() => Signal::End("SIGINT"),
            _ = self.hangup.recv() => Signal::Hangup,
        }
    }

    /// Waits for the end; the name of the signal that asked for it.
    pub(super) async fn ended(&mut self) -> &'static str {
        loop {
            match self.next().await {
                Signal::End(signal) => return signal,
                Signal::Hangup => {}
            }
        }
    }
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn ended() -> Result<(), String> {
    Signals::listen()?.ended().await;
    Ok(())
}
