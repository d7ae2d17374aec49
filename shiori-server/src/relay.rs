//! Relays wake-ups of waiters, and hints of changes, between servers over Redis publish/subscribe.
//! Each server has one connection that subscribes to both.
//!
//! Lost wake-ups need no notice, because waiters read again every few seconds. Lost hints are noticed:
//! each server numbers its hints, and publishes the number of the last one with every message and in
//! each heartbeat. A server that sees a gap makes its clients compare the versions. So does one that
//! finds that another has stopped, because that one may have had hints that it did not publish.

use std::{collections::HashMap, time::Duration};

use futures_util::StreamExt;
use redis::cmd;
use shiori_sdk::{ChangeHint, SummaryId, UserId, backoff::Backoff};
use shiori_worker::redis::{Redis, RedisError};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    changes::{Changes, outgoing},
    summary::Wakeups,
};

/// Maximum wake-ups that wait to be published; more are dropped.
const CAPACITY: usize = 1024;

/// Maximum hints in one message. A hint has about 150 bytes.
const BATCH: usize = 256;

/// The pauses before subscribing again. Waiters read their job every few seconds anyway.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));

/// The pause between two heartbeats. A lost hint that no other hint follows is noticed after it.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A subscription without a heartbeat of this server itself for this long is considered broken, and
/// another server without a heartbeat is considered stopped.
const SILENCE: Duration = Duration::from_secs(15);

/// The timeout of a subscription over a new connection.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Publishes this server's wake-ups and hints, and receives those of other servers.
pub(crate) struct Relay {
    redis: Redis,
    channels: Channels,
    /// Identifies this server's own messages.
    origin: Uuid,
    wakeups: (Wakeups, mpsc::Receiver<SummaryId>),
    changes: (Changes, outgoing::Receiver),
}

/// The names of the channels.
struct Channels {
    wakeups: String,
    changes: String,
}

impl Relay {
    /// A relay over this Redis, with its wake-ups and hints. It is active while [`Relay::run`] runs.
    pub(crate) fn new(redis: Redis) -> (Wakeups, Changes, Self) {
        let (sender, outgoing) = mpsc::channel(CAPACITY);
        let wakeups = Wakeups::with_relay(sender);
        let (sender, outgoing_hints) = outgoing::queue();
        let changes = Changes::with_outgoing(sender);
        let channels = Channels { wakeups: redis.key("wake-ups"), changes: redis.key("changes") };
        let relay = Self {
            redis,
            channels,
            origin: Uuid::new_v4(),
            wakeups: (wakeups.clone(), outgoing),
            changes: (changes.clone(), outgoing_hints),
        };
        (wakeups, changes, relay)
    }

    /// Runs until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let Self { redis, channels, origin, wakeups, changes } = self;
        let (wakeups, outgoing) = wakeups;
        let (changes, outgoing_hints) = changes;
        let receiver =
            Receiver { channels: &channels, origin, wakeups, changes, numbers: Numbers::default() };
        let all = async {
            tokio::join!(
                publish_wakeups(&redis, &channels.wakeups, origin, outgoing),
                publish_hints(&redis, &channels.changes, origin, outgoing_hints),
                subscribe(&redis, receiver),
            )
        };
        shutdown.run_until_cancelled(Box::pin(all)).await;
    }
}

async fn publish_wakeups(
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

async fn publish_hints(
    redis: &Redis,
    channel: &str,
    origin: Uuid,
    mut outgoing: outgoing::Receiver,
) {
    let mut beat = interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = 0;
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            is_open = outgoing.next(&mut batch, BATCH) => if !is_open { return },
            // The first tick is immediate, so that other servers know this one from its start.
            _ = beat.tick() => {}
        }
        // Lost hints have numbers, too, so that other servers notice them.
        last += outgoing.take_lost() + batch.len() as u64;
        let message = HintMessage { origin, last, hints: std::mem::take(&mut batch) };
        let publish = cmd("PUBLISH").arg(channel).arg(message.to_string()).to_owned();
        if let Err(error) = redis.query::<()>(&publish).await {
            tracing::debug!(%error, "could not publish hints; the next message shows the gap");
        }
    }
}

