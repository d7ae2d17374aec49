use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::task::spawn_blocking;

use super::{BertError, checkpoint::FILES};

/// The default of `HF_ENDPOINT`.
const HUB: &str = "https://huggingface.co";

/// Timeout for connecting and between two chunks. The whole download has no timeout.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Larger than any checkpoint of this kind: BERT-large has 1.3 GB.
const MAX_FILE_BYTES: u64 = 8 << 30;

/// A source of checkpoints, and the directory in which they are cached.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) url: String,
    pub(super) cache: PathBuf,
}

impl Hub {
    /// Reads `HF_ENDPOINT`, and `XDG_CACHE_HOME` or `HOME`, from the environment.
    pub(super) fn from_env() -> Self {
        let given = |name| env::var_os(name).filter(|value| !value.is_empty());
        let endpoint = given("HF_ENDPOINT").and_then(|url| url.into_string().ok());
        let home = || given("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let cache = given("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
        Self {
            url: endpoint.unwrap_or_else(|| HUB.to_owned()),
            cache: cache.unwrap_or_else(env::temp_dir).join("shiori/models"),
        }
    }

    /// Returns the directory with the checkpoint's files, and downloads those that are missing.
    /// Cached files are always complete and are not downloaded again.
    pub(super) async fn fetch(&self, id: &str) -> Result<PathBuf, BertError> {
        let failed = |reason: String| BertError::Hub { id: id.to_owned(), reason };
        if !is_id(id) {
            return Err(failed("neither a directory nor an id like owner/name".to_owned()));
        }
        let dir = self.cache.join(id.replace('/', "--"));
        let missing: Vec<_> = FILES.into_iter().filter(|name| !dir.join(name).is_file()).collect();
        if missing.is_empty() {
            return Ok(dir);
        }
        fs::create_dir_all(&dir).map_err(|error| failed(error.to_string()))?;
        let client = reqwest::Client::builder().connect_timeout(TIMEOUT).read_timeout(TIMEOUT);
        let client = client.build().map_err(|error| failed(error.to_string()))?;
        for name in missing {
            let url = format!("{}/{id}/resolve/main/{name}", self.url.trim_end_matches('/'));
            tracing::info!(%id, %name, "downloading");
            download(&client, &url, &dir.join(name))
                .await
                .map_err(|reason| failed(format!("{name}: {reason}")))?;
        }
        Ok(dir)
    }
}

/// Whether this is `owner/name` or only a name. Such an id cannot lead out of the cache directory.
fn is_id(id: &str) -> bool {
    let is_name = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
    };
    id.len() <= 96 && id.split('/').count() <= 2 && id.split('/').all(is_name)
}

/// Downloads to a temporary file and renames it at the end, so that files in the cache are
/// complete. Errors do not contain the URL, which may be signed.
async fn download(client: &reqwest::Client, url: &str, file: &Path) -> Result<(), String> {
    let reason = |error: reqwest::Error| error.without_url().to_string();
    let response = client.get(url).send().await.map_err(reason)?;
    let mut response = response.error_for_status().map_err(reason)?;
    let written = |error: io::Error| error.to_string();
    let dir = file.parent().unwrap_or(Path::new("."));
    let mut part = tempfile::NamedTempFile::new_in(dir).map_err(written)?;
    let mut length = 0;
    while let Some(chunk) = response.chunk().await.map_err(reason)? {
        length += chunk.len() as u64;
        if length > MAX_FILE_BYTES {
            return Err("the file is too large".to_owned());
        }
        // A slow disk must not block the async threads.
        let write = move || io::Write::write_all(&mut part, &chunk).map(|()| part);
        part = spawn_blocking(write).await.map_err(|e| e.to_string())?.map_err(written)?;
    }
    part.persist(file).map_err(|error| error.error.to_string())?;
    Ok(())
}
