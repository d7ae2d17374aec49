//! HTTP/1 as bytes, for requests that no client library sends.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{process::Process, test_server::TestServer};

/// The timeout of a test, much longer than the configured ones.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that can send arbitrary bytes.
pub struct Wire(pub TcpStream);

impl Wire {
    pub async fn connect(server: &TestServer) -> Self {
        Self(TcpStream::connect(server.addr()).await.unwrap())
    }

    pub async fn connect_to(server: &Process) -> Self {
        let addr = server.url().strip_prefix("http://").unwrap();
        Self(TcpStream::connect(addr).await.unwrap())
    }

    /// From another address of the loopback network.
    #[cfg(target_os = "linux")]
    pub async fn connect_from(server: &TestServer, from: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(from.parse().unwrap()).unwrap();
        Self(socket.connect(server.addr()).await.unwrap())
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads until the server closes the connection regularly.
    pub async fn rest(&mut self) -> String {
        let mut text = String::new();
        timeout(PATIENCE, self.0.read_to_string(&mut text)).await.expect("closed in time").unwrap();
        text
    }

    /// Reads one response with a `Content-Length`.
    pub async fn response(&mut self) -> Response {
        let mut bytes = Vec::new();
        loop {
            if let Some(response) = Response::parse(&bytes) {
                return response;
            }
            let read = timeout(PATIENCE, self.0.read_buf(&mut bytes)).await.expect("in time");
            assert_ne!(read.unwrap(), 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
        }
    }

    /// Whether a request gets a response. A rejected connection may be reset before its response is
    /// read.
    pub async fn is_served(&mut self) -> bool {
        let mut status = [0; 12];
        self.0.write_all(head("GET", "/healthz", "").as_bytes()).await.is_ok()
            && self.0.read_exact(&mut status).await.is_ok()
            && status.ends_with(b"200")
    }

    /// Waits until the server has closed the connection, regularly or with a reset.
    pub async fn closed(&mut self) {
        let mut buffer = [0; 4096];
        let closed = async { while !matches!(self.0.read(&mut buffer).await, Ok(0) | Err(_)) {} };
        timeout(PATIENCE, closed).await.expect("closed in time");
    }
}

/// A response in HTTP/1.
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: serde_json::Value,
}

impl Response {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        if body.len() < length.parse().ok()? {
            return None;
        }
        Some(Self {
            status: head[9..12].parse().ok()?,
            body: serde_json::from_str(body).unwrap_or_default(),
            head,
        })
    }

    /// The name of the error; the envelope must agree with the status.
    pub fn error(&self) -> &str {
        assert_eq!(self.body["code"], self.status, "{}", self.body);
        assert!(self.head.contains("x-request-id: "), "{}", self.head);
        self.body["error"].as_str().unwrap_or_default()
    }
}

/// The head of a request.
pub fn head(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: shiori\r\n{headers}\r\n")
}
