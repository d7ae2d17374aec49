use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::task::spawn_blocking;

use super::{BertError, checkpoint::FILES};

/// Where checkpoints come from unless `HF_ENDPOINT` says otherwise.
const HUB: &str = "https://huggingface.co";

/// How long the hub may take to answer, or to go on. A checkpoint as a whole takes what it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Larger than any checkpoint of this kind: BERT-large has 1.3 GB.
const MAX_FILE_BYTES: u64 = 8 << 30;

/// A place where checkpoints are taken from, and one where they are kept.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) url: String,
    pub(super) cache: PathBuf,
}

impl Hub {
    /// By the environment: `HF_ENDPOINT`, and `XDG_CACHE_HOME` or `HOME`.
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

    /// The directory with the checkpoint's files. Those that are not there yet are downloaded; a
    /// file that is there is whole, and is not asked for again.
    pub(super) async fn fetch(&self, id: &str) -> Result<PathBuf, BertError> {
        let failed = |reason: String| BertError::Hub { id: id.to_owned(), reason };
        if !is_id(id) {
            return Err(failed("it is neither a directory nor an id like owner/name".to_owned()));
        }
        let dir = self.cache.join(id.replace('/', "--"));
        let missing: Vec<_> = FILES.into_iter().filter(|name| !dir.join(name).is_file()).collect();
        if missing.is_empty() {
            return Ok(dir);
        }
        fs::create_dir_all(&dir).map_err(|error| failed(error.to_string()))?;
        let client = reqwest::Client::builder().connect_timeout(PATIENCE).read_timeout(PATIENCE);
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

/// `owner/name`, or the name alone, of which nothing leads out of the cache.
fn is_id(id: &str) -> bool {
    let is_name = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
    };
    id.len() <= 96 && id.split('/').count() <= 2 && id.split('/').all(is_name)
}

/// Writes beside the file and renames at the end, so that what is in the cache is whole. The
/// reason of a failure has no URL in it, which may be a signed one.
async fn download(client: &reqwest::Client, url: &str, file: &Path) -> Result<(), String> {
    let told = |error: reqwest::Error| error.without_url().to_string();
    let answer = client.get(url).send().await.map_err(told)?;
    let mut answer = answer.error_for_status().map_err(told)?;
    let written = |error: io::Error| error.to_string();
    let dir = file.parent().unwrap_or(Path::new("."));
    let mut part = tempfile::NamedTempFile::new_in(dir).map_err(written)?;
    let mut length = 0;
    while let Some(chunk) = answer.chunk().await.map_err(told)? {
        length += chunk.len() as u64;
        if length > MAX_FILE_BYTES {
            return Err("it is too large".to_owned());
        }
        // A disk may be slow; nothing else may wait for it.
        let write = move || io::Write::write_all(&mut part, &chunk).map(|()| part);
        part = spawn_blocking(write).await.map_err(|e| e.to_string())?.map_err(written)?;
    }
    part.persist(file).map_err(|error| error.error.to_string())?;
    Ok(())
}
