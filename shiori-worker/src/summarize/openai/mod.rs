//! A summariser for any endpoint with `OpenAI`'s chat completions API: `OpenAI` itself, vLLM, Ollama,
//! LM Studio, or a gateway.

mod answer;
mod breaker;
mod config;
mod failure;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod limit;
mod metrics;
mod partial;
mod prompt;
mod shorten;
mod thinking;

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

use self::{
    answer::Answer,
    breaker::Breaker,
    failure::{Failure, Reason},
    limit::Limits,
    metrics::LlmMetrics,
    partial::Knowledge,
    prompt::Prompt,
};
use super::{
    Availability, SummarizeError, Summarizer, WeekText, Writing, WritingProgress, Written,
};
use crate::{Clock, MetricsRegistry, SystemClock, TraceParent, protocol::TokenUsage};

pub use breaker::BreakerConfig;
pub use config::{LimitName, MIN_INPUT_BUDGET, OpenAiConfig, OpenAiConfigError, UnmarkedThinking};
pub use prompt::PROMPT_VERSION;

/// Maximum bytes of an error response that are read to find its error code.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// Writes reflections with a language model behind the chat completions API.
///
/// The week is sent as data between random delimiters that no diary can contain. A week that exceeds
/// the token budget is shortened, the longest days first, and the prompt names the shortened days.
/// Each call sends one request; retries are scheduled by the server. Use one summariser for all jobs
/// of a process: they share its concurrency limit, its rate limits and its circuit breaker.
///
/// Requests follow no redirects and ignore the proxy settings of the environment.
pub struct OpenAiSummarizer {
    config: OpenAiConfig,
    engine: String,
    http: reqwest::Client,
    url: Url,
    in_flight: Semaphore,
    limits: Limits,
    breaker: Arc<Breaker>,
    metrics: LlmMetrics,
    knowledge: Knowledge,
    clock: Arc<dyn Clock>,
}

