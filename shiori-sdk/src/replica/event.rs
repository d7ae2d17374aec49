//! What happens in a replica.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Stream, stream};
use tokio::sync::broadcast;

use super::record::DateStatus;
use crate::{transport::error::ErrorKind, types::Date};

/// Events that a slow receiver may lag behind.
pub(super) const CAPACITY: usize = 1024;

/// Something that happened in a replica. Created by [`Replica::events`](crate::Replica::events).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplicaEvent {
    /// The date was changed, here or on another device, or its status has changed.
    Changed {
        /// The date.
        date: Date,
        /// Its status.
        status: DateStatus,
    },
    /// The replica and the server have compared all dates. Only rejected changes, and those made since,
    /// may be unsent.
    Synced,
    /// A round in the background has failed, for example because the device is offline.
    /// [`Replica::run`](crate::Replica::run) tries again.
    Failed(ErrorKind),
    /// The session has ended, or another account has signed in. [`Replica::run`](crate::Replica::run)
    /// continues after a login of the account. Local reads and writes continue.
    Paused,
    /// The receiver was too slow, and events were dropped. Read again what is shown.
    Missed,
}

/// The events of a replica, as a [`Stream`]. Created by [`Replica::events`](crate::Replica::events).
#[must_use = "a stream does nothing until it is polled"]
pub struct ReplicaEvents(Pin<Box<dyn Stream<Item = ReplicaEvent> + Send>>);

impl ReplicaEvents {
    pub(super) fn new(receiver: broadcast::Receiver<ReplicaEvent>) -> Self {
        Self(Box::pin(stream::unfold(receiver, |mut receiver| async {
            let event = match receiver.recv().await {
                Ok(event) => event,
                Err(broadcast::error::RecvError::Lagged(_)) => ReplicaEvent::Missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            Some((event, receiver))
        })))
    }
}

impl Stream for ReplicaEvents {
    type Item = ReplicaEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for ReplicaEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplicaEvents")
    }
}
