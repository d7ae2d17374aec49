use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    ops::Range,
    path::Path,
};

use serde_json::{Value, json};

const HIDDEN: usize = 768;
const INNER: usize = 3072;
const LAYERS: usize = 12;
const POSITIONS: usize = 512;
const VOCABULARY: usize = 32_000;

/// The syllables of the vocabulary and the sentences.
const SYLLABLES: &str =
    "가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허고노도로모보소오조초코토포호";

const LABELS: [&str; 7] = ["공포", "놀람", "분노", "슬픔", "중립", "행복", "혐오"];

/// Writes a checkpoint with BERT-base's shape and a vocabulary of 32,000, like KLUE-BERT: 442 MB of
/// deterministic random weights. Its predictions are meaningless; only the time is measured.
///
/// # Errors
///
/// If the files cannot be written.
pub fn write_checkpoint(dir: &Path) -> io::Result<()> {
    let config = json!({
        "model_type": "bert", "architectures": ["BertForSequenceClassification"],
        "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": 12, "intermediate_size": INNER, "hidden_act": "gelu",
        "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        "id2label": LABELS.iter().enumerate().map(|(n, l)| (n.to_string(), json!(l)))
            .collect::<serde_json::Map<_, _>>(),
    });
    fs::write(dir.join("config.json"), config.to_string())?;
    fs::write(dir.join("tokenizer.json"), tokenizer().to_string())?;
    write_weights(&dir.join("model.safetensors"))
}

/// This many sentences of 8 to 32 tokens, the same each time.
pub fn sentences(count: usize) -> Vec<String> {
    sentences_of(6..31, count)
}

/// This many sentences of 32 to 63 tokens, the same each time.
pub fn long_sentences(count: usize) -> Vec<String> {
    sentences_of(30..62, count)
}

/// Each syllable is a token; two more mark the beginning and the end.
fn sentences_of(syllables_each: Range<usize>, count: usize) -> Vec<String> {
    let syllables: Vec<char> = SYLLABLES.chars().collect();
    let mut random = Random(7);
    let mut sentence = || -> String {
        let tokens = syllables_each.start + random.below(syllables_each.len());
        let syllable = |n| (n % 3 == 2).then_some(' ').into_iter();
        (0..tokens)
            .flat_map(|n| [syllables[random.below(syllables.len())]].into_iter().chain(syllable(n)))
            .collect()
    };
    (0..count).map(|_| sentence()).collect()
}

/// A `WordPiece` tokenizer over the syllables.
fn tokenizer() -> Value {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let pieces = SYLLABLES.chars().flat_map(|c| [c.to_string(), format!("##{c}")]);
    let vocabulary: serde_json::Map<_, _> =
        special.into_iter().chain(pieces).enumerate().map(|(id, p)| (p, json!(id))).collect();
    let template = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let token = |id: &str, n: u32| json!({"id": id, "ids": [n], "tokens": [id]});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": false},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [template("[CLS]"), text, template("[SEP]")], "pair": [],
            "special_tokens": {"[CLS]": token("[CLS]", 2), "[SEP]": token("[SEP]", 3)}},
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}

/// The tensors' names and shapes.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let mut tensors = Vec::new();
    let mut add = |name: String, shape: &[usize]| tensors.push((name, shape.to_vec()));
    for (name, rows) in [("word", VOCABULARY), ("position", POSITIONS), ("token_type", 2)] {
        add(format!("bert.embeddings.{name}_embeddings.weight"), &[rows, HIDDEN]);
    }
    let mut linears = Vec::new();
    let mut norms = vec!["bert.embeddings.LayerNorm".to_owned()];
    for layer in (0..LAYERS).map(|layer| format!("bert.encoder.layer.{layer}")) {
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            linears.push((format!("{layer}.attention.{part}"), HIDDEN, HIDDEN));
        }
        linears.push((format!("{layer}.intermediate.dense"), INNER, HIDDEN));
        linears.push((format!("{layer}.output.dense"), HIDDEN, INNER));
        norms.push(format!("{layer}.attention.output.LayerNorm"));
        norms.push(format!("{layer}.output.LayerNorm"));
    }
    linears.push(("bert.pooler.dense".to_owned(), HIDDEN, HIDDEN));
    linears.push(("classifier".to_owned(), LABELS.len(), HIDDEN));
    for (name, to, from) in linears {
        add(format!("{name}.weight"), &[to, from]);
        add(format!("{name}.bias"), &[to]);
    }
    for name in norms {
        add(format!("{name}.weight"), &[HIDDEN]);
        add(format!("{name}.bias"), &[HIDDEN]);
    }
    tensors
}

/// The format of `safetensors`: the header's length, the header, the numbers.
fn write_weights(file: &Path) -> io::Result<()> {
    let tensors = tensors();
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, shape) in &tensors {
        let begin = end;
        end += shape.iter().product::<usize>() * 4;
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, end]});
        header.insert(name.clone(), entry);
    }
    let header = Value::from(header).to_string();
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    let mut random = Random(1);
    for _ in 0..end / 4 {
        out.write_all(&random.small().to_le_bytes())?;
    }
    out.flush()
}

/// An xorshift generator. Its quality does not matter.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    #[allow(clippy::cast_possible_truncation)] // below a `usize`
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A weight with a typical initial distribution: around 0, a few hundredths wide.
    #[allow(clippy::cast_precision_loss)] // 24 bits
    fn small(&mut self) -> f32 {
        ((self.next() >> 40) as f32 / 16_777_216.0 - 0.5) * 0.07
    }
}
