//! Limits of the operating system: open files of this process, unacknowledged bytes of a connection.

use std::time::Duration;

use tokio::net::TcpStream;

/// Descriptors that are reserved for files, stores and other listeners.
const RESERVED: u64 = 256;

/// Raises the soft limit of open files to the hard limit, and returns it; `None` if it is
/// unlimited. The soft limit is often 1,024, for programs that use `select`.
///
/// This affects the whole process, so the binary calls it, but
/// [`Server::start`](crate::Server::start) does not.
///
/// # Errors
///
/// If the system rejects it; then the limit is unchanged.
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

/// The maximum number of connections that the descriptors permit, up to `wanted`.
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
    // With a very low limit, most descriptors are still for connections.
    let left = limit.saturating_sub(RESERVED.min(limit / 4));
    wanted.min(usize::try_from(left).unwrap_or(usize::MAX)).max(1)
}

/// Limits the time that sent bytes may remain unacknowledged, if the system supports this.
/// Otherwise a lost client is only detected after many minutes.
pub(super) fn limit_unacknowledged(stream: &TcpStream, timeout: Duration) {
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        // Not essential, because writes without progress have a timeout, too.
        let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, millis);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, timeout);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_reserved_for_everything_else() {
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
