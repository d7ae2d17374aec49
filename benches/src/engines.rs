use std::{
    env, io,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use shiori_server::{Config, WorkerMode};
use sqlx::{AssertSqlSafe, MySqlPool};
use uuid::Uuid;

use crate::Provider;

const INTERNAL_TOKEN: &str = "a token for the workers of a bench";

/// Databases of one's own on the engines of the distributed profile.
#[derive(Debug)]
pub struct Engines {
    name: String,
    admin: MySqlPool,
    mysql: String,
    mongodb: String,
    redis: String,
}

impl Engines {
    /// Whether `SHIORI_TEST_MYSQL_URL`, `SHIORI_TEST_MONGODB_URL` and `SHIORI_TEST_REDIS_URL` name
    /// engines.
    pub fn are_given() -> bool {
        let variables =
            ["SHIORI_TEST_MYSQL_URL", "SHIORI_TEST_MONGODB_URL", "SHIORI_TEST_REDIS_URL"];
        variables.into_iter().all(|variable| env::var_os(variable).is_some())
    }

    /// Makes databases there.
    ///
    /// # Panics
    ///
    /// When the engines do not answer, or none are given.
    pub async fn open() -> Self {
        let given = |variable| env::var(variable).expect("an engine's URL");
        let name = format!("shiori_bench_{}", Uuid::new_v4().simple());
        let mysql = given("SHIORI_TEST_MYSQL_URL");
        let admin = MySqlPool::connect(&mysql).await.expect("the database answers");
        let create = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4");
        sqlx::query(AssertSqlSafe(create)).execute(&admin).await.expect("created");
        Self {
            mysql: in_database(&mysql, &name),
            mongodb: in_database(&given("SHIORI_TEST_MONGODB_URL"), &name),
            redis: given("SHIORI_TEST_REDIS_URL"),
            name,
            admin,
        }
    }

    /// Puts a server on them, without a worker.
    pub fn configure(&self, config: &mut Config) {
        config.database_url = self.mysql.as_str().into();
        config.mongodb_url = Some(self.mongodb.as_str().into());
        config.redis_url = Some(self.redis.as_str().into());
        config.redis_prefix.clone_from(&self.name);
        config.internal_token = INTERNAL_TOKEN.into();
        config.worker = WorkerMode::None;
    }

    /// A worker's process, which asks this provider; `None` when its binary has not been built.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn worker(&self, server: &str, provider: &Provider, in_flight: usize) -> Option<Worker> {
        let bench = env::current_exe().expect("the bench has a place");
        let binary = bench.parent().and_then(Path::parent)?.join("shiori-worker");
        let spawned = Command::new(binary)
            .env_clear()
            .env("SHIORI_SERVER_URL", server)
            .env("SHIORI_INTERNAL_TOKEN", INTERNAL_TOKEN)
            .env("SHIORI_REDIS_URL", &self.redis)
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
            Err(error) => panic!("the worker cannot be started: {error}"),
        }
    }

    /// Drops the databases; what is left in Redis expires.
    ///
    /// # Panics
    ///
    /// When the engines do not answer.
    pub async fn drop_all(self) {
        let drop = format!("DROP DATABASE {}", self.name);
        sqlx::query(AssertSqlSafe(drop)).execute(&self.admin).await.expect("dropped");
        let mongodb = mongodb::Client::with_uri_str(&self.mongodb).await.expect("a URL");
        mongodb.database(&self.name).drop().await.expect("dropped");
        // Connections in other places are closed in the background.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A worker's process; it is killed when this is dropped.
#[derive(Debug)]
pub struct Worker(Child);

impl Worker {
    /// Its process id.
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
