//! A TCP proxy that closes connections, or stops forwarding.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A proxy on a port of the loopback. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    target: Arc<Mutex<String>>,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
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
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let target = Arc::new(Mutex::new(target.to_owned()));
        let (state, changes) = watch::channel(State::Open);
        let targets = target.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target = targets.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let changes = changes.clone();
                // A broken connection ends only its task.
                tokio::spawn(async move { forward(client, &target, changes).await });
            }
        });
        Ok(Self { address, target, state, accepting })
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
        self.state.send_replace(state);
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
    mut changes: watch::Receiver<State>,
) -> io::Result<()> {
    if *changes.borrow_and_update() == State::Cut {
        return Ok(());
    }
    let mut server = TcpStream::connect(target).await?;
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    loop {
        let state = *changes.borrow_and_update();
        if state == State::Cut {
            return Ok(());
        }
        let is_open = state == State::Open;
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

#[cfg(test)]
mod tests {
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
    async fn new_connections_go_to_the_new_target() {
        let proxy = Proxy::start("127.0.0.1:1").await.expect("a proxy");
        let mut refused = TcpStream::connect(proxy.address()).await.expect("a connection");
        assert!(!answers(&mut refused).await);
        proxy.set_target(&echo().await);
        let mut connection = TcpStream::connect(proxy.address()).await.expect("a connection");
        assert!(answers(&mut connection).await);
    }
}
