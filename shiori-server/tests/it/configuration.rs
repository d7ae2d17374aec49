//! The settings of both programs: `.env.example`, `config check`, and secrets in files.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use clap::{Args, Command, FromArgMatches};
use shiori_server::Settings;
use shiori_worker::{
    Worker,
    process::{default_of, description_of},
};

use crate::process::Process;

/// A setting in one program.
struct Setting {
    flag: String,
    default: Option<String>,
    description: String,
    is_secret: bool,
}

/// The settings of a program by their variables, in the order of its help.
fn settings_of<S: Args>() -> Vec<(String, Setting)> {
    let command = S::augment_args(Command::new("program"));
    let setting = |arg: &clap::Arg| {
        let variable = arg.get_env().unwrap().to_str().unwrap().to_owned();
        let setting = Setting {
            flag: arg.get_long().unwrap().to_owned(),
            default: default_of(arg).filter(|default| default != "none"),
            description: description_of(arg),
            is_secret: arg.is_hide_env_values_set(),
        };
        (variable, setting)
    };
    command.get_arguments().map(setting).collect()
}

/// Whether a default in the help is a value, and not a description of one.
fn is_value(default: &str) -> bool {
    !default.contains(char::is_whitespace)
}

/// `.env.example` as the settings of both programs define it.
fn example() -> String {
    let (server, worker) = (settings_of::<Settings>(), settings_of::<shiori_worker::Settings>());
    let of_worker: BTreeMap<_, _> = worker.iter().map(|(name, setting)| (name, setting)).collect();
    let mut text = "\
# Every setting of shiori-server and shiori-worker as a variable, with its default. Copy this file, and
# remove the # in front of those that you set. The programs do not read it by themselves: use it as
# EnvironmentFile of systemd, `docker run --env-file`, or `set -a; . ./shiori.env; set +a`.
# `shiori-server config check` and `shiori-worker config check` show what is in effect.
"
    .to_owned();
    let mut section = |title: &str, entries: Vec<String>| {
        text.extend(["\n## ", title, "\n\n", &entries.join("\n")]);
    };
    let mut shared = vec![entry(
        "SHIORI_CONFIG",
        "TOML file with the same settings, in `snake_case`; flags and environment take precedence",
        None,
    )];
    let mut only_server = Vec::new();
    for (name, setting) in &server {
        let Setting { description, default, .. } = setting;
        match of_worker.get(name) {
            None => only_server.push(entry(name, description, default.as_deref())),
            Some(other) if other.default == *default => {
                shared.push(entry(name, description, default.as_deref()));
            }
            Some(other) => {
                let [server, worker] = [default, &other.default]
                    .map(|default| default.clone().unwrap_or_else(|| "none".to_owned()));
                let default = format!("{server} (server), {worker} (worker)");
                shared.push(entry(name, description, Some(&default)));
            }
        }
    }
    let is_of_server = |name: &String| server.iter().any(|(other, _)| other == name);
    let only_worker = worker.iter().filter(|(name, _)| !is_of_server(name));
    let only_worker = only_worker
        .map(|(name, setting)| entry(name, &setting.description, setting.default.as_deref()))
        .collect();
    section("shiori-server and shiori-worker", shared);
    section("shiori-server", only_server);
    section("shiori-worker", only_worker);
    text
}

fn entry(name: &str, description: &str, default: Option<&str>) -> String {
    let value = default.filter(|default| is_value(default)).unwrap_or_default();
    let default = match default {
        Some(default) if is_value(default) => String::new(),
        default => format!(". Default: {}", default.unwrap_or("none")),
    };
    let mut lines = vec!["#".to_owned()];
    for word in format!("{description}{default}").split_whitespace() {
        let line = lines.last_mut().unwrap();
        if line.chars().count() + 1 + word.chars().count() > 100 {
            lines.push(format!("# {word}"));
        } else {
            *line += " ";
            *line += word;
        }
    }
    format!("{}\n#{name}={value}\n", lines.join("\n"))
}

fn of_the_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn the_example_has_every_setting_and_no_other() {
    let path = of_the_project(".env.example");
    if env::var_os("SHIORI_BLESS").is_some() {
        fs::write(&path, example()).unwrap();
    }
    let found = fs::read_to_string(path).unwrap();
    let hint = "run SHIORI_BLESS=1 cargo test -p shiori-server --test it configuration";
    assert!(found == example(), "the settings differ from .env.example; {hint}");
}

/// A configuration in which every default that is a value is set to it.
fn with_defaults_set<S: Args + FromArgMatches>(given: &[&str]) -> S {
    let settings = settings_of::<S>();
    let defaults = settings.iter().filter_map(|(_, Setting { flag, default, .. })| {
        let default = default.as_deref().filter(|default| is_value(default))?;
        let is_given = given.contains(&format!("--{flag}").as_str());
        (!is_given).then(|| format!("--{flag}={default}"))
    });
    let given = given.iter().map(|argument| (*argument).to_owned());
    let arguments: Vec<_> = given.chain(defaults).collect();
    assert!(arguments.len() > 10, "{arguments:?}");
    parsed(arguments)
}

fn parsed<S: Args + FromArgMatches>(arguments: Vec<String>) -> S {
    let command = S::augment_args(Command::new("program").no_binary_name(true));
    S::from_arg_matches(&command.try_get_matches_from(arguments).unwrap()).unwrap()
}

