use std::{fmt, num::NonZeroU32, time::Duration};

use reqwest::{Url, header::HeaderValue};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::BreakerConfig;
use crate::Secret;

/// The minimum of [`OpenAiConfig::input_budget`], in tokens: enough for the instructions and seven
/// days with little text each.
pub const MIN_INPUT_BUDGET: u32 = 4_000;

/// Maximum characters of a model's name. The engine name that contains it must fit the server's limit
/// of 128.
const MAX_MODEL_CHARS: usize = 100;

/// The longest timeout that can be configured. It keeps deadlines within the range of the clock.
const MAX_TIMEOUT: Duration = Duration::from_hours(24);

/// The value of the `Authorization` header, marked as sensitive.
pub(super) fn bearer(key: &Secret) -> Option<HeaderValue> {
    if key.reveal().is_empty() {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.reveal())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The request field for the maximum length of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitName {
    /// `max_completion_tokens` for `api.openai.com`, whose newer models accept no other field, and
    /// `max_tokens` for other hosts.
    #[default]
    Auto,
    /// `max_tokens`, which nearly every other server supports.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

/// Whether the content of a response may begin with thinking that no marker opens, because the marker
/// is part of the prompt's template. Until the thinking ends, such a response looks like a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum UnmarkedThinking {
    /// Found out from the first complete response. Until then, nothing is shown of a text that is not
    /// clearly separated from thinking. `api.openai.com` is known to separate it.
    #[default]
    Detect,
    /// The model does not think, or marks or separates its thinking. A text is shown from its start.
    Never,
}

/// The settings of an [`OpenAiSummarizer`](super::OpenAiSummarizer). `Debug` does not show the key.
#[derive(Clone)]
pub struct OpenAiConfig {
    /// Base URL of the API, without `/chat/completions`. Default `https://api.openai.com/v1`. A query
    /// is kept; credentials are not allowed.
    pub base_url: String,
    /// Sent as a bearer token. Default none.
    pub api_key: Option<Secret>,
    /// The model's name, at most 100 characters. Default `gpt-4o-mini`.
    pub model: String,
    /// Sampling temperature, 0 to 2. Default 0.7. `None` sends no temperature, which reasoning models
    /// require.
    pub temperature: Option<f32>,
    /// Maximum tokens of the response. Default 1,000, which is enough for 500 Korean characters.
    /// Reasoning models need more.
    pub max_output_tokens: u32,
    /// The field in which `max_output_tokens` is sent. Default [`LimitName::Auto`].
    pub limit_name: LimitName,
    /// Maximum tokens of the whole prompt, estimated as one per two bytes, which is more than
    /// tokenisers count for Korean or English. Default 12,000, about 8,000 Korean syllables; at
    /// least [`MIN_INPUT_BUDGET`]. A longer week is shortened. Prompt and output together must fit
    /// the model's context: some local servers truncate prompts silently.
    pub input_budget: u32,
    /// Timeout for connecting. Default 5 s; at most 24 h, as all timeouts here.
    pub connect_timeout: Duration,
    /// Timeout for the first byte of the response, from the start of the request. Default 60 s.
    pub first_byte_timeout: Duration,
    /// Timeout for the whole request. Default 120 s.
    pub request_timeout: Duration,
    /// Maximum concurrent requests; others wait. Default 64.
    pub max_in_flight: usize,
    /// Maximum requests per minute; others wait. The burst is a sixth of it. Default no limit.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Maximum tokens per minute, of prompts (estimated as in
    /// [`input_budget`](Self::input_budget)) and of `max_output_tokens`; other requests wait. The
    /// burst is a sixth of it. Default no limit.
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Whether to request the token usage of streamed responses (`stream_options`). Default true; set
    /// to false for servers that reject unknown fields.
    pub ask_usage: bool,
    /// Whether a text may turn out to be thinking while it arrives. Default
    /// [`UnmarkedThinking::Detect`].
    pub unmarked_thinking: UnmarkedThinking,
    /// When requests to a failing provider are suspended.
    pub breaker: BreakerConfig,
}

impl Default for OpenAiConfig {
    fn default() -> Self {
        Self {
            base_url: "https://api.openai.com/v1".to_owned(),
            api_key: None,
            model: "gpt-4o-mini".to_owned(),
            temperature: Some(0.7),
            max_output_tokens: 1_000,
            limit_name: LimitName::Auto,
            input_budget: 12_000,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(120),
            max_in_flight: 64,
            requests_per_minute: None,
            tokens_per_minute: None,
            ask_usage: true,
            unmarked_thinking: UnmarkedThinking::default(),
            breaker: BreakerConfig::default(),
        }
    }
}

impl fmt::Debug for OpenAiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only the origin: the query may contain a key.
        let origin = Url::parse(&self.base_url).ok().map(|url| url.origin().ascii_serialization());
        f.debug_struct("OpenAiConfig")
            .field("origin", &origin)
            .field("api_key", &self.api_key)
            .field("model", &self.model)
            .field("temperature", &self.temperature)
            .field("max_output_tokens", &self.max_output_tokens)
            .field("limit_name", &self.limit_name)
            .field("input_budget", &self.input_budget)
            .field("connect_timeout", &self.connect_timeout)
            .field("first_byte_timeout", &self.first_byte_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("max_in_flight", &self.max_in_flight)
            .field("requests_per_minute", &self.requests_per_minute)
            .field("tokens_per_minute", &self.tokens_per_minute)
            .field("ask_usage", &self.ask_usage)
            .field("unmarked_thinking", &self.unmarked_thinking)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}

/// An invalid configuration. The error does not show the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenAiConfigError {
    /// The base URL is not an `http` or `https` URL, or contains a user name or password.
    #[error("the language model's base URL must be http or https, without credentials")]
    InvalidBaseUrl,
    /// The key is empty, or contains characters that are not allowed in a header, such as a line feed.
    #[error("the language model's API key is invalid")]
    InvalidApiKey,
    /// The model's name is empty, too long, or contains control characters.
    #[error("the language model's name must have 1 to 100 printable characters")]
    InvalidModel,
    /// A number is out of its range.
    #[error("{field} of the language model is out of range")]
    OutOfRange {
        /// The field of [`OpenAiConfig`].
        field: &'static str,
    },
    /// The HTTP client could not be created, for example because the system has no certificates.
    #[error("could not create an HTTP client")]
    NoClient,
}

