use std::{
    env, fmt, io,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use shiori_server::{Config, WorkerMode};
use sqlx::{AssertSqlSafe, MySqlPool};
use uuid::Uuid;

use crate::Provider;

/// Private databases on the engines of the distributed profile.
#[derive(Debug)]
pub struct Engines {
    name: String,
    admin: MySqlPool,
    urls: EngineUrls,
}

/// The URLs of private databases on the engines. `Debug` shows none of them.
#[derive(Clone, Serialize, Deserialize)]
pub struct EngineUrls {
    /// The database in MySQL or MariaDB.
    pub mysql: String,
    /// The database in MongoDB.
    pub mongodb: String,
    /// The Redis, which all share.
    pub redis: String,
    /// The prefix of all keys in Redis.
    pub redis_prefix: String,
}

impl fmt::Debug for EngineUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineUrls")
            .field("redis_prefix", &self.redis_prefix)
            .finish_non_exhaustive()
    }
}

impl EngineUrls {
    /// The token of the workers of a server on these engines.
    pub const INTERNAL_TOKEN: &str = "a token for the workers of a bench";

    /// Configures a server to use them, without a worker.
    pub fn configure(&self, config: &mut Config) {
        config.database_url = self.mysql.as_str().into();
        config.mongodb_url = Some(self.mongodb.as_str().into());
        config.redis_url = Some(self.redis.as_str().into());
        config.redis_prefix.clone_from(&self.redis_prefix);
        config.internal_token = Self::INTERNAL_TOKEN.into();
        config.worker = WorkerMode::None;
    }
}

impl Engines {
    /// Whether `SHIORI_TEST_MYSQL_URL`, `SHIORI_TEST_MONGODB_URL` and `SHIORI_TEST_REDIS_URL` are
    /// set.
    pub fn are_given() -> bool {
        let variables =
            ["SHIORI_TEST_MYSQL_URL", "SHIORI_TEST_MONGODB_URL", "SHIORI_TEST_REDIS_URL"];
        variables.into_iter().all(|variable| env::var_os(variable).is_some())
    }

    /// Creates the databases.
    ///
    /// # Panics
    ///
    /// If the engines are not given or do not respond.
    pub async fn open() -> Self {
        let given = |variable| env::var(variable).expect("an engine's URL");
        Self::open_at(
            &given("SHIORI_TEST_MYSQL_URL"),
            &given("SHIORI_TEST_MONGODB_URL"),
            given("SHIORI_TEST_REDIS_URL"),
        )
        .await
    }

    /// Creates the databases on the engines at these URLs.
    ///
    /// # Panics
    ///
    /// If the engines do not respond.
    pub async fn open_at(mysql: &str, mongodb: &str, redis: String) -> Self {
        let name = format!("shiori_bench_{}", Uuid::new_v4().simple());
        let admin = MySqlPool::connect(mysql).await.expect("the database is available");
        let create = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4");
        sqlx::query(AssertSqlSafe(create)).execute(&admin).await.expect("created");
        Self {
            urls: EngineUrls {
                mysql: in_database(mysql, &name),
                mongodb: in_database(mongodb, &name),
                redis,
                redis_prefix: name.clone(),
            },
            name,
            admin,
        }
    }

    /// Configures a server to use them, without a worker.
    pub fn configure(&self, config: &mut Config) {
        self.urls.configure(config);
    }

    /// Their URLs.
    pub fn urls(&self) -> &EngineUrls {
        &self.urls
    }

    /// Starts a worker process that uses this provider; `None` if its binary has not been built.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn worker(&self, server: &str, provider: &Provider, in_flight: usize) -> Option<Worker> {
        let bench = env::current_exe().expect("the path of the bench");
        let binary = bench.parent().and_then(Path::parent)?.join("shiori-worker");
        let spawned = Command::new(binary)
            .env_clear()
            .env("SHIORI_SERVER_URL", server)
            .env("SHIORI_INTERNAL_TOKEN", EngineUrls::INTERNAL_TOKEN)
            .env("SHIORI_REDIS_URL", &self.urls.redis)
            .env("SHIORI_REDIS_PREFIX", &self.name)
            .env("SHIORI_WORKER_CONCURRENCY", in_flight.to_string())
            .env("SHIORI_LLM_MODEL", "bench")
            .env("OPENAI_BASE_URL", provider.url())
            .env("SHIORI_LOG", "error")
            .stdin(Stdio::null())
            .spawn();
        match spawned {
            Ok(child) => Some(Worker(child)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => panic!("could not start the worker: {error}"),
        }
    }

    /// Drops the databases. The keys in Redis expire.
    ///
    /// # Panics
    ///
    /// If the engines do not respond.
    pub async fn drop_all(self) {
        let drop = format!("DROP DATABASE {}", self.name);
        sqlx::query(AssertSqlSafe(drop)).execute(&self.admin).await.expect("dropped");
        let mongodb = mongodb::Client::with_uri_str(&self.urls.mongodb).await.expect("a URL");
        mongodb.database(&self.name).drop().await.expect("dropped");
        // Other connections are closed in the background.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A worker process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Worker(Child);

impl Worker {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The URL with another database in its path.
fn in_database(url: &str, name: &str) -> String {
    let (base, query) =
        url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let authority = base.find("://").map_or(0, |at| at + 3);
    let end = base[authority..].find('/').map_or(base.len(), |at| authority + at);
    let url = format!("{}/{name}", &base[..end]);
    query.map_or(url.clone(), |query| format!("{url}?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_goes_into_the_path() {
        for (url, moved) in [
            ("mysql://u:p@h:1/a", "mysql://u:p@h:1/b"),
            ("mongodb://h:1/a?replicaSet=r", "mongodb://h:1/b?replicaSet=r"),
            ("mongodb://h:1", "mongodb://h:1/b"),
        ] {
            assert_eq!(in_database(url, "b"), moved);
        }
    }
}
