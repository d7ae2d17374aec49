//! BERT's forward pass over a group of sentences, packed end to end.
//!
//! A group is one matrix with a row for each token of each sentence. There is no padding, and
//! attention does not cross sentences. With H for `hidden_size`, a group of T tokens and S
//! sentences takes these steps:
//!
//! 1. Embedding: a row is the sum of the token's word, position and segment vectors, normalised.
//! 2. Each layer, T×H to T×H: - queries T×H, keys and values T×2H, each by one product over the
//!    whole group; - attention within each sentence and head: softmax(Q·Kᵀ / √size)·V; - a product
//!    H×H over the result, added to the layer's input, normalised; - a product to the wider inner
//!    rows, GELU, a product back, added, normalised.
//! 3. The last layer computes queries and outputs only for the first row of each sentence
//!    (`[CLS]`), because only this row is used: S rows instead of T.
//! 4. Pooler and classifier: a product and tanh, then a product to one number for each label.
//!
//! All numbers are `f32`. Rows interact only in attention, so the other sentences of a group change
//! a result only by rounding errors.

use std::{
    f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI},
    ops::Range,
};

use ndarray::{
    Array1, Array2, ArrayBase, ArrayViewMut1, Axis, Ix2, RawData, linalg::general_mat_mul,
};

use super::{
    BertError,
    checkpoint::{Config, Weights},
};

/// The network of a `BertForSequenceClassification`, immutable after loading.
#[derive(Debug)]
pub(super) struct Network {
    words: Array2<f32>,
    /// Includes the vector of the first segment, because a single text has only this segment.
    positions: Array2<f32>,
    norm: Norm,
    layers: Vec<Layer>,
    last: Layer,
    pooler: Linear,
    classifier: Linear,
}

impl Network {
    pub(super) fn read(
        config: &Config,
        labels: usize,
        weights: &mut Weights,
    ) -> Result<Self, BertError> {
        let hidden = config.hidden_size;
        let mut rows = |name: &str, count: usize| {
            let name = format!("bert.embeddings.{name}_embeddings.weight");
            let numbers = weights.take(&name, &[count, hidden])?;
            weights.shaped((count, hidden), numbers)
        };
        let words = rows("word", config.vocab_size)?;
        let segments = rows("token_type", config.type_vocab_size)?;
        let positions = rows("position", config.max_position_embeddings)? + segments.row(0);
        let norm = Norm::read(weights, "bert.embeddings.LayerNorm", config)?;
        let mut layer = |nth| Layer::read(weights, nth, config);
        let layers = (0..config.num_hidden_layers - 1).map(&mut layer).collect::<Result<_, _>>()?;
        let last = layer(config.num_hidden_layers - 1)?;
        let pooler = Linear::read(weights, &["bert.pooler.dense".to_owned()], hidden, hidden)?;
        let classifier = Linear::read(weights, &["classifier".to_owned()], hidden, labels)?;
        Ok(Self { words, positions, norm, layers, last, pooler, classifier })
    }

    /// Returns one row of logits for each sentence. Every sentence must have at least one token and
    /// at most as many as there are positions; every token must be in the vocabulary.
    pub(super) fn logits(&self, sentences: &[&[u32]]) -> Array2<f32> {
        let mut end = 0;
        let spans: Vec<Range<usize>> = sentences
            .iter()
            .map(|ids| {
                end += ids.len();
                end - ids.len()..end
            })
            .collect();
        let mut states = self.embed(sentences, end);
        for layer in &self.layers {
            let queries = layer.query.apply(&states);
            let context = layer.attend(&queries, &spans, &states, &spans);
            states = layer.finish(states, &context);
        }

        let firsts: Vec<usize> = spans.iter().map(|span| span.start).collect();
        let first_rows = states.select(Axis(0), &firsts);
        let asking: Vec<Range<usize>> = (0..spans.len()).map(|row| row..row + 1).collect();
        let queries = self.last.query.apply(&first_rows);
        let context = self.last.attend(&queries, &asking, &states, &spans);
        let states = self.last.finish(first_rows, &context);

        let mut pooled = self.pooler.apply(&states);
        pooled.mapv_inplace(f32::tanh);
        self.classifier.apply(&pooled)
    }