impl OpenAiConfigError {
    /// A stable name for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InvalidBaseUrl => "invalid_base_url",
            Self::InvalidApiKey => "invalid_api_key",
            Self::InvalidModel => "invalid_model",
            Self::OutOfRange { .. } => "out_of_range",
            Self::NoClient => "no_client",
        }
    }
}

impl OpenAiConfig {
    /// Validates the configuration and returns the URL of the chat completions.
    pub(super) fn check(&self) -> Result<Url, OpenAiConfigError> {
        let mut url = Url::parse(&self.base_url).map_err(|_| OpenAiConfigError::InvalidBaseUrl)?;
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        if !matches!(url.scheme(), "http" | "https") || has_credentials {
            return Err(OpenAiConfigError::InvalidBaseUrl);
        }
        url.set_fragment(None);
        url.set_path(&format!("{}/chat/completions", url.path().trim_end_matches('/')));
        if self.api_key.as_ref().is_some_and(|key| bearer(key).is_none()) {
            return Err(OpenAiConfigError::InvalidApiKey);
        }
        let chars = self.model.chars().count();
        let blank = self.model.trim().is_empty() || self.model.contains(char::is_control);
        if blank || chars > MAX_MODEL_CHARS {
            return Err(OpenAiConfigError::InvalidModel);
        }
        let is_timeout = |timeout: Duration| !timeout.is_zero() && timeout <= MAX_TIMEOUT;
        let in_range = [
            ("temperature", self.temperature.is_none_or(|t| (0.0..=2.0).contains(&t))),
            ("max_output_tokens", self.max_output_tokens > 0),
            ("input_budget", self.input_budget >= MIN_INPUT_BUDGET),
            ("connect_timeout", is_timeout(self.connect_timeout)),
            ("first_byte_timeout", is_timeout(self.first_byte_timeout)),
            ("request_timeout", is_timeout(self.request_timeout)),
            ("max_in_flight", (1..=Semaphore::MAX_PERMITS).contains(&self.max_in_flight)),
            ("breaker.failures", self.breaker.failures > 0),
            ("breaker.open_for", is_timeout(self.breaker.open_for)),
        ];
        match in_range.into_iter().find(|(_, holds)| !holds) {
            Some((field, _)) => Err(OpenAiConfigError::OutOfRange { field }),
            None => Ok(url),
        }
    }

