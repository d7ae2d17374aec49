//! Fills the stores of a server with diaries and summaries, directly and in large batches: creating
//! ten million diaries through the API would take hours. The rows are like those that the server
//! writes; other users than those that are measured own them.

use std::{path::PathBuf, time::Duration};

use mongodb::{
    Collection,
    bson::{self, DateTime, Document as Bson, doc},
    options::WriteConcern,
};
use rusqlite::{Connection, params};
use shiori_benches::{EngineUrls, process::ServerSetup};
use shiori_sdk::{Date, Distribution, Document, Emotion, Timestamp, UserId, Week};
use shiori_worker::{queue::QUEUE_NAME, redis::Redis};
use sqlx::{MySqlPool, QueryBuilder};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::Result;

/// Diaries of one user.
const DIARIES_PER_USER: u32 = 1000;

/// Rows of one transaction or request.
const BATCH: u32 = 1000;

/// The first day of each user.
fn first_day() -> Date {
    Date::new(2000, 1, 3).expect("a date")
}

/// The hints of queued summaries are repeated over this time, as if they had been requested at
/// different moments. The server repeats them every 10 s.
const HINTS_SPREAD: Duration = Duration::from_secs(10);

/// The text of a diary, 200 bytes.
fn text() -> Document {
    Document::from_text("아침에는 비가 왔고, 오후에는 오래 걸었다.\n저녁에는 전화를 했다.")
}

/// The nth of this many users. The ids are evenly distributed over all ids, so that those of the
/// measured users lie between them.
fn user(nth: u32, count: u32) -> Uuid {
    Uuid::from_u128(u128::MAX / u128::from(count.max(1)) * u128::from(nth))
}

/// The owners and dates of this many diaries, in the order of the index.
fn keys(count: u32) -> impl Iterator<Item = (Uuid, Date)> {
    let users = count.div_ceil(DIARIES_PER_USER);
    (0..count).filter_map(move |nth| {
        let date = first_day().plus_days(i64::from(nth % DIARIES_PER_USER))?;
        Some((user(nth / DIARIES_PER_USER, users), date))
    })
}

/// Adds this many diaries.
///
/// # Errors
///
/// If the store fails.
pub(crate) async fn add_diaries(setup: &ServerSetup, count: u32) -> Result<()> {
    match &setup.engines {
        None => {
            let path = sqlite(setup);
            spawn_blocking(move || add_diaries_to_sqlite(&path, count)).await?
        }
        Some(urls) => add_diaries_to_mongodb(urls, count).await,
    }
}

fn sqlite(setup: &ServerSetup) -> PathBuf {
    setup.dir.join("shiori.db")
}

/// A connection beside those of the server. Its commits are not synced.
fn open(path: &PathBuf) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(60))?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    Ok(connection)
}

