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

/// A fake chat completions endpoint. It sends the same response to all requests, each after a fixed
/// latency, and has no concurrency limit.
#[derive(Debug)]
pub struct Provider {
    url: String,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    responses: Mutex<Vec<Instant>>,
    in_progress: AtomicUsize,
    most: AtomicUsize,
}

impl Provider {
    /// Starts an endpoint with this latency on a free port.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub async fn start(latency: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let seen = Arc::<Seen>::default();
        let shared = seen.clone();
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let seen = shared.clone();
                // A broken connection ends only its task.
                tokio::spawn(async move { serve(connection, latency, &seen).await });
            }
        });
        Self { url: format!("http://{address}/v1"), seen, serving }
    }

    /// The base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The times of all responses, in order.
    pub fn responses(&self) -> Vec<Instant> {
        self.seen.responses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Responses per second after the first wave of this many.
    pub fn sustained(&self, in_flight: usize) -> f64 {
        let responses = self.responses();
        let later = &responses[in_flight.min(responses.len())..];
        let (Some(begin), Some(end)) = (responses.get(in_flight.saturating_sub(1)), later.last())
        else {
            return 0.0;
        };
        #[allow(clippy::cast_precision_loss)] // thousands at most
        let count = later.len() as f64;
        count / end.duration_since(*begin).as_secs_f64()
    }

    /// The maximum number of concurrent requests.
    pub fn max_concurrent(&self) -> usize {
        self.seen.most.load(Ordering::Relaxed)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Handles the requests of one connection.
async fn serve(connection: TcpStream, latency: Duration, seen: &Seen) -> io::Result<()> {
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
        let in_progress = seen.in_progress.fetch_add(1, Ordering::Relaxed) + 1;
        seen.most.fetch_max(in_progress, Ordering::Relaxed);
        sleep(latency).await;
        seen.in_progress.fetch_sub(1, Ordering::Relaxed);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
        let response = format!("{head} {}\r\n\r\n{BODY}", BODY.len());
        connection.write_all(response.as_bytes()).await?;
        seen.responses.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    }
}
