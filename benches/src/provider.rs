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

/// The pause between two words of a streamed response.
const WORD_PAUSE: Duration = Duration::from_millis(100);

/// The words of a streamed response, repeated until its time is over.
const WORDS: [&str; 6] = ["오늘도 ", "천천히 ", "걸으며 ", "하늘을 ", "오래 ", "보았어요. "];

const END: &str = "잘 지낸 한 주였어요.";

/// A fake chat completions endpoint. It sends the same response to all requests, each within a fixed
/// time, and has no concurrency limit.
#[derive(Debug)]
pub struct Provider {
    url: String,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

/// How a [`Provider`] responds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// All at once, at the end of the time.
    AtOnce,
    /// The text, ten words a second.
    Text,
    /// Thinking in markers, ten words a second, and the text at the end of the time.
    Thinking,
}

#[derive(Debug, Default)]
struct Seen {
    responses: Mutex<Vec<Instant>>,
    in_progress: AtomicUsize,
    most: AtomicUsize,
}

impl Provider {
    /// Starts an endpoint on a free port that takes this time for each response.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub async fn start(latency: Duration, writing: Writing) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let seen = Arc::<Seen>::default();
        let shared = seen.clone();
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let seen = shared.clone();
                // A broken connection ends only its task.
                tokio::spawn(async move { serve(connection, latency, writing, &seen).await });
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
async fn serve(
    connection: TcpStream,
    latency: Duration,
    writing: Writing,
    seen: &Seen,
) -> io::Result<()> {
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
        if writing == Writing::AtOnce {
            sleep(latency).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
            let response = format!("{head} {}\r\n\r\n{BODY}", BODY.len());
            connection.write_all(response.as_bytes()).await?;
        } else {
            stream(&mut connection, latency, writing).await?;
        }
        seen.in_progress.fetch_sub(1, Ordering::Relaxed);
        seen.responses.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    }
}

/// Sends a response as server-sent events.
async fn stream(
    connection: &mut BufReader<TcpStream>,
    lasts: Duration,
    writing: Writing,
) -> io::Result<()> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.write_all(head.as_bytes()).await?;
    let end = Instant::now() + lasts;
    let is_thinking = writing == Writing::Thinking;
    if is_thinking {
        connection.write_all(event("<think>", "null").as_bytes()).await?;
    }
    for word in WORDS.iter().cycle() {
        if Instant::now() + WORD_PAUSE > end {
            break;
        }
        connection.write_all(event(word, "null").as_bytes()).await?;
        sleep(WORD_PAUSE).await;
    }
    sleep(end.saturating_duration_since(Instant::now())).await;
    if is_thinking {
        connection.write_all(event("</think> ", "null").as_bytes()).await?;
    }
    let last =
        event(END, "null") + &event("", r#""stop""#) + &chunk("data: [DONE]\n\n") + &chunk("");
    connection.write_all(last.as_bytes()).await
}

fn event(content: &str, finish_reason: &str) -> String {
    let delta = format!(
        r#"{{"index":0,"delta":{{"content":"{content}"}},"finish_reason":{finish_reason}}}"#
    );
    chunk(&format!("data: {{\"choices\":[{delta}]}}\n\n"))
}

/// A chunk of the transfer coding; the last one is empty.
fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}