/// Copies the write-ahead log into the file, so that the server does not have to.
fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn add_diaries_to_sqlite(path: &PathBuf, count: u32) -> Result<()> {
    let mut connection = open(path)?;
    let text = text();
    let now = Timestamp::now().as_millis();
    let mut keys = keys(count).peekable();
    while keys.peek().is_some() {
        let transaction = connection.transaction()?;
        {
            let mut add_text = transaction
                .prepare_cached("INSERT INTO diary_text (saves, content) VALUES ('[]', ?)")?;
            let mut add_diary = transaction.prepare_cached(
                "INSERT INTO diary (user_id, date, id, title, version, updated_at, text_id)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?;
            for (user, date) in keys.by_ref().take(BATCH as usize * 10) {
                let text_id = add_text.insert([text.as_json()])?;
                let id = Uuid::now_v7();
                let (user, id) = (user.as_bytes(), id.as_bytes());
                add_diary.execute(params![user, date.as_number(), id, "하루", 1, now, text_id])?;
            }
        }
        transaction.commit()?;
    }
    Ok(checkpoint(&connection)?)
}

async fn add_diaries_to_mongodb(urls: &EngineUrls, count: u32) -> Result<()> {
    let client = mongodb::Client::with_uri_str(&urls.mongodb).await?;
    let database = client.default_database().ok_or("the URL of MongoDB has no database")?;
    let diaries: Collection<Bson> = database.collection("diaries");
    let text = text();
    let now = DateTime::now();
    let mut keys = keys(count).peekable();
    while keys.peek().is_some() {
        let batch = keys.by_ref().take(BATCH as usize).map(|(user, date)| {
            doc! {
                "_id": bson::Uuid::from_bytes(*Uuid::now_v7().as_bytes()),
                "user": bson::Uuid::from_bytes(*user.as_bytes()),
                "date": i32::try_from(date.as_number()).unwrap_or(i32::MAX),
                "title": "하루",
                "content": text.as_json(),
                "version": 1_i64,
                "archived": false,
                "deleted": false,
                "updated_at": now,
                "saves": [],
            }
        });
        let insert = diaries.insert_many(batch).ordered(false);
        insert
            .write_concern(
                WriteConcern::builder().w(mongodb::options::Acknowledgment::Nodes(1)).build(),
            )
            .await?;
    }
    // The checkpoint that would otherwise follow during the measurement.
    client.database("admin").run_command(doc! { "fsync": 1 }).await?;
    Ok(())
}

/// Adds this many queued summaries of different users. Their hints are in the queue of the
/// distributed profile.
///
/// # Errors
///
/// If the store or the queue fails.
pub(crate) async fn add_queued(setup: &ServerSetup, count: u32) -> Result<()> {
    let summaries = (0..count).map(move |nth| {
        let spread = HINTS_SPREAD.mul_f64(f64::from(nth) / f64::from(count.max(1)));
        (Uuid::now_v7(), user(nth, count), Timestamp::now() + spread)
    });
    match &setup.engines {
        None => {
            let path = sqlite(setup);
            spawn_blocking(move || add_queued_to_sqlite(&path, summaries)).await?
        }
        Some(urls) => add_queued_to_mysql(urls, summaries).await,
    }
}

fn week() -> u32 {
    Week::containing(first_day()).start().as_number()
}

fn add_queued_to_sqlite(
    path: &PathBuf,
    summaries: impl Iterator<Item = (Uuid, Uuid, Timestamp)>,
) -> Result<()> {
    let mut connection = open(path)?;
    let now = Timestamp::now().as_millis();
    let transaction = connection.transaction()?;
    {
        let mut add = transaction.prepare(
            "INSERT INTO summary (id, user_id, start, status, revision, attempts, requested_at,
                not_before, next_hint_at, versions_read)
             VALUES (?, ?, ?, 'queued', 1, 0, ?, ?, ?, '{}')",
        )?;
        for (id, user, hint_at) in summaries {
            let (id, user) = (id.as_bytes(), user.as_bytes());
            add.execute(params![id, user, week(), now, now, hint_at.as_millis()])?;
        }
    }
    transaction.commit()?;
    Ok(checkpoint(&connection)?)
}

async fn add_queued_to_mysql(
    urls: &EngineUrls,
    mut summaries: impl Iterator<Item = (Uuid, Uuid, Timestamp)>,
) -> Result<()> {
    let pool = MySqlPool::connect(&urls.mysql).await?;
    let redis = Redis::new(&urls.redis, &urls.redis_prefix)?;
    let now = Timestamp::now().as_millis();
    loop {
        let batch: Vec<_> = summaries.by_ref().take(BATCH as usize).collect();
        if batch.is_empty() {
            return Ok(());
        }
        let mut insert = QueryBuilder::new(
            "INSERT INTO summary (id, user_id, start, status, revision, attempts, requested_at,
                not_before, next_hint_at, versions_read) ",
        );
        insert.push_values(&batch, |mut row, (id, user, hint_at)| {
            row.push_bind(id.as_bytes().to_vec())
                .push_bind(user.as_bytes().to_vec())
                .push_bind(week())
                .push_bind("queued")
                .push_bind(1_i64)
                .push_bind(0_u32)
                .push_bind(now)
                .push_bind(now)
                .push_bind(hint_at.as_millis())
                .push_bind("{}");
        });
        insert.build().execute(&pool).await?;
        let mut hints = redis::cmd("ZADD");
        hints.arg(redis.key(QUEUE_NAME));
        for (id, _, _) in &batch {
            hints.arg(now).arg(id.to_string());
        }
        redis.query::<()>(&hints).await?;
    }
}

/// Adds this many finished summaries of a user's week, with the emotions of its days.
///
/// # Errors
///
/// If the store fails.
pub(crate) async fn add_finished(
    setup: &ServerSetup,
    user: UserId,
    week: Week,
    count: u32,
) -> Result<()> {
    let finished = Finished::new(user, week, count)?;
    match &setup.engines {
        None => {
            let path = sqlite(setup);
            spawn_blocking(move || finished.add_to_sqlite(&path)).await?
        }
        Some(urls) => finished.add_to_mysql(urls).await,
    }
}

/// Finished summaries of one week.
struct Finished {
    user: [u8; 16],
    start: u32,
    dates: Vec<u32>,
    distribution: String,
    /// The versions of the days that they have read.
    versions: String,
    /// The ids and the times of the summaries, a second apart.
    summaries: Vec<(Uuid, i64)>,
}

