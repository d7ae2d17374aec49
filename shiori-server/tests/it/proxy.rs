//! A TCP proxy that injects network faults.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

/// A TCP proxy between a client and a server.
pub struct Proxy {
    url: String,
    state: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    /// The responses that are dropped, with their connection.
    drop_rule: Mutex<DropRule>,
    /// If true, new connections are refused and open ones closed.
    down: AtomicBool,
    /// If true, no bytes are forwarded; connections remain open.
    stalled: AtomicBool,
    /// The number of connections so far, and the first one that is not frozen.
    accepted: AtomicU64,
    first_alive: AtomicU64,
    /// The address to which new connections lead.
    target: Mutex<String>,
    /// Notified when one of these changes.
    changed: Notify,
    /// The tasks of all connections.
    connections: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct DropRule {
    /// Matches requests that contain this text.
    part: Option<&'static str>,
    /// Drops one in this many responses; 0 drops only the next one.
    every: usize,
    count: usize,
    dropped: Vec<DroppedResponse>,
}

/// A response that was dropped, with its request.
#[derive(Clone)]
pub struct DroppedResponse {
    pub request: String,
    pub response: String,
}

impl Faults {
    fn should_drop(&self, request: &str) -> bool {
        let mut drop_rule = self.drop_rule.lock().unwrap();
        if !drop_rule.part.is_some_and(|part| request.contains(part)) {
            return false;
        }
        if drop_rule.every == 0 {
            drop_rule.part = None;
            return true;
        }
        drop_rule.count += 1;
        drop_rule.count.is_multiple_of(drop_rule.every)
    }
}

impl Proxy {
    /// Starts a proxy for the server with this URL or address.
    pub async fn start(server: &str) -> Self {
        let target = server.strip_prefix("http://").unwrap_or(server).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Faults { target: Mutex::new(target), ..Faults::default() });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shared.down.load(Ordering::SeqCst) {
                    continue;
                }
                let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
                let (state, target) = (shared.clone(), shared.target.lock().unwrap().clone());
                let connection = tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(target).await {
                        forward(client, server, number, &state).await;
                    }
                });
                shared.connections.lock().unwrap().push(connection);
            }
        });
        Self { url, state }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Forwards the next request that contains `part` and drops its response.
    pub fn drop_response_to(&self, part: &'static str) {
        self.drop_one_response_in(0, part);
    }

    /// Forwards all requests that contain `part` and drops one in `every` responses.
    pub fn drop_one_response_in(&self, every: usize, part: &'static str) {
        *self.state.drop_rule.lock().unwrap() =
            DropRule { part: Some(part), every, ..DropRule::default() };
    }

    /// Whether the response has been dropped.
    pub fn has_dropped(&self) -> bool {
        self.state.drop_rule.lock().unwrap().part.is_none()
    }

    /// The dropped responses.
    pub fn dropped(&self) -> Vec<DroppedResponse> {
        self.state.drop_rule.lock().unwrap().dropped.clone()
    }

    /// The host and port of the proxy.
    pub fn addr(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Refuses new connections and closes open ones.
    pub fn set_down(&self, down: bool) {
        self.state.down.store(down, Ordering::SeqCst);
        self.state.changed.notify_waiters();
    }

    /// Closes all open connections. New ones are accepted.
    pub async fn cut_connections(&self) {
        let connections = std::mem::take(&mut *self.state.connections.lock().unwrap());
        for connection in connections {
            connection.abort();
            // It is closed when its task has ended.
            let _ = connection.await;
        }
    }

    /// Stops forwarding the bytes of all open connections and keeps them open, as if their server had
    /// vanished. New ones are forwarded.
    pub fn freeze_connections(&self) {
        let accepted = self.state.accepted.load(Ordering::SeqCst);
        self.state.first_alive.store(accepted, Ordering::SeqCst);
        self.state.changed.notify_waiters();
    }

    /// Leads new connections to the server with this address. Open ones remain.
    pub fn lead_to(&self, server: &str) {
        server.clone_into(&mut self.state.target.lock().unwrap());
    }

    /// Stops forwarding bytes and keeps the connections open.
    pub fn set_stalled(&self, stalled: bool) {
        self.state.stalled.store(stalled, Ordering::SeqCst);
        self.state.changed.notify_waiters();
    }
}

/// Forwards bytes in both directions until one side closes or a fault closes the connection.
async fn forward(mut client: TcpStream, mut server: TcpStream, number: u64, state: &Faults) {
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    let (mut cut, mut request) = (false, String::new());
    loop {
        let changed = state.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if state.down.load(Ordering::SeqCst) {
            return;
        }
        let is_frozen = number < state.first_alive.load(Ordering::SeqCst);
        if is_frozen || state.stalled.load(Ordering::SeqCst) {
            changed.await;
            continue;
        }
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                let text = String::from_utf8_lossy(&up[..length]);
                cut |= state.should_drop(&text);
                request.push_str(&text);
                if server.write_all(&up[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                if cut {
                    let response = String::from_utf8_lossy(&down[..length]).into_owned();
                    state.drop_rule.lock().unwrap().dropped.push(DroppedResponse { request, response });
                    return;
                }
                if client.write_all(&down[..length]).await.is_err() {
                    return;
                }
                request.clear();
            }
            () = changed => {}
        }
    }
}
