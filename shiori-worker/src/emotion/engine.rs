use std::{fmt, str::FromStr, sync::Arc};

use super::{EmotionError, EmotionModel, LexiconModel, LinearModel};

/// Names an emotion model, as on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmotionEngine {
    /// `lexicon`: [`LexiconModel`].
    Lexicon,
    /// `linear`: [`LinearModel`].
    #[default]
    Linear,
}

impl EmotionEngine {
    /// The model that is named.
    ///
    /// # Errors
    ///
    /// [`EmotionError`] when it cannot be had. The built-in ones always can.
    pub fn open(&self) -> Result<Arc<dyn EmotionModel>, EmotionError> {
        Ok(match self {
            Self::Lexicon => Arc::new(LexiconModel::new()),
            Self::Linear => Arc::new(LinearModel::new()),
        })
    }
}

impl fmt::Display for EmotionEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lexicon => "lexicon",
            Self::Linear => "linear",
        })
    }
}

/// The text names no emotion model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of lexicon, linear")]
pub struct UnknownEngine;

impl FromStr for EmotionEngine {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, UnknownEngine> {
        match text {
            "lexicon" => Ok(Self::Lexicon),
            "linear" => Ok(Self::Linear),
            _ => Err(UnknownEngine),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_named_as_it_shows_and_opens_its_model() {
        for (engine, edition) in
            [(EmotionEngine::Lexicon, "lexicon/1"), (EmotionEngine::Linear, "linear/1")]
        {
            assert_eq!(engine.to_string().parse(), Ok(engine.clone()));
            assert_eq!(engine.open().expect("opens").engine(), edition);
        }
        assert_eq!("Linear".parse::<EmotionEngine>(), Err(UnknownEngine));
    }
}
