//! Passes wake-ups between servers, over Redis's publish and subscribe.

use std::time::Duration;

use futures_util::StreamExt;
use redis::cmd;
use shiori_sdk::SummaryId;
use shiori_worker::redis::{Redis, RedisError};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Wakeups;

/// Wake-ups that wait to be passed on; those beyond are dropped.
const CAPACITY: usize = 1024;

/// The pause before listening is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Carries this server's wake-ups to the others, and theirs to this one.
pub(crate) struct Relay {
    redis: Redis,
    channel: String,
    /// Tells this server's own messages from those of others.
    origin: Uuid,
    outgoing: mpsc::Receiver<SummaryId>,
    wakeups: Wakeups,
}

impl Relay {
    /// A relay over this Redis, and the wake-ups that it carries. It works while it is run.
    pub(crate) fn new(redis: Redis) -> (Wakeups, Self) {
        let (sender, outgoing) = mpsc::channel(CAPACITY);
        let wakeups = Wakeups::relayed_to(sender);
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
                speak(&redis, &channel, origin, outgoing),
                listen(&redis, &channel, origin, &wakeups),
            )
        };
        shutdown.run_until_cancelled(both).await;
    }
}

async fn speak(
    redis: &Redis,
    channel: &str,
    origin: Uuid,
    mut outgoing: mpsc::Receiver<SummaryId>,
) {
    while let Some(id) = outgoing.recv().await {
        let publish = cmd("PUBLISH").arg(channel).arg(format!("{origin} {id}")).to_owned();
        if let Err(error) = redis.query::<()>(&publish).await {
            tracing::debug!(summary_id = %id, %error, "wake-up not passed on");
        }
    }
}

async fn listen(redis: &Redis, channel: &str, origin: Uuid, wakeups: &Wakeups) {
    loop {
        match hear(redis, channel, origin, wakeups).await {
            Ok(()) => tracing::warn!("no longer listening for wake-ups"),
            Err(error) => tracing::warn!(%error, "not listening for wake-ups"),
        }
        sleep(PAUSE).await;
    }
}

/// Listens until the connection ends.
async fn hear(
    redis: &Redis,
    channel: &str,
    origin: Uuid,
    wakeups: &Wakeups,
) -> Result<(), RedisError> {
    let mut listening = redis.listen().await?;
    listening.subscribe(channel).await?;
    // What was said before is missed.
    wakeups.wake_all_here();
    let mut messages = listening.on_message();
    while let Some(message) = messages.next().await {
        let payload: String = message.get_payload().unwrap_or_default();
        if let Some(id) = heard(&payload, origin) {
            wakeups.wake_here(id);
        }
    }
    Ok(())
}

/// The summary of a message, unless it is this server's own.
fn heard(payload: &str, origin: Uuid) -> Option<SummaryId> {
    let (from, id) = payload.split_once(' ')?;
    if from.parse() == Ok(origin) { None } else { id.parse().ok() }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs Redis: SHIORI_TEST_REDIS_URL"]
    async fn a_wake_at_one_server_is_heard_at_another() {
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
        // The other may not be listening yet.
        let woken = async {
            while timeout(Duration::from_millis(50), waiter.woken()).await.is_err() {
                here.wake(id);
            }
        };
        timeout(Duration::from_secs(20), woken).await.expect("it is heard");
        stop.cancel();
    }

    #[test]
    fn ones_own_voice_and_noise_are_not_heard() {
        let (origin, id) = (Uuid::new_v4(), SummaryId::new());
        assert_eq!(heard(&format!("{origin} {id}"), origin), None);
        assert_eq!(heard(&format!("{} {id}", Uuid::new_v4()), origin), Some(id));
        for noise in ["", "noise", "a b c", &format!("{origin}")] {
            assert_eq!(heard(noise, origin), None);
        }
    }
}
