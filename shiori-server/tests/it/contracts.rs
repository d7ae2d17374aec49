//! The embedded stores keep the contracts.

use std::sync::Arc;

use shiori_server::store::sqlite::SqliteStore;
use tempfile::TempDir;

async fn open() -> (Arc<SqliteStore>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("shiori.db")).await.unwrap();
    (Arc::new(store), dir)
}

mod sqlite {
    use super::open;

    shiori_server::account_contract!(open());
    shiori_server::session_contract!(open());
    shiori_server::diary_contract!(open());
    shiori_server::summary_contract!(open());
}
