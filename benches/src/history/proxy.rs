//! A TCP proxy that closes connections, stops forwarding, or loses connections.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A proxy on a port of the loopback. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    target: Arc<Mutex<String>>,
    /// For the connections of each source.
    orders: Vec<watch::Sender<Orders>>,
    accepting: JoinHandle<()>,
}

/// What a proxy does, and how often it has lost its connections.
#[derive(Debug, Clone, Copy)]
struct Orders {
    state: State,
    losses: u64,
}

/// What a proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It forwards.
    Open,
    /// It has closed all connections, and closes new ones.
    Cut,
    /// It keeps connections open and forwards nothing.
    Frozen,
}

impl Proxy {
    /// Starts a proxy for the server at this host and port.
    ///
    /// # Errors
    ///
    /// If there is no free port.
    pub(crate) async fn start(target: &str) -> io::Result<Self> {
        Self::start_for_sources(target, 1, |_| 0).await
    }

    /// As [`Self::start`], but distinguishes this number of sources of connections.
    ///
    /// # Errors
    ///
    /// If there is no free port.
    pub(crate) async fn start_for_sources(
        target: &str,
        sources: usize,
        source_of: impl Fn(&TcpStream) -> usize + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let target = Arc::new(Mutex::new(target.to_owned()));
        let open = Orders { state: State::Open, losses: 0 };
        let (orders, changes): (Vec<_>, Vec<_>) =
            (0..sources).map(|_| watch::channel(open)).unzip();
        let targets = target.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target = targets.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let changes = changes[source_of(&client)].clone();
                // A broken connection ends only its task.
                tokio::spawn(async move { forward(client, &target, changes).await });
            }
        });
        Ok(Self { address, target, orders, accepting })
    }

    /// Its host and port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forwards new connections to this host and port.
    pub(crate) fn set_target(&self, target: &str) {
        target.clone_into(&mut self.target.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Changes what it does with all connections.
    pub(crate) fn set_state(&self, state: State) {
        (0..self.orders.len()).for_each(|source| self.set_state_for(source, state));
    }

    /// Changes what it does with the connections of this source.
    pub(crate) fn set_state_for(&self, source: usize, state: State) {
        self.orders[source].send_modify(|orders| orders.state = state);
    }

    /// Forwards nothing more for the connections that are open now, not even that one side closes them.
    pub(crate) fn lose_connections(&self) {
        for orders in &self.orders {
            orders.send_modify(|orders| orders.losses += 1);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Forwards in both directions until one side closes, the proxy cuts, or it is dropped.
async fn forward(
    mut client: TcpStream,
    target: &str,
    mut changes: watch::Receiver<Orders>,
) -> io::Result<()> {
    let Orders { state, losses } = *changes.borrow_and_update();
    if state == State::Cut {
        return Ok(());
    }
    let mut server = TcpStream::connect(target).await?;
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    loop {
        let orders = *changes.borrow_and_update();
        if orders.losses != losses {
            return discard(client, server, changes).await;
        }
        if orders.state == State::Cut {
            return Ok(());
        }
        let is_open = orders.state == State::Open;
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
            read = client.read(&mut up), if is_open => match read? {
                0 => return Ok(()),
                length => server.write_all(&up[..length]).await?,
            },
            read = server.read(&mut down), if is_open => match read? {
                0 => return Ok(()),
                length => client.write_all(&down[..length]).await?,
            },
        }
    }
}

/// Discards what both sides send until both have closed the connection, or the proxy is dropped.
/// Neither side notices that the other one has closed it.
async fn discard(
    mut client: TcpStream,
    mut server: TcpStream,
    mut changes: watch::Receiver<Orders>,
) -> io::Result<()> {
    let (mut up, mut down) = (sink(), sink());
    let (up, down) = (copy(&mut client, &mut up), copy(&mut server, &mut down));
    let dropped = async { while changes.changed().await.is_ok() {} };
    tokio::select! {
        (up, down) = async { tokio::join!(up, down) } => up.and(down).map(|_| ()),
        () = dropped => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpSocket;

    use super::*;

    /// A server that sends everything back, and its address.
    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener").to_string();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = connection.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        address
    }

    async fn answers(connection: &mut TcpStream) -> bool {
        let mut answer = [0; 4];
        connection.write_all(b"ping").await.is_ok()
            && connection.read_exact(&mut answer).await.is_ok()
    }

    #[tokio::test]
    async fn a_cut_closes_connections_and_refuses_new_ones() {
        let proxy = Proxy::start(&echo().await).await.expect("a proxy");
        let mut connection = TcpStream::connect(proxy.address()).await.expect("a connection");
        assert!(answers(&mut connection).await);
        proxy.set_state(State::Cut);
        assert!(!answers(&mut connection).await);
        let mut refused = TcpStream::connect(proxy.address()).await.expect("a connection");
        assert!(!answers(&mut refused).await);
        proxy.set_state(State::Open);
        let mut connection = TcpStream::connect(proxy.address()).await.expect("a connection");
        assert!(answers(&mut connection).await);
    }

    #[tokio::test]
    async fn frozen_connections_continue() {
        let proxy = Proxy::start(&echo().await).await.expect("a proxy");
        let mut connection = TcpStream::connect(proxy.address()).await.expect("a connection");
        assert!(answers(&mut connection).await);
        proxy.set_state(State::Frozen);
        let asked = tokio::spawn(async move { answers(&mut connection).await });
        tokio::task::yield_now().await;
        assert!(!asked.is_finished());
        proxy.set_state(State::Open);
        assert!(asked.await.expect("no panic"));
    }

    #[tokio::test]
    async fn a_lost_connection_stays_open_without_bytes_and_new_ones_work() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let target = listener.local_addr().expect("a bound listener").to_string();
        let proxy = Proxy::start(&target).await.expect("a proxy");
        let mut lost = TcpStream::connect(proxy.address()).await.expect("a connection");
        let (mut server, _) = listener.accept().await.expect("a connection");
        proxy.lose_connections();
        let mut fresh = TcpStream::connect(proxy.address()).await.expect("a connection");
        let (mut other, _) = listener.accept().await.expect("a connection");
        lost.write_all(b"lost").await.expect("the proxy accepts it");
        drop(lost);
        fresh.write_all(b"ping").await.expect("the proxy accepts it");
        let mut received = [0; 4];
        other.read_exact(&mut received).await.expect("the proxy forwards it");
        assert_eq!(&received, b"ping");
        // Neither the bytes nor the end of the lost connection arrive until the proxy ends.
        let mut received = Vec::new();
        let mut reading =
            tokio::spawn(async move { server.read_to_end(&mut received).await.map(|_| received) });
        other.write_all(b"pong").await.expect("the proxy accepts it");
        let mut answer = [0; 4];
        tokio::select! {
            biased;
            _ = &mut reading => panic!("the lost connection has ended"),
            answered = fresh.read_exact(&mut answer) => assert!(answered.is_ok()),
        }
        drop(proxy);
        assert_eq!(reading.await.expect("no panic").expect("it has ended"), b"");
    }

    #[tokio::test]
    async fn a_cut_affects_only_its_source() {
        let (first, second) = (TcpSocket::new_v4(), TcpSocket::new_v4());
        let (first, second) = (first.expect("a socket"), second.expect("a socket"));
        first.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let of_first = first.local_addr().expect("a bound socket");
        let source_of = move |client: &TcpStream| {
            usize::from(client.peer_addr().is_ok_and(|from| from == of_first))
        };
        let proxy = Proxy::start_for_sources(&echo().await, 2, source_of).await.expect("a proxy");
        let mut first = first.connect(proxy.address()).await.expect("a connection");
        let mut second = second.connect(proxy.address()).await.expect("a connection");
        assert!(answers(&mut first).await && answers(&mut second).await);
        proxy.set_state_for(1, State::Cut);
        assert!(!answers(&mut first).await);
        assert!(answers(&mut second).await);
    }

    #[tokio::test]
    async fn new_connections_go_to_the_new_target() {
        let proxy = Proxy::start("127.0.0.1:1").await.expect("a proxy");
        let mut refused = TcpStream::connect(proxy.address()).await.expect("a connection");
        assert!(!answers(&mut refused).await);
        proxy.set_target(&echo().await);
        let mut connection = TcpStream::connect(proxy.address()).await.expect("a connection");
        assert!(answers(&mut connection).await);
    }
}
