//! A summariser that asks any endpoint which speaks `OpenAI`'s chat completions: `OpenAI` itself,
//! vLLM, Ollama, LM Studio, or a gateway.

mod answer;
mod breaker;
mod config;
mod failure;
mod limit;
mod prompt;
mod shorten;

use std::{fmt, sync::Arc};

use async_openai::types::chat::{
    ChatCompletionRequestSystemMessage, ChatCompletionRequestUserMessage,
    ChatCompletionStreamOptions, CreateChatCompletionRequest,
};
use async_trait::async_trait;
use reqwest::{
    Response, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};
use shiori_sdk::FailureKind;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use uuid::Uuid;

use self::{answer::Answer, breaker::Breaker, failure::Failure, limit::Limits, prompt::Prompt};
use super::{SummarizeError, Summarizer, WeekText, Written};
use crate::{Clock, SystemClock, protocol::TokenUsage};

pub use breaker::BreakerConfig;
pub use config::{LimitName, MIN_INPUT_BUDGET, OpenAiConfig, OpenAiConfigError};
pub use prompt::PROMPT_VERSION;

/// Bytes of a refusal that are looked at for its code.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// Writes reflections with a language model behind the chat completions API.
///
/// The week goes to the model as data between marks that no diary can know. What does not fit the
/// budget is shortened, the longest days first, and the model is told which. Each call is one
/// request: when to try again is the server's to decide. One summariser should serve all jobs of
/// a process, for they share its bound on requests and its memory of a provider that fails.
///
/// The requests follow no redirect and use no proxy of the environment.
pub struct OpenAiSummarizer {
    config: OpenAiConfig,
    engine: String,
    http: reqwest::Client,
    url: Url,
    in_flight: Semaphore,
    limits: Limits,
    breaker: Breaker,
    clock: Arc<dyn Clock>,
}

