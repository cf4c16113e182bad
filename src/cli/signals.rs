//! The signals that end a command, and the one that does not.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT end; SIGHUP (a terminal that closes, a service manager's reload) must not.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
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

    /// Waits for the end; the name of the signal that asked for it.
    pub(super) async fn ended(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP changes nothing: the configuration is read at start, so restart to apply it");
                }
            }
        }
    }
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn ended() -> Result<(), String> {
    Signals::listen()?.ended().await;
    Ok(())
}
