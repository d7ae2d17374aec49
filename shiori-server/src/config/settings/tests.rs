use std::{fs, time::Duration};

use shiori_worker::{Secret, process::Findings};

use super::*;
use crate::{
    config::{ConnectionPolicy, Limits, SignUps},
    store::DiaryQuota,
    summary::SummaryPolicy,
};

#[test]
fn flags_override_the_file_and_the_file_overrides_defaults() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("shiori.toml");
    fs::write(
        &path,
        "lease_seconds = 7\nmax_attempts = 2\nllm_patience = \"20m\"\nworker = \"none\"\n\
         cors_origins = [\"https://app.example.com\", \"http://localhost:5173\"]\n",
    )
    .expect("written");
    let flags = Settings {
        lease_seconds: Some(9),
        data_dir: Some(dir.path().join("data")),
        ..Settings::default()
    };
    let settings = flags.or(Settings::from_file(&path).expect("read"));
    let config = settings.into_config().expect("valid");
    assert_eq!(config.summaries.lease, Duration::from_secs(9));
    assert_eq!(config.summaries.max_attempts, 2);
    assert_eq!(config.summaries.required_days, 7);
    assert_eq!(config.summaries.llm_patience.get(), Duration::from_secs(20 * 60));
    assert_eq!(config.worker, WorkerMode::None);
    let origins: Vec<_> = config.cors_origins.iter().map(Origin::as_str).collect();
    assert_eq!(origins, ["https://app.example.com", "http://localhost:5173"]);
}

#[test]
fn origins_are_separated_by_commas() {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }
    let origins = |value| {
        let parsed = <Cli as clap::Parser>::try_parse_from(["x", "--cors-origins", value]);
        parsed.map(|cli| cli.settings.cors_origins.unwrap_or_default())
    };
    let found = origins("https://a.example,http://b.example:81").expect("valid");
    let found: Vec<_> = found.iter().map(Origin::as_str).collect();
    assert_eq!(found, ["https://a.example", "http://b.example:81"]);
    for invalid in ["*", "null", "a.example", "https://a.example/", "https://a.example,,"] {
        assert!(origins(invalid).is_err(), "{invalid}");
    }
}

#[test]
fn limits_of_connections_are_set_within_their_range() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = |change: fn(&mut Settings)| {
        let data_dir = Some(dir.path().join("data"));
        let mut settings = Settings { data_dir, ..Settings::default() };
        change(&mut settings);
        settings.into_config().map(|config| config.connections)
    };
    assert_eq!(settings(|_| {}).expect("valid"), ConnectionPolicy::default());
    let set = settings(|settings| {
        settings.body_timeout_seconds = Some(7);
        settings.max_connections = Some(8);
    });
    let expected = ConnectionPolicy {
        body_timeout: Duration::from_secs(7),
        max_connections: 8,
        ..ConnectionPolicy::default()
    };
    assert_eq!(set.expect("valid"), expected);
    for (name, change) in [
        (
            "head_timeout_seconds",
            (|settings| settings.head_timeout_seconds = Some(0)) as fn(&mut Settings),
        ),
        ("unread_timeout_seconds", |settings| settings.unread_timeout_seconds = Some(3601)),
        ("max_connections", |settings| settings.max_connections = Some(0)),
        ("max_head_bytes", |settings| settings.max_head_bytes = Some(8191)),
        ("max_streams", |settings| settings.max_streams = Some(0)),
    ] {
        let error = settings(change).expect_err("out of range").to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn a_quota_of_zero_is_no_limit() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = |quota: Option<u32>| {
        let settings = Settings {
            data_dir: Some(dir.path().join("data")),
            max_summaries_per_day: quota,
            max_diaries: quota.map(u64::from),
            max_diary_bytes: quota.map(u64::from),
            ..Settings::default()
        };
        let config = settings.into_config().expect("valid");
        (config.summaries.max_per_day, config.limits.diaries)
    };
    let default = (SummaryPolicy::default().max_per_day, Limits::default().diaries);
    assert_eq!(config(None), default);
    assert_eq!(config(Some(0)), (None, DiaryQuota { diaries: None, bytes: None }));
    assert_eq!(config(Some(7)), (Some(7), DiaryQuota { diaries: Some(7), bytes: Some(7) }));
}