/// Subscribes, and subscribes again after a lost connection.
async fn subscribe(redis: &Redis, mut receiver: Receiver<'_>) {
    let mut failures = 0_u32;
    loop {
        match receiver.receive(redis).await {
            Ok(()) => {
                tracing::warn!("subscription to wake-ups and hints lost");
                failures = 1;
            }
            Err(error) => {
                tracing::warn!(%error, "could not subscribe to wake-ups and hints");
                failures = failures.saturating_add(1);
            }
        }
        sleep(BACKOFF.pause(failures, rand::random())).await;
    }
}

/// Receives the messages of other servers.
struct Receiver<'a> {
    channels: &'a Channels,
    origin: Uuid,
    wakeups: Wakeups,
    changes: Changes,
    numbers: Numbers,
}

impl Receiver<'_> {
    /// Subscribes, and receives messages until the connection ends or is silent.
    async fn receive(&mut self, redis: &Redis) -> Result<(), RedisError> {
        let mut subscription = redis.listen().await?;
        let both = [&self.channels.wakeups, &self.channels.changes];
        match timeout(SUBSCRIBE_TIMEOUT, subscription.subscribe(&both)).await {
            Ok(subscribed) => subscribed?,
            Err(_) => return Ok(()),
        }
        // Messages may have been missed before the subscription.
        self.wakeups.wake_all_local();
        self.changes.resync_all_local();
        self.numbers.restart(Instant::now());
        let mut messages = subscription.on_message();
        let mut silent_at = Instant::now() + SILENCE;
        while let Ok(Some(message)) = timeout_at(silent_at, messages.next()).await {
            let payload: String = message.get_payload().unwrap_or_default();
            if message.get_channel_name() == self.channels.wakeups {
                if let Some(id) = parse_wakeup(&payload, self.origin) {
                    self.wakeups.wake_local(id);
                }
            } else if self.hear(&payload) {
                silent_at = Instant::now() + SILENCE;
            }
        }
        Ok(())
    }

    /// Passes the hints of a message on. Returns whether it is this server's own.
    fn hear(&mut self, payload: &str) -> bool {
        let has_stream = |user| self.changes.has_stream(user);
        let Some(message) = HintMessage::parse(payload, has_stream) else {
            tracing::warn!("received a message with hints that cannot be read");
            self.changes.resync_all_local();
            return false;
        };
        if message.message.origin == self.origin {
            if self.numbers.forget_silent(Instant::now()) {
                self.changes.resync_all_local();
            }
            return true;
        }
        if !self.numbers.is_complete(&message, Instant::now()) {
            self.changes.resync_all_local();
        }
        for (user, hint) in message.message.hints {
            self.changes.publish_local(user, hint);
        }
        false
    }
}

/// The summary of a message; `None` for this server's own messages and malformed ones.
fn parse_wakeup(payload: &str, origin: Uuid) -> Option<SummaryId> {
    let (from, id) = payload.split_once(' ')?;
    if from.parse() == Ok(origin) { None } else { id.parse().ok() }
}

/// A message with hints; a heartbeat if it has none. As text, the first line has the origin and the
/// number of the last hint, and each other line a user and a hint as JSON.
#[derive(Debug, Clone, PartialEq)]
struct HintMessage {
    origin: Uuid,
    /// The number of the last hint, counted from 1, together with those that were lost.
    last: u64,
    hints: Vec<(UserId, ChangeHint)>,
}

/// A received message, with the hints of those users alone that have a stream.
#[derive(Debug, Clone, PartialEq)]
struct Received {
    message: HintMessage,
    /// The number of all hints of the message.
    count: u64,
}

impl std::fmt::Display for HintMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.origin, self.last)?;
        for (user, hint) in &self.hints {
            let hint = serde_json::to_string(hint).map_err(|_| std::fmt::Error)?;
            write!(f, "\n{user} {hint}")?;
        }
        Ok(())
    }
}

