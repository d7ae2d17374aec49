use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use ndarray::Array2;
use safetensors::tensor::{Dtype, Metadata};
use serde::Deserialize;
use shiori_sdk::Emotion;

/// The files of a checkpoint. The weights, by far the largest, are last.
pub(super) const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// A checkpoint cannot be used as an emotion model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BertError {
    /// A file cannot be read.
    #[error("could not read {file}")]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The weights exist only as a pickle, which can execute arbitrary code.
    #[error(
        "{dir} has its weights in pytorch_model.bin, which is not supported; convert them with Python: \
         BertForSequenceClassification.from_pretrained(DIR).save_pretrained(DIR)"
    )]
    Pickled {
        /// The checkpoint's directory.
        dir: PathBuf,
    },
    /// `config.json` is not the configuration of a BERT checkpoint.
    #[error("invalid file {file}: {reason}")]
    Config {
        /// The file.
        file: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The checkpoint has an unsupported setting, with which it would give wrong results.
    #[error("unsupported checkpoint: {setting} is {found:?}, only {wanted} is supported")]
    Unsupported {
        /// The setting in `config.json`.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The required value.
        wanted: &'static str,
    },
    /// A label is not one of the seven emotions.
    #[error(
        "the checkpoint's label {label:?} is not one of the seven emotions; set SHIORI_EMOTION_LABELS"
    )]
    Label {
        /// The label.
        label: String,
    },
    /// The labels are not numbered from 0.
    #[error("the checkpoint's labels are not numbered from 0; set SHIORI_EMOTION_LABELS")]
    Labels,
    /// `model.safetensors` is damaged or has another format.
    #[error("invalid file {file}: {reason}")]
    Weights {
        /// The file.
        file: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A tensor is missing.
    #[error("the checkpoint has no tensor {name}")]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// The shape of a tensor differs from `config.json`.
    #[error("the tensor {name} has the shape {found:?}, but config.json requires {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape according to `config.json`.
        expected: Vec<usize>,
        /// The shape in `model.safetensors`.
        found: Vec<usize>,
    },
    /// A tensor has an unsupported type.
    #[error("the tensor {name} has the type {found}; only F32, F16 and BF16 are supported")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// A tensor contains an infinity or NaN.
    #[error("the tensor {name} contains a number that is not finite")]
    NotFinite {
        /// The tensor.
        name: String,
    },
    /// `tokenizer.json` is invalid or does not match the checkpoint.
    #[error("invalid tokenizer.json of the checkpoint: {reason}")]
    Tokenizer {
        /// Why.
        reason: String,
    },
    /// The checkpoint could not be downloaded from the hub.
    #[error("could not download the checkpoint {id:?}: {reason}")]
    Hub {
        /// The checkpoint's id.
        id: String,
        /// Why.
        reason: String,
    },
    /// Loading was interrupted.
    #[error("loading the checkpoint was interrupted")]
    Interrupted,
    /// A thread could not be started.
    #[error("could not start a thread for the model")]
    Thread(#[source] io::Error),
}

/// The fields of `config.json` that are used.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    architectures: Option<Vec<String>>,
    #[serde(default = "gelu")]
    hidden_act: String,
    position_embedding_type: Option<String>,
    problem_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
    id2label: Option<BTreeMap<usize, String>>,
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) max_position_embeddings: usize,
    #[serde(default = "two")]
    pub(super) type_vocab_size: usize,
    #[serde(default = "tiny")]
    pub(super) layer_norm_eps: f32,
}

// The defaults of `transformers`, which omits settings with these values from the file.
fn gelu() -> String {
    "gelu".to_owned()
}

fn two() -> usize {
    2
}

fn tiny() -> f32 {
    1e-12
}

