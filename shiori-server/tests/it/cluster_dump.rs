//! All that the engines of a cluster store.

use mongodb::bson::doc;
use sqlx::Row;

use crate::test_cluster::TestCluster;

/// Whether any engine of the cluster stores these bytes.
pub async fn contains(cluster: &TestCluster, needle: &[u8]) -> bool {
    let dump = [mysql(cluster).await, mongodb(cluster).await, redis(cluster).await].concat();
    dump.windows(needle.len()).any(|found| found == needle)
}

async fn mysql(cluster: &TestCluster) -> Vec<u8> {
    let pool = sqlx::MySqlPool::connect(cluster.mysql.as_str()).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT CAST(table_name AS CHAR) FROM information_schema.tables
         WHERE table_schema = DATABASE()",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let mut dump = Vec::new();
    for table in tables {
        let all = sqlx::AssertSqlSafe(format!("SELECT * FROM {table}"));
        for row in sqlx::query(all).fetch_all(&pool).await.unwrap() {
            for column in 0..row.len() {
                let value: Option<Vec<u8>> = row.try_get_unchecked(column).unwrap();
                dump.extend(value.unwrap_or_default());
            }
        }
    }
    pool.close().await;
    dump
}

async fn mongodb(cluster: &TestCluster) -> Vec<u8> {
    use futures_util::TryStreamExt;
    let client = mongodb::Client::with_uri_str(cluster.mongodb.as_str()).await.unwrap();
    let database = client.database(cluster.prefix());
    let mut dump = Vec::new();
    for name in database.list_collection_names().await.unwrap() {
        let documents = database.collection::<mongodb::bson::RawDocumentBuf>(&name);
        let mut all = documents.find(doc! {}).await.unwrap();
        while let Some(document) = all.try_next().await.unwrap() {
            dump.extend(document.as_bytes());
        }
    }
    dump
}

/// All keys with the cluster's prefix, and their values. Not by `DUMP`, which compresses them.
pub async fn redis(cluster: &TestCluster) -> Vec<u8> {
    let client = redis::Client::open(cluster.redis.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let pattern = format!("*{}*", cluster.prefix());
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap();
    let mut dump = Vec::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut connection).await.unwrap();
        let (read, range): (_, &[&str]) = match kind.as_str() {
            "string" => ("GET", &[]),
            "hash" => ("HGETALL", &[]),
            "set" => ("SMEMBERS", &[]),
            "list" => ("LRANGE", &["0", "-1"]),
            "zset" => ("ZRANGE", &["0", "-1"]),
            // It has expired.
            "none" => continue,
            other => panic!("{key} is a {other}"),
        };
        let value: redis::Value =
            redis::cmd(read).arg(&key).arg(range).query_async(&mut connection).await.unwrap();
        dump.extend(key.into_bytes());
        append(&mut dump, &value);
    }
    dump
}

fn append(dump: &mut Vec<u8>, value: &redis::Value) {
    match value {
        redis::Value::BulkString(bytes) => dump.extend(bytes),
        redis::Value::Array(values) | redis::Value::Set(values) => {
            for value in values {
                append(dump, value);
            }
        }
        redis::Value::Map(entries) => {
            for (field, value) in entries {
                append(dump, field);
                append(dump, value);
            }
        }
        redis::Value::Nil => {}
        other => panic!("{other:?}"),
    }
}
