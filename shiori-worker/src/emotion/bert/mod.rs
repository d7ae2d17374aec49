//! BERT checkpoints in Hugging Face's format, executed on the CPU.

mod checkpoint;
mod forward;
mod hub;
mod pool;
#[cfg(test)]
mod tests;
mod tokenize;

use std::{fmt, path::Path, sync::Arc, thread};

use async_trait::async_trait;
use shiori_sdk::{Date, DayEmotion, Distribution, Emotion};
use tokio::task::spawn_blocking;

use self::{
    checkpoint::{Config, Weights},
    forward::Network,
    hub::Hub,
    pool::Pool,
    tokenize::TextTokenizer,
};
use super::{EmotionError, EmotionModel, Judgement, majority_emotion};

pub use checkpoint::BertError;

/// Options for loading a [`BertModel`].
#[derive(Debug, Clone)]
pub struct BertOptions {
    /// Number of threads, at least 1. Default: one per core.
    pub threads: usize,
    /// The emotions of the model's labels, in the order of the labels. Default: by the
    /// names in the checkpoint's `id2label`, Korean or English.
    pub labels: Option<Vec<Emotion>>,
}

impl Default for BertOptions {
    fn default() -> Self {
        Self { threads: thread::available_parallelism().map_or(1, usize::from), labels: None }
    }
}

/// Detects emotions with a `BertForSequenceClassification` checkpoint, e.g. a KLUE-BERT trained on
/// the seven emotions.
///
/// A text's distribution is the softmax of the model's logits. Labels of the same emotion are added
/// up, and an emotion without a label has the probability 0. A text is truncated to 512 tokens, or
/// fewer if the checkpoint has fewer positions. A text without tokens has [`Distribution::UNIFORM`]
/// and evidence 0; any other has evidence 1. The emotion of a day is that of most of its texts
/// ([`majority_emotion`]).
///
/// The same threads process the texts of all summaries in progress, in groups of several sentences.
/// Async threads are not blocked.
///
/// # Memory
///
/// The weights are in memory once, as `f32`: 4 bytes per parameter, 440 MB for BERT-base with a
/// vocabulary of 32,000, plus about 30 MB per busy thread. Loading needs no additional memory.
pub struct BertModel {
    engine: String,
    labels: Vec<Emotion>,
    tokenizer: Arc<TextTokenizer>,
    pool: Pool,
}

impl fmt::Debug for BertModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BertModel").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl BertModel {
    /// Loads `config.json`, `tokenizer.json` and `model.safetensors` from a directory and starts
    /// the threads. It blocks for seconds. The engine's name is `bert:` and the directory's name.
    ///
    /// # Errors
    ///
    /// [`BertError`] if the directory is not a supported checkpoint.
    pub fn load(dir: impl AsRef<Path>, options: BertOptions) -> Result<Self, BertError> {
        let dir = dir.as_ref();
        let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
        Self::load_as(name.as_deref().unwrap_or("checkpoint"), dir, options)
    }

    /// Loads a checkpoint from the Hugging Face hub by its id, `owner/name`. Downloaded files are
    /// cached in `shiori/models` below `XDG_CACHE_HOME` or `~/.cache`, and later loads send no
    /// requests. `HF_ENDPOINT` sets another hub. The engine's name is `bert:` and the id.
    ///
    /// # Errors
    ///
    /// [`BertError`] if the checkpoint cannot be downloaded or is not supported.
    pub async fn from_hub(id: &str, options: BertOptions) -> Result<Self, BertError> {
        Self::load_from(&Hub::from_env(), id, options).await
    }

    async fn load_from(hub: &Hub, id: &str, options: BertOptions) -> Result<Self, BertError> {
        let dir = hub.fetch(id).await?;
        let name = id.to_owned();
        let load = move || Self::load_as(&name, &dir, options);
        spawn_blocking(load).await.map_err(|_| BertError::Interrupted)?
    }

    fn load_as(name: &str, dir: &Path, options: BertOptions) -> Result<Self, BertError> {
        let config = Config::read(dir)?;
        let labels = options.labels.map_or_else(|| config.labels(), Ok)?;
        let tokenizer = Arc::new(TextTokenizer::read(dir, &config)?);
        let network = Network::read(&config, labels.len(), &mut Weights::open(dir)?)?;
        let infer = move |group: &[&[u32]]| {
            network.logits(group).rows().into_iter().map(|row| row.to_vec()).collect()
        };
        let pool = Pool::start(options.threads.max(1), infer).map_err(BertError::Thread)?;
        // Truncated to the maximum that a server stores.
        let engine = "bert:".chars().chain(name.chars()).take(128).collect();
        Ok(Self { engine, labels, tokenizer, pool })
    }

    fn distribution(&self, logits: &[f32]) -> Option<Distribution> {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return None;
        }
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut weights = [0.0; Emotion::ALL.len()];
        for (label, logit) in self.labels.iter().zip(logits) {
            weights[label.index()] += f64::from(logit - highest).exp();
        }
        Some(Distribution::from_weights(weights))
    }
}

#[async_trait]
impl EmotionModel for BertModel {
    fn engine(&self) -> &str {
        &self.engine
    }

    async fn judge(&self, texts: Vec<String>) -> Result<Vec<Judgement>, EmotionError> {
        let failed =
            |message: &str, retryable| EmotionError { message: message.to_owned(), retryable };
        let tokenizer = self.tokenizer.clone();
        let tokenize = move || texts.iter().map(|text| tokenizer.ids(text)).collect();
        let all: Result<Vec<_>, BertError> = spawn_blocking(tokenize)
            .await
            .map_err(|_| failed("the tokenizer was interrupted", true))?;
        let all = all.map_err(|_| failed("the tokenizer failed", false))?;

        let is_blank: Vec<bool> = all.iter().map(|ids| self.tokenizer.is_blank(ids)).collect();
        let written = all.into_iter().zip(&is_blank).filter(|(_, blank)| !**blank);
        let read = self.pool.run(written.map(|(ids, _)| ids).collect()).await;
        let mut read = read.map_err(|_| failed("BERT was interrupted", true))?.into_iter();
        let judgement = |is_blank| {
            if is_blank {
                return Ok(Judgement { distribution: Distribution::UNIFORM, evidence: 0.0 });
            }
            let logits = read.next().unwrap_or_default();
            let distribution = self.distribution(&logits);
            let distribution =
                distribution.ok_or_else(|| failed("BERT's output is not finite", false))?;
            Ok(Judgement { distribution, evidence: 1.0 })
        };
        is_blank.into_iter().map(judgement).collect()
    }

    fn day(&self, date: Date, judgements: &[Judgement]) -> DayEmotion {
        majority_emotion(date, judgements)
    }
}