impl Config {
    pub(super) fn read(dir: &Path) -> Result<Self, BertError> {
        let file = dir.join("config.json");
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(source) => return Err(BertError::Read { file, source }),
        };
        let invalid = |error: serde_json::Error| BertError::Config {
            file: file.clone(),
            reason: error.to_string(),
        };
        // Checked first: for another kind of model, "unsupported" is a better error than a missing
        // field.
        let Kind { model_type } = serde_json::from_slice(&text).map_err(invalid)?;
        if model_type != "bert" {
            return Err(unsupported("model_type", model_type, "bert"));
        }
        let config: Self = serde_json::from_slice(&text).map_err(invalid)?;
        config.check(file)?;
        Ok(config)
    }

    fn check(&self, file: PathBuf) -> Result<(), BertError> {
        const CLASSIFIER: &str = "BertForSequenceClassification";
        const SINGLE: &str = "single_label_classification";
        if let Some(names) = &self.architectures
            && !names.iter().any(|name| name == CLASSIFIER)
        {
            return Err(unsupported("architectures", names.join(", "), CLASSIFIER));
        }
        if self.hidden_act != "gelu" {
            return Err(unsupported("hidden_act", self.hidden_act.clone(), "gelu"));
        }
        if let Some(kind) = self.position_embedding_type.as_ref().filter(|kind| *kind != "absolute")
        {
            return Err(unsupported("position_embedding_type", kind.clone(), "absolute"));
        }
        if let Some(kind) = self.problem_type.as_ref().filter(|kind| *kind != SINGLE) {
            return Err(unsupported("problem_type", kind.clone(), SINGLE));
        }
        if self.is_decoder {
            return Err(unsupported("is_decoder", "true".to_owned(), "false"));
        }
        let sizes = [
            self.vocab_size,
            self.hidden_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.intermediate_size,
            self.max_position_embeddings,
            self.type_vocab_size,
        ];
        let reason = if sizes.contains(&0) {
            "a size is 0"
        } else if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            "hidden_size is not a multiple of num_attention_heads"
        } else if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps >= 0.0) {
            "layer_norm_eps is negative or not finite"
        } else {
            return Ok(());
        };
        Err(BertError::Config { file, reason: reason.to_owned() })
    }

    /// The emotion of each of the model's labels.
    pub(super) fn labels(&self) -> Result<Vec<Emotion>, BertError> {
        let labels = self.id2label.as_ref().ok_or(BertError::Labels)?;
        if labels.is_empty() || !labels.keys().copied().eq(0..labels.len()) {
            return Err(BertError::Labels);
        }
        let emotion =
            |label: &String| named(label).ok_or_else(|| BertError::Label { label: label.clone() });
        labels.values().map(emotion).collect()
    }
}

/// The kind of a checkpoint.
#[derive(Deserialize)]
struct Kind {
    model_type: String,
}

fn unsupported(setting: &'static str, found: String, wanted: &'static str) -> BertError {
    BertError::Unsupported { setting, found, wanted }
}

/// The emotion with this Korean or English name, or with another name that is common in
/// checkpoints.
fn named(label: &str) -> Option<Emotion> {
    let label = label.trim().to_lowercase();
    match label.as_str() {
        "scared" => Some(Emotion::Fear),
        "surprised" => Some(Emotion::Surprise),
        "angry" => Some(Emotion::Anger),
        "sad" => Some(Emotion::Sadness),
        "happy" | "joy" | "기쁨" => Some(Emotion::Happiness),
        "disgusted" => Some(Emotion::Disgust),
        name => name.parse().ok(),
    }
}

/// The tensors of `model.safetensors`. Each is read on demand, so that the weights are never in memory
/// twice.
#[derive(Debug)]
pub(super) struct Weights {
    path: PathBuf,
    file: BufReader<File>,
    tensors: Metadata,
    /// Where the first tensor begins in the file.
    begin: u64,
}

/// Maximum size of the header. A BERT checkpoint has a few hundred tensors and needs far less.
const MAX_HEADER_BYTES: u64 = 16 << 20;

