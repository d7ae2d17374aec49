//! Receives complete requests.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Version, header::EXPECT, header::HOST, uri::Authority};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use shiori_sdk::ErrorCode;
use tokio::{
    select,
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::api::Refusal;

/// Bytes of a body that are received without a permit. Most bodies are shorter.
const FREE_BODY_BYTES: usize = 16 << 10;

/// The limit of all further bytes of bodies in progress, in KiB.
const BODIES_KIB: usize = 64 << 10;

/// Maximum bytes that are read of a rejected body, so that the client can finish writing and then
/// read the response.
const DRAIN_BYTES: usize = 32 << 20;

/// Receives requests, and rejects those that cannot be handled.
#[derive(Debug)]
pub(super) struct Receiver {
    max_bytes: usize,
    body_timeout: Duration,
    memory: Semaphore,
    closing: CancellationToken,
}

impl Receiver {
    /// A body may have `max_bytes` and must arrive within the timeout.
    pub(super) fn new(
        max_bytes: usize,
        body_timeout: Duration,
        closing: CancellationToken,
    ) -> Self {
        Self { max_bytes, body_timeout, memory: Semaphore::new(BODIES_KIB), closing }
    }

    /// Returns the request with its complete body.
    ///
    /// # Errors
    ///
    /// The request without its body, and with the [`Refusal`] as an extension.
    pub(super) async fn receive(
        &self,
        request: Request<Incoming>,
    ) -> Result<Request<Body>, Request<Body>> {
        let (mut parts, mut incoming) = request.into_parts();
        let received = if has_valid_host(parts.version, &parts.headers, parts.uri.authority()) {
            self.body(&mut incoming).await
        } else {
            Err(ErrorCode::MalformedRequest)
        };
        match received {
            Ok(bytes) => Ok(Request::from_parts(parts, bytes.into())),
            Err(code) => {
                // A client that sent `Expect: 100-continue` does not send its body. For a client
                // that stopped sending, the connection is closed after the response.
                if code != ErrorCode::RequestTimeout && !parts.headers.contains_key(EXPECT) {
                    tokio::spawn(drain(incoming, self.body_timeout, self.closing.clone()));
                }
                parts.extensions.insert(Refusal(code));
                Err(Request::from_parts(parts, Body::empty()))
            }
        }
    }

    async fn body(&self, incoming: &mut Incoming) -> Result<Bytes, ErrorCode> {
        if incoming.is_end_stream() {
            return Ok(Bytes::new());
        }
        // For a body with a `Content-Length`, this is the exact size.
        if incoming.size_hint().lower() > self.max_bytes as u64 {
            return Err(ErrorCode::BodyTooLarge);
        }
        select! {
            biased;
            received = timeout(self.body_timeout, self.frames(incoming)) => {
                received.unwrap_or(Err(ErrorCode::RequestTimeout))
            }
            // Nothing was executed, so another server or a later attempt can succeed.
            () = self.closing.cancelled() => Err(ErrorCode::Unavailable),
        }
    }

    async fn frames(&self, incoming: &mut Incoming) -> Result<Bytes, ErrorCode> {
        let (mut first, mut further) = (Bytes::new(), BytesMut::new());
        let mut memory: Option<SemaphorePermit<'_>> = None;
        let mut permitted = FREE_BODY_BYTES;
        while let Some(frame) = incoming.frame().await {
            // The client disconnected, or violated its own framing.
            let frame = frame.map_err(|_| ErrorCode::MalformedRequest)?;
            let Ok(data) = frame.into_data() else { continue };
            let length = first.len() + further.len() + data.len();
            if length > self.max_bytes {
                return Err(ErrorCode::BodyTooLarge);
            }
            if length > permitted {
                let missing = (length - permitted).div_ceil(1024);
                let permit = u32::try_from(missing)
                    .ok()
                    .and_then(|kib| self.memory.try_acquire_many(kib).ok())
                    .ok_or(ErrorCode::Unavailable)?;
                permitted += missing * 1024;
                match &mut memory {
                    Some(memory) => memory.merge(permit),
                    none => *none = Some(permit),
                }
            }
            if length == data.len() {
                // Usually the complete body, which is then not copied.
                first = data;
                continue;
            }
            if further.is_empty() {
                further.extend_from_slice(&std::mem::take(&mut first));
            }
            further.extend_from_slice(&data);
        }
        Ok(if further.is_empty() { first } else { further.freeze() })
    }
}

/// Reads the rest of a rejected body, up to a limit, while the response is sent.
async fn drain(mut incoming: Incoming, limit: Duration, closing: CancellationToken) {
    let drained = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(frame)) = incoming.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(length) else { return };
            left = rest;
        }
    };
    select! {
        _ = timeout(limit, drained) => {}
        () = closing.cancelled() => {}
    }
}

/// Whether the request has exactly one valid host (RFC 9112, section 3.2; RFC 9113, section 8.3.1).
fn has_valid_host(version: Version, headers: &HeaderMap, authority: Option<&Authority>) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return false;
    }
    match first {
        None => version == Version::HTTP_10 || (version == Version::HTTP_2 && authority.is_some()),
        // It is empty if the target has no authority.
        Some(host) if host.is_empty() => true,
        Some(host) => Authority::try_from(host.as_bytes())
            .is_ok_and(|authority| !authority.as_str().contains('@')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_must_have_exactly_one_host() {
        let authority = Authority::from_static("shiori.example");
        for (version, hosts, authority, expected) in [
            (Version::HTTP_11, &["shiori.example"][..], None, true),
            (Version::HTTP_11, &["[::1]:8080"], None, true),
            (Version::HTTP_11, &[""], None, true),
            (Version::HTTP_11, &[], None, false),
            (Version::HTTP_11, &["a.example", "a.example"], None, false),
            (Version::HTTP_11, &["a.example/path"], None, false),
            (Version::HTTP_11, &["name@a.example"], None, false),
            (Version::HTTP_11, &[], Some(&authority), false),
            (Version::HTTP_10, &[], None, true),
            (Version::HTTP_10, &["a.example", "b.example"], None, false),
            (Version::HTTP_2, &[], Some(&authority), true),
            (Version::HTTP_2, &[], None, false),
            (Version::HTTP_2, &["shiori.example"], None, true),
        ] {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, host.parse().expect("a value"));
            }
            assert_eq!(
                has_valid_host(version, &headers, authority),
                expected,
                "{version:?} {hosts:?} {authority:?}"
            );
        }
    }
}
