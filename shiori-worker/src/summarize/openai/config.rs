use std::{fmt, num::NonZeroU32, time::Duration};

use reqwest::{Url, header::HeaderValue};
use tokio::sync::Semaphore;

use super::BreakerConfig;
use crate::Secret;

/// The fewest tokens that [`OpenAiConfig::input_budget`] may be: the instructions and seven days
/// with little text each fit into them.
pub const MIN_INPUT_BUDGET: u32 = 4_000;

/// Characters of a model's name; with what is put around it, the server takes it as an engine.
const MAX_MODEL_CHARS: usize = 100;

/// The key as a header's value, which shows itself nowhere either.
pub(super) fn bearer(key: &Secret) -> Option<HeaderValue> {
    if key.reveal().is_empty() {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.reveal())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Under which name the provider is told how long an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitName {
    /// `max_completion_tokens` at `api.openai.com`, whose newer models know no other, and
    /// `max_tokens` elsewhere.
    #[default]
    Auto,
    /// `max_tokens`, which nearly every other server knows.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

/// Where the language model is, and how it is asked. `Debug` shows no key.
#[derive(Clone)]
pub struct OpenAiConfig {
    /// Where the API is, up to and without `/chat/completions`. Default
    /// `https://api.openai.com/v1`. It may have a query, which is kept, but no credentials.
    pub base_url: String,
    /// Sent as a bearer token. Default none, as local servers need none.
    pub api_key: Option<Secret>,
    /// The model's name, at most 100 characters. Default `gpt-4o-mini`.
    pub model: String,
    /// How freely the model writes, 0 to 2. Default 0.7; `None` leaves it to the provider, as
    /// models that reason demand.
    pub temperature: Option<f32>,
    /// Tokens that the model may write. Default 1,000: 500 Korean characters and some air. Models
    /// that reason need more.
    pub max_output_tokens: u32,
    /// How the provider calls that number. Default [`LimitName::Auto`].
    pub limit_name: LimitName,
    /// Tokens of the whole prompt, counted as one for every two bytes, which is more than
    /// tokenisers make of Korean or English. Default 12,000, some 8,000 Korean syllables; at
    /// least [`MIN_INPUT_BUDGET`]. A longer week is shortened to it. It must not be more than the
    /// model's context less the output: some local servers cut what is too long silently.
    pub input_budget: u32,
    /// How long connecting may take. Default 5 s.
    pub connect_timeout: Duration,
    /// How long the first byte of the answer may take, from the request on. Default 60 s.
    pub first_byte_timeout: Duration,
    /// How long a request may take in total. Default 120 s.
    pub request_timeout: Duration,
    /// Requests that are under way at once; others wait. Default 64.
    pub max_in_flight: usize,
    /// Requests a minute; others wait. A sixth of them may come at once. Default no limit.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute, of prompts and of what answers may be, as
    /// [`input_budget`](Self::input_budget) counts them; requests beyond wait. A sixth of them may
    /// come at once. Default no limit.
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Whether the provider is asked to tell the tokens that a streamed answer took
    /// (`stream_options`). Default yes; servers that refuse fields they do not know need a no.
    pub ask_usage: bool,
    /// When a provider that fails is left alone for a while.
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
            breaker: BreakerConfig::default(),
        }
    }
}

impl fmt::Debug for OpenAiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The base URL may have a key in its query, or be no URL at all.
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
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}

/// A summariser cannot be made of this. It shows no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenAiConfigError {
    /// The base URL is not an `http` or `https` URL, or holds a user name or password.
    #[error("the language model's base URL must be http or https, and hold no credentials")]
    InvalidBaseUrl,
    /// The key is empty, or has characters that no header may have, such as a line feed.
    #[error("the language model's API key cannot be sent")]
    InvalidApiKey,
    /// The model's name is empty or too long, or has control characters.
    #[error("the language model's name must have 1 to 100 printable characters")]
    InvalidModel,
    /// A number is out of its range.
    #[error("{field} of the language model is out of range")]
    OutOfRange {
        /// The field of [`OpenAiConfig`].
        field: &'static str,
    },
    /// The system gives no HTTP client, for instance because it has no certificates.
    #[error("no HTTP client can be made")]
    NoClient,
}

impl OpenAiConfigError {
    /// A name for programs that stays the same.
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
    /// The URL of the chat completions, and everything else checked.
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
        let in_range = [
            ("temperature", self.temperature.is_none_or(|t| (0.0..=2.0).contains(&t))),
            ("max_output_tokens", self.max_output_tokens > 0),
            ("input_budget", self.input_budget >= MIN_INPUT_BUDGET),
            ("connect_timeout", !self.connect_timeout.is_zero()),
            ("first_byte_timeout", !self.first_byte_timeout.is_zero()),
            ("request_timeout", !self.request_timeout.is_zero()),
            ("max_in_flight", (1..=Semaphore::MAX_PERMITS).contains(&self.max_in_flight)),
            ("breaker.failures", self.breaker.failures > 0),
            ("breaker.open_for", !self.breaker.open_for.is_zero()),
        ];
        match in_range.into_iter().find(|(_, holds)| !holds) {
            Some((field, _)) => Err(OpenAiConfigError::OutOfRange { field }),
            None => Ok(url),
        }
    }

    /// Whether the limit goes by the name that newer models of `OpenAI` demand.
    pub(super) fn says_max_completion_tokens(&self, url: &Url) -> bool {
        match self.limit_name {
            LimitName::Auto => url.host_str() == Some("api.openai.com"),
            LimitName::MaxTokens => false,
            LimitName::MaxCompletionTokens => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_goes_behind_the_base() {
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
    fn what_cannot_be_used_is_refused_by_name() {
        type Change = fn(&mut OpenAiConfig);
        let changes: [(Change, &str); 9] = [
            (|c| c.base_url = "localhost:11434".to_owned(), "invalid_base_url"),
            (|c| c.base_url = "https://me:secret@a.example".to_owned(), "invalid_base_url"),
            (|c| c.api_key = Some("se\ncret".into()), "invalid_api_key"),
            (|c| c.api_key = Some("".into()), "invalid_api_key"),
            (|c| c.model = "m".repeat(101), "invalid_model"),
            (|c| c.temperature = Some(f32::NAN), "out_of_range"),
            (|c| c.input_budget = MIN_INPUT_BUDGET - 1, "out_of_range"),
            (|c| c.request_timeout = Duration::ZERO, "out_of_range"),
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
    fn debug_shows_no_key() {
        let config = OpenAiConfig {
            base_url: "https://a.example/v1?key=hidden-in-query".to_owned(),
            api_key: Some("hidden-key".into()),
            ..OpenAiConfig::default()
        };
        let shown = format!("{config:?}");
        assert!(shown.contains("https://a.example") && !shown.contains("hidden"), "{shown}");
    }
}
