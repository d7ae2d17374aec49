//! What is wrong with a configuration, as `shiori-worker config check` prints it.

use reqwest::Url;

use super::{DEFAULT_SERVER_URL, Settings, SettingsError};
use crate::{
    emotion::EmotionEngine,
    process::{Findings, is_guessable, with_sources},
    summarize::openai::OpenAiConfig,
};

impl Settings {
    /// Invalid values, contradictions, and settings that are probably not intended. Reads the files of
    /// secrets, and changes and connects to nothing.
    pub(crate) fn check(&self) -> Findings {
        let mut findings = Findings::default();
        match self.clone().with_secrets_of_files() {
            Err(error) => findings.errors.push(with_sources(&error)),
            Ok(settings) => {
                settings.values(&mut findings.errors);
                settings.token(&mut findings.errors);
                settings.language_model(&mut findings);
                settings.emotions(&mut findings.warnings);
            }
        }
        findings
    }

    /// Values that are invalid by themselves, or missing.
    fn values(&self, errors: &mut Vec<String>) {
        let invalid: [Option<SettingsError>; 3] =
            [self.connections().err(), self.summarizer().err(), self.engine(None).err()];
        for error in invalid.iter().flatten().map(|error| with_sources(error)) {
            // Several parts use the same setting.
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
    }

    fn token(&self, errors: &mut Vec<String>) {
        let server = self.server_url.as_deref().unwrap_or(DEFAULT_SERVER_URL);
        if self.internal_token.as_ref().is_some_and(is_guessable) && !is_on_the_loopback(server) {
            errors.push(
                "the setting internal_token is an example or has fewer than 8 different characters, \
                 but server_url is outside the loopback; set it to a random text, e.g. of \
                 `openssl rand -hex 32`"
                    .to_owned(),
            );
        }
    }

    fn language_model(&self, findings: &mut Findings) {
        let has_key = self.openai_api_key.as_ref().is_some_and(|key| !key.reveal().is_empty());
        let base_url = self.openai_base_url.as_deref().filter(|url| !url.is_empty());
        if self.llm_model.as_deref().is_none_or(str::is_empty) {
            let without_effect = [
                ("openai_base_url", base_url.is_some()),
                ("openai_api_key", has_key),
                ("llm_timeout_seconds", self.llm_timeout_seconds.is_some()),
                ("llm_temperature", self.llm_temperature.is_some()),
                ("llm_input_tokens", self.llm_input_tokens.is_some()),
                ("llm_output_tokens", self.llm_output_tokens.is_some()),
                ("llm_ask_usage", self.llm_ask_usage.is_some()),
                ("llm_unmarked_thinking", self.llm_unmarked_thinking.is_some()),
                ("llm_requests_per_minute", self.llm_requests_per_minute.is_some()),
                ("llm_tokens_per_minute", self.llm_tokens_per_minute.is_some()),
                ("llm_fallback", self.llm_fallback.is_some()),
            ];
            for (name, _) in without_effect.iter().filter(|(_, set)| *set) {
                findings
                    .warnings
                    .push(format!("the setting {name} has no effect without llm_model"));
            }
            return;
        }
        let usual = OpenAiConfig::default().base_url;
        let base_url = base_url.unwrap_or(&usual);
        if base_url == usual && !has_key {
            findings.errors.push(format!(
                "the setting openai_api_key is required by {usual}; set it, or openai_base_url to a \
                 server that needs none"
            ));
        }
        if has_key && base_url.starts_with("http:") && !is_on_the_loopback(base_url) {
            findings.warnings.push(
                "the setting openai_api_key is sent without TLS, because openai_base_url is http"
                    .to_owned(),
            );
        }
    }

    fn emotions(&self, warnings: &mut Vec<String>) {
        if matches!(self.engine(None), Ok((EmotionEngine::Bert(_), _)) | Err(_)) {
            return;
        }
        let labels = self.emotion_labels.as_deref().is_some_and(|labels| !labels.is_empty());
        for (name, set) in
            [("emotion_labels", labels), ("emotion_threads", self.emotion_threads.is_some())]
        {
            if set {
                warnings
                    .push(format!("the setting {name} has no effect without a BERT emotion_model"));
            }
        }
    }
}

/// Whether the URL is that of a server on this machine.
fn is_on_the_loopback(url: &str) -> bool {
    let url = Url::parse(url).ok();
    match url.as_ref().and_then(Url::host_str) {
        Some(host) => {
            let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
        // Invalid URLs are errors of their own.
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn complete() -> Settings {
        Settings {
            internal_token: Some("0123456789abcdef".into()),
            redis_url: Some("redis://localhost".into()),
            ..Settings::default()
        }
    }

    #[test]
    fn a_complete_configuration_has_no_findings() {
        assert_eq!(complete().check(), Findings::default());
        let with_model = Settings {
            llm_model: Some("gemma3".to_owned()),
            openai_base_url: Some("http://localhost:11434/v1".to_owned()),
            ..complete()
        };
        assert_eq!(with_model.check(), Findings::default());
    }

    #[test]
    fn every_error_is_found_at_once_and_shows_no_value() {
        let settings = Settings {
            redis_url: Some("hunter2".into()),
            emotion_threads: Some(0),
            llm_model: Some("gemma3".to_owned()),
            ..complete()
        };
        let found = settings.check();
        for (error, name) in
            found.errors.iter().zip(["redis_url", "emotion_threads", "openai_api_key"])
        {
            assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
        }
        assert_eq!((found.errors.len(), found.warnings.len()), (3, 0), "{found:?}");
        let missing = Settings {
            redis_url_file: Some(PathBuf::from("/nonexistent")),
            redis_url: None,
            ..complete()
        };
        assert!(missing.check().errors[0].contains("redis_url_file"));
    }

    #[test]
    fn a_known_token_is_an_error_outside_the_loopback() {
        let errors = |server_url: &str| {
            let server_url = Some(server_url.to_owned());
            let internal_token = Some("only-for-trying-out".into());
            Settings { server_url, internal_token, ..complete() }.check().errors
        };
        for inside in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:8080"] {
            assert!(errors(inside).is_empty(), "{inside}");
        }
        for outside in ["http://10.0.0.7:8080", "https://diary.example"] {
            assert!(errors(outside)[0].contains("internal_token"), "{outside}");
        }
    }

    #[test]
    fn settings_without_an_effect_are_warnings() {
        let settings = Settings {
            openai_api_key: Some("hunter2".into()),
            emotion_threads: Some(2),
            ..complete()
        };
        let found = settings.check();
        assert!(found.errors.is_empty() && found.warnings.len() == 2, "{found:?}");
        assert!(found.warnings[0].contains("openai_api_key"), "{found:?}");
        assert!(found.warnings[1].contains("emotion_threads"), "{found:?}");
        let unencrypted = Settings {
            llm_model: Some("gemma3".to_owned()),
            openai_base_url: Some("http://model.example/v1".to_owned()),
            openai_api_key: Some("hunter2".into()),
            ..complete()
        };
        assert!(unencrypted.check().warnings[0].contains("without TLS"));
    }
}
