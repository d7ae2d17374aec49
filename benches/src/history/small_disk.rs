//! A file system of limited size for the data of the embedded server.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tokio::task::spawn_blocking;

use crate::Result;

/// Its size. The texts of a million calls need less than half of it.
const SIZE_MIB: usize = 256;

/// A file system in memory that is mounted in a namespace of its own. It exists as long as the process
/// that has mounted it, so that servers can be killed and started again. That process ends when this is
/// dropped, or with this program, because its standard input is then closed.
pub(crate) struct SmallDisk {
    holder: Child,
    filler: PathBuf,
}

impl SmallDisk {
    /// Mounts a file system at this directory.
    ///
    /// # Errors
    ///
    /// If that is not permitted.
    pub(crate) async fn mount(dir: &Path) -> Result<Self> {
        let dir = dir.to_owned();
        spawn_blocking(move || {
            let script = format!(
                "mount -t tmpfs -o size={SIZE_MIB}m none \"$0\" && echo mounted && exec cat"
            );
            let mut holder = Command::new("unshare")
                .args(["--mount", "--map-root-user", "sh", "-c", &script])
                .arg(&dir)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let mut line = String::new();
            if let Some(stdout) = holder.stdout.take() {
                BufReader::new(stdout).read_line(&mut line)?;
            }
            // The directory in the namespace of that process.
            let inside = format!("/proc/{}/root{}/filler", holder.id(), dir.display());
            let disk = Self { holder, filler: inside.into() };
            if line.trim() == "mounted" {
                Ok(disk)
            } else {
                Err("disk-full needs `unshare` and the permission to mount".into())
            }
        })
        .await?
    }

    /// The process whose namespaces contain the file system.
    pub(crate) fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// Writes a file until there is no space left.
    ///
    /// # Errors
    ///
    /// If writing fails for another reason, or does not fail.
    pub(crate) async fn fill(&self) -> Result<()> {
        let filler = self.filler.clone();
        match spawn_blocking(move || fs::write(filler, vec![0; SIZE_MIB << 20])).await? {
            Err(full) if full.kind() == io::ErrorKind::StorageFull => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) => Err("the disk is larger than its limit".into()),
        }
    }

    /// Removes that file.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub(crate) fn free(&self) -> Result<()> {
        Ok(fs::remove_file(&self.filler)?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[ignore = "needs unshare and the right to mount"]
    async fn a_full_disk_accepts_no_byte_until_it_is_freed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = SmallDisk::mount(dir.path()).await.expect("permission to mount");
        let file = disk.filler.with_file_name("data");
        fs::write(&file, "one").expect("there is space");
        disk.fill().await.expect("filled");
        let other = disk.filler.with_file_name("other");
        let full = fs::write(other, vec![0; 1 << 16]).expect_err("the disk is full");
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        disk.free().expect("freed");
        fs::write(&file, vec![0; 1 << 16]).expect("there is space");
        // The directory of this process is another one.
        assert!(!dir.path().join("data").exists());
    }
}