    /// The setting for this URL.
    pub(super) fn unmarked_thinking(&self, url: &Url) -> UnmarkedThinking {
        if is_openai(url) { UnmarkedThinking::Never } else { self.unmarked_thinking }
    }

    /// Whether the limit is sent as `max_completion_tokens`.
    pub(super) fn uses_max_completion_tokens(&self, url: &Url) -> bool {
        match self.limit_name {
            LimitName::Auto => is_openai(url),
            LimitName::MaxTokens => false,
            LimitName::MaxCompletionTokens => true,
        }
    }
}

/// Whether the provider is `OpenAI` itself.
fn is_openai(url: &Url) -> bool {
    url.host_str() == Some("api.openai.com")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_appended_to_the_base_url() {
        for (base, url) in [
            ("http://localhost:11434/v1", "http://localhost:11434/v1/chat/completions"),
            ("http://localhost:11434/v1/", "http://localhost:11434/v1/chat/completions"),
            ("https://a.example", "https://a.example/chat/completions"),
            ("https://a.example/x?v=1#y", "https://a.example/x/chat/completions?v=1"),
        ] {
            let config = OpenAiConfig { base_url: base.to_owned(), ..OpenAiConfig::default() };
            assert_eq!(config.check().map(String::from), Ok(url.to_owned()));
        }
    }

    #[test]
    fn invalid_values_are_rejected() {
        type Change = fn(&mut OpenAiConfig);
        let changes: [(Change, &str); 11] = [
            (|c| c.base_url = "localhost:11434".to_owned(), "invalid_base_url"),
            (|c| c.base_url = "https://me:secret@a.example".to_owned(), "invalid_base_url"),
            (|c| c.api_key = Some("se\ncret".into()), "invalid_api_key"),
            (|c| c.api_key = Some("".into()), "invalid_api_key"),
            (|c| c.model = "m".repeat(101), "invalid_model"),
            (|c| c.temperature = Some(f32::NAN), "out_of_range"),
            (|c| c.input_budget = MIN_INPUT_BUDGET - 1, "out_of_range"),
            (|c| c.request_timeout = Duration::ZERO, "out_of_range"),
            (|c| c.first_byte_timeout = Duration::MAX, "out_of_range"),
            (|c| c.breaker.open_for = Duration::MAX, "out_of_range"),
            (|c| c.max_in_flight = 0, "out_of_range"),
        ];
        for (change, name) in changes {
            let mut config = OpenAiConfig::default();
            change(&mut config);
            let error = config.check().expect_err(name);
            assert_eq!(error.name(), name);
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let config = OpenAiConfig {
            base_url: "https://a.example/v1?key=hidden-in-query".to_owned(),
            api_key: Some("hidden-key".into()),
            ..OpenAiConfig::default()
        };
        let shown = format!("{config:?}");
        assert!(shown.contains("https://a.example") && !shown.contains("hidden"), "{shown}");
    }
}
