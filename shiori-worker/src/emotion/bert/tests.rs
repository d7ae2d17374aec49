//! Compares results with those of `transformers`, recorded by `scripts/make_bert_fixture.py`, and
//! tests the errors of unusable checkpoints.
#![allow(clippy::float_cmp)] // Compared numbers must be identical.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use futures_util::poll;
use proptest::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

use super::{checkpoint::half_to_single, *};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bert-tiny")
}

fn two_threads() -> BertOptions {
    BertOptions { threads: 2, labels: None }
}

#[derive(serde::Deserialize)]
struct Expected {
    text: String,
    ids: Vec<u32>,
    logits: Vec<f32>,
}

fn expected() -> Vec<Expected> {
    serde_json::from_slice(&fs::read(fixture().join("expected.json")).unwrap()).unwrap()
}

fn network(dir: &Path) -> Network {
    let config = Config::read(dir).unwrap();
    Network::read(&config, 7, &mut Weights::open(dir).unwrap()).unwrap()
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-4, "{what:?}: found {found:?}, expected {expected:?}");
    }
}

#[test]
fn tokens_equal_those_of_transformers() {
    let config = Config::read(&fixture()).unwrap();
    let tokenizer = TextTokenizer::read(&fixture(), &config).unwrap();
    let all = expected();
    assert!(all.len() >= 60);
    for Expected { text, ids, .. } in all {
        assert_eq!(tokenizer.ids(&text).unwrap(), ids, "{text:?}");
    }
}

#[test]
fn logits_of_single_sentences_equal_those_of_transformers() {
    let network = network(&fixture());
    for Expected { text, ids, logits } in expected() {
        let found = network.logits(&[&ids]);
        assert_close(found.row(0).as_slice().unwrap(), &logits, &text);
    }
}

#[test]
fn logits_do_not_depend_on_the_grouping() {
    let network = network(&fixture());
    let all = expected();
    let groups = prop::collection::vec(prop::collection::vec(0..all.len(), 1..12), 1..4);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(20));
    let checked = runner.run(&groups, |groups| {
        for group in groups {
            let ids: Vec<_> = group.iter().map(|nth| all[*nth].ids.as_slice()).collect();
            let found = network.logits(&ids);
            for (row, nth) in found.rows().into_iter().zip(group) {
                assert_close(row.as_slice().unwrap(), &all[nth].logits, &all[nth].text);
            }
        }
        Ok(())
    });
    checked.unwrap();
}

#[tokio::test]
async fn a_distribution_is_the_softmax_and_a_blank_text_has_no_evidence() {
    let model = BertModel::load(fixture(), two_threads()).unwrap();
    assert_eq!(model.engine(), "bert:bert-tiny");
    let all = expected();
    let texts = all.iter().map(|expected| expected.text.clone()).collect();
    let judged = model.judge(texts).await.unwrap();
    assert_eq!(judged.len(), all.len());
    for (judgement, Expected { text, ids, logits }) in judged.iter().zip(&all) {
        if ids.len() == 2 {
            assert_eq!(judgement.evidence, 0.0);
            assert_eq!(judgement.distribution, Distribution::UNIFORM);
            continue;
        }
        assert_eq!(judgement.evidence, 1.0);
        let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        // The fixture's labels are in the order of `Emotion::ALL`.
        for (emotion, logit) in Emotion::ALL.into_iter().zip(logits) {
            let p = f64::from(*logit).exp() / sum;
            let found = judgement.distribution.probability(emotion);
            assert!((found - p).abs() < 1e-4, "{text:?}");
        }
    }
    assert!(judged.iter().any(|judgement| judgement.evidence == 0.0));
    assert!(model.judge(vec![]).await.unwrap().is_empty());
}

#[test]
fn any_text_has_a_result() {
    let model = BertModel::load(fixture(), two_threads()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    proptest!(ProptestConfig::with_cases(64), |(texts in prop::collection::vec(any::<String>(), 0..6))| {
        let count = texts.len();
        let judged = runtime.block_on(model.judge(texts)).unwrap();
        prop_assert_eq!(judged.len(), count);
        for judgement in judged {
            let sum: f64 = judgement.distribution.probabilities().iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-9);
        }
    });
}

/// A copy of the fixture that a test can change.
fn copy() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(fixture().join(name), dir.path().join(name)).unwrap();
    }
    dir
}

