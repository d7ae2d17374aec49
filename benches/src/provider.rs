use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

const BODY: &str = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"잘 지낸 한 주였어요."},"finish_reason":"stop"}]}"#;

/// Stands in for an endpoint of chat completions. It thinks for a while about each request, about
/// any number of them at once, and gives all of them the same answer.
#[derive(Debug)]
pub struct Provider {
    url: String,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    answered: Mutex<Vec<Instant>>,
    thinking: AtomicUsize,
    most: AtomicUsize,
}

impl Provider {
    /// One on a free port that thinks for so long.
    ///
    /// # Panics
    ///
    /// When there is no free port.
    pub async fn start(thinks: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::<Seen>::default();
        let shared = seen.clone();
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let seen = shared.clone();
                // A connection that is lost ends its task, and nothing else.
                tokio::spawn(async move { serve(connection, thinks, &seen).await });
            }
        });
        Self { url: format!("http://{address}/v1"), seen, serving }
    }

    /// Its base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// When each answer was given, in order.
    pub fn answers(&self) -> Vec<Instant> {
        self.seen.answered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The most requests that it thought about at once.
    pub fn most_at_once(&self) -> usize {
        self.seen.most.load(Ordering::Relaxed)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Answers the requests of one connection.
async fn serve(connection: TcpStream, thinks: Duration, seen: &Seen) -> io::Result<()> {
    let mut connection = BufReader::new(connection);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        connection.read_exact(&mut vec![0; length]).await?;
        let thinking = seen.thinking.fetch_add(1, Ordering::Relaxed) + 1;
        seen.most.fetch_max(thinking, Ordering::Relaxed);
        sleep(thinks).await;
        seen.thinking.fetch_sub(1, Ordering::Relaxed);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
        let answer = format!("{head} {}\r\n\r\n{BODY}", BODY.len());
        connection.write_all(answer.as_bytes()).await?;
        seen.answered.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    }
}
