//! Relays wake-ups between servers over Redis publish/subscribe.

use std::time::Duration;

use futures_util::StreamExt;
use redis::cmd;
use shiori_sdk::{SummaryId, backoff::Backoff};
use shiori_worker::redis::{Redis, RedisError};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Wakeups;

/// Maximum wake-ups that wait to be published; more are dropped.
const CAPACITY: usize = 1024;

/// The pauses before subscribing again. Waiters read their job every few seconds anyway.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));

/// Publishes this server's wake-ups, and receives those of other servers.
pub(crate) struct Relay {
    redis: Redis,
    channel: String,
    /// Identifies this server's own messages.
    origin: Uuid,
    outgoing: mpsc::Receiver<SummaryId>,
    wakeups: Wakeups,
}

impl Relay {
    /// A relay over this Redis, and its wake-ups. It is active while [`Relay::run`] runs.
    pub(crate) fn new(redis: Redis) -> (Wakeups, Self) {
        let (sender, outgoing) = mpsc::channel(CAPACITY);
        let wakeups = Wakeups::with_relay(sender);
        let channel = redis.key("wake-ups");
        let relay =
            Self { redis, channel, origin: Uuid::new_v4(), outgoing, wakeups: wakeups.clone() };
        (wakeups, relay)
    }

    /// Runs until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let Self { redis, channel, origin, outgoing, wakeups } = self;
        let both = async {
            tokio::join!(
                publish(&redis, &channel, origin, outgoing),
                subscribe(&redis, &channel, origin, &wakeups),
            )
        };
        shutdown.run_until_cancelled(both).await;
    }
}

async fn publish(
    redis: &Redis,
    channel: &str,
    origin: Uuid,
    mut outgoing: mpsc::Receiver<SummaryId>,
) {
    while let Some(id) = outgoing.recv().await {
        let publish = cmd("PUBLISH").arg(channel).arg(format!("{origin} {id}")).to_owned();
        if let Err(error) = redis.query::<()>(&publish).await {
            tracing::debug!(summary_id = %id, %error, "could not publish a wake-up");
        }
    }
}

/// Subscribes, and subscribes again after a lost connection.
async fn subscribe(redis: &Redis, channel: &str, origin: Uuid, wakeups: &Wakeups) {
    let mut failures = 0_u32;
    loop {
        match receive(redis, channel, origin, wakeups).await {
            Ok(()) => {
                tracing::warn!("subscription to wake-ups lost");
                failures = 1;
            }
            Err(error) => {
                tracing::warn!(%error, "could not subscribe to wake-ups");
                failures = failures.saturating_add(1);
            }
        }
        sleep(BACKOFF.pause(failures, rand::random())).await;
    }
}

/// Subscribes, and receives wake-ups until the connection ends.
async fn receive(
    redis: &Redis,
    channel: &str,
    origin: Uuid,
    wakeups: &Wakeups,
) -> Result<(), RedisError> {
    let mut subscription = redis.listen().await?;
    subscription.subscribe(channel).await?;
    // Messages may have been missed before the subscription.
    wakeups.wake_all_local();
    let mut messages = subscription.on_message();
    while let Some(message) = messages.next().await {
        let payload: String = message.get_payload().unwrap_or_default();
        if let Some(id) = parse_message(&payload, origin) {
            wakeups.wake_local(id);
        }
    }
    Ok(())
}

/// The summary of a message; `None` for this server's own messages and malformed ones.
fn parse_message(payload: &str, origin: Uuid) -> Option<SummaryId> {
    let (from, id) = payload.split_once(' ')?;
    if from.parse() == Ok(origin) { None } else { id.parse().ok() }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs Redis: SHIORI_TEST_REDIS_URL"]
    async fn a_wake_up_on_one_server_reaches_another() {
        let url = std::env::var("SHIORI_TEST_REDIS_URL").expect("SHIORI_TEST_REDIS_URL");
        let prefix = format!("shiori-test-{}", Uuid::new_v4());
        let stop = CancellationToken::new();
        let (here, there) = [(), ()]
            .map(|()| {
                let (wakeups, relay) = Relay::new(Redis::new(&url, &prefix).expect("a URL"));
                tokio::spawn(relay.run(stop.clone()));
                wakeups
            })
            .into();
        let id = SummaryId::new();
        let mut waiter = there.subscribe(id);
        // Repeated, because the other server may not have subscribed yet.
        let woken = async {
            while timeout(Duration::from_millis(50), waiter.notified()).await.is_err() {
                here.wake(id);
            }
        };
        timeout(Duration::from_secs(20), woken).await.expect("the wake-up arrives");
        stop.cancel();
    }

    #[test]
    fn own_and_malformed_messages_are_ignored() {
        let (origin, id) = (Uuid::new_v4(), SummaryId::new());
        assert_eq!(parse_message(&format!("{origin} {id}"), origin), None);
        assert_eq!(parse_message(&format!("{} {id}", Uuid::new_v4()), origin), Some(id));
        for malformed in ["", "text", "a b c", &format!("{origin}")] {
            assert_eq!(parse_message(malformed, origin), None);
        }
    }
}