impl OpenAiSummarizer {
    /// A summariser with this configuration. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`OpenAiConfigError`] if the configuration is invalid.
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
            breaker: Arc::new(Breaker::new(config.breaker.clone())),
            metrics: LlmMetrics::new(),
            knowledge: Knowledge::new(config.unmarked_thinking(&url)),
            clock: Arc::new(SystemClock),
            http,
            url,
            config,
        })
    }

    /// Uses this clock for `Retry-After` headers that contain a date. Default [`SystemClock`].
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Sends one request and reads the response. Only the types of `async-openai` are used, because
    /// its client retries automatically, hides `Retry-After`, reads responses of any size, and logs
    /// responses that it cannot parse.
    async fn send(
        &self,
        request: &CreateChatCompletionRequest,
        trace: Option<&TraceParent>,
        progress: WritingProgress<'_>,
    ) -> Result<(String, Option<TokenUsage>), Failure> {
        let first_byte = Instant::now() + self.config.first_byte_timeout;
        let mut sent = self.http.post(self.url.clone()).json(request);
        if let Some(trace) = trace {
            sent = sent.header(TraceParent::HEADER, trace.as_str());
        }
        let response =
            timeout_at(first_byte, sent.send()).await.map_err(|_| Failure::timed_out())?;
        let mut response =
            response.map_err(|error| transport_failure(&error, Failure::unreachable()))?;
        let status = response.status();
        if !status.is_success() {
            let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let wait = header.and_then(|value| failure::retry_after(value, self.clock.now()));
            return Err(Failure::of_status(status, &error_body(response).await, wait));
        }
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut answer = Answer::new(content_type, self.knowledge.is_none());
        let mut next =
            timeout_at(first_byte, response.chunk()).await.map_err(|_| Failure::timed_out())?;
        loop {
            match next {
                Ok(Some(bytes)) => answer.push(&bytes)?,
                Ok(None) => break,
                // The text is complete; only the usage is lost.
                Err(_) if answer.is_finished() => break,
                Err(error) => return Err(transport_failure(&error, Failure::interrupted())),
            }
            progress(Writing { characters: answer.chars(), text: answer.partial_text() });
            if answer.is_done() {
                break;
            }
            next = response.chunk().await;
        }
        if let Some(has_unmarked_thinking) = answer.has_unmarked_thinking() {
            self.knowledge.learn(has_unmarked_thinking);
        }
        answer.reflection()
    }

    /// Requests a streamed response, which has an early first byte and shows progress. Servers that
    /// do not stream are supported, too.
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
        if self.config.uses_max_completion_tokens(&self.url) {
            request.max_completion_tokens = limit;
        } else {
            // `OpenAI` deprecated the field, but most other servers support no other.
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

    fn availability(&self) -> Availability {
        self.breaker.availability(Instant::now())
    }

    fn register_metrics(&self, registry: &mut MetricsRegistry<'_>) {
        self.metrics.register(registry, &self.breaker);
    }

    async fn summarize(
        &self,
        week: WeekText,
        progress: WritingProgress<'_>,
    ) -> Result<Written, SummarizeError> {
        let suspended = |wait| {
            self.metrics.failed(Reason::Suspended);
            Failure::circuit_open(wait)
        };
        let fault = |kind, message: &str| SummarizeError {
            kind,
            message: message.to_owned(),
            retryable: false,
            retry_after: None,
            costs_attempt: true,
        };
        if !has_text(&week) {
            return Err(fault(FailureKind::NoText, "the week's diaries contain no text"));
        }
        // Checked before waiting for a slot, so that a job does not wait for a request that will
        // not be sent.
        let open_for = self.breaker.open_for(Instant::now());
        if !open_for.is_zero() {
            return Err(suspended(open_for));
        }
        let internal = |message| fault(FailureKind::Internal, message);
        // Every running request ends within its timeout, so this wait is bounded.
        let slot = self.in_flight.acquire().await;
        let _slot = slot.map_err(|_| internal("the summariser was closed"))?;

        let (days, trace) = (week.days.len(), week.trace.clone());
        let budget = self.config.input_budget;
        let boundary = Uuid::new_v4().simple().to_string();
        let prompt =
            tokio::task::spawn_blocking(move || Prompt::of(&week, budget, &boundary)).await;
        let prompt = prompt.map_err(|_| internal("building the prompt panicked"))?;
        let (tokens, truncated) = (prompt.tokens(), prompt.shortened.clone());
        let wanted = u32::try_from(tokens).unwrap_or(u32::MAX);
        self.limits.wait(wanted.saturating_add(self.config.max_output_tokens)).await;
        let permit = self.breaker.try_acquire(Instant::now()).map_err(suspended)?;
        tracing::info!(
            engine = self.engine,
            days,
            shortened = truncated.len(),
            tokens,
            "sending a request to the language model"
        );

        let request = self.request(prompt);
        let (in_progress, sent) = (self.metrics.begin(), Instant::now());
        let response =
            timeout(self.config.request_timeout, self.send(&request, trace.as_ref(), progress))
                .await;
        let response = response.unwrap_or_else(|_| Err(Failure::timed_out()));
        let succeeded = response.as_ref().err().is_none_or(|failure| !failure.is_outage);
        permit.record(succeeded, Instant::now());
        drop(in_progress);
        self.metrics.ended(sent.elapsed());
        let (reflection, usage) = response.map_err(|failure| {
            self.metrics.failed(failure.reason);
            failure.error
        })?;
        if let Some(usage) = usage {
            self.metrics.used(usage);
        }
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

fn has_text(week: &WeekText) -> bool {
    let is_text = |text: &String| !text.trim().is_empty();
    week.days.iter().any(|day| is_text(&day.title) || day.blocks.iter().any(is_text))
}

/// The failure of a request without a complete response. The error is omitted, because it contains
/// the URL.
fn transport_failure(error: &reqwest::Error, otherwise: Failure) -> Failure {
    match error {
        error if error.is_connect() => Failure::not_connected(),
        error if error.is_timeout() => Failure::timed_out(),
        _ => otherwise,
    }
}

/// At most [`MAX_ERROR_BYTES`] of the body, which may be incomplete.
async fn error_body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ERROR_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == MAX_ERROR_BYTES {
            break;
        }
    }
    body
}
