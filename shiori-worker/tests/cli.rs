//! The commands of the worker's binary.
#![allow(clippy::unwrap_used, missing_docs)]
#![cfg(feature = "cli")]

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

/// Runs the binary without any of the environment's settings.
fn run(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shiori-worker"));
    let mut child = command
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn stdout_of(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The error output of a command that fails. It prints nothing else, and no diary text.
fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!error.contains("비밀"), "{error}");
    error
}

struct File {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, text).unwrap();
        Self { path, _dir: dir }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

#[test]
fn eval_prints_the_figures_of_an_engine() {
    let file = File::new("공포\t정말 무서웠다\nhappiness\t너무 행복하다\n슬픔\t화가 치밀었다\n");
    for engine in ["lexicon", "linear"] {
        let out = stdout_of(&run(&["emotion", "eval", file.path(), "--engine", engine], ""));
        assert!(out.starts_with(&format!("{engine}/1 on {}, texts: 3\n", file.path())), "{out}");
        assert!(out.contains("accuracy  0.667\n"), "{out}");
        // F1 is 1 for fear and happiness and 0 for anger and sadness; the other emotions do not
        // occur.
        assert!(out.contains("macro-F1  0.500\n"), "{out}");
        // The confusion matrix comes last, with a row for each label.
        let sadness = out.lines().rfind(|line| line.starts_with("슬픔")).unwrap();
        let given: Vec<_> = sadness.split_whitespace().skip(2).collect();
        assert_eq!(given, ["0", "0", "1", "0", "0", "0", "0"], "{out}");
    }
}

#[test]
fn eval_reports_the_number_of_an_unlabelled_line() {
    let file = File::new("공포\t무섭다\n비밀 이야기\n");
    let error = failure(&run(&["emotion", "eval", file.path()], ""));
    assert!(error.contains("line 2 has no tab"), "{error}");
    let empty = File::new("");
    assert!(failure(&run(&["emotion", "eval", empty.path()], "")).contains("is empty"));
    assert!(failure(&run(&["emotion", "eval", "/nowhere/file.tsv"], "")).contains("/nowhere"));
}

#[test]
fn tag_reads_lines() {
    let out = stdout_of(&run(&["tag"], "정말 무서웠다\n\n너무 행복하다\n"));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert!(lines[0].starts_with("공포") && lines[0].ends_with("정말 무서웠다"), "{out}");
    assert!(lines[1].starts_with("행복"), "{out}");
}

#[test]
fn tag_reads_a_document_and_prints_json() {
    let document = json!({"type": "doc", "content": [
        {"type": "heading", "attrs": {"level": 1}, "content": [{"type": "text", "text": "무서운 밤"}]},
        {"type": "paragraph", "content": [{"type": "text", "text": "그래도 행복하다"}]},
    ]});
    let out = stdout_of(&run(&["tag", "--json", "--engine", "lexicon"], &document.to_string()));
    let tagged: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(tagged["engine"], "lexicon/1");
    let texts = tagged["texts"].as_array().unwrap();
    assert_eq!(texts.len(), 2);
    assert_eq!(texts[0]["text"], "무서운 밤");
    assert_eq!(texts[0]["label"], "공포");
    assert!(texts[0]["evidence"].as_f64().unwrap() > 0.0);
    assert_eq!(texts[0]["distribution"].as_object().unwrap().len(), 7);
}

#[test]
fn tag_rejects_json_that_is_not_a_document() {
    let error = failure(&run(&["tag"], r#"{"type": "doc", "content": "비밀"}"#));
    assert!(!error.is_empty());
}

fn week() -> Value {
    let day = |date: &str, text: &str| {
        json!({"date": date, "title": "하루", "version": 3, "content": {"type": "doc", "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": text}]}]}})
    };
    json!([
        day("20260107", "친구와 밥을 먹었다. 오랜만에 많이 웃어서 행복했다."),
        day("20260105", "밤길이 어두워서 무서웠다. 집까지 뛰어왔다."),
    ])
}

