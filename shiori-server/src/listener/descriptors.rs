//! Limits of the operating system: open files of this process, unacknowledged bytes of a connection.

use std::time::Duration;

use tokio::net::TcpStream;

/// Descriptors that connections leave for files, stores and other listeners.
const RESERVED: u64 = 256;

/// Raises the soft limit of open files to the hard one; returns the new limit, if there is one. The
/// soft limit is often 1,024, for the sake of programs that call `select`.
///
/// It changes the whole process, so the binary calls it, and [`Server::start`](crate::Server::start)
/// does not.
///
/// # Errors
///
/// When the system refuses; the limit is then as before.
pub fn raise_descriptor_limit() -> std::io::Result<Option<u64>> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
        }
        Ok(limit.maximum)
    }
    #[cfg(not(unix))]
    Ok(None)
}

/// The most connections for which descriptors are left, up to `wanted`.
pub(super) fn most_connections(wanted: usize) -> usize {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit};
        within(getrlimit(Resource::Nofile).current, wanted)
    }
    #[cfg(not(unix))]
    wanted
}

#[cfg_attr(not(unix), expect(dead_code, reason = "other systems have no such limit"))]
fn within(limit: Option<u64>, wanted: usize) -> usize {
    let Some(limit) = limit else { return wanted };
    // With a very low limit, most of it is still for connections.
    let left = limit.saturating_sub(RESERVED.min(limit / 4));
    wanted.min(usize::try_from(left).unwrap_or(usize::MAX)).max(1)
}

/// Limits how long bytes may stay unacknowledged by the client's system, where that is possible.
/// Without it, a client that has vanished is noticed only after many minutes.
pub(super) fn limit_unacknowledged(stream: &TcpStream, timeout: Duration) {
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        // Not essential: writes that make no progress have a time-out of their own.
        let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, millis);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, timeout);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        for (limit, wanted, expected) in [
            (None, 10_000, 10_000),
            (Some(1_048_576), 10_000, 10_000),
            (Some(4096), 10_000, 3840),
            (Some(4096), 100, 100),
            (Some(64), 10_000, 48),
            (Some(0), 10_000, 1),
        ] {
            assert_eq!(within(limit, wanted), expected, "{limit:?} {wanted}");
        }
    }
}
