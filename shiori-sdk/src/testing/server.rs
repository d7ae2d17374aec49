//! The HTTP connections of the fake server: injects faults and passes requests on.

use std::{convert::Infallible, fmt, net::TcpListener, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture, stream};
use http_body_util::{
    BodyExt, Full, LengthLimitError, Limited, StreamBody, combinators::UnsyncBoxBody,
};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    SeenRequest, Shared,
    changes::ChangeStream,
    faults::{self, Kind},
    request::ApiRequest,
    response::{ApiError, ApiResponse},
    route::Route,
    watch::{self, EventStream},
};
use crate::types::limits::MAX_BODY_BYTES;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The next event of a stream.
type NextEvent<'a> = BoxFuture<'a, Option<Bytes>>;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The connection is closed without a response.
#[derive(Debug)]
struct ConnectionLost;

impl fmt::Display for ConnectionLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed by an injected fault")
    }
}

impl std::error::Error for ConnectionLost {}

/// Serves until `stop`, then closes all connections.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    stop: oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let accept = async {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let shared = shared.clone();
            let service = service_fn(move |request| exchange(shared.clone(), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // The client receives connection errors.
            tokio::spawn(async { drop(connection.await) });
        }
    };
    tokio::select! {
        () = accept => {}
        _ = stop => {}
    }
    Ok(())
}

/// The response to a request, unless a fault affects it.
async fn exchange(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, ConnectionLost> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let found = Route::find(&head.method, &path);
    let route = found.as_ref().ok().map(|(route, _)| *route);
    let id = head.headers.get(&X_REQUEST_ID).filter(|id| is_loggable(id)).cloned();
    let id = id.unwrap_or_else(new_request_id);
    // A request with an incomplete body is not applied.
    let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => Some(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => None,
        Err(_) => return Err(ConnectionLost),
    };
    shared.record(SeenRequest {
        route,
        method: head.method.to_string(),
        path: path.clone(),
        request_id: id.to_str().unwrap_or_default().to_owned(),
    });

    let fault = shared.faults().take(route);
    let mut response_is_lost = false;
    match fault {
        None => {}
        Some(Kind::Status { status, retry_after }) => {
            return Ok(complete(faults::response(status, retry_after), id));
        }
        Some(Kind::LostRequest) => return Err(ConnectionLost),
        Some(Kind::LostResponse) => response_is_lost = true,
        Some(Kind::Held(gate)) => gate.pass().await,
    }
    let reply = match found {
        Err(error) => Err(error),
        Ok((route, parameter)) => {
            let parameter = parameter.to_owned();
            let query = head.uri.query().map(str::to_owned);
            let request = ApiRequest { route, parameter, query, headers: head.headers, body };
            handle(shared, request).await
        }
    };
    if response_is_lost {
        return Err(ConnectionLost);
    }
    let mut response = match reply {
        Ok(Reply::Complete(response)) => complete(response, id),
        Ok(Reply::Events(events)) => {
            streamed(events, |events: &mut Box<EventStream>| events.next().boxed(), id)
        }
        Ok(Reply::Changes(changes)) => {
            streamed(changes, |changes: &mut ChangeStream| changes.next().boxed(), id)
        }
        Err(error) => complete(error.into(), id),
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if route.is_some() {
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
        headers.insert(VARY, HeaderValue::from_static("authorization, accept-language"));
    }
    Ok(response)
}

enum Reply {
    Complete(ApiResponse),
    Events(Box<EventStream>),
    Changes(ChangeStream),
}

async fn handle(shared: Arc<Shared>, request: ApiRequest) -> Result<Reply, ApiError> {
    match request.route {
        Route::Summary => watch::long_poll(&shared, &request).await.map(Reply::Complete),
        Route::Events => {
            EventStream::open(shared, &request).map(|events| Reply::Events(Box::new(events)))
        }
        Route::Changes => ChangeStream::open(shared, &request).map(Reply::Changes),
        _ => {
            let response = shared.state().handle(&request);
            shared.notify_changed();
            response.map(Reply::Complete)
        }
    }
}

fn complete(response: ApiResponse, id: HeaderValue) -> Response<Body> {
    let ApiResponse { status, headers, body } = response;
    let mut response = Response::new(Full::from(body).boxed_unsync());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

/// A response with events until the next one is `None`.
fn streamed<E: Send + 'static>(
    events: E,
    next: impl for<'a> Fn(&'a mut E) -> NextEvent<'a> + Copy + Send + 'static,
    id: HeaderValue,
) -> Response<Body> {
    let frames = stream::unfold(events, move |mut events| async move {
        let event = next(&mut events).await?;
        Some((Ok(Frame::data(event)), events))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    *response.status_mut() = StatusCode::OK;
    for (name, value) in [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        (X_REQUEST_ID, id),
    ] {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Whether the client's request id may be echoed and logged.
fn is_loggable(id: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(is_plain)
}

fn new_request_id() -> HeaderValue {
    HeaderValue::from_str(&Uuid::new_v4().to_string()).expect("a UUID is visible ASCII")
}