impl OpenAiSummarizer {
    /// A summariser that asks as configured. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`OpenAiConfigError`] when the configuration cannot be used.
    pub fn new(config: OpenAiConfig) -> Result<Self, OpenAiConfigError> {
        let url = config.check()?;
        let bearer = config.api_key.as_ref().and_then(config::bearer);
        let headers = bearer.map(|bearer| (AUTHORIZATION, bearer));
        let http = reqwest::Client::builder()
            .user_agent(concat!("shiori-worker/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter(headers))
            .connect_timeout(config.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|_| OpenAiConfigError::NoClient)?;
        Ok(Self {
            engine: format!("openai:{}/{PROMPT_VERSION}", config.model),
            in_flight: Semaphore::new(config.max_in_flight),
            limits: Limits::new(config.requests_per_minute, config.tokens_per_minute),
            breaker: Breaker::new(config.breaker.clone()),
            clock: Arc::new(SystemClock),
            http,
            url,
            config,
        })
    }

    /// Takes the time from this clock, where a provider says until when to wait.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Asks once, and reads the answer. `async-openai` gives the request's types only: its client
    /// retries by itself, keeps `Retry-After` to itself, bounds no answer, and logs those that it
    /// cannot read.
    async fn ask(
        &self,
        request: &CreateChatCompletionRequest,
        progress: &(dyn Fn(u32) + Send + Sync),
    ) -> Result<(String, Option<TokenUsage>), Failure> {
        let first_byte = Instant::now() + self.config.first_byte_timeout;
        let sent = self.http.post(self.url.clone()).json(request).send();
        let response = timeout_at(first_byte, sent).await.map_err(|_| Failure::timed_out())?;
        let mut response = response.map_err(|error| lost(&error, Failure::unreachable()))?;
        let status = response.status();
        if !status.is_success() {
            let told = response.headers().get(RETRY_AFTER).and_then(|told| told.to_str().ok());
            let wait = told.and_then(|told| failure::retry_after(told, self.clock.now()));
            return Err(Failure::of_status(status, &refusal(response).await, wait));
        }
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut answer = Answer::new(content_type);
        let mut next =
            timeout_at(first_byte, response.chunk()).await.map_err(|_| Failure::timed_out())?;
        loop {
            match next {
                Ok(Some(bytes)) => answer.push(&bytes)?,
                Ok(None) => break,
                // The model had said its last word.
                Err(_) if answer.is_finished() => break,
                Err(error) => return Err(lost(&error, Failure::broken_off())),
            }
            progress(answer.chars());
            if answer.is_done() {
                break;
            }
            next = response.chunk().await;
        }
        answer.reflection()
    }

    /// Streamed, for progress and for a first byte that comes early; a server that answers in one
    /// piece all the same is understood.
    fn request(&self, prompt: Prompt) -> CreateChatCompletionRequest {
        let mut request = CreateChatCompletionRequest {
            model: self.config.model.clone(),
            messages: vec![
                ChatCompletionRequestSystemMessage::from(prompt.system).into(),
                ChatCompletionRequestUserMessage::from(prompt.user).into(),
            ],
            temperature: self.config.temperature,
            stream: Some(true),
            stream_options: self.config.ask_usage.then_some(ChatCompletionStreamOptions {
                include_usage: Some(true),
                include_obfuscation: None,
            }),
            ..CreateChatCompletionRequest::default()
        };
        let limit = Some(self.config.max_output_tokens);
        if self.config.says_max_completion_tokens(&self.url) {
            request.max_completion_tokens = limit;
        } else {
            // Servers other than the one that deprecated it know no other name.
            #[allow(deprecated)]
            let field = &mut request.max_tokens;
            *field = limit;
        }
        request
    }
}

#[async_trait]
impl Summarizer for OpenAiSummarizer {
    fn engine(&self) -> &str {
        &self.engine
    }

    async fn summarize(
        &self,
        week: WeekText,
        progress: &(dyn Fn(u32) + Send + Sync),
    ) -> Result<Written, SummarizeError> {
        let fault = |kind, message: &str| SummarizeError {
            kind,
            message: message.to_owned(),
            retryable: false,
            retry_after: None,
        };
        if !has_text(&week) {
            return Err(fault(FailureKind::NoText, "the week's diaries hold no text"));
        }
        // Those who would be refused must not wait behind those who hang.
        let refused_for = self.breaker.refused_for(Instant::now());
        if !refused_for.is_zero() {
            return Err(Failure::left_alone(refused_for));
        }
        let internal = |message| fault(FailureKind::Internal, message);
        // Each of those under way ends within its timeout, so this wait does, too.
        let permit = self.in_flight.acquire().await;
        let _permit = permit.map_err(|_| internal("the summariser has ended"))?;

        let days = week.days.len();
        let budget = self.config.input_budget;
        let boundary = Uuid::new_v4().simple().to_string();
        let prompt =
            tokio::task::spawn_blocking(move || Prompt::of(&week, budget, &boundary)).await;
        let prompt = prompt.map_err(|_| internal("the prompt's making panicked"))?;
        let (tokens, truncated) = (prompt.tokens(), prompt.shortened.clone());
        let wanted = u32::try_from(tokens).unwrap_or(u32::MAX);
        self.limits.wait(wanted.saturating_add(self.config.max_output_tokens)).await;
        let pass = self.breaker.admit(Instant::now()).map_err(Failure::left_alone)?;
        tracing::info!(
            engine = self.engine,
            days,
            shortened = truncated.len(),
            tokens,
            "the language model is asked"
        );

        let request = self.request(prompt);
        let asked = timeout(self.config.request_timeout, self.ask(&request, progress)).await;
        let answer = asked.unwrap_or_else(|_| Err(Failure::timed_out()));
        let well = answer.as_ref().err().is_none_or(|failure| !failure.provider_unwell);
        pass.settle(well, Instant::now());
        let (reflection, usage) = answer.map_err(|failure| failure.error)?;
        Ok(Written { reflection, engine: self.engine.clone(), truncated, usage })
    }
}

impl fmt::Debug for OpenAiSummarizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAiSummarizer")
            .field("config", &self.config)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}

/// Whether there is anything to write about.
fn has_text(week: &WeekText) -> bool {
    let written = |text: &String| !text.trim().is_empty();
    week.days.iter().any(|day| written(&day.title) || day.blocks.iter().any(written))
}

/// What a lost request means. The error itself is not told: it shows the URL.
fn lost(error: &reqwest::Error, otherwise: Failure) -> Failure {
    if error.is_timeout() { Failure::timed_out() } else { otherwise }
}

/// The beginning of a refusal's body, as far as it comes.
async fn refusal(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_REFUSAL_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == MAX_REFUSAL_BYTES {
            break;
        }
    }
    body
}