fn load_error(dir: &Path) -> BertError {
    BertModel::load(dir, two_threads()).expect_err("an error")
}

fn edit(dir: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    let path = dir.join(name);
    let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

/// Rewrites the weights: `change` replaces each tensor, or removes it by returning `None`.
fn edit_weights(
    dir: &Path,
    mut change: impl FnMut(&str, Dtype, Vec<usize>, Vec<u8>) -> Option<(Dtype, Vec<usize>, Vec<u8>)>,
) {
    let path = dir.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let changed: Vec<_> = tensors
        .iter()
        .filter_map(|(name, view)| {
            let shape = view.shape().to_vec();
            Some((name.to_owned(), change(name, view.dtype(), shape, view.data().to_vec())?))
        })
        .collect();
    let views = changed.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn an_unsupported_config_is_rejected() {
    type Check = fn(&BertError) -> bool;
    let unsupported: Check = |error| matches!(error, BertError::Unsupported { .. });
    let config: Check = |error| matches!(error, BertError::Config { .. });
    let shape: Check = |error| matches!(error, BertError::Shape { .. });
    let cases: [(&str, Value, Check); 17] = [
        ("model_type", json!("roberta"), unsupported),
        ("architectures", json!(["BertForMaskedLM"]), unsupported),
        ("hidden_act", json!("relu"), unsupported),
        ("position_embedding_type", json!("relative_key"), unsupported),
        ("problem_type", json!("multi_label_classification"), unsupported),
        ("is_decoder", json!(true), unsupported),
        ("model_type", Value::Null, config),
        ("hidden_size", json!("many"), config),
        ("hidden_size", json!(0), config),
        ("num_attention_heads", json!(5), config),
        ("layer_norm_eps", json!(-1.0), config),
        ("hidden_size", json!(64), shape),
        ("intermediate_size", json!(32), shape),
        ("max_position_embeddings", json!(256), shape),
        ("vocab_size", json!(100_000_000), shape),
        ("id2label", json!({"0": "행복", "2": "슬픔"}), |e| matches!(e, BertError::Labels)),
        ("id2label", json!({"0": "행복", "1": "LABEL_1"}), |e| {
            matches!(e, BertError::Label { .. })
        }),
    ];
    for (key, value, check) in cases {
        let dir = copy();
        edit(dir.path(), "config.json", |config| config[key] = value.clone());
        let error = load_error(dir.path());
        assert!(check(&error), "{key} {value}: {error:?}");
    }
    let dir = copy();
    edit(dir.path(), "config.json", |config| config["num_hidden_layers"] = json!(4));
    let error = load_error(dir.path()).to_string();
    assert!(error.contains("bert.encoder.layer.3.attention.self.query.weight"), "{error}");
    fs::write(dir.path().join("config.json"), "not JSON").unwrap();
    assert!(config(&load_error(dir.path())));
}

#[test]
fn missing_and_damaged_files_are_rejected() {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let dir = copy();
        fs::remove_file(dir.path().join(name)).unwrap();
        let error = load_error(dir.path());
        assert!(matches!(&error, BertError::Read { file, .. } if file.ends_with(name)), "{error}");
    }

    let dir = copy();
    let weights = dir.path().join("model.safetensors");
    fs::rename(&weights, dir.path().join("pytorch_model.bin")).unwrap();
    let error = load_error(dir.path());
    assert!(matches!(error, BertError::Pickled { .. }));
    assert!(error.to_string().contains("save_pretrained"));

    let whole = fs::read(fixture().join("model.safetensors")).unwrap();
    let mut huge = whole.clone();
    huge[..8].fill(0xff);
    let mut garbled = whole.clone();
    garbled[8..40].fill(b'x');
    let longer = [whole.as_slice(), b"more"].concat();
    let cuts = [0, 7, 8, 100, whole.len() - 1].map(|length| whole[..length].to_vec());
    for bytes in cuts.into_iter().chain([huge, garbled, longer]) {
        fs::write(&weights, bytes).unwrap();
        let error = load_error(dir.path());
        assert!(matches!(error, BertError::Weights { .. }), "{error:?}");
    }
}

#[test]
fn tensors_of_the_wrong_shape_or_type_are_rejected() {
    let dir = copy();
    let gone = "bert.encoder.layer.2.output.dense.bias";
    edit_weights(dir.path(), |name, dtype, shape, data| {
        (name != gone).then_some((dtype, shape, data))
    });
    let error = load_error(dir.path());
    assert!(matches!(&error, BertError::MissingTensor { name } if name == gone), "{error:?}");

    let dir = copy();
    edit_weights(dir.path(), |name, dtype, shape, data| {
        let shape = if name == "classifier.weight" { vec![32, 7] } else { shape };
        Some((dtype, shape, data))
    });
    let error = load_error(dir.path());
    assert!(
        matches!(&error, BertError::Shape { expected, found, .. } if *expected == [7, 32] && *found == [32, 7]),
        "{error:?}"
    );

    let dir = copy();
    edit_weights(dir.path(), |name, dtype, shape, data| {
        let dtype = if name == "classifier.bias" { Dtype::I32 } else { dtype };
        Some((dtype, shape, data))
    });
    let error = load_error(dir.path());
    assert!(matches!(&error, BertError::Dtype { found, .. } if found == "I32"), "{error:?}");

    for odd in [f32::NAN, f32::INFINITY] {
        let dir = copy();
        edit_weights(dir.path(), |name, dtype, shape, mut data| {
            if name == "bert.pooler.dense.weight" {
                data[400..404].copy_from_slice(&odd.to_le_bytes());
            }
            Some((dtype, shape, data))
        });
        let error = load_error(dir.path());
        assert!(matches!(error, BertError::NotFinite { .. }), "{error:?}");
    }
}

#[test]
fn a_tokenizer_that_does_not_match_the_model_is_rejected() {
    let dir = copy();
    edit(dir.path(), "tokenizer.json", |json| json["model"]["vocab"]["먼"] = json!(708));
    assert!(matches!(load_error(dir.path()), BertError::Tokenizer { .. }));
    let dir = copy();
    edit(dir.path(), "tokenizer.json", |json| json["post_processor"] = Value::Null);
    assert!(matches!(load_error(dir.path()), BertError::Tokenizer { .. }));
    let dir = copy();
    fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
    assert!(matches!(load_error(dir.path()), BertError::Tokenizer { .. }));
}

#[test]
fn texts_are_truncated_to_the_number_of_positions() {
    let dir = copy();
    edit(dir.path(), "config.json", |config| config["max_position_embeddings"] = json!(16));
    edit_weights(dir.path(), |name, dtype, mut shape, mut data| {
        if name == "bert.embeddings.position_embeddings.weight" {
            shape[0] = 16;
            data.truncate(16 * 32 * 4);
        }
        Some((dtype, shape, data))
    });
    let config = Config::read(dir.path()).unwrap();
    let tokenizer = TextTokenizer::read(dir.path(), &config).unwrap();
    assert_eq!(tokenizer.ids(&"비가 ".repeat(50)).unwrap().len(), 16);
    network(dir.path());
}

#[tokio::test]
async fn labels_are_mapped_by_name_or_by_the_setting() {
    use Emotion::{Anger, Disgust, Fear, Happiness, Neutral, Sadness, Surprise};
    let names = json!({"0": "Fear", "1": " JOY ", "2": "anger", "3": "슬픔", "4": "neutral",
        "5": "happiness", "6": "disgust"});
    let dir = copy();
    edit(dir.path(), "config.json", |config| config["id2label"] = names);
    let model = BertModel::load(dir.path(), two_threads()).unwrap();
    assert_eq!(model.labels, [Fear, Happiness, Anger, Sadness, Neutral, Happiness, Disgust]);
    let judged = model.judge(vec!["비가 와서".to_owned()]).await.unwrap();
    let distribution = judged[0].distribution;
    assert_eq!(distribution.probability(Surprise), 0.0);

    edit(dir.path(), "config.json", |config| config["id2label"] = Value::Null);
    assert!(matches!(load_error(dir.path()), BertError::Labels));
    let labels = vec![Surprise; 7];
    let options = BertOptions { labels: Some(labels), ..two_threads() };
    let model = BertModel::load(dir.path(), options).unwrap();
    let judged = model.judge(vec!["비가 와서".to_owned()]).await.unwrap();
    assert!((judged[0].distribution.probability(Surprise) - 1.0).abs() < 1e-9);
    let options = BertOptions { labels: Some(vec![Surprise; 6]), ..two_threads() };
    assert!(matches!(BertModel::load(dir.path(), options), Err(BertError::Shape { .. })));
}

#[test]
fn half_precision_weights_are_converted() {
    for (bits, number) in [
        (0x0000, 0.0),
        (0x3c00, 1.0),
        (0xc000, -2.0),
        (0x3555, 0.333_251_95),
        (0x7bff, 65504.0),
        (0x0400, 6.103_515_6e-5),
        (0x0001, 5.960_464_5e-8),
        (0x83ff, -6.097_555e-5),
        (0x7c00, f32::INFINITY),
        (0xfc00, f32::NEG_INFINITY),
    ] {
        assert_eq!(half_to_single(bits), number, "{bits:x}");
    }
    assert!(half_to_single(0x7e00).is_nan());

    // BF16 is the upper half of F32, so both networks are equal.
    let (narrow, wide) = (copy(), copy());
    edit_weights(narrow.path(), |_, _, shape, data| {
        let upper = data.chunks_exact(4).flat_map(|b| [b[2], b[3]]).collect();
        Some((Dtype::BF16, shape, upper))
    });
    edit_weights(wide.path(), |_, dtype, shape, data| {
        let upper = data.chunks_exact(4).flat_map(|b| [0, 0, b[2], b[3]]).collect();
        Some((dtype, shape, upper))
    });
    let ids = &expected()[0].ids;
    assert_eq!(network(narrow.path()).logits(&[ids]), network(wide.path()).logits(&[ids]));
}

#[test]
fn the_activation_is_the_exact_gelu() {
    // x·Φ(x) to ten digits.
    for (x, expected) in [
        (0.0, 0.0),
        (0.5, 0.345_731_230_6),
        (1.0, 0.841_344_746_1),
        (-1.0, -0.158_655_253_9),
        (-2.0, -0.045_500_263_9),
        (3.0, 2.995_950_305_9),
        (-5.0, -0.000_001_433_3),
        (20.0, 20.0),
        (-20.0, 0.0),
    ] {
        let found = f64::from(forward::gelu(x));
        assert!((found - expected).abs() < 2e-6, "{x}: found {found}, expected {expected}");
    }
    assert!(forward::gelu(f32::NAN).is_nan());
}

/// A hub that has the fixture as `owner/tiny` and serves each file `times` times.
async fn hub(times: u64) -> (MockServer, TempDir, Hub) {
    let server = MockServer::start().await;
    for name in checkpoint::FILES {
        let file =
            ResponseTemplate::new(200).set_body_bytes(fs::read(fixture().join(name)).unwrap());
        Mock::given(method("GET"))
            .and(path(format!("/owner/tiny/resolve/main/{name}")))
            .respond_with(file)
            .expect(times)
            .mount(&server)
            .await;
    }
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub { url: server.uri(), cache: cache.path().join("models") };
    (server, cache, hub)
}

#[tokio::test]
async fn a_checkpoint_is_downloaded_once() {
    let (server, _cache, hub) = hub(1).await;
    for _ in 0..2 {
        let model = BertModel::load_from(&hub, "owner/tiny", two_threads()).await.unwrap();
        assert_eq!(model.engine(), "bert:owner/tiny");
    }
    server.verify().await;
}

#[tokio::test]
async fn a_failed_download_is_an_error_and_leaves_no_file() {
    let (server, _cache, hub) = hub(0).await;
    for id in ["../tiny", "owner/..", "owner/tiny/more", "/owner", "", "a b", "o/t?x=1"] {
        let error = hub.fetch(id).await.expect_err(id).to_string();
        assert!(error.contains("owner/name"), "{error}");
    }
    let error = hub.fetch("owner/other").await.expect_err("404").to_string();
    assert!(error.contains("config.json") && error.contains("404"), "{error}");
    server.verify().await;

    // The connection is closed before the file is complete.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let interrupting = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(connection.read(&mut request).await.unwrap() > 0);
        let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"model_type\":";
        connection.write_all(cut).await.unwrap();
    });
    let cut = Hub { url, cache: hub.cache.clone() };
    assert!(matches!(cut.fetch("owner/tiny").await, Err(BertError::Hub { .. })));
    interrupting.await.unwrap();
    assert_eq!(fs::read_dir(hub.cache.join("owner--tiny")).unwrap().count(), 0);
}

