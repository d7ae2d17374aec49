//! The state of a connection, from which its timeouts follow.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The number of bytes that a client must receive within the timeout to count as making progress.
const PROGRESS_BYTES: usize = 4 << 10;

/// The state of one connection, updated by its socket, its requests and its responses.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Requests between their complete head and the end of their response.
    in_progress: usize,
    between: Between,
    is_http2: bool,
    unwritten: Option<Unwritten>,
    /// HTTP/2 responses that wait for the client's window, by the number of their request.
    unread: Vec<(u64, Instant)>,
    next_request: u64,
}

/// The state of a connection without a request.
#[derive(Debug, Clone, Copy)]
enum Between {
    /// Waiting for the head of a request since the connection was accepted, or since the first
    /// byte.
    Head(Instant),
    /// Waiting for the next request since the end of the previous one.
    Idle(Instant),
}

/// Bytes that could not be written to the socket.
#[derive(Debug)]
struct Unwritten {
    since: Instant,
    /// Bytes written since then.
    written: usize,
}

/// The timeouts of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) unread: Duration,
}

/// The timeout that a connection has exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The head of a request is not complete.
    Head,
    /// No request has begun.
    Idle,
    /// The client does not read its response.
    Unread,
}

impl Activity {
    /// A connection that was just accepted.
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            in_progress: 0,
            between: Between::Head(Instant::now()),
            is_http2: false,
            unwritten: None,
            unread: Vec::new(),
            next_request: 0,
        }))
    }

    /// Call this when the head of a request is complete.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> InProgress {
        let mut state = self.state();
        state.in_progress += 1;
        state.is_http2 = version == Version::HTTP_2;
        state.next_request += 1;
        InProgress {
            activity: Arc::clone(self),
            request: state.next_request,
            is_http2: state.is_http2,
        }
    }

    /// Whether the connection has no response left to send, and no complete request.
    pub(super) fn is_between_requests(&self) -> bool {
        let state = self.state();
        state.in_progress == 0 && state.unwritten.is_none()
    }

    /// The timeout that the connection has exceeded.
    pub(super) fn overdue(&self, timeouts: &Timeouts) -> Option<Overdue> {
        self.overdue_at(timeouts, Instant::now())
    }

    fn overdue_at(&self, timeouts: &Timeouts, now: Instant) -> Option<Overdue> {
        let state = self.state();
        let unread = state.unread.iter().map(|(_, since)| *since);
        let mut unread = unread.chain(state.unwritten.as_ref().map(|unwritten| unwritten.since));
        if unread.any(|since| now.duration_since(since) >= timeouts.unread) {
            return Some(Overdue::Unread);
        }
        if state.in_progress > 0 {
            return None;
        }
        match state.between {
            Between::Head(since) if now.duration_since(since) >= timeouts.head => {
                Some(Overdue::Head)
            }
            Between::Idle(since) if now.duration_since(since) >= timeouts.idle => {
                Some(Overdue::Idle)
            }
            _ => None,
        }
    }

    /// Call this when bytes of the client have arrived.
    fn received(&self) {
        let mut state = self.state();
        // HTTP/2 frames between requests, such as pings, are not the start of a head.
        if state.in_progress == 0
            && !state.is_http2
            && let Between::Idle(_) = state.between
        {
            state.between = Between::Head(Instant::now());
        }
    }

    /// Call this when `written` of `offered` bytes were written to the socket.
    fn wrote(&self, written: usize, offered: usize) {
        let mut state = self.state();
        if written >= offered {
            if state.unwritten.take().is_some()
                && let Between::Idle(since) = &mut state.between
            {
                *since = Instant::now();
            }
            return;
        }
        match &mut state.unwritten {
            Some(unwritten) if unwritten.written + written < PROGRESS_BYTES => {
                unwritten.written += written;
            }
            unwritten => *unwritten = Some(Unwritten { since: Instant::now(), written: 0 }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is in progress until its response has been sent. Dropping this ends it.
#[derive(Debug)]
pub(super) struct InProgress {
    activity: Arc<Activity>,
    request: u64,
    is_http2: bool,
}

impl InProgress {
    /// Call this when a part of the response was passed on. In HTTP/2, the next part is only
    /// requested when the client's window permits it. In HTTP/1, the socket has this information.
    pub(super) fn sent(&self) {
        if self.is_http2 {
            let mut state = self.activity.state();
            state.unread.retain(|(request, _)| *request != self.request);
            state.unread.push((self.request, Instant::now()));
        }
    }

    /// Call this when the next part of the response is not ready.
    pub(super) fn awaits_its_source(&self) {
        if self.is_http2 {
            self.activity.state().unread.retain(|(request, _)| *request != self.request);
        }
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.unread.retain(|(request, _)| *request != self.request);
        state.in_progress -= 1;
        if state.in_progress == 0 {
            state.between = Between::Idle(Instant::now());
        }
    }
}

/// A socket that reports to an [`Activity`].
#[derive(Debug)]
pub(super) struct Watched<S> {
    socket: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(super) fn new(socket: S, activity: Arc<Activity>) -> Self {
        Self { socket, activity }
    }

    fn report(&self, outcome: Poll<io::Result<usize>>, offered: usize) -> Poll<io::Result<usize>> {
        match &outcome {
            Poll::Ready(Ok(written)) => self.activity.wrote(*written, offered),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.activity.wrote(0, offered.max(1)),
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.report(outcome, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.report(outcome, slices.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(100),
        unread: Duration::from_secs(30),
    };

    fn after(activity: &Activity, seconds: u64) -> Option<Overdue> {
        activity.overdue_at(&TIMEOUTS, Instant::now() + Duration::from_secs(seconds))
    }

    #[test]
    fn heads_and_idle_connections_have_different_timeouts() {
        let activity = Arc::new(Activity::new());
        assert_eq!(after(&activity, 9), None);
        assert_eq!(after(&activity, 11), Some(Overdue::Head), "nothing has arrived");
        let request = activity.begin(Version::HTTP_11);
        assert_eq!(after(&activity, 1000), None, "a request is in progress");
        drop(request);
        assert!(activity.is_between_requests());
        assert_eq!(after(&activity, 99), None);
        assert_eq!(after(&activity, 101), Some(Overdue::Idle));
        activity.received();
        assert_eq!(after(&activity, 11), Some(Overdue::Head), "the next head has begun");
    }

    #[test]
    fn http2_frames_between_requests_do_not_start_a_head() {
        let activity = Arc::new(Activity::new());
        drop(activity.begin(Version::HTTP_2));
        activity.received();
        assert_eq!(after(&activity, 99), None);
        assert_eq!(after(&activity, 101), Some(Overdue::Idle));
    }

    #[test]
    fn a_client_that_reads_too_slowly_times_out() {
        let activity = Arc::new(Activity::new());
        let request = activity.begin(Version::HTTP_11);
        activity.wrote(10_000, 20_000);
        let since = |activity: &Activity| activity.state().unwritten.as_ref().map(|at| at.since);
        let begun = since(&activity);
        assert!(begun.is_some() && !activity.is_between_requests());
        activity.wrote(1, 10_000);
        activity.wrote(0, 9_999);
        assert_eq!(since(&activity), begun);
        assert_eq!(after(&activity, 31), Some(Overdue::Unread));
        activity.wrote(PROGRESS_BYTES, 9_999);
        assert!(since(&activity) > begun);
        activity.wrote(9_999, 9_999);
        assert_eq!(after(&activity, 31), None);
        drop(request);
        assert!(activity.is_between_requests());
    }

    #[test]
    fn each_http2_stream_has_its_own_timeout() {
        let activity = Arc::new(Activity::new());
        let (stalled, source) = (activity.begin(Version::HTTP_2), activity.begin(Version::HTTP_2));
        source.sent();
        source.awaits_its_source();
        assert_eq!(after(&activity, 31), None, "nothing to send");
        stalled.sent();
        assert_eq!(after(&activity, 31), Some(Overdue::Unread));
        drop(stalled);
        assert_eq!(after(&activity, 31), None);
    }
}
