//! Copies of the file while servers use it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::{SqliteStore, connection::Database, on_a_blocking_thread};
use crate::store::StoreError;

impl SqliteStore {
    /// Writes a consistent and compact copy of the file to `copy`, readable only by the owner. Other
    /// processes can read and write the file meanwhile; the copy has the state of one moment. It
    /// exists only if it is complete and synced to the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if `copy` exists, or one of the files cannot be opened, read or
    /// written.
    pub async fn back_up(file: &Path, copy: &Path) -> Result<(), StoreError> {
        let (database, copy) = (Database::new(file), copy.to_owned());
        on_a_blocking_thread(move || {
            // Before the partial file is created, so that it is not left.
            let connection = database.open_for_reading()?;
            if copy.try_exists().map_err(unavailable)? {
                return Err(unavailable(io::ErrorKind::AlreadyExists.into()));
            }
            let partial = Partial::create(&copy).map_err(unavailable)?;
            let path = partial.0.to_str().ok_or_else(|| {
                unavailable(io::Error::new(io::ErrorKind::InvalidFilename, "not UTF-8"))
            })?;
            connection.execute("VACUUM INTO ?", [path])?;
            partial.publish(&copy).map_err(unavailable)
        })
        .await
    }
}

fn unavailable(error: io::Error) -> StoreError {
    StoreError::Unavailable(error.into())
}

/// A new file beside the copy. It is removed unless it is published.
struct Partial(PathBuf);

impl Partial {
    fn create(copy: &Path) -> io::Result<Self> {
        let mut name = copy.as_os_str().to_owned();
        name.push(".partial");
        let partial = PathBuf::from(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&partial)?;
        Ok(Self(partial))
    }

    /// Syncs the file, which SQLite does not do here, and gives it its name.
    fn publish(self, copy: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).open(&self.0)?.sync_all()?;
        fs::rename(&self.0, copy)?;
        #[cfg(unix)]
        {
            let parent = copy.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After publishing, it does not exist.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::open_temporary, *};

    #[tokio::test]
    async fn an_existing_file_is_not_overwritten() {
        let (store, dir) = open_temporary().await;
        let (file, copy) = (dir.path().join("shiori.db"), dir.path().join("copy.db"));
        fs::write(&copy, "other data").expect("written");
        SqliteStore::back_up(&file, &copy).await.expect_err("it exists");
        assert_eq!(fs::read(&copy).expect("readable"), b"other data");
        store.close().await;
    }

    #[tokio::test]
    async fn a_failed_backup_leaves_no_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, copy) = (dir.path().join("shiori.db"), dir.path().join("copy.db"));
        SqliteStore::back_up(&file, &copy).await.expect_err("there is no file");
        fs::write(&file, [b'x'; 8192]).expect("written");
        let error = SqliteStore::back_up(&file, &copy).await.expect_err("not a database");
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        let files = fs::read_dir(dir.path()).expect("readable");
        assert_eq!(files.map(|entry| entry.expect("readable").path()).collect::<Vec<_>>(), [file]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_backup_is_private_and_replaces_the_file() {
        use std::os::unix::fs::PermissionsExt;

        let (store, dir) = open_temporary().await;
        let copy = dir.path().join("copy.db");
        SqliteStore::back_up(&dir.path().join("shiori.db"), &copy).await.expect("written");
        let mode = fs::metadata(&copy).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        store.close().await;
        SqliteStore::open(&copy).await.expect("a database of this version").close().await;
    }
}