/// A timeout that only a failing test reaches.
const LONG: Duration = Duration::from_secs(30);

fn sentences(lengths: &[u16]) -> Vec<Vec<u32>> {
    lengths.iter().map(|length| vec![0; usize::from(*length)]).collect()
}

/// A pool of one thread whose groups wait until `hold` is dropped.
struct BlockedPool {
    pool: Pool,
    /// The lengths of the sentences of each group, in the order in which the groups started.
    groups: Arc<Mutex<Vec<Vec<u16>>>>,
    /// A permit for each group that has started.
    started: Arc<Semaphore>,
    hold: mpsc::Sender<()>,
}

impl BlockedPool {
    fn start() -> Self {
        let groups = Arc::new(Mutex::new(Vec::new()));
        let started = Arc::new(Semaphore::new(0));
        let (hold, blocked) = mpsc::channel();
        let (recorded, notify, blocked) = (groups.clone(), started.clone(), Mutex::new(blocked));
        let infer = move |group: &[&[u32]]| {
            let lengths = group.iter().map(|ids| u16::try_from(ids.len()).unwrap());
            let lengths: Vec<_> = lengths.collect();
            let answers = lengths.iter().map(|length| vec![f32::from(*length)]).collect();
            recorded.lock().unwrap().push(lengths);
            notify.add_permits(1);
            // Returns an error when `hold` is dropped.
            let _ = blocked.lock().unwrap().recv();
            answers
        };
        Self { pool: Pool::start(1, infer).unwrap(), groups, started, hold }
    }

