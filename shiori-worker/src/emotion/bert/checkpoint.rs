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
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The weights exist only as a pickle, which can execute arbitrary code.
    #[error(
        "{dir} has its weights in pytorch_model.bin, which is not read; convert them with Python: \
         BertForSequenceClassification.from_pretrained(DIR).save_pretrained(DIR)"
    )]
    Pickled {
        /// The checkpoint's directory.
        dir: PathBuf,
    },
    /// `config.json` is not that of a BERT checkpoint.
    #[error("{file} is not valid: {reason}")]
    Config {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint is of a kind that would be read wrongly.
    #[error("the checkpoint's {setting} is {found:?}, and only {wanted} is supported")]
    Unsupported {
        /// The setting in `config.json`.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// A label names none of the seven emotions.
    #[error(
        "the checkpoint's label {label:?} names none of the seven emotions; set SHIORI_EMOTION_LABELS"
    )]
    Label {
        /// The label.
        label: String,
    },
    /// The labels are not numbered from 0 on.
    #[error("the checkpoint's labels are not numbered from 0 on; set SHIORI_EMOTION_LABELS")]
    Labels,
    /// `model.safetensors` is damaged, or something else.
    #[error("{file} is not valid: {reason}")]
    Weights {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor is not there.
    #[error("the checkpoint has no tensor {name}")]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor has another shape than `config.json` gives it.
    #[error("the tensor {name} has the shape {found:?}, and config.json wants {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape by `config.json`.
        expected: Vec<usize>,
        /// The shape by `model.safetensors`.
        found: Vec<usize>,
    },
    /// A tensor is of a type that is not read.
    #[error("the tensor {name} is of type {found}, and only F32, F16 and BF16 are read")]
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
    /// `tokenizer.json` cannot be used, or does not fit the checkpoint.
    #[error("the checkpoint's tokenizer.json cannot be used: {reason}")]
    Tokenizer {
        /// Why.
        reason: String,
    },
    /// The checkpoint cannot be downloaded from the hub.
    #[error("cannot download the checkpoint {id:?}: {reason}")]
    Hub {
        /// The checkpoint's id.
        id: String,
        /// Why.
        reason: String,
    },
    /// Loading was interrupted.
    #[error("loading the checkpoint was interrupted")]
    Interrupted,
    /// A thread cannot be started.
    #[error("cannot start a thread for the model")]
    Thread(#[source] io::Error),
}

/// `config.json`, as far as it matters.
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
        // What it is comes first: of another kind of model it does not matter what is missing.
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
            "hidden_size is no multiple of num_attention_heads"
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

/// What a checkpoint is.
#[derive(Deserialize)]
struct Kind {
    model_type: String,
}

fn unsupported(setting: &'static str, found: String, wanted: &'static str) -> BertError {
    BertError::Unsupported { setting, found, wanted }
}

/// The emotion with this Korean or English name, or with another name that checkpoints use.
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

/// Far more than a BERT checkpoint needs, which has a few hundred tensors.
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
        let cut = |_| invalid("it ends within its header");
        file.read_exact(&mut word).map_err(cut)?;
        let header_bytes = u64::from_le_bytes(word);
        if header_bytes > MAX_HEADER_BYTES.min(length) {
            return Err(invalid("it does not begin with a header"));
        }
        let mut header = Vec::new();
        let read_bytes = (&mut file).take(header_bytes).read_to_end(&mut header).map_err(read)?;
        if read_bytes as u64 != header_bytes {
            return Err(invalid("it ends within its header"));
        }
        let tensors: Metadata =
            serde_json::from_slice(&header).map_err(|error| invalid(&error.to_string()))?;
        let begin = 8 + header_bytes;
        if length.checked_sub(begin) != Some(tensors.data_len() as u64) {
            return Err(invalid("its length is not that of its tensors"));
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

    /// These numbers as rows.
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

/// A number of IEEE 754's half precision.
pub(super) fn half_to_single(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits) & 0x3ff;
    match exponent {
        // A multiple of 2^-24.
        0 => {
            #[allow(clippy::cast_precision_loss)] // ten bits
            let magnitude = fraction as f32 / 16_777_216.0;
            f32::from_bits(magnitude.to_bits() | sign)
        }
        0x1f => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        // The exponent is off by 15 there and by 127 here.
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}
