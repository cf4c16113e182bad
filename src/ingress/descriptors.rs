//! File descriptors: each connection costs one, and what keeps conversions must never want for them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the process's own limit as far as the system lets it. One that stays low is told where it matters.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!(%error, "no more file descriptors than before");
    }
}

/// So many connections, or as many as leave the other half of the descriptors to the queue and to deliveries; then it is
/// logged.
pub(super) fn connections_within(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    let connections = within(wanted, limit);
    if connections < wanted {
        tracing::warn!(
            connections,
            wanted,
            descriptors = limit,
            "`server.connections_max` is more than half of the file descriptors that the process may have: raise that limit \
             (`ulimit -Hn`, systemd's `LimitNOFILE`)"
        );
    }
    connections
}

fn within(wanted: usize, limit: Option<usize>) -> usize {
    limit.map_or(wanted, |limit| wanted.min((limit / 2).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_descriptors_is_not_for_connections() {
        assert_eq!(within(10_000, None), 10_000);
        assert_eq!(within(10_000, Some(1 << 20)), 10_000);
        assert_eq!(within(10_000, Some(1024)), 512);
        assert_eq!(within(100, Some(1024)), 100);
        assert_eq!(within(100, Some(1)), 1);
    }

    #[test]
    fn the_limit_is_as_high_as_it_may_be() {
        raise();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