    async fn started(&self) {
        tokio::time::timeout(LONG, self.started.acquire()).await.unwrap().unwrap().forget();
    }
}

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, run).await.expect("in time")
}

#[tokio::test]
async fn groups_are_packed_across_jobs_and_have_a_bound() {
    let blocked = BlockedPool::start();
    let jobs: [&[u16]; 3] = [&[3], &[100, 20], &[300, 200, 512]];
    let mut running = Vec::new();
    for job in jobs {
        let mut run = Box::pin(blocked.pool.run(sentences(job)));
        assert!(poll!(&mut run).is_pending());
        // The first group has only the first job; the others wait together.
        if running.is_empty() {
            blocked.started().await;
        }
        running.push(run);
    }
    assert!(in_time(blocked.pool.run(vec![])).await.unwrap().is_empty());
    drop(blocked.hold);
    for (run, job) in running.into_iter().zip(jobs) {
        let expected: Vec<_> = job.iter().map(|length| vec![f32::from(*length)]).collect();
        assert_eq!(in_time(run).await.unwrap(), expected);
    }
    let expected: [&[u16]; 4] = [&[3], &[100, 20, 300], &[200], &[512]];
    assert_eq!(*blocked.groups.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_panic_fails_only_its_group() {
    let infer = |group: &[&[u32]]| {
        assert!(group.iter().all(|ids| ids.len() != 13), "a panic of the test");
        group.iter().map(|_| vec![1.0]).collect()
    };
    let pool = Pool::start(1, infer).unwrap();
    for _ in 0..3 {
        assert!(in_time(pool.run(sentences(&[13]))).await.is_err());
        assert_eq!(in_time(pool.run(sentences(&[12]))).await.unwrap(), [[1.0]]);
    }
}

#[tokio::test]
async fn cancelled_sentences_are_skipped_and_the_threads_end_with_the_pool() {
    let BlockedPool { pool, groups, started, hold } = BlockedPool::start();
    let mut first = Box::pin(pool.run(sentences(&[1])));
    assert!(poll!(&mut first).is_pending());
    in_time(started.acquire()).await.unwrap().forget();
    {
        let mut cancelled = Box::pin(pool.run(sentences(&[2, 2])));
        assert!(poll!(&mut cancelled).is_pending());
    }
    drop(hold);
    in_time(first).await.unwrap();
    in_time(pool.run(sentences(&[4]))).await.unwrap();
    assert_eq!(*groups.lock().unwrap(), [[1], [4]]);

    drop(pool);
    let deadline = Instant::now() + LONG;
    while Arc::strong_count(&groups) > 1 {
        assert!(Instant::now() < deadline, "a thread is still running");
        tokio::task::yield_now().await;
    }
}

/// On a runtime with one thread, this task continues while the model computes.
#[tokio::test(flavor = "current_thread")]
async fn async_threads_are_never_blocked() {
    let blocked = BlockedPool::start();
    let mut run = Box::pin(blocked.pool.run(sentences(&[1])));
    assert!(poll!(&mut run).is_pending());
    blocked.started().await;
    assert!(poll!(&mut run).is_pending());
    drop(blocked.hold);
    in_time(run).await.unwrap();
}