#[test]
fn a_history_of_zero_revisions_or_days_is_off() {
    let dir = tempfile::tempdir().expect("a directory");
    let history = |max_revisions, revision_days| {
        let settings = Settings {
            data_dir: Some(dir.path().join("data")),
            max_revisions,
            revision_days,
            ..Settings::default()
        };
        settings.into_config().map(|config| config.limits.history)
    };
    let default = Limits::default().history;
    assert_eq!(history(None, None).expect("valid"), default);
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    let set = history(Some(7), Some(7)).expect("valid");
    assert_eq!((set.per_date, set.max_age, set.is_on()), (7, week, true));
    assert!(!history(Some(0), None).expect("valid").is_on());
    assert!(!history(None, Some(0)).expect("valid").is_on());
    for (revisions, days, name) in
        [(Some(1001), None, "max_revisions"), (None, Some(3651), "revision_days")]
    {
        let error = history(revisions, days).expect_err("out of range").to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn with_redis_secrets_are_required_and_the_default_is_no_worker() {
    let shared = || Settings {
        redis_url: Some("redis://localhost".into()),
        jwt_secret: Some("a secret of thirty-two characters".into()),
        internal_token: Some("sixteen letters!".into()),
        data_dir: Some("/nonexistent/and-not-made".into()),
        ..Settings::default()
    };
    let config = shared().into_config().expect("valid");
    assert_eq!(config.worker, WorkerMode::None);
    let with_worker = Settings { worker: Some(WorkerMode::InProcess), ..shared() };
    assert_eq!(with_worker.into_config().expect("valid").worker, WorkerMode::InProcess);
    for without in
        [Settings { jwt_secret: None, ..shared() }, Settings { internal_token: None, ..shared() }]
    {
        assert!(matches!(without.into_config(), Err(ConfigError::Required { .. })));
    }
}

#[test]
fn sign_ups_are_open_closed_or_by_invitation() {
    let dir = tempfile::tempdir().expect("a directory");
    let policy = |signup, codes: Option<&[&str]>| {
        let settings = Settings {
            data_dir: Some(dir.path().join("data")),
            signup,
            invitation_codes: codes
                .map(|codes| codes.iter().map(|code| Secret::from(*code)).collect()),
            ..Settings::default()
        };
        settings.into_config().map(|config| config.sign_ups.who)
    };
    assert!(matches!(policy(None, None), Ok(SignUps::Open)));
    assert!(matches!(policy(Some(SignUpMode::Closed), None), Ok(SignUps::Closed)));
    let invited = policy(Some(SignUpMode::Invitation), Some(&["spring-2026", "autumn-2026"]));
    assert!(matches!(invited, Ok(SignUps::Invited(codes)) if codes.len() == 2));
    for (signup, codes) in [
        (Some(SignUpMode::Invitation), None),
        (Some(SignUpMode::Open), Some(&["spring-2026"][..])),
        (None, Some(&["spring-2026"][..])),
        (Some(SignUpMode::Invitation), Some(&["short"][..])),
    ] {
        let error = policy(signup, codes).expect_err("invalid").to_string();
        assert!(!error.contains("short") && !error.contains("spring"), "{error}");
    }
}

#[test]
fn errors_name_the_setting_and_do_not_show_its_value() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("shiori.toml");
    fs::write(&path, "jwt_secrets = \"hunter2\"\n").expect("written");
    let error = Settings::from_file(&path).expect_err("unknown").to_string();
    assert!(error.contains("jwt_secrets") && !error.contains("hunter2"), "{error}");
    let settings = Settings {
        jwt_secret: Some("hunter2".into()),
        data_dir: Some(dir.path().join("data")),
        ..Settings::default()
    };
    assert!(!format!("{settings:?}").contains("hunter2"));
    let shared =
        Settings { redis_url: Some("redis://:hunter2@host".into()), ..Settings::default() };
    let error = shared.into_config().expect_err("a missing secret").to_string();
    assert!(error.contains("jwt_secret") && !error.contains("hunter2"), "{error}");
    let error = settings.into_config().expect_err("short").to_string();
    assert!(error.contains("jwt_secret") && !error.contains("hunter2"), "{error}");
}

/// The settings of a server of the distributed profile behind a proxy, without a finding.
fn distributed() -> Settings {
    Settings {
        listen: Some(SocketAddr::from(([10, 0, 0, 7], 8080))),
        internal_listen: Some(SocketAddr::from(([10, 0, 0, 7], 8081))),
        database_url: Some("mysql://shiori:hunter2@db/shiori".into()),
        mongodb_url: Some("mongodb://db/shiori".into()),
        redis_url: Some("redis://:hunter2@db".into()),
        jwt_secret: Some("0123456789abcdef0123456789abcdef".into()),
        internal_token: Some("fedcba9876543210".into()),
        secure_cookies: Some(true),
        cors_origins: Some(vec!["https://app.example.com".parse().expect("an origin")]),
        ..Settings::default()
    }
}

#[test]
fn a_consistent_configuration_has_no_findings() {
    assert_eq!(distributed().check(), Findings::default());
    assert_eq!(Settings::default().check(), Findings::default());
}

#[test]
fn contradictions_are_errors_that_name_their_settings() {
    type Change = fn(&mut Settings);
    let changes: [(Change, &str); 13] = [
        (|s| s.jwt_secret = Some("x".repeat(40).into()), "jwt_secret"),
        (|s| s.internal_token = Some("only-for-trying-out".into()), "internal_token"),
        (|s| s.internal_token = s.jwt_secret.clone(), "must differ"),
        (|s| s.secure_cookies = None, "https://app.example.com"),
        (|s| s.mongodb_url = None, "not mongodb_url"),
        (|s| s.database_url = None, "not a MySQL or MariaDB in database_url"),
        (|s| (s.mongodb_url, s.database_url) = (None, None), "redis_url is set"),
        (|s| s.database_url = Some("postgres://hunter2".into()), "sqlite, mysql, mariadb"),
        (|s| s.redis_url = None, "not redis_url"),
        (|s| s.internal_listen = s.listen, "listen and internal_listen"),
        (|s| s.lease_seconds = Some(0), "lease_seconds"),
        (|s| s.jwt_secret = None, "jwt_secret is required"),
        (|s| s.jwt_secret_file = Some("/nonexistent".into()), "jwt_secret_file"),
    ];
    for (change, text) in changes {
        let mut settings = distributed();
        change(&mut settings);
        let errors = settings.check().errors;
        assert!(errors.iter().any(|error| error.contains(text)), "{text}: {errors:?}");
        assert!(!format!("{errors:?}").contains("hunter2"), "{errors:?}");
    }
    let several = Settings { max_requests: Some(0), max_streams: Some(0), ..distributed() };
    assert_eq!(several.check().errors.len(), 2);
}

#[test]
fn guessable_secrets_are_allowed_on_the_loopback() {
    let secrets = Settings {
        jwt_secret: Some("x".repeat(32).into()),
        internal_token: Some("y".repeat(16).into()),
        ..Settings::default()
    };
    assert_eq!(secrets.check(), Findings::default());
}

#[test]
fn limits_that_a_proxy_shares_are_warnings() {
    let proxies = Some(vec!["10.0.0.0/8".parse().expect("a network")]);
    let behind = Settings { trusted_proxies: proxies, ..distributed() };
    let found = behind.check();
    assert!(found.errors.is_empty(), "{found:?}");
    assert!(found.warnings[0].contains("max_connections_per_address"), "{found:?}");
    assert!(found.warnings[1].contains("max_requests_per_address"), "{found:?}");
    let public = Settings { internal_listen: None, ..distributed() };
    assert!(public.check().warnings[0].contains("internal_listen"));
}

#[test]
fn secrets_and_invitation_codes_are_read_from_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("written");
        Some(path)
    };
    let settings = Settings {
        jwt_secret_file: path("jwt", "0123456789abcdef0123456789abcdef\n"),
        internal_token_file: path("internal", "fedcba9876543210\r\n"),
        signup: Some(SignUpMode::Invitation),
        invitation_codes_file: path("codes", "spring-2026\nautumn-2026, winter-2026\n"),
        ..Settings::default()
    };
    let config = settings.clone().into_config().expect("valid");
    assert_eq!(config.jwt_secret.reveal(), "0123456789abcdef0123456789abcdef");
    assert_eq!(config.internal_token.reveal(), "fedcba9876543210");
    assert!(matches!(config.sign_ups.who, SignUps::Invited(codes) if codes.len() == 3));
    let both = Settings { jwt_secret: Some("hunter2".into()), ..settings };
    let error = both.into_config().expect_err("both").to_string();
    assert!(error.contains("jwt_secret and jwt_secret_file"), "{error}");
}
