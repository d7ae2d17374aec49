//! What the real programs export, against `docs/metrics.md`, `docs/grafana.json` and `docs/alerts.yml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
    time::Duration,
};

use shiori_sdk::{Precondition, SummaryStatus};
use shiori_server::ThrottlePolicy;
use shiori_worker::{
    Pipeline,
    summarize::{OpenAiConfig, OpenAiSummarizer},
};

use crate::{
    fake_llm::{Behavior, FakeLlm},
    fixtures::{PASSWORD, day, draft, fresh_email, new_client, wait_until, week, write_week},
    raw_client::RawClient,
    test_cluster::{TestCluster, request_summaries, sign_up_on},
    test_server::TestServer,
};

/// The metrics of a program.
pub struct Scrape {
    /// The type of each metric, by its name as in the documentation.
    types: BTreeMap<String, String>,
    /// The samples: names and labels, with their values.
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    pub async fn of(url: &str) -> Self {
        let response = RawClient::anonymous(url).get("/metrics").await;
        assert_eq!(response.status, 200);
        let kind = response.headers["content-type"].to_str().unwrap();
        assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
        Self::parse(&response.text)
    }

    fn parse(text: &str) -> Self {
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert_eq!(text.matches("# EOF").count(), 1, "{text}");
        let (mut types, mut samples) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(line) = line.strip_prefix("# TYPE ") {
                let (name, kind) = line.split_once(' ').unwrap();
                let suffix = match kind {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                let previous = types.insert(format!("{name}{suffix}"), kind.to_owned());
                assert!(previous.is_none(), "{name} is exported twice");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                samples.insert(series.to_owned(), value.parse().unwrap());
            }
        }
        Self { types, samples }
    }

    /// The names of all samples.
    fn names(&self) -> BTreeSet<String> {
        self.samples.keys().map(|series| series.split('{').next().unwrap().to_owned()).collect()
    }

    /// The value of this series.
    pub fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("{series} in {:#?}", self.samples))
    }

    /// The sum of the series that begin with this text.
    fn sum(&self, start: &str) -> f64 {
        self.samples.iter().filter(|(series, _)| series.starts_with(start)).map(|(_, v)| v).sum()
    }

    /// The names of the labels of a metric's samples.
    fn labels(&self, name: &str) -> BTreeSet<String> {
        let of_metric = |series: &&String| {
            let sample = series.split('{').next().unwrap();
            ["", "_bucket", "_sum", "_count"].iter().any(|end| sample == format!("{name}{end}"))
        };
        let labels = self.samples.keys().filter(of_metric).filter_map(|series| {
            let (_, labels) = series.split_once('{')?;
            Some(
                labels
                    .trim_end_matches('}')
                    .split("\",")
                    .map(|label| label.split_once('=').unwrap().0.to_owned()),
            )
        });
        labels.flatten().filter(|label| label != "le").collect()
    }
}

/// A row of the tables of `docs/metrics.md`.
struct Documented {
    kind: String,
    labels: BTreeSet<String>,
}