#[tokio::test]
async fn the_documented_defaults_are_the_defaults() {
    let secrets = ["--jwt-secret", &"j".repeat(32), "--internal-token", &"i".repeat(16)];
    let config = |settings: Settings| format!("{:?}", settings.into_config().unwrap());
    let unset = parsed(secrets.iter().map(|argument| (*argument).to_owned()).collect());
    let same_directory = |config: String| config.replace("./shiori-data", "shiori-data");
    assert_eq!(same_directory(config(with_defaults_set(&secrets))), config(unset));

    let required = [
        "--internal-token",
        "0123456789abcdef",
        "--redis-url",
        "redis://localhost",
        "--llm-model",
        "gemma3",
        "--worker-id",
        "one",
    ];
    let unset: shiori_worker::Settings =
        parsed(required.iter().map(|argument| (*argument).to_owned()).collect());
    let set: shiori_worker::Settings = with_defaults_set(&required);
    // The rest is state, with addresses in memory.
    let configured = |worker: Worker| {
        let text = format!("{worker:?}");
        text.split_once(", health:").unwrap().0.to_owned()
    };
    let unset = configured(unset.into_worker().await.unwrap());
    assert!(unset.contains("gemma3"), "{unset}");
    assert_eq!(configured(set.into_worker().await.unwrap()), unset);
}

#[test]
fn every_secret_can_be_read_from_a_file() {
    for settings in [settings_of::<Settings>(), settings_of::<shiori_worker::Settings>()] {
        for (name, _) in settings.iter().filter(|(_, setting)| setting.is_secret) {
            let file = format!("{name}_FILE");
            assert!(settings.iter().any(|(name, _)| *name == file), "{file}");
        }
    }
}

/// What `config check` prints with these variables, and its exit code.
async fn check(settings: &[(&str, &str)]) -> (String, String, Option<i32>) {
    let output = Process::run(&["config", "check"], settings).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[tokio::test]
async fn a_check_prints_what_is_in_effect_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (secret, file) = (dir.path().join("secret"), dir.path().join("shiori.toml"));
    fs::write(&secret, "hunter2-hunter2-hunter2-hunter2-x\n").unwrap();
    fs::write(&file, "max_attempts = 3\n").unwrap();
    let data = dir.path().join("data");
    let (out, err, code) = check(&[
        ("SHIORI_CONFIG", file.to_str().unwrap()),
        ("SHIORI_DATA_DIR", data.to_str().unwrap()),
        ("SHIORI_JWT_SECRET_FILE", secret.to_str().unwrap()),
        ("SHIORI_INTERNAL_TOKEN", "hunter2-hunter2-x"),
        ("SHIORI_LEASE_SECOND", "7"),
    ])
    .await;
    assert_eq!(code, Some(0), "{err}");
    let line = |name: &str| {
        let mut words = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        words.find(|words| words[0] == name).unwrap()[1..].join(" ")
    };
    assert_eq!(line("listen"), "default 127.0.0.1:8080");
    assert_eq!(line("max_attempts"), "file 3");
    assert_eq!(line("data_dir"), format!("environment {}", data.display()));
    assert_eq!(line("jwt_secret"), "file of its own (secret)");
    assert_eq!(line("internal_token"), "environment (secret)");
    assert!(err.contains("did you mean SHIORI_LEASE_SECONDS?"), "{err}");
    assert!(!out.contains("hunter2") && !err.contains("hunter2"), "{out}{err}");
    assert!(!data.exists());
}

#[tokio::test]
async fn a_check_with_an_error_fails() {
    for (settings, error) in [
        (&[("SHIORI_LEASE_SECONDS", "0")][..], "lease_seconds"),
        (&[("SHIORI_LEASE_SECONDS", "soon")], "lease-seconds"),
        (&[("SHIORI_JWT_SECRET", "hunter2")], "jwt_secret"),
        (&[("SHIORI_JWT_SECRET_FILE", "/nonexistent")], "jwt_secret_file"),
        (&[("SHIORI_CONFIG", "/nonexistent")], "/nonexistent"),
        (&[("SHIORI_WORKER", "none")], "worker"),
    ] {
        let (_, err, code) = check(settings).await;
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(error) && !err.contains("hunter2"), "{err}");
    }
}

#[tokio::test]
async fn the_secrets_of_the_compose_file_are_known() {
    let compose = fs::read_to_string(of_the_project("compose.yaml")).unwrap();
    let value = |name: &str| {
        let (_, rest) = compose.split_once(&format!("{name}:-")).unwrap();
        rest.split_once('}').unwrap().0.to_owned()
    };
    let [jwt_secret, internal_token] = ["SHIORI_JWT_SECRET", "SHIORI_INTERNAL_TOKEN"].map(value);
    let (_, err, code) = check(&[
        ("SHIORI_LISTEN", "0.0.0.0:8080"),
        ("SHIORI_JWT_SECRET", &jwt_secret),
        ("SHIORI_INTERNAL_TOKEN", &internal_token),
    ])
    .await;
    assert_eq!(code, Some(1), "{err}");
    for error in [
        "error: the setting jwt_secret is an example",
        "error: the setting internal_token is an example",
    ] {
        assert!(err.contains(error), "{err}");
    }
}

#[tokio::test]
async fn a_start_logs_what_a_check_finds() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("SHIORI_DATA_DIR", dir.path().to_str().unwrap()),
        ("SHIORI_MAX_ATTEMPT", "7"),
        ("SHIORI_WORKER", "none"),
        // The server ends after its first lines, because it cannot listen.
        ("SHIORI_LISTEN", "192.0.2.1:1"),
    ];
    let output = Process::run(&[], &settings).await;
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("did you mean SHIORI_MAX_ATTEMPTS?"), "{log}");
    assert!(log.contains("the setting worker is none"), "{log}");
}
