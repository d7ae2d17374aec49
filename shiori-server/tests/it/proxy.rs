//! A proxy that cuts connections: faults on the wire as they happen.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// Stands between a client and a server.
pub struct Proxy {
    url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The answer to the next request that contains this is swallowed, and the connection cut.
    swallow: Mutex<Option<&'static str>>,
    /// Connections are refused.
    down: AtomicBool,
    /// Bytes are held back; connections stay as they are.
    frozen: AtomicBool,
    /// Told when one of the two changes.
    changed: Notify,
}

impl State {
    fn is_to_be_swallowed(&self, request: &str) -> bool {
        let mut swallow = self.swallow.lock().unwrap();
        let found = swallow.is_some_and(|part| request.contains(part));
        if found {
            *swallow = None;
        }
        found
    }
}

impl Proxy {
    /// Before a server of which this is the URL or the address.
    pub async fn before(server: &str) -> Self {
        let target = server.strip_prefix("http://").unwrap_or(server).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shared.down.load(Ordering::SeqCst) {
                    continue;
                }
                let (state, target) = (shared.clone(), target.clone());
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(target).await {
                        carry(client, server, &state).await;
                    }
                });
            }
        });
        Self { url, state }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets the next request that contains `part` through, and cuts its answer off.
    pub fn swallow_answer_to(&self, part: &'static str) {
        *self.state.swallow.lock().unwrap() = Some(part);
    }

    /// Whether the answer that was to be swallowed has been.
    pub fn has_swallowed(&self) -> bool {
        self.state.swallow.lock().unwrap().is_none()
    }

    /// The host and port at which the proxy listens.
    pub fn addr(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Refuses connections, and cuts those that are there.
    pub fn set_down(&self, down: bool) {
        self.state.down.store(down, Ordering::SeqCst);
        self.state.changed.notify_waiters();
    }

    /// Holds back every byte, as a network does that has lost its way.
    pub fn set_frozen(&self, frozen: bool) {
        self.state.frozen.store(frozen, Ordering::SeqCst);
        self.state.changed.notify_waiters();
    }
}

/// Carries bytes both ways until one side closes or the state says to cut.
async fn carry(mut client: TcpStream, mut server: TcpStream, state: &State) {
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    let mut cut = false;
    loop {
        let changed = state.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if state.down.load(Ordering::SeqCst) {
            return;
        }
        if state.frozen.load(Ordering::SeqCst) {
            changed.await;
            continue;
        }
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                let text = String::from_utf8_lossy(&up[..length]);
                cut |= state.is_to_be_swallowed(&text);
                if server.write_all(&up[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                if cut || client.write_all(&down[..length]).await.is_err() {
                    return;
                }
            }
            () = changed => {}
        }
    }
}
