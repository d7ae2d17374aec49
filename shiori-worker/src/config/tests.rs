use super::*;

fn complete() -> Settings {
    Settings {
        internal_token: Some("a token of the tests".into()),
        redis_url: Some("redis://:hunter2@localhost".into()),
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_worker_can_be_created_from_the_required_settings() {
    assert!(complete().into_worker().await.is_ok());
    let with_model = Settings {
        llm_model: Some("gemma3".to_owned()),
        openai_base_url: Some("http://localhost:11434/v1".to_owned()),
        ..complete()
    };
    assert!(format!("{:?}", with_model.into_worker().await).contains("gemma3"));
}

#[test]
fn the_file_configures_the_language_model() {
    let config = |file: &str| {
        let settings: Settings = toml::from_str(file).expect("the file is valid");
        settings.openai("gemma3").expect("the settings can be used")
    };
    let defaults = config("");
    assert_eq!((defaults.temperature, defaults.max_in_flight), (Some(0.7), 64));
    let changed = config(
        "llm_temperature = 1\nllm_input_tokens = 4000\nllm_output_tokens = 5000\n\
         llm_ask_usage = false\nllm_timeout_seconds = 30\nllm_unmarked_thinking = 'never'",
    );
    assert_eq!(defaults.unmarked_thinking, UnmarkedThinking::Detect);
    assert_eq!(changed.unmarked_thinking, UnmarkedThinking::Never);
    assert_eq!((changed.temperature, changed.ask_usage), (Some(1.0), false));
    assert_eq!((changed.input_budget, changed.max_output_tokens), (4000, 5000));
    assert_eq!(changed.request_timeout, Duration::from_secs(30));
    assert_eq!(changed.first_byte_timeout, Duration::from_secs(30));
    assert_eq!(config("llm_temperature = 'provider'").temperature, None);
    assert_eq!(config("llm_temperature = 0.25").temperature, Some(0.25));
    for temperature in ["3", "-0.1", "nan", "'hot'", "true", "[]"] {
        let file = format!("llm_temperature = {temperature}");
        assert!(toml::from_str::<Settings>(&file).is_err(), "{temperature}");
    }
}

#[tokio::test]
async fn errors_name_a_missing_or_invalid_setting_without_its_value() {
    let cases = [
        (Settings { internal_token: None, ..complete() }, "internal_token"),
        (Settings { redis_url: None, ..complete() }, "redis_url"),
        (Settings { redis_url: Some("hunter2".into()), ..complete() }, "redis_url"),
        (Settings { server_url: Some("ftp://hunter2".into()), ..complete() }, "server_url"),
        (Settings { worker_concurrency: Some(0), ..complete() }, "worker_concurrency"),
        (Settings { drain_seconds: Some(10_000), ..complete() }, "drain_seconds"),
        (Settings { emotion_model: Some("gpt".to_owned()), ..complete() }, "emotion_model"),
        (Settings { emotion_threads: Some(0), ..complete() }, "emotion_threads"),
        (
            Settings {
                llm_model: Some("gemma3".to_owned()),
                llm_input_tokens: Some(10),
                ..complete()
            },
            "llm_input_tokens",
        ),
        (Settings { worker_id: Some(String::new()), ..complete() }, "worker_id"),
    ];
    for (settings, name) in cases {
        assert!(!format!("{settings:?}").contains("hunter2") || name == "server_url");
        let error = settings.into_worker().await.expect_err(name);
        let text = format!("{error} {error:?}");
        assert!(text.contains(name) && !text.contains("hunter2"), "{text}");
    }
}
