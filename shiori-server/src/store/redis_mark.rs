//! A mark in Redis, by which each server notices that Redis has lost its data.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use redis::cmd;
use shiori_worker::redis::{Redis, RedisError};
use tokio::time::sleep;
use uuid::Uuid;

/// The pause between two checks.
const INTERVAL: Duration = Duration::from_secs(10);

/// A key with a random value, which the first server creates and all servers expect to find. In a
/// cluster, it is on one node.
#[derive(Debug)]
pub(super) struct Mark {
    redis: Redis,
    key: String,
    losses: AtomicU64,
}

impl Mark {
    pub(super) fn new(redis: Redis) -> Self {
        Self { key: redis.key("mark"), redis, losses: AtomicU64::new(0) }
    }

    /// How often another mark was found than before.
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Checks the mark periodically. Never returns.
    pub(super) async fn keep_checking(&self) {
        let mut known = None;
        loop {
            // An unavailable Redis is reported by the steps that need it.
            if let Ok(mark) = self.read_or_create().await
                && known.replace(mark.clone()).is_some_and(|known| known != mark)
            {
                self.losses.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("Redis has lost its data; users have to sign in again");
            }
            sleep(INTERVAL).await;
        }
    }

    async fn read_or_create(&self) -> Result<String, RedisError> {
        let new = Uuid::new_v4().to_string();
        let set = cmd("SET").arg(&self.key).arg(&new).arg("NX").arg("GET").to_owned();
        let existing: Option<String> = self.redis.query_idempotent(&set).await?;
        Ok(existing.unwrap_or(new))
    }
}