impl Finished {
    fn new(user: UserId, week: Week, count: u32) -> Result<Self> {
        let now = Timestamp::now();
        let at = |nth: u32| (now - Duration::from_secs(u64::from(count - nth))).as_millis();
        let versions: serde_json::Map<_, _> =
            week.dates().map(|date| (date.to_string(), serde_json::json!(1))).collect();
        Ok(Self {
            user: *user.as_bytes(),
            start: week.start().as_number(),
            dates: week.dates().map(Date::as_number).collect(),
            distribution: serde_json::to_string(&Distribution::UNIFORM)?,
            versions: serde_json::Value::from(versions).to_string(),
            summaries: (0..count).map(|nth| (Uuid::now_v7(), at(nth))).collect(),
        })
    }

    fn label() -> &'static str {
        Emotion::Happiness.korean()
    }

    fn add_to_sqlite(&self, path: &PathBuf) -> Result<()> {
        let mut connection = open(path)?;
        let transaction = connection.transaction()?;
        {
            let mut add_summary = transaction.prepare(
                "INSERT INTO summary (id, user_id, start, status, revision, attempts, requested_at,
                    started_at, finished_at, not_before, next_hint_at, versions_read)
                 VALUES (?1, ?2, ?3, 'completed', 3, 1, ?4, ?4, ?4, ?4, ?4, ?5)",
            )?;
            let mut add_reflection = transaction.prepare(
                "INSERT INTO reflection (summary_id, user_id, start, reflection, engine,
                    emotion_engine, generated_at)
                 VALUES (?, ?, ?, ?, 'bench/1', 'bench/1', ?)",
            )?;
            let mut add_tag = transaction.prepare(
                "INSERT INTO emotion_tag (summary_id, user_id, date, label, confidence,
                    distribution, generated_at)
                 VALUES (?, ?, ?, ?, 0.5, ?, ?)",
            )?;
            for (id, at) in &self.summaries {
                let (id, user, start) = (id.as_bytes(), self.user, self.start);
                add_summary.execute(params![id, user, start, at, self.versions])?;
                add_reflection.execute(params![id, user, start, REFLECTION, at])?;
                for date in &self.dates {
                    let tag = params![id, user, date, Self::label(), self.distribution, at];
                    add_tag.execute(tag)?;
                }
            }
        }
        transaction.commit()?;
        Ok(checkpoint(&connection)?)
    }

    async fn add_to_mysql(&self, urls: &EngineUrls) -> Result<()> {
        let pool = MySqlPool::connect(&urls.mysql).await?;
        let user = self.user.to_vec();
        for batch in self.summaries.chunks(BATCH as usize / 2) {
            let mut summaries = QueryBuilder::new(
                "INSERT INTO summary (id, user_id, start, status, revision, attempts, requested_at,
                    started_at, finished_at, not_before, next_hint_at, versions_read) ",
            );
            summaries.push_values(batch, |mut row, (id, at)| {
                row.push_bind(id.as_bytes().to_vec()).push_bind(user.clone()).push_bind(self.start);
                row.push_bind("completed").push_bind(3_i64).push_bind(1_u32);
                for _ in 0..5 {
                    row.push_bind(*at);
                }
                row.push_bind(&self.versions);
            });
            summaries.build().execute(&pool).await?;
            let mut reflections = QueryBuilder::new(
                "INSERT INTO reflection (summary_id, user_id, start, reflection, engine,
                    emotion_engine, generated_at) ",
            );
            reflections.push_values(batch, |mut row, (id, at)| {
                row.push_bind(id.as_bytes().to_vec()).push_bind(user.clone()).push_bind(self.start);
                row.push_bind(REFLECTION).push_bind("bench/1").push_bind("bench/1").push_bind(*at);
            });
            reflections.build().execute(&pool).await?;
            let mut tags = QueryBuilder::new(
                "INSERT INTO emotion_tag (summary_id, user_id, date, label, confidence,
                    distribution, generated_at) ",
            );
            let days =
                batch.iter().flat_map(|summary| self.dates.iter().map(move |date| (summary, date)));
            tags.push_values(days, |mut row, ((id, at), date)| {
                row.push_bind(id.as_bytes().to_vec()).push_bind(user.clone()).push_bind(*date);
                row.push_bind(Self::label()).push_bind(0.5).push_bind(&self.distribution);
                row.push_bind(*at);
            });
            tags.build().execute(&pool).await?;
        }
        Ok(())
    }
}

const REFLECTION: &str = "잘 지낸 한 주였어요.";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_are_distinct_and_in_the_order_of_the_index() {
        let keys: Vec<_> = keys(2500).collect();
        assert_eq!(keys.len(), 2500);
        assert!(keys.is_sorted());
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 2500);
        assert_eq!(keys.iter().map(|(user, _)| user).collect::<HashSet<_>>().len(), 3);
    }

    #[test]
    fn users_are_spread_over_all_ids() {
        assert_eq!(user(0, 4), Uuid::nil());
        assert_eq!(user(2, 4).as_bytes()[0], 0x7f);
        assert_eq!(user(0, 0), Uuid::nil());
    }
}