#[test]
fn summarize_runs_the_pipeline_without_server_or_queue() {
    let file = File::new(&week().to_string());
    let out = stdout_of(&run(&["summarize", file.path(), "--json"], ""));
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(summary["engine"], "extractive/1");
    assert_eq!(summary["emotion_engine"], "linear/1");
    let reflection = summary["reflection"].as_str().unwrap();
    assert!((1..=500).contains(&reflection.chars().count()));
    let days: Vec<_> = summary["emotions"].as_array().unwrap().iter().collect();
    assert_eq!([&days[0]["date"], &days[1]["date"]], ["20260105", "20260107"], "in order");
    assert_eq!([&days[0]["label"], &days[1]["label"]], ["공포", "행복"]);

    let text = stdout_of(&run(&["summarize", file.path(), "--engine", "lexicon"], ""));
    assert!(text.contains("written by extractive/1, emotions by lexicon/1"), "{text}");
}

#[test]
fn summarize_reports_the_error_in_an_invalid_week() {
    let mut twice = week();
    twice[0]["date"] = twice[1]["date"].clone();
    for (week, wrong) in [
        (twice, "two diaries have the date 20260105"),
        (json!([]), "1 to 7 diaries"),
        (json!([{"date": "20260230", "title": "비밀", "content": {}}]), "not an array of diaries"),
        (json!({"비밀": 1}), "not an array of diaries"),
    ] {
        let file = File::new(&week.to_string());
        let error = failure(&run(&["summarize", file.path()], ""));
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn an_unknown_engine_is_an_error_that_lists_the_valid_ones() {
    let output = run(&["tag", "--engine", "gpt"], "");
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("linear, lexicon, bert"), "{error}");
    if cfg!(not(feature = "bert")) {
        let error = failure(&run(&["tag", "--engine", "bert:somewhere"], ""));
        assert!(error.contains("needs the feature bert"), "{error}");
    }
}

#[test]
fn an_invalid_setting_is_named() {
    for (flag, value, wrong) in [
        ("--emotion-model", "gpt", "emotion_model must be one of linear"),
        ("--emotion-threads", "0", "emotion_threads must be 1 to 1024"),
        ("--emotion-labels", "공포,LABEL_1", "emotion_labels must be names of the seven emotions"),
    ] {
        let error = failure(&run(&["tag", flag, value], ""));
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn a_worker_without_settings_reports_what_is_required() {
    assert!(failure(&run(&[], "")).contains("internal_token"));
}

#[test]
fn the_settings_are_checked_without_a_secret_in_the_output() {
    let settings = File::new("redis_url = 'redis://:hunter2@localhost'\nllm_model = 'gemma3'\n");
    let key = File::new("hunter2\n");
    let check = |token: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shiori-worker"));
        let command = command.args(["config", "check", "--config", settings.path()]).env_clear();
        command
            .env("OPENAI_API_KEY_FILE", key.path())
            .env("SHIORI_INTERNAL_TOKEN", token)
            .env("SHIORI_LLM_MODEL_NAME", "gemma3")
            .output()
            .unwrap()
    };
    let valid = check("0123456789abcdef");
    let errors = String::from_utf8(valid.stderr.clone()).unwrap();
    assert!(errors.contains("SHIORI_LLM_MODEL_NAME is not a setting"), "{errors}");
    let printed = stdout_of(&valid);
    let lines: Vec<_> =
        printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "server_url default http://127.0.0.1:8080",
        "internal_token environment (secret)",
        "redis_url file (secret)",
        "llm_model file gemma3",
        "openai_api_key file of its own (secret)",
    ] {
        assert!(lines.iter().any(|printed| printed == line), "{line}: {printed}");
    }
    let invalid = check("hunter2\n");
    assert_eq!(invalid.status.code(), Some(1));
    for output in [&valid, &invalid] {
        let text = format!("{output:?}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
