//! Which process has opened a connection.

use std::net::SocketAddr;

/// Attempts to find a connection: the system's table may omit entries while others change.
const ATTEMPTS: u32 = 20;

/// The number of the socket that has opened the connection between these addresses.
#[cfg(target_os = "linux")]
pub(super) fn opened(from: SocketAddr, to: SocketAddr) -> Option<u64> {
    // Earlier connections from the same address, which still wait for late packets, have no socket.
    let find = || {
        let connections = procfs::net::tcp().ok()?;
        let mut sockets = connections.into_iter().filter(|socket| socket.inode > 0);
        let opened = sockets.find(|it| (it.local_address, it.remote_address) == (from, to));
        opened.map(|socket| socket.inode)
    };
    (0..ATTEMPTS).find_map(|_| find())
}

/// Whether this process has this socket.
#[cfg(target_os = "linux")]
pub(super) fn has_socket(pid: u32, socket: u64) -> bool {
    use procfs::process::{FDTarget, Process};

    // A process that has ended has none.
    let has = || {
        let mut files = Process::new(i32::try_from(pid).ok()?).ok()?.fd().ok()?.flatten();
        Some(files.any(|file| matches!(file.target, FDTarget::Socket(it) if it == socket)))
    };
    has().unwrap_or(false)
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn opened(_: SocketAddr, _: SocketAddr) -> Option<u64> {
    None
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn has_socket(_: u32, _: u64) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        process,
    };

    use super::*;

    #[test]
    fn only_the_process_that_has_opened_a_connection_has_its_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let to = listener.local_addr().expect("a bound listener");
        let stream = TcpStream::connect(to).expect("a connection");
        let from = stream.local_addr().expect("a connection");
        let socket = opened(from, to).expect("an open connection");
        assert!(has_socket(process::id(), socket));
        assert!(!has_socket(1, socket));
        let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
        assert_eq!(opened(from, other.local_addr().expect("a bound listener")), None);
        drop(stream);
        assert!(!has_socket(process::id(), socket));
    }
}
