//! Connections: from a request on the wire to what the state answers, by way of the faults.

use std::{convert::Infallible, fmt, net::TcpListener, sync::Arc, time::Duration};

use futures_util::stream;
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use super::{
    SeenRequest, Shared,
    faults::{self, Kind},
    wire::{ApiError, ApiRequest, ApiResponse, MAX_BODY_BYTES, Route},
};
use crate::{MAX_LONG_POLL, Revision, Summary, SummaryId, UserId};

type Body = UnsyncBoxBody<Bytes, Infallible>;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The connection is to be closed without an answer.
#[derive(Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is broken on purpose")
    }
}

impl std::error::Error for Broken {}

/// Serves until told to stop. Whoever is connected then is cut off.
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
            // How a connection ended is the client's to see.
            tokio::spawn(async { drop(connection.await) });
        }
    };
    tokio::select! {
        () = accept => {}
        _ = stop => {}
    }
    Ok(())
}

/// One request, from its arrival to its answer.
async fn exchange(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Broken> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let found = Route::find(&head.method, &path);
    let route = found.as_ref().ok().map(|(route, _)| *route);
    let id = head.headers.get(&X_REQUEST_ID).filter(|id| is_fit(id)).cloned();
    let id = id.unwrap_or_else(new_request_id);
    // Of a cut-off body nothing is applied either.
    let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => Some(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => None,
        Err(_) => return Err(Broken),
    };
    shared.saw(SeenRequest {
        route,
        method: head.method.to_string(),
        path: path.clone(),
        request_id: id.to_str().unwrap_or_default().to_owned(),
    });

    let fault = shared.faults().meet(route);
    let mut answer_is_lost = false;
    match fault {
        None => {}
        Some(Kind::Status { status, retry_after }) => {
            return Ok(whole(faults::answer(status, retry_after), id));
        }
        Some(Kind::LostRequest) => return Err(Broken),
        Some(Kind::LostAnswer) => answer_is_lost = true,
        Some(Kind::Held(gate)) => gate.pass().await,
    }
    let answer = match found {
        Err(error) => Err(error),
        Ok((route, parameter)) => {
            let parameter = parameter.to_owned();
            let query = head.uri.query().map(str::to_owned);
            let request = ApiRequest { route, parameter, query, headers: head.headers, body };
            answer(shared, request).await
        }
    };
    if answer_is_lost {
        return Err(Broken);
    }
    Ok(match answer {
        Ok(Answer::Whole(reply)) => whole(reply, id),
        Ok(Answer::Events(watch)) => events(watch, id),
        Err(error) => whole(error.into(), id),
    })
}

enum Answer {
    Whole(ApiResponse),
    Events(Watch),
}

async fn answer(shared: Arc<Shared>, request: ApiRequest) -> Result<Answer, ApiError> {
    match request.route {
        Route::Summary => {
            let user = shared.lock().caller(&request)?.user;
            wait(&shared, user, &request).await.map(Answer::Whole)
        }
        Route::Events => {
            let user = shared.lock().caller(&request)?.user;
            let id = request.id()?;
            let changes = shared.subscribe();
            shared.lock().summaries.view(user, id)?;
            let seen = request.header("last-event-id").and_then(|text| text.parse().ok());
            let seen = seen.map(Revision::new);
            Ok(Answer::Events(Watch { shared, user, id, changes, seen, last: None, ended: false }))
        }
        _ => {
            let reply = shared.lock().respond(&request);
            shared.changed();
            reply.map(Answer::Whole)
        }
    }
}

/// The summary, as soon as its revision is past `after` or it has ended; as it stands when the
/// wait is over. This wait is the only thing that takes real time.
async fn wait(
    shared: &Shared,
    user: UserId,
    request: &ApiRequest,
) -> Result<ApiResponse, ApiError> {
    let id = request.id()?;
    let wait = request.param::<f64>("wait")?.unwrap_or_default();
    let after = Revision::new(request.param("after")?.unwrap_or_default());
    let wait = Duration::try_from_secs_f64(wait).ok();
    let wait = wait.filter(|wait| *wait <= MAX_LONG_POLL);
    let wait = wait.ok_or_else(|| ApiError::field("wait", "0 to 30 seconds"))?;
    let deadline = Instant::now() + wait;
    let mut changes = shared.subscribe();
    loop {
        let summary = shared.lock().summaries.view(user, id)?;
        let has_news = summary.revision > after || summary.status.is_final();
        if has_news || Instant::now() >= deadline {
            return Ok(ApiResponse::ok(&summary));
        }
        // At the deadline the summary is looked at once more.
        let _ = timeout_at(deadline, changes.changed()).await;
    }
}

/// One who watches a summary.
struct Watch {
    shared: Arc<Shared>,
    user: UserId,
    id: SummaryId,
    changes: watch::Receiver<()>,
    /// The revision that the watcher knew when it came.
    seen: Option<Revision>,
    /// What was sent last.
    last: Option<Summary>,
    ended: bool,
}

impl Watch {
    /// The next event; `None` after a final status.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.ended {
                return None;
            }
            let summary = self.shared.lock().summaries.view(self.user, self.id).ok()?;
            self.ended = summary.status.is_final();
            let known = self.last.as_ref().map(|last| last.revision).max(self.seen);
            let progress = self.last.as_ref().map(|last| last.progress);
            let name = if known.is_none_or(|known| summary.revision > known) {
                Some("status")
            } else {
                let is_new = summary.progress.is_some() && progress != Some(summary.progress);
                is_new.then_some("progress")
            };
            if let Some(name) = name {
                let data = serde_json::to_string(&summary).ok()?;
                let event = format!("event: {name}\nid: {}\ndata: {data}\n\n", summary.revision);
                self.last = Some(summary);
                return Some(event.into());
            }
            if !self.ended {
                self.changes.changed().await.ok()?;
            }
        }
    }
}

fn whole(reply: ApiResponse, id: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Full::from(reply.body).boxed_unsync());
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

fn events(watch: Watch, id: HeaderValue) -> Response<Body> {
    let events = stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        Some((Ok(Frame::data(event)), watch))
    });
    let mut response = Response::new(StreamBody::new(events).boxed_unsync());
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

/// Whether the caller's id of a request is fit for a log line.
fn is_fit(id: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain)
}

fn new_request_id() -> HeaderValue {
    HeaderValue::from_str(&Uuid::new_v4().to_string()).expect("a UUID is visible ASCII")
}
