//! What the machine and the engines need without Shiori: the floors of its latencies. They are
//! measured beside them, in the same run.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use mongodb::{
    Collection, IndexModel,
    bson::{Document, doc},
    options::{Acknowledgment, CollectionOptions, IndexOptions, ReadConcern, WriteConcern},
};
use redis::aio::MultiplexedConnection;
use rusqlite::Connection;
use shiori_benches::{EngineUrls, page};
use sqlx::{MySqlPool, mysql::MySqlPoolOptions};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::{
    Result,
    load::{Sample, closed_loop},
};

/// `GET /healthz` through the HTTP client of the SDK: a request that needs no store.
pub(crate) const EMPTY_TRIP: &str = "empty trip";

/// One row with a text of 3 KiB in SQLite, with the write-ahead log synced, as the server does.
pub(crate) const COMMIT: &str = "SQLite: durable commit";

/// One document by its key.
pub(crate) const FIND: &str = "MongoDB: findOne";

/// A replaced text of 3 KiB, acknowledged by the journals of a majority.
pub(crate) const FIND_AND_UPDATE: &str = "MongoDB: findOneAndUpdate";

/// One row by its key.
pub(crate) const SELECT: &str = "MySQL: select by key";

/// One row.
pub(crate) const INSERT: &str = "MySQL: durable insert";

/// A field of a hash.
pub(crate) const HGET: &str = "Redis: HGET";

/// A member of a sorted set.
pub(crate) const ZADD: &str = "Redis: ZADD";

/// The floors of one profile.
#[derive(Debug)]
pub(crate) struct Floors {
    http: reqwest::Client,
    health: String,
    stores: Stores,
}

#[derive(Debug)]
enum Stores {
    Sqlite(TempDir),
    Engines(Box<Drivers>),
}

/// Connections of the engines' drivers.
#[derive(Debug)]
struct Drivers {
    diaries: Collection<Document>,
    mysql: MySqlPool,
    redis: MultiplexedConnection,
    prefix: String,
}

impl Floors {
    /// Prepares the floors of a server at this URL, with tables of their own.
    ///
    /// # Errors
    ///
    /// If a store does not respond.
    pub(crate) async fn open(
        url: &str,
        http: &reqwest::Client,
        engines: Option<&EngineUrls>,
    ) -> Result<Self> {
        let stores = match engines {
            None => Stores::Sqlite(create_file().await?),
            Some(urls) => Stores::Engines(Box::new(Drivers::open(urls).await?)),
        };
        Ok(Self { http: http.clone(), health: format!("{url}/healthz"), stores })
    }

    /// Measures each floor for this time, with one client.
    ///
    /// # Errors
    ///
    /// If SQLite fails. Failures of engines are counted in the sample.
    pub(crate) async fn measure(&self, lasts: Duration) -> Result<Vec<(&'static str, Sample)>> {
        let (http, health) = (self.http.clone(), self.health.clone());
        let trip = closed_loop(1, lasts, move |_| {
            let trip = empty_trip(http.clone(), health.clone());
            async move { trip.await.is_ok() }
        });
        let mut samples = vec![(EMPTY_TRIP, trip.await)];
        match &self.stores {
            Stores::Sqlite(dir) => {
                let path = dir.path().to_owned();
                samples.push((COMMIT, spawn_blocking(move || commits(&path, lasts)).await??));
            }
            Stores::Engines(drivers) => samples.extend(drivers.measure(lasts).await),
        }
        Ok(samples)
    }
}

async fn empty_trip(http: reqwest::Client, health: String) -> Result<()> {
    http.get(health).send().await?.error_for_status()?.bytes().await?;
    Ok(())
}