fn documented() -> BTreeMap<String, Documented> {
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let text = of_the_project("docs/metrics.md");
    let rows = text.lines().filter(|line| line.starts_with("| `shiori_"));
    let rows = rows.map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`').to_owned();
        (name, Documented { kind: cells[2].to_owned(), labels: words(cells[3]) })
    });
    rows.collect()
}

fn of_the_project(path: &str) -> String {
    fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The names of series in a file.
fn mentioned(path: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let text = of_the_project(path);
    let names: BTreeSet<_> = text
        .split(|c| !is_part(c))
        .filter(|word| word.starts_with("shiori_"))
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 15, "{names:?}");
    names
}

fn assert_contains_all(exported: &BTreeSet<String>, path: &str) {
    let unknown: Vec<_> = mentioned(path).into_iter().filter(|n| !exported.contains(n)).collect();
    assert!(unknown.is_empty(), "{path} has series that no program exports: {unknown:?}");
}

/// An embedded server with a language model.
async fn start(llm: &FakeLlm) -> TestServer {
    let summarizer = OpenAiSummarizer::new(OpenAiConfig {
        base_url: llm.url().to_owned(),
        model: "test-model".to_owned(),
        ..OpenAiConfig::default()
    });
    let summarizer = Arc::new(summarizer.unwrap());
    TestServer::with_config(|config| {
        config.pipeline = Pipeline { summarizer, ..Pipeline::builtin() };
        let window = Duration::from_secs(3600);
        config.sessions.login_throttle = ThrottlePolicy { attempts: 1, window };
    })
    .await
}

#[tokio::test]
async fn every_metric_is_documented_and_counts_real_work() {
    let llm = FakeLlm::start(Behavior::Slow(Duration::ZERO)).await;
    let server = start(&llm).await;
    let (client, email) = server.sign_up().await;
    let raw = RawClient::log_in(&server.url(), &email).await;
    let stream = raw.request(reqwest::Method::GET, "/api/diary/events").send().await.unwrap();
    write_week(&client, "강가를 걸었다.").await;
    let stale = client.diaries().save(day(16), draft("다른 글"), Precondition::IfAbsent);
    stale.send().await.unwrap_err();
    let summary = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    assert_eq!(summary.wait().await.unwrap().status, SummaryStatus::Completed);
    for _ in 0..2 {
        let wrong = new_client(&server.url());
        wrong.auth().login(&email, "not the password 1").await.unwrap_err();
    }

    let url = server.url();
    let is_done = async || {
        let scrape = Scrape::of(&url).await;
        scrape.value("shiori_worker_attempts_total{outcome=\"completed\"}") >= 1.0
    };
    wait_until("the worker has counted its attempt", is_done).await;
    let scrape = Scrape::of(&url).await;
    for (series, value) in [
        ("shiori_diary_saves_total{outcome=\"saved\"}", 7.0),
        ("shiori_diary_saves_total{outcome=\"conflict\"}", 1.0),
        ("shiori_summaries_requested_total", 1.0),
        ("shiori_summaries_finished_total{outcome=\"completed\"}", 1.0),
        ("shiori_summary_attempts_total{outcome=\"completed\"}", 1.0),
        ("shiori_summary_attempts_total{outcome=\"lost\"}", 0.0),
        ("shiori_requests_throttled_total{error=\"too_many_attempts\"}", 1.0),
        ("shiori_store_errors_total{engine=\"sqlite\",kind=\"unavailable\"}", 0.0),
        ("shiori_store_connections_max{engine=\"sqlite\"}", 6.0),
        ("shiori_waits_open{kind=\"change_stream\"}", 1.0),
        ("shiori_worker_hints_taken_total", 1.0),
        ("shiori_worker_llm_request_duration_seconds_count", 1.0),
    ] {
        assert!((scrape.value(series) - value).abs() < 0.5, "{series}: {}", scrape.value(series));
    }
    assert!((scrape.sum("shiori_store_connections{engine=\"sqlite\"") - 6.0).abs() < 0.5);

    let documented = documented();
    let (names, exported): (BTreeSet<_>, BTreeSet<_>) =
        (documented.keys().collect(), scrape.types.keys().collect());
    assert_eq!(names, exported, "docs/metrics.md has every metric and no other");
    for (name, Documented { kind, labels }) in &documented {
        assert_eq!(kind, &scrape.types[name], "{name}");
        let found = scrape.labels(name);
        // Without samples, as of clocks that this server does not measure, there are no labels.
        assert!(found.is_empty() || found == *labels, "{name} has the labels {found:?}");
    }

    let mut possible: BTreeSet<String> = scrape.types.keys().cloned().collect();
    for (name, kind) in &scrape.types {
        if kind == "histogram" {
            possible.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
        }
    }
    assert_contains_all(&possible, "docs/grafana.json");
    assert_contains_all(&possible, "docs/alerts.yml");

    drop(stream);
    let private = [email.as_str(), PASSWORD, "강가", "20260216"];
    for series in scrape.samples.keys() {
        assert!(private.iter().all(|text| !series.contains(text)), "{series}");
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_share_one_label() {
    let server = TestServer::without_worker().await;
    let raw = RawClient::anonymous(&server.url());
    for path in ["/somebody@example.com", "/api/secret/1", "/api/diary/20260216/none"] {
        assert_eq!(raw.get(path).await.status, 404);
    }
    let scrape = Scrape::of(&server.url()).await;
    let unmatched = "shiori_http_request_duration_seconds_count{method=\"GET\",route=\"unmatched\"";
    assert!((scrape.sum(unmatched) - 3.0).abs() < 0.5, "{:?}", scrape.samples.keys());
    assert!(!scrape.samples.keys().any(|series| series.contains("secret")));
    assert!(!scrape.types.keys().any(|name| name.starts_with("shiori_worker_")), "no worker");
}

#[tokio::test]
async fn unfinished_summaries_are_gauges() {
    let server = TestServer::without_worker().await;
    let (client, url) = (server.client().await, server.url());
    write_week(&client, "강가를 걸었다.").await;
    let summary = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let has = async |queued: f64| {
        let scrape = Scrape::of(&url).await;
        let found = scrape.value("shiori_summaries_unfinished{status=\"queued\"}");
        (found - queued).abs() < 0.5
    };
    wait_until("the summary is counted", || has(1.0)).await;
    let age = "shiori_summary_oldest_unfinished_age_seconds";
    let first = Scrape::of(&url).await.value(age);
    let grows = async || Scrape::of(&url).await.value(age) > first;
    wait_until("its age grows between two reads of the store", grows).await;
    summary.cancel().await.unwrap();
    wait_until("it is finished", || has(0.0)).await;
    assert!(Scrape::of(&url).await.value(age) < f64::EPSILON);
}

/// Every series of the dashboard and of the alerts exists in what the programs export on real engines.
#[tokio::test]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn dashboard_and_alerts_have_only_series_of_real_programs() {
    let cluster = TestCluster::create().await;
    let llm = FakeLlm::start(Behavior::Slow(Duration::ZERO)).await;
    let server = cluster.server_process(30).await;
    let worker = cluster.worker(server.url(), &llm).await;
    let client = sign_up_on(&[server.url()]).await.remove(0);
    let summary = request_summaries(&client, 1).await.remove(0);
    assert_eq!(summary.wait().await.unwrap().status, SummaryStatus::Completed);
    let login = new_client(server.url()).auth().login(&fresh_email(), PASSWORD).await;
    login.unwrap_err();

    let of_worker = Scrape::of(worker.metrics_url()).await;
    let of_server = Scrape::of(server.url()).await;
    assert!(of_worker.value("shiori_worker_clock_offset_seconds{engine=\"redis\"}").abs() < 600.0);
    for engine in ["mysql", "redis"] {
        let offset = format!("shiori_clock_offset_seconds{{engine=\"{engine}\"}}");
        assert!(of_server.value(&offset).abs() < 600.0);
    }
    for engine in ["mysql", "mongodb", "redis"] {
        of_server.value(&format!(
            "shiori_store_errors_total{{engine=\"{engine}\",kind=\"unavailable\"}}"
        ));
    }
    let max = of_server.value("shiori_store_connections_max{engine=\"mysql\"}");
    assert!((max - 32.0).abs() < 0.5, "{max}");
    let exported = &of_server.names() | &of_worker.names();
    assert_contains_all(&exported, "docs/grafana.json");
    assert_contains_all(&exported, "docs/alerts.yml");
    worker.terminate().await;
    server.terminate().await;
    cluster.drop_databases().await;
}
