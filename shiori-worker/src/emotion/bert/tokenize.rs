use std::path::Path;

use tokenizers::{PostProcessor, Tokenizer, TruncationParams};

use super::{BertError, checkpoint::Config};

/// Maximum tokens of a text, even if the checkpoint has more positions: BERT was trained on at most
/// 512.
const MAX_TOKENS: usize = 512;

/// Tokenizes texts as `tokenizer.json` specifies.
pub(super) struct TextTokenizer {
    tokenizer: Tokenizer,
    /// The tokens of an empty text, which surround every text.
    frame: Vec<u32>,
}

impl TextTokenizer {
    pub(super) fn read(dir: &Path, config: &Config) -> Result<Self, BertError> {
        let file = dir.join("tokenizer.json");
        let json = match std::fs::read(&file) {
            Ok(json) => json,
            Err(source) => return Err(BertError::Read { file, source }),
        };
        let invalid = |reason: String| BertError::Tokenizer { reason };
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(|e| invalid(e.to_string()))?;
        if tokenizer.get_vocab(true).values().any(|id| *id as usize >= config.vocab_size) {
            return Err(invalid(format!(
                "it has token ids beyond the model's vocabulary of {}",
                config.vocab_size
            )));
        }
        let max_length = config.max_position_embeddings.min(MAX_TOKENS);
        let added = tokenizer.get_post_processor().map_or(0, |around| around.added_tokens(false));
        if added == 0 || added >= max_length {
            return Err(invalid("it does not add [CLS] and [SEP]".to_owned()));
        }
        let truncation = TruncationParams { max_length, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|e| invalid(e.to_string()))?;
        tokenizer.with_padding(None);
        let mut tokenizer = Self { tokenizer, frame: Vec::new() };
        tokenizer.frame = tokenizer.ids("")?;
        Ok(tokenizer)
    }

    /// The text's tokens with the frame, truncated to the maximum of the model.
    pub(super) fn ids(&self, text: &str) -> Result<Vec<u32>, BertError> {
        let encoding = self.tokenizer.encode_fast(text, true);
        // The tokenizer's message is omitted because it may quote the text.
        let failed = |_| BertError::Tokenizer { reason: "it failed on a text".to_owned() };
        Ok(encoding.map_err(failed)?.get_ids().to_vec())
    }

    /// Whether a text has no tokens of its own.
    pub(super) fn is_blank(&self, ids: &[u32]) -> bool {
        ids == self.frame
    }
}
