use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};

use super::activity::InProgress;
use crate::slots::Address;

/// Bytes that are passed on at once. The rest of a response is kept here and counted until the
/// client can receive it.
const CHUNK_BYTES: usize = 64 << 10;

/// The body of a response that is being sent.
#[derive(Debug)]
pub(super) struct ResponseBody {
    source: Body,
    /// Bytes that the source has returned but that were not passed on yet.
    rest: Bytes,
    in_progress: InProgress,
    /// For a response of several chunks.
    _unsent: Option<Counted>,
}

impl ResponseBody {
    pub(super) fn new(
        source: Body,
        in_progress: InProgress,
        peer: Address,
        unsent: &Unsent,
    ) -> Self {
        let size = source.size_hint().exact().and_then(|size| usize::try_from(size).ok());
        let counted = size.filter(|size| *size > CHUNK_BYTES).map(|size| unsent.count(peer, size));
        Self { source, rest: Bytes::new(), in_progress, _unsent: counted }
    }
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            match Pin::new(&mut this.source).poll_frame(cx) {
                Poll::Pending => {
                    this.in_progress.awaits_its_source();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                Poll::Ready(end) => return Poll::Ready(end),
            }
        }
        this.in_progress.sent();
        let chunk = this.rest.split_to(this.rest.len().min(CHUNK_BYTES));
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (source, rest) = (self.source.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(source.lower().saturating_add(rest));
        if let Some(upper) = source.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

/// Counts the unsent bytes of long responses.
#[derive(Debug, Default)]
pub(super) struct Unsent(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: AtomicUsize,
    /// Only addresses with such responses.
    by_address: Mutex<HashMap<Address, usize>>,
}

impl Unsent {
    /// The bytes of all addresses.
    pub(super) fn bytes(&self) -> usize {
        self.0.total.load(Ordering::Relaxed)
    }

    /// The bytes of one address.
    pub(super) fn bytes_of(&self, peer: Address) -> usize {
        // Usually there are no such responses.
        if self.bytes() == 0 {
            return 0;
        }
        let by_address = self.0.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        by_address.get(&peer).copied().unwrap_or_default()
    }

    fn count(&self, peer: Address, bytes: usize) -> Counted {
        self.0.total.fetch_add(bytes, Ordering::Relaxed);
        let mut by_address = self.0.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        *by_address.entry(peer).or_default() += bytes;
        Counted { counts: Arc::clone(&self.0), peer, bytes }
    }
}

#[derive(Debug)]
struct Counted {
    counts: Arc<Counts>,
    peer: Address,
    bytes: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.total.fetch_sub(self.bytes, Ordering::Relaxed);
        let mut by_address = self.counts.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_peer) = by_address.get_mut(&self.peer) {
            *of_peer -= self.bytes;
            if *of_peer == 0 {
                by_address.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use std::net::{IpAddr, Ipv4Addr};

    use super::{super::activity::Activity, *};

    #[tokio::test]
    async fn a_long_response_is_handed_over_in_chunks_and_counted() {
        let (activity, unsent) = (Arc::new(Activity::new()), Unsent::default());
        let peer = Address::from(IpAddr::from(Ipv4Addr::LOCALHOST));
        let text = "글".repeat(CHUNK_BYTES);
        let in_progress = activity.begin(http::Version::HTTP_11);
        let mut body = ResponseBody::new(Body::from(text.clone()), in_progress, peer, &unsent);
        assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
        let mut received = Vec::new();
        while let Some(frame) = body.frame().await {
            assert_eq!((unsent.bytes(), unsent.bytes_of(peer)), (text.len(), text.len()));
            let data = frame.expect("a frame").into_data().expect("data");
            assert!(data.len() <= CHUNK_BYTES);
            received.extend(data);
            assert_eq!(body.size_hint().exact(), Some((text.len() - received.len()) as u64));
        }
        assert!(received == text.as_bytes() && body.is_end_stream());
        assert!(!activity.is_between_requests());
        drop(body);
        assert_eq!((unsent.bytes(), unsent.bytes_of(peer)), (0, 0));
        assert!(unsent.0.by_address.lock().expect("not poisoned").is_empty());
        assert!(activity.is_between_requests());
    }
}