    fn embed(&self, sentences: &[&[u32]], tokens: usize) -> Array2<f32> {
        let mut states = Array2::zeros((tokens, self.words.ncols()));
        let ids = sentences.iter().flat_map(|ids| ids.iter().enumerate());
        for (mut row, (position, id)) in states.rows_mut().into_iter().zip(ids) {
            row += &self.words.row(*id as usize);
            row += &self.positions.row(position);
        }
        self.norm.apply(&mut states);
        states
    }
}

/// One of the encoder's layers.
#[derive(Debug)]
struct Layer {
    heads: usize,
    query: Linear,
    /// Keys and values side by side, so that one product computes both.
    key_value: Linear,
    attention: Linear,
    attention_norm: Norm,
    wider: Linear,
    narrower: Linear,
    norm: Norm,
}

impl Layer {
    fn read(weights: &mut Weights, nth: usize, config: &Config) -> Result<Self, BertError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let name = |part: &str| format!("bert.encoder.layer.{nth}.{part}");
        let mut linear = |parts: &[&str], from, to| {
            let names: Vec<String> = parts.iter().map(|part| name(part)).collect();
            Linear::read(weights, &names, from, to)
        };
        Ok(Self {
            heads: config.num_attention_heads,
            query: linear(&["attention.self.query"], hidden, hidden)?,
            key_value: linear(&["attention.self.key", "attention.self.value"], hidden, hidden)?,
            attention: linear(&["attention.output.dense"], hidden, hidden)?,
            wider: linear(&["intermediate.dense"], hidden, inner)?,
            narrower: linear(&["output.dense"], inner, hidden)?,
            attention_norm: Norm::read(weights, &name("attention.output.LayerNorm"), config)?,
            norm: Norm::read(weights, &name("output.LayerNorm"), config)?,
        })
    }

    /// The attention output of the rows of `queries`: the rows `asking[n]` attend to the rows
    /// `spans[n]` of `states`.
    fn attend(
        &self,
        queries: &Array2<f32>,
        asking: &[Range<usize>],
        states: &Array2<f32>,
        spans: &[Range<usize>],
    ) -> Array2<f32> {
        let hidden = queries.ncols();
        let size = hidden / self.heads;
        #[allow(clippy::cast_precision_loss)] // some dozens
        let scale = 1.0 / (size as f32).sqrt();
        let keys_values = self.key_value.apply(states);
        let (keys, values) = keys_values.view().split_at(Axis(1), hidden);
        let mut context = Array2::zeros(queries.raw_dim());
        for (rows, span) in asking.iter().zip(spans) {
            let mut scores = Array2::zeros((rows.len(), span.len()));
            for head in 0..self.heads {
                let columns = head * size..(head + 1) * size;
                let query = block(queries.view(), rows, &columns);
                let key = block(keys, span, &columns);
                let value = block(values, span, &columns);
                general_mat_mul(scale, &query, &key.t(), 0.0, &mut scores);
                scores.rows_mut().into_iter().for_each(softmax);
                let mut output = block(context.view_mut(), rows, &columns);
                general_mat_mul(1.0, &scores, &value, 0.0, &mut output);
            }
        }
        context
    }

    /// The second half of the layer: adds the attention's output to `states`, then the feed-forward part.
    fn finish(&self, mut states: Array2<f32>, context: &Array2<f32>) -> Array2<f32> {
        self.attention.add(context, &mut states);
        self.attention_norm.apply(&mut states);
        let mut inner = self.wider.apply(&states);
        inner.mapv_inplace(gelu);
        self.narrower.add(&inner, &mut states);
        self.norm.apply(&mut states);
        states
    }
}

/// A product with a matrix, plus a vector.
#[derive(Debug)]
struct Linear {
    /// The matrix, split into blocks of columns. A column is one output.
    panels: Vec<Array2<f32>>,
    bias: Array1<f32>,
}

impl Linear {
    /// Columns of a panel. Wider matrices make products up to 5 % slower, with few rows 13 %.
    const PANEL: usize = 768;

