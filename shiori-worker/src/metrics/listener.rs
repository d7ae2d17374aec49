//! The HTTP listener of the metrics: `GET /metrics`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::WorkerMetrics;

/// Maximum open connections; further ones wait. A few instances of Prometheus share them.
const MAX_CONNECTIONS: usize = 16;

/// The time limit of a connection, from its start to the end of the response.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Maximum bytes of the head of a request.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The pause after a connection that could not be accepted, e.g. because of the limit of open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the metrics until this is dropped. Each connection has one request.
pub(crate) async fn serve(listener: TcpListener, metrics: WorkerMetrics) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let Ok((connection, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            // A connection that fails or takes too long concerns only its client.
            let _ = timeout(TIME_LIMIT, respond(connection, metrics)).await;
            drop(permit);
        });
    }
}

async fn respond(connection: TcpStream, metrics: WorkerMetrics) -> hyper::Result<()> {
    let service = service_fn(|request: Request<Incoming>| {
        let response = response(&request, &metrics);
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(connection), service)
        .await
}

fn response(request: &Request<Incoming>, metrics: &WorkerMetrics) -> Response<Full<Bytes>> {
    let (status, header, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => match metrics.to_text() {
            Ok(text) => {
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                (StatusCode::OK, Some((CONTENT_TYPE, kind)), text)
            }
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, None, String::new()),
        },
        (_, "/metrics") => {
            (StatusCode::METHOD_NOT_ALLOWED, Some((ALLOW, "GET, HEAD")), String::new())
        }
        _ => (StatusCode::NOT_FOUND, None, String::new()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{Pipeline, SystemClock, queue::InProcessQueue};

    async fn start() -> SocketAddr {
        let queue = Arc::new(InProcessQueue::new(1, Arc::new(SystemClock)));
        let metrics = WorkerMetrics::new(queue, &Pipeline::builtin(), 1);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        tokio::spawn(serve(listener, metrics));
        addr
    }

    /// The response until the connection is closed.
    async fn send(addr: SocketAddr, request: &str) -> String {
        let mut connection = TcpStream::connect(addr).await.expect("connected");
        connection.write_all(request.as_bytes()).await.expect("sent");
        let mut response = String::new();
        connection.read_to_string(&mut response).await.expect("received");
        response
    }

    #[tokio::test]
    async fn only_the_metrics_are_served() {
        let addr = start().await;
        let request = |line: &str| format!("{line} HTTP/1.1\r\nhost: worker\r\n\r\n");
        let metrics = send(addr, &request("GET /metrics")).await;
        assert!(metrics.starts_with("HTTP/1.1 200 "), "{metrics}");
        assert!(metrics.contains("shiori_worker_hints_taken_total 0"), "{metrics}");
        assert!(metrics.ends_with("# EOF\n"), "{metrics}");
        let posted = send(addr, &request("POST /metrics")).await;
        assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
        let other = send(addr, &request("GET /")).await;
        assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
        let too_long = format!("GET /metrics?{} HTTP/1.1\r\n\r\n", "x".repeat(MAX_HEAD_BYTES));
        let rejected = send(addr, &too_long).await;
        assert!(rejected.starts_with("HTTP/1.1 4"), "{rejected}");
    }

    #[tokio::test]
    async fn silent_connections_are_closed() {
        let addr = start().await;
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            silent.push(TcpStream::connect(addr).await.expect("connected"));
        }
        // It is accepted when another one has reached its time limit.
        let metrics = send(addr, "GET /metrics HTTP/1.1\r\nhost: worker\r\n\r\n").await;
        assert!(metrics.starts_with("HTTP/1.1 200 "), "{metrics}");
    }
}
