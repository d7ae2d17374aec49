//! Test data, and waiting for conditions.

use std::{
    future::Future,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use shiori_sdk::{Client, Date, Document, Draft, Precondition, Week};

pub const PASSWORD: &str = "한글도 되는 pass-1";

/// A client that is not signed in.
pub fn new_client(url: &str) -> Client {
    Client::builder(url).build().unwrap()
}

pub fn fresh_email() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("person-{}-{count}@example.com", std::process::id())
}

pub fn day(day: u8) -> Date {
    Date::new(2026, 2, day).unwrap()
}

/// The week from Monday, 16 February 2026.
pub fn week() -> Week {
    Week::starting(day(16)).unwrap()
}

pub fn draft(text: &str) -> Draft {
    Draft::new("제목", Document::from_text(text))
}

/// A diary for every day of the week.
pub async fn write_week(client: &Client, text: &str) {
    for date in week().dates() {
        client
            .diaries()
            .save(date, draft(&format!("{date}: {text}")), Precondition::IfAbsent)
            .send()
            .await
            .unwrap();
    }
}

/// Waits until the condition holds. Fails after 5 minutes, which a busy machine does not need.
pub async fn wait_until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(300);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "timed out waiting until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