    /// Reads the layers of these names side by side. Each has `from` inputs and `to` outputs.
    fn read(
        weights: &mut Weights,
        names: &[String],
        from: usize,
        to: usize,
    ) -> Result<Self, BertError> {
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for name in names {
            weight.append(&mut weights.take(&format!("{name}.weight"), &[to, from])?);
            bias.append(&mut weights.take(&format!("{name}.bias"), &[to])?);
        }
        // In the file, an output is a row. Transposing once makes the products 3 % faster.
        let weight = weights.shaped((bias.len(), from), weight)?;
        let panels = weight.axis_chunks_iter(Axis(0), Self::PANEL);
        let panels = panels.map(|rows| rows.t().as_standard_layout().into_owned()).collect();
        Ok(Self { panels, bias: bias.into() })
    }

    fn apply(&self, rows: &Array2<f32>) -> Array2<f32> {
        let mut out = Array2::zeros((rows.nrows(), self.bias.len()));
        self.add(rows, &mut out);
        out
    }

    /// Adds the result to `out`.
    fn add(&self, rows: &Array2<f32>, out: &mut Array2<f32>) {
        *out += &self.bias;
        let parts = out.axis_chunks_iter_mut(Axis(1), Self::PANEL);
        for (panel, mut part) in self.panels.iter().zip(parts) {
            general_mat_mul(1.0, rows, panel, 1.0, &mut part);
        }
    }
}

/// Layer normalisation.
#[derive(Debug)]
struct Norm {
    scale: Array1<f32>,
    shift: Array1<f32>,
    epsilon: f32,
}

impl Norm {
    fn read(weights: &mut Weights, name: &str, config: &Config) -> Result<Self, BertError> {
        let mut take = |part| weights.take(&format!("{name}.{part}"), &[config.hidden_size]);
        let (scale, shift) = (take("weight")?.into(), take("bias")?.into());
        Ok(Self { scale, shift, epsilon: config.layer_norm_eps })
    }

    /// Gives each row the mean 0 and the variance 1, then scales and shifts it.
    fn apply(&self, rows: &mut Array2<f32>) {
        #[allow(clippy::cast_precision_loss)] // thousands
        let width = rows.ncols() as f32;
        for mut row in rows.rows_mut() {
            let mean = row.sum() / width;
            row -= mean;
            let variance = row.dot(&row) / width;
            row *= 1.0 / (variance + self.epsilon).sqrt();
            row *= &self.scale;
            row += &self.shift;
        }
    }
}

/// A block of a matrix.
fn block<S: RawData>(
    mut of: ArrayBase<S, Ix2>,
    rows: &Range<usize>,
    columns: &Range<usize>,
) -> ArrayBase<S, Ix2> {
    of.slice_axis_inplace(Axis(0), rows.clone().into());
    of.slice_axis_inplace(Axis(1), columns.clone().into());
    of
}

/// Normalises a row of scores by softmax.
fn softmax(mut row: ArrayViewMut1<'_, f32>) {
    let highest = row.fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    row.mapv_inplace(|score| (score - highest).exp());
    row *= 1.0 / row.sum();
}

/// The exact GELU, x·Φ(x), not its tanh approximation.
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))
}

/// The error function with an error below 5e-7: x·P(x²)/Q(x²), fitted by least squares of the
/// relative error. It has no branches or calls, so that the compiler can vectorise it.
fn erf(x: f32) -> f32 {
    const P: [f32; 6] = [
        FRAC_2_SQRT_PI,
        0.189_665_83,
        0.052_667_95,
        0.003_738_302_6,
        0.000_285_061_12,
        2.066_480_3e-6,
    ];
    const Q: [f32; 6] =
        [1.0, 0.501_419_7, 0.113_818_55, 0.014_914_191, 0.001_157_365_4, 0.000_038_270_035];
    // Beyond this, it is 1 in single precision.
    let x = x.clamp(-3.9, 3.9);
    let square = x * x;
    let polynomial = |of: [f32; 6]| of.iter().rev().fold(0.0, |sum, factor| sum * square + factor);
    x * polynomial(P) / polynomial(Q)
}