impl HintMessage {
    fn parse(payload: &str, is_wanted: impl Fn(UserId) -> bool) -> Option<Received> {
        let mut lines = payload.lines();
        let (origin, last) = lines.next()?.split_once(' ')?;
        let (origin, last) = (origin.parse().ok()?, last.parse().ok()?);
        let (mut hints, mut count) = (Vec::new(), 0);
        for line in lines {
            let (user, hint) = line.split_once(' ')?;
            let user = user.parse().ok()?;
            if is_wanted(user) {
                hints.push((user, serde_json::from_str(hint).ok()?));
            }
            count += 1;
        }
        Some(Received { message: Self { origin, last, hints }, count })
    }
}

/// The numbers of the last hints of other servers.
#[derive(Debug, Default)]
struct Numbers(HashMap<Uuid, (u64, Instant)>);

impl Numbers {
    /// Whether no hint is missing before those of this message. The hints of a server that was
    /// unknown are missing unless these are its first.
    fn is_complete(&mut self, received: &Received, now: Instant) -> bool {
        let HintMessage { origin, last, .. } = received.message;
        let (known, heard_at) = self.0.entry(origin).or_insert((0, now));
        let is_complete = last.saturating_sub(received.count) <= *known;
        *known = last.max(*known);
        *heard_at = now;
        is_complete
    }

    /// Forgets the servers that have stopped. Returns whether there were any.
    fn forget_silent(&mut self, now: Instant) -> bool {
        let count = self.0.len();
        self.0.retain(|_, (_, heard_at)| now.duration_since(*heard_at) < SILENCE);
        self.0.len() < count
    }

