//! Streams of server-sent events.

use std::{collections::VecDeque, time::Duration};

use reqwest::header::{ACCEPT, HeaderValue};
use tokio::time::timeout;

use super::Client;
use crate::{
    sse::EventReader,
    transport::{error::Result, request::Request},
};

/// The content type of a stream.
const EVENTS: &str = "text/event-stream";

/// A stream without bytes for this long is considered broken. The server sends a keep-alive at
/// least every 15 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// Maximum size of an event. A summary has a few thousand bytes.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// An open stream of events.
pub(crate) struct EventStream {
    response: reqwest::Response,
    reader: EventReader,
    /// Events that were read and not returned yet.
    events: VecDeque<String>,
}

impl EventStream {
    /// Sends a request for a stream once; after a renewal of the session, a second time.
    pub(crate) async fn open(client: &Client, request: Request) -> Result<Self> {
        let request = request.header(ACCEPT, HeaderValue::from_static(EVENTS));
        let response = client.open(&request, EVENTS).await?;
        let reader = EventReader::new(MAX_EVENT_BYTES);
        Ok(Self { response, reader, events: VecDeque::new() })
    }

    /// The data of the next event; `None` at the end of the stream. Dropping the future loses no event.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let chunk = timeout(IDLE_TIMEOUT, self.response.chunk()).await.ok()?.ok()??;
            self.events.extend(self.reader.push(&chunk).ok()?);
        }
    }
}
