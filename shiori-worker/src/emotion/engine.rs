use std::{fmt, str::FromStr, sync::Arc};

use shiori_sdk::Emotion;

use super::{EmotionModel, LexiconModel, LinearModel};

/// The checkpoint that `bert` selects.
const DEFAULT_CHECKPOINT: &str = "dlckdfuf141/korean-emotion-kluebert-v2";

/// An emotion model, by its name in settings and commands: `linear`, `lexicon`, or `bert:` followed
/// by a checkpoint's directory or id on the Hugging Face hub. `bert` alone selects
/// `dlckdfuf141/korean-emotion-kluebert-v2`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EmotionEngine {
    /// The built-in [`LexiconModel`].
    Lexicon,
    /// The built-in [`LinearModel`].
    #[default]
    Linear,
    /// A BERT checkpoint: a directory if it exists, otherwise an id on the hub. Requires the
    /// feature `bert`.
    Bert(String),
}

/// Options for [`EmotionEngine::open`]. The built-in models ignore them.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Number of threads. Default: one per core.
    pub threads: Option<usize>,
    /// The emotions of a checkpoint's labels, in the order of the labels. Default: by the names in the
    /// checkpoint.
    pub labels: Option<Vec<Emotion>>,
}

/// The name is not that of an emotion model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an emotion model must be {}", EmotionEngine::RULE)]
pub struct UnknownEngine;

/// An emotion model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// This build does not include the model.
    #[error("the emotion model needs the feature {feature}, which is not part of this build")]
    NotBuilt {
        /// The feature of `shiori-worker`.
        feature: &'static str,
    },
    /// The checkpoint is not usable.
    #[cfg(feature = "bert")]
    #[error(transparent)]
    Bert(#[from] super::BertError),
}

impl fmt::Display for EmotionEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lexicon => f.write_str("lexicon"),
            Self::Linear => f.write_str("linear"),
            Self::Bert(checkpoint) => write!(f, "bert:{checkpoint}"),
        }
    }
}

impl FromStr for EmotionEngine {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, UnknownEngine> {
        match text.split_once(':') {
            None if text == "lexicon" => Ok(Self::Lexicon),
            None if text == "linear" => Ok(Self::Linear),
            None if text == "bert" => Ok(Self::Bert(DEFAULT_CHECKPOINT.to_owned())),
            Some(("bert", checkpoint)) if !checkpoint.is_empty() => {
                Ok(Self::Bert(checkpoint.to_owned()))
            }
            _ => Err(UnknownEngine),
        }
    }
}

impl EmotionEngine {
    /// The valid names.
    pub(crate) const RULE: &str = "one of linear, lexicon, bert, bert:DIRECTORY, bert:OWNER/NAME";

    /// Loads the model. This may take seconds, or minutes if a checkpoint is downloaded.
    ///
    /// # Errors
    ///
    /// [`EngineError`] if this build does not include the model, or its checkpoint is not usable.
    pub async fn open(self, options: EngineOptions) -> Result<Arc<dyn EmotionModel>, EngineError> {
        match self {
            Self::Lexicon => Ok(Arc::new(LexiconModel::new())),
            Self::Linear => Ok(Arc::new(LinearModel::new())),
            Self::Bert(checkpoint) => bert(checkpoint, options).await,
        }
    }
}

#[cfg(feature = "bert")]
async fn bert(
    checkpoint: String,
    options: EngineOptions,
) -> Result<Arc<dyn EmotionModel>, EngineError> {
    use super::{BertError, BertModel, BertOptions};

    let EngineOptions { threads, labels } = options;
    let mut options = BertOptions { labels, ..BertOptions::default() };
    if let Some(threads) = threads {
        options.threads = threads;
    }
    if !std::path::Path::new(&checkpoint).is_dir() {
        return Ok(Arc::new(BertModel::from_hub(&checkpoint, options).await?));
    }
    let load = move || BertModel::load(checkpoint, options);
    let model = tokio::task::spawn_blocking(load).await.map_err(|_| BertError::Interrupted)?;
    Ok(Arc::new(model?))
}

#[cfg(not(feature = "bert"))]
#[allow(clippy::unused_async)] // as the other is
async fn bert(_: String, _: EngineOptions) -> Result<Arc<dyn EmotionModel>, EngineError> {
    Err(EngineError::NotBuilt { feature: "bert" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_formatted() {
        let bert = |checkpoint: &str| Ok(EmotionEngine::Bert(checkpoint.to_owned()));
        assert_eq!("lexicon".parse(), Ok(EmotionEngine::Lexicon));
        assert_eq!("linear".parse(), Ok(EmotionEngine::Linear));
        assert_eq!("bert".parse(), bert(DEFAULT_CHECKPOINT));
        assert_eq!("bert:owner/name".parse(), bert("owner/name"));
        assert_eq!("bert:C:/models/x".parse(), bert("C:/models/x"));
        for name in ["", "bert:", "lexicon:", "lexicon:x", "BERT", "Linear", "gpt"] {
            assert_eq!(name.parse::<EmotionEngine>(), Err(UnknownEngine), "{name}");
        }
        for name in ["lexicon", "linear", "bert:owner/name"] {
            assert_eq!(
                name.parse::<EmotionEngine>().map(|engine| engine.to_string()),
                Ok(name.to_owned())
            );
        }
    }

    #[tokio::test]
    async fn the_built_in_models_can_always_be_loaded() {
        for (engine, edition) in
            [(EmotionEngine::Lexicon, "lexicon/1"), (EmotionEngine::default(), "linear/1")]
        {
            let model = engine.open(EngineOptions::default()).await.expect("it is built in");
            assert_eq!(model.engine(), edition);
        }
    }

    #[cfg(feature = "bert")]
    #[tokio::test]
    async fn a_checkpoint_is_opened_by_directory_or_id() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/bert-tiny");
        let labels = Some(vec![Emotion::Fear; 7]);
        let options = EngineOptions { threads: Some(1), labels };
        let model = EmotionEngine::Bert(dir.to_owned()).open(options).await.expect("the model");
        assert_eq!(model.engine(), "bert:bert-tiny");
        let judged = model.judge(vec!["행복하다".to_owned()]).await.expect("judges");
        assert_eq!(judged[0].distribution.label(), Emotion::Fear, "all labels have this emotion");
        let error = EmotionEngine::Bert(format!("{dir}/gone")).open(EngineOptions::default()).await;
        let error = error.expect_err("an error").to_string();
        assert!(error.contains("neither a directory nor an id"), "{error}");
    }

    #[cfg(not(feature = "bert"))]
    #[tokio::test]
    async fn a_build_without_bert_is_an_error() {
        let engine = EmotionEngine::Bert("x".to_owned());
        let error = engine.open(EngineOptions::default()).await.expect_err("not built");
        assert!(error.to_string().contains("the feature bert,"), "{error}");
    }
}