    /// Begins a subscription: silence before it says nothing.
    fn restart(&mut self, now: Instant) {
        for (_, heard_at) in self.0.values_mut() {
            *heard_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use shiori_sdk::{Date, DiaryChange, DiaryHint, Version};

    use super::*;

    fn both_ways() -> (CancellationToken, [(Wakeups, Changes); 2]) {
        let url = std::env::var("SHIORI_TEST_REDIS_URL").expect("SHIORI_TEST_REDIS_URL");
        let prefix = format!("shiori-test-{}", Uuid::new_v4());
        let stop = CancellationToken::new();
        let servers = [(), ()].map(|()| {
            let (wakeups, changes, relay) = Relay::new(Redis::new(&url, &prefix).expect("a URL"));
            tokio::spawn(relay.run(stop.clone()));
            (wakeups, changes)
        });
        (stop, servers)
    }

    fn hint(number: u64) -> ChangeHint {
        ChangeHint::Diary(DiaryHint {
            date: Date::new(2026, 2, 16).expect("a date"),
            version: Version::new(number),
            change: DiaryChange::Saved,
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs Redis: SHIORI_TEST_REDIS_URL"]
    async fn a_wake_up_on_one_server_reaches_another() {
        let (stop, [(here, _), (there, _)]) = both_ways();
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

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs Redis: SHIORI_TEST_REDIS_URL"]
    async fn a_hint_on_one_server_reaches_another() {
        let (stop, [(_, here), (_, there)]) = both_ways();
        let user = UserId::new();
        let mut stream = there.subscribe(user);
        let arrived = async {
            loop {
                match timeout(Duration::from_millis(50), stream.next()).await {
                    Ok(ChangeHint::Resync) => {}
                    Ok(other) => return other,
                    Err(_) => here.publish(user, hint(7)),
                }
            }
        };
        let arrived = timeout(Duration::from_secs(20), arrived).await;
        assert_eq!(arrived.expect("the hint arrives"), hint(7));
        stop.cancel();
    }

    /// On one thread, so that nothing is published during the burst.
    #[tokio::test]
    #[ignore = "needs Redis: SHIORI_TEST_REDIS_URL"]
    async fn lost_hints_lead_to_a_resync_on_other_servers() {
        let (stop, [(_, here), (_, there)]) = both_ways();
        let (user, other) = (UserId::new(), UserId::new());
        let mut stream = there.subscribe(user);
        let limit = Duration::from_secs(20);
        let connected = async {
            while timeout(Duration::from_millis(50), stream.next()).await != Ok(hint(7)) {
                here.publish(user, hint(7));
            }
        };
        timeout(limit, connected).await.expect("the hint arrives");
        // Other hints that were repeated above, or a late first heartbeat.
        while timeout(Duration::from_secs(1), stream.next()).await.is_ok() {}
        for _ in 0..5000 {
            here.publish(other, hint(1));
        }
        here.publish(user, hint(8));
        let next = timeout(limit, stream.next()).await;
        assert_eq!(next.expect("the loss is noticed"), ChangeHint::Resync);
        stop.cancel();
    }

    #[test]
    fn own_and_malformed_wake_ups_are_ignored() {
        let (origin, id) = (Uuid::new_v4(), SummaryId::new());
        assert_eq!(parse_wakeup(&format!("{origin} {id}"), origin), None);
        assert_eq!(parse_wakeup(&format!("{} {id}", Uuid::new_v4()), origin), Some(id));
        for malformed in ["", "text", "a b c", &format!("{origin}")] {
            assert_eq!(parse_wakeup(malformed, origin), None);
        }
    }

    #[test]
    fn messages_with_hints_round_trip() {
        let (origin, user, other) = (Uuid::new_v4(), UserId::new(), UserId::new());
        let hints = vec![(user, hint(1)), (other, hint(2)), (user, ChangeHint::Resync)];
        let message = HintMessage { origin, last: 9, hints };
        let all = HintMessage::parse(&message.to_string(), |_| true).expect("valid");
        assert_eq!(all, Received { message: message.clone(), count: 3 });
        let one = HintMessage::parse(&message.to_string(), |wanted| wanted == other);
        let one = one.expect("valid");
        assert_eq!((one.message.hints, one.count), (vec![(other, hint(2))], 3));
        let heartbeat = HintMessage { hints: Vec::new(), ..message };
        let parsed = HintMessage::parse(&heartbeat.to_string(), |_| true).expect("valid");
        assert_eq!(parsed, Received { message: heartbeat, count: 0 });
        for malformed in ["", "x 1", &format!("{origin}"), &format!("{origin} 1\n{user} {{}}")] {
            assert_eq!(HintMessage::parse(malformed, |_| true), None, "{malformed}");
        }
    }

    #[test]
    fn every_gap_of_the_numbers_is_noticed() {
        let mut numbers = Numbers::default();
        let start = Instant::now();
        let message = |origin, last, count| Received {
            message: HintMessage { origin, last, hints: Vec::new() },
            count,
        };
        let (one, two, three) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
        assert!(numbers.is_complete(&message(one, 0, 0), start), "the first heartbeat");
        assert!(numbers.is_complete(&message(one, 3, 3), start));
        assert!(numbers.is_complete(&message(one, 3, 0), start), "a heartbeat");
        assert!(!numbers.is_complete(&message(one, 5, 1), start), "hint 4 is missing");
        assert!(numbers.is_complete(&message(one, 5, 0), start));
        assert!(numbers.is_complete(&message(one, 4, 1), start), "hint 4 is late");
        assert!(!numbers.is_complete(&message(one, 6, 0), start), "hint 6 is missing");
        assert!(numbers.is_complete(&message(two, 2, 2), start), "the first hints of a server");
        assert!(!numbers.is_complete(&message(three, 2, 1), start), "hint 1 is missing");

        numbers.restart(start + SILENCE);
        assert!(!numbers.forget_silent(start + SILENCE), "silence before a subscription");
        numbers.is_complete(&message(two, 2, 0), start + 2 * SILENCE);
        assert!(numbers.forget_silent(start + 2 * SILENCE), "the others have stopped");
        assert!(!numbers.forget_silent(start + 2 * SILENCE));
        assert!(!numbers.is_complete(&message(one, 9, 1), start + 2 * SILENCE), "it is back");
    }
}
