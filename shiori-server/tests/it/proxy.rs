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
    /// Whose answers are swallowed, and the connection cut.
    swallow: Mutex<Swallow>,
    /// Connections are refused.
    down: AtomicBool,
    /// Bytes are held back; connections stay as they are.
    frozen: AtomicBool,
    /// Told when one of the two changes.
    changed: Notify,
}

#[derive(Default)]
struct Swallow {
    /// Requests that contain this.
    part: Option<&'static str>,
    /// One in so many of them; 0 for the next one alone.
    every: usize,
    count: usize,
    swallowed: Vec<Swallowed>,
}

/// A request whose answer did not arrive.
#[derive(Clone)]
pub struct Swallowed {
    pub request: String,
    pub answer: String,
}

impl State {
    fn is_to_be_swallowed(&self, request: &str) -> bool {
        let mut swallow = self.swallow.lock().unwrap();
        if !swallow.part.is_some_and(|part| request.contains(part)) {
            return false;
        }
        if swallow.every == 0 {
            swallow.part = None;
            return true;
        }
        swallow.count += 1;
        swallow.count.is_multiple_of(swallow.every)
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
        self.swallow_one_answer_in(0, part);
    }

    /// Lets all requests that contain `part` through, and cuts off the answer to one in so many.
    pub fn swallow_one_answer_in(&self, every: usize, part: &'static str) {
        *self.state.swallow.lock().unwrap() =
            Swallow { part: Some(part), every, ..Swallow::default() };
    }

    /// Whether the answer that was to be swallowed has been.
    pub fn has_swallowed(&self) -> bool {
        self.state.swallow.lock().unwrap().part.is_none()
    }

    /// What has been swallowed.
    pub fn swallowed(&self) -> Vec<Swallowed> {
        self.state.swallow.lock().unwrap().swallowed.clone()
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
    let (mut cut, mut request) = (false, String::new());
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
                request.push_str(&text);
                if server.write_all(&up[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                if cut {
                    let answer = String::from_utf8_lossy(&down[..length]).into_owned();
                    state.swallow.lock().unwrap().swallowed.push(Swallowed { request, answer });
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