/// The settings of the server's writer.
fn open_file(dir: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(dir.join("floor.db"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

async fn create_file() -> Result<TempDir> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().to_owned();
    spawn_blocking(move || {
        open_file(&path)?
            .execute_batch("CREATE TABLE floor (id INTEGER PRIMARY KEY, content TEXT NOT NULL)")
    })
    .await??;
    Ok(dir)
}

fn commits(dir: &Path, lasts: Duration) -> Result<Sample> {
    let connection = open_file(dir)?;
    let mut insert = connection.prepare("INSERT INTO floor (content) VALUES (?)")?;
    let text = page().content;
    let started = Instant::now();
    let mut sample = Sample::default();
    while started.elapsed() < lasts {
        let sent = Instant::now();
        insert.execute([text.as_json()])?;
        sample.record(sent.elapsed());
    }
    sample.took = started.elapsed();
    Ok(sample)
}

impl Drivers {
    async fn open(urls: &EngineUrls) -> Result<Self> {
        let mongodb = mongodb::Client::with_uri_str(&urls.mongodb).await?;
        let database = mongodb.default_database().ok_or("the URL of MongoDB has no database")?;
        // The concerns of the server's store.
        let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        let options = CollectionOptions::builder()
            .write_concern(durable)
            .read_concern(ReadConcern::majority())
            .build();
        let diaries = database.collection_with_options("floor", options);
        let unique = IndexOptions::builder().unique(true).build();
        let key = IndexModel::builder().keys(doc! { "user": 1, "date": 1 }).options(unique).build();
        diaries.create_index(key).await?;
        let content = page().content;
        let first = doc! { "user": 1, "date": 1, "version": 0_i64, "content": content.as_json() };
        diaries.insert_one(first).await?;

        let mysql = MySqlPoolOptions::new().max_connections(1).connect(&urls.mysql).await?;
        sqlx::query(
            "CREATE TABLE bench_floor (id BINARY(16) NOT NULL PRIMARY KEY, status VARCHAR(16) NOT NULL)
             ENGINE = InnoDB",
        )
        .execute(&mysql)
        .await?;
        insert(&mysql, Uuid::nil()).await?;

        let redis = redis::Client::open(urls.redis.as_str())?;
        let mut redis = redis.get_multiplexed_async_connection().await?;
        let prefix = format!("{}:floor", urls.redis_prefix);
        // Expires with the other keys of a bench.
        let session =
            redis::cmd("HSET").arg(format!("{prefix}:hash")).arg("id").arg("a session").to_owned();
        session.query_async::<()>(&mut redis).await?;
        redis::cmd("EXPIRE").arg(format!("{prefix}:hash")).arg(3600).exec_async(&mut redis).await?;
        Ok(Self { diaries, mysql, redis, prefix })
    }

    async fn measure(&self, lasts: Duration) -> Vec<(&'static str, Sample)> {
        let key = || doc! { "user": 1, "date": 1 };
        let diaries = self.diaries.clone();
        let find = closed_loop(1, lasts, move |_| {
            let diaries = diaries.clone();
            async move { matches!(diaries.find_one(key()).await, Ok(Some(_))) }
        });
        let find = find.await;

        let (diaries, content) = (self.diaries.clone(), page().content);
        let update = closed_loop(1, lasts, move |_| {
            let (diaries, content) = (diaries.clone(), content.clone());
            async move {
                let update = doc! {
                    "$set": { "content": content.as_json() },
                    "$inc": { "version": 1_i64 },
                };
                let found = diaries.find_one_and_update(key(), update);
                matches!(found.projection(doc! { "_id": 1 }).await, Ok(Some(_)))
            }
        });
        let update = update.await;

        let mysql = self.mysql.clone();
        let select = closed_loop(1, lasts, move |_| {
            let mysql = mysql.clone();
            async move { select(&mysql, Uuid::nil()).await.is_ok() }
        });
        let select = select.await;

        let mysql = self.mysql.clone();
        let insert = closed_loop(1, lasts, move |_| {
            let mysql = mysql.clone();
            async move { insert(&mysql, Uuid::now_v7()).await.is_ok() }
        });
        let insert = insert.await;

        let (redis, hash) = (self.redis.clone(), format!("{}:hash", self.prefix));
        let hget = closed_loop(1, lasts, move |_| {
            let (mut redis, hash) = (redis.clone(), hash.clone());
            async move { redis::cmd("HGET").arg(hash).arg("id").exec_async(&mut redis).await.is_ok() }
        });
        let hget = hget.await;

        let (redis, set) = (self.redis.clone(), format!("{}:set", self.prefix));
        let zadd = closed_loop(1, lasts, move |_| {
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let (mut redis, set) = (redis.clone(), set.clone());
            async move {
                let next = NEXT.fetch_add(1, Ordering::Relaxed);
                let mut zadd = redis::cmd("ZADD");
                zadd.arg(set).arg(next).arg(Uuid::new_v4().to_string());
                zadd.exec_async(&mut redis).await.is_ok()
            }
        });
        let zadd = zadd.await;
        let mut redis = self.redis.clone();
        // The set is not needed any more. If Redis fails, the next sample counts it.
        let _ = redis::cmd("DEL").arg(format!("{}:set", self.prefix)).exec_async(&mut redis).await;

        vec![
            (FIND, find),
            (FIND_AND_UPDATE, update),
            (SELECT, select),
            (INSERT, insert),
            (HGET, hget),
            (ZADD, zadd),
        ]
    }
}

async fn insert(mysql: &MySqlPool, id: Uuid) -> sqlx::Result<()> {
    let insert = sqlx::query("INSERT INTO bench_floor (id, status) VALUES (?, 'queued')");
    insert.bind(&id.as_bytes()[..]).execute(mysql).await.map(drop)
}

async fn select(mysql: &MySqlPool, id: Uuid) -> sqlx::Result<String> {
    let select = sqlx::query_scalar("SELECT status FROM bench_floor WHERE id = ?");
    select.bind(&id.as_bytes()[..]).fetch_one(mysql).await
}