impl Weights {
    pub(super) fn open(dir: &Path) -> Result<Self, BertError> {
        let path = dir.join("model.safetensors");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(_) if dir.join("pytorch_model.bin").exists() => {
                return Err(BertError::Pickled { dir: dir.to_owned() });
            }
            Err(source) => return Err(BertError::Read { file: path, source }),
        };
        let invalid = |reason: &str| invalid(&path, reason);
        let read = |source| BertError::Read { file: path.clone(), source };
        let length = file.metadata().map_err(read)?.len();
        let mut file = BufReader::with_capacity(1 << 20, file);
        // The format: the header's length, the header in JSON, then the tensors one by one.
        let mut word = [0; 8];
        let cut = |_| invalid("the header is incomplete");
        file.read_exact(&mut word).map_err(cut)?;
        let header_bytes = u64::from_le_bytes(word);
        if header_bytes > MAX_HEADER_BYTES.min(length) {
            return Err(invalid("there is no header"));
        }
        let mut header = Vec::new();
        let read_bytes = (&mut file).take(header_bytes).read_to_end(&mut header).map_err(read)?;
        if read_bytes as u64 != header_bytes {
            return Err(invalid("the header is incomplete"));
        }
        let tensors: Metadata =
            serde_json::from_slice(&header).map_err(|error| invalid(&error.to_string()))?;
        let begin = 8 + header_bytes;
        if length.checked_sub(begin) != Some(tensors.data_len() as u64) {
            return Err(invalid("the length does not match the tensors"));
        }
        Ok(Self { path, file, tensors, begin })
    }

    /// The numbers of a tensor of this shape, row by row.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, BertError> {
        let name = name.to_owned();
        let Some(info) = self.tensors.info(&name) else {
            return Err(BertError::MissingTensor { name });
        };
        if info.shape != shape {
            let found = info.shape.clone();
            return Err(BertError::Shape { name, expected: shape.to_owned(), found });
        }
        let (bytes, number): (usize, fn(&[u8]) -> f32) = match info.dtype {
            Dtype::F32 => (4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            Dtype::BF16 => {
                (2, |b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16))
            }
            Dtype::F16 => (2, |b| half_to_single(u16::from_le_bytes([b[0], b[1]]))),
            other => return Err(BertError::Dtype { name, found: format!("{other:?}") }),
        };
        let (first, end) = info.data_offsets;
        let read = |source| BertError::Read { file: self.path.clone(), source };
        self.file.seek(SeekFrom::Start(self.begin + first as u64)).map_err(read)?;
        let mut numbers = Vec::with_capacity((end - first) / bytes);
        let mut rest = end - first;
        let mut buffer = vec![0; rest.min(1 << 20)];
        while rest > 0 {
            let part = &mut buffer[..rest.min(1 << 20)];
            self.file.read_exact(part).map_err(read)?;
            numbers.extend(part.chunks_exact(bytes).map(number));
            rest -= part.len();
        }
        if numbers.iter().any(|number| !number.is_finite()) {
            return Err(BertError::NotFinite { name });
        }
        Ok(numbers)
    }

    /// The numbers of a tensor as a matrix of this shape.
    pub(super) fn shaped(
        &self,
        shape: (usize, usize),
        numbers: Vec<f32>,
    ) -> Result<Array2<f32>, BertError> {
        Array2::from_shape_vec(shape, numbers)
            .map_err(|error| invalid(&self.path, &error.to_string()))
    }
}

fn invalid(file: &Path, reason: &str) -> BertError {
    BertError::Weights { file: file.to_owned(), reason: reason.to_owned() }
}

/// Converts an IEEE 754 half-precision number.
pub(super) fn half_to_single(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits) & 0x3ff;
    match exponent {
        // Subnormal: a multiple of 2^-24.
        0 => {
            #[allow(clippy::cast_precision_loss)] // ten bits
            let magnitude = fraction as f32 / 16_777_216.0;
            f32::from_bits(magnitude.to_bits() | sign)
        }
        0x1f => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        // The exponent bias is 15 in half and 127 in single precision.
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}
