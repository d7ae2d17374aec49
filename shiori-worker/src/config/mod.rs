//! The settings of the worker's binary, from flags, the environment and a file, in this order of
//! precedence.

mod check;
#[cfg(test)]
mod tests;

use std::{
    fs, io, net::SocketAddr, num::NonZeroU32, path::PathBuf, str::FromStr, sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::{
    Patience, Pipeline, Secret, ServerApi, Worker, WorkerConfig,
    emotion::{EmotionEngine, EmotionModel, EngineOptions},
    process::{LogFormat, SecretFileError, secret_or_file},
    queue::{QUEUE_NAME, RedisQueue},
    redis::Redis,
    summarize::openai::{MIN_INPUT_BUDGET, OpenAiConfig, OpenAiSummarizer, UnmarkedThinking},
};

/// The server of a worker without `server_url`.
const DEFAULT_SERVER_URL: &str = "http://127.0.0.1:8080";

/// The settings of one source. A setting that is not set has its default.
#[allow(rustdoc::bare_urls, clippy::doc_markdown)] // `--help` shows these texts
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Base URL of the server's internal API [default: http://127.0.0.1:8080]
    #[arg(long, env = "SHIORI_SERVER_URL")]
    pub server_url: Option<String>,
    /// Token that authenticates workers; the server's setting of the same name
    #[arg(long, env = "SHIORI_INTERNAL_TOKEN", hide_env_values = true)]
    pub internal_token: Option<Secret>,
    /// File with the token that authenticates workers
    #[arg(long, env = "SHIORI_INTERNAL_TOKEN_FILE")]
    pub internal_token_file: Option<PathBuf>,
    /// Redis of the queue, redis://…, redis+cluster://… or redis+sentinel://…
    #[arg(long, env = "SHIORI_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<Secret>,
    /// File with the URL of the Redis
    #[arg(long, env = "SHIORI_REDIS_URL_FILE")]
    pub redis_url_file: Option<PathBuf>,
    /// Prefix of all keys in Redis [default: shiori]
    #[arg(long, env = "SHIORI_REDIS_PREFIX")]
    pub redis_prefix: Option<String>,
    /// Name of this worker in the store and in logs [default: host and process id]
    #[arg(long, env = "SHIORI_WORKER_ID")]
    pub worker_id: Option<String>,
    /// Maximum number of summaries in progress [default: 64]
    #[arg(long, env = "SHIORI_WORKER_CONCURRENCY")]
    pub worker_concurrency: Option<usize>,
    /// Seconds for running summaries to finish after SIGTERM, before they are released
    /// [default: 10]
    #[arg(long, env = "SHIORI_DRAIN_SECONDS")]
    pub drain_seconds: Option<u64>,
    /// Address on which the worker serves its metrics for Prometheus at /metrics, e.g.
    /// 127.0.0.1:9464 [default: none; no metrics are served]
    #[arg(long, env = "SHIORI_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,
    /// The emotion model: linear, lexicon, bert:DIRECTORY, or bert:OWNER/NAME for a checkpoint of
    /// the Hugging Face hub [default: linear]
    #[arg(long, env = "SHIORI_EMOTION_MODEL", global = true)]
    pub emotion_model: Option<String>,
    /// The emotions of a checkpoint's labels, in the order of the labels, separated by commas; Korean
    /// or English [default: by the names in its config.json]
    #[arg(long, env = "SHIORI_EMOTION_LABELS", global = true)]
    pub emotion_labels: Option<String>,
    /// Number of threads for BERT [default: one per core]
    #[arg(long, env = "SHIORI_EMOTION_THREADS", global = true)]
    pub emotion_threads: Option<usize>,
    /// Name of the language model [default: none; the built-in summariser is used]
    #[arg(long, env = "SHIORI_LLM_MODEL", global = true)]
    pub llm_model: Option<String>,
    /// Base URL of the OpenAI-compatible API [default: https://api.openai.com/v1]
    #[arg(long, env = "OPENAI_BASE_URL", global = true)]
    pub openai_base_url: Option<String>,
    /// API key [default: none]
    #[arg(long, env = "OPENAI_API_KEY", hide_env_values = true, global = true)]
    pub openai_api_key: Option<Secret>,
    /// File with the API key
    #[arg(long, env = "OPENAI_API_KEY_FILE", global = true)]
    pub openai_api_key_file: Option<PathBuf>,
    /// Timeout of a request to the language model, in seconds [default: 120]
    #[arg(long, env = "SHIORI_LLM_TIMEOUT_SECONDS", global = true)]
    pub llm_timeout_seconds: Option<u64>,
    /// Sampling temperature, 0 to 2, or `provider` to send none, which reasoning models require
    /// [default: 0.7]
    #[arg(long, env = "SHIORI_LLM_TEMPERATURE", global = true)]
    pub llm_temperature: Option<Temperature>,
    /// Maximum tokens of a prompt; longer weeks are shortened. Prompt and response must fit the
    /// model's context [default: 12000]
    #[arg(long, env = "SHIORI_LLM_INPUT_TOKENS", global = true)]
    pub llm_input_tokens: Option<u32>,
    /// Maximum tokens of a response, including reasoning [default: 1000]
    #[arg(long, env = "SHIORI_LLM_OUTPUT_TOKENS", global = true)]
    pub llm_output_tokens: Option<NonZeroU32>,
    /// Whether to request the token usage; set to false for servers that reject unknown fields
    /// [default: true]
    #[arg(long, env = "SHIORI_LLM_ASK_USAGE", global = true)]
    pub llm_ask_usage: Option<bool>,
    /// Whether the model's content may begin with thinking that no marker opens: detect, or never
    /// to show the text of the first summary, too, while it is written [default: detect]
    #[arg(long, env = "SHIORI_LLM_UNMARKED_THINKING", global = true)]
    pub llm_unmarked_thinking: Option<UnmarkedThinking>,
    /// Maximum requests per minute to the language model [default: no limit]
    #[arg(long, env = "SHIORI_LLM_REQUESTS_PER_MINUTE", global = true)]
    pub llm_requests_per_minute: Option<NonZeroU32>,
    /// Maximum tokens per minute, of prompts and responses [default: no limit]
    #[arg(long, env = "SHIORI_LLM_TOKENS_PER_MINUTE", global = true)]
    pub llm_tokens_per_minute: Option<NonZeroU32>,
    /// How long after its request a summary waits for the language model, in seconds or as in 15m;
    /// afterwards its next attempt is the last [default: the server's setting, 15m]
    #[arg(long, env = "SHIORI_LLM_PATIENCE", global = true)]
    pub llm_patience: Option<Patience>,
    /// What to do if the language model fails permanently [default: extractive]
    #[arg(long, env = "SHIORI_LLM_FALLBACK", global = true)]
    pub llm_fallback: Option<Fallback>,
    /// Log filter, e.g. info, or debug for one crate as in `shiori_worker=debug`
    /// [default: info]
    #[arg(long, env = "SHIORI_LOG", global = true)]
    pub log: Option<String>,
    /// Format of the log: text, or json for one object per line [default: text]
    #[arg(long, env = "SHIORI_LOG_FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
}

/// What happens to a summary if the language model fails permanently: it rejects the request, or
/// all attempts that the server allows are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fallback {
    /// The built-in summariser writes the reflection; the result names it as the engine.
    #[default]
    Extractive,
    /// The summary fails.
    Fail,
}

/// The sampling temperature of the language model.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Temperature {
    /// None is sent; the provider uses its default.
    Provider,
    /// 0 to 2.
    At(f32),
}

/// The text is not a temperature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a temperature is a number from 0 to 2, or provider")]
pub struct InvalidTemperature;

impl FromStr for Temperature {
    type Err = InvalidTemperature;

    fn from_str(text: &str) -> Result<Self, InvalidTemperature> {
        let at = text.parse().ok().filter(|degree| (0.0..=2.0).contains(degree)).map(Self::At);
        if text == "provider" { Ok(Self::Provider) } else { at.ok_or(InvalidTemperature) }
    }
}

impl TryFrom<toml::Value> for Temperature {
    type Error = InvalidTemperature;

    fn try_from(value: toml::Value) -> Result<Self, InvalidTemperature> {
        value.as_str().map_or_else(|| value.to_string(), str::to_owned).parse()
    }
}

/// Invalid settings. The error shows no value of a setting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("could not read the settings file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not valid.
    #[error("invalid settings file {path}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The reason, without values.
        reason: String,
    },
    /// A required setting is missing.
    #[error("the setting {name} is required")]
    Required {
        /// The setting.
        name: &'static str,
    },
    /// A value is out of range or not valid.
    #[error("the setting {name} must be {rule}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// The rule that it must satisfy.
        rule: &'static str,
    },
    /// A secret cannot be read from its file.
    #[error(transparent)]
    SecretFile(#[from] SecretFileError),
    /// The emotion model could not be loaded.
    #[error("could not load the emotion model")]
    Emotion(#[source] crate::emotion::EngineError),
    /// The settings of the language model are invalid.
    #[error("invalid settings of the language model")]
    Model(#[source] crate::summarize::openai::OpenAiConfigError),
}

impl Settings {
    /// Reads a TOML file.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if the file cannot be read or contains an unknown setting.
    pub fn from_file(path: PathBuf) -> Result<Self, SettingsError> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(SettingsError::Read { path, source }),
        };
        toml::from_str(&text)
            .map_err(|error| SettingsError::Parse { path, reason: error.message().to_owned() })
    }

    /// These settings, with unset ones taken from `others`.
    pub fn or(self, others: Self) -> Self {
        Self {
            server_url: self.server_url.or(others.server_url),
            internal_token: self.internal_token.or(others.internal_token),
            internal_token_file: self.internal_token_file.or(others.internal_token_file),
            redis_url: self.redis_url.or(others.redis_url),
            redis_url_file: self.redis_url_file.or(others.redis_url_file),
            redis_prefix: self.redis_prefix.or(others.redis_prefix),
            worker_id: self.worker_id.or(others.worker_id),
            worker_concurrency: self.worker_concurrency.or(others.worker_concurrency),
            drain_seconds: self.drain_seconds.or(others.drain_seconds),
            metrics_listen: self.metrics_listen.or(others.metrics_listen),
            emotion_model: self.emotion_model.or(others.emotion_model),
            emotion_labels: self.emotion_labels.or(others.emotion_labels),
            emotion_threads: self.emotion_threads.or(others.emotion_threads),
            llm_model: self.llm_model.or(others.llm_model),
            openai_base_url: self.openai_base_url.or(others.openai_base_url),
            openai_api_key: self.openai_api_key.or(others.openai_api_key),
            openai_api_key_file: self.openai_api_key_file.or(others.openai_api_key_file),
            llm_timeout_seconds: self.llm_timeout_seconds.or(others.llm_timeout_seconds),
            llm_temperature: self.llm_temperature.or(others.llm_temperature),
            llm_input_tokens: self.llm_input_tokens.or(others.llm_input_tokens),
            llm_output_tokens: self.llm_output_tokens.or(others.llm_output_tokens),
            llm_ask_usage: self.llm_ask_usage.or(others.llm_ask_usage),
            llm_unmarked_thinking: self.llm_unmarked_thinking.or(others.llm_unmarked_thinking),
            llm_requests_per_minute: self
                .llm_requests_per_minute
                .or(others.llm_requests_per_minute),
            llm_tokens_per_minute: self.llm_tokens_per_minute.or(others.llm_tokens_per_minute),
            llm_patience: self.llm_patience.or(others.llm_patience),
            llm_fallback: self.llm_fallback.or(others.llm_fallback),
            log: self.log.or(others.log),
            log_format: self.log_format.or(others.log_format),
        }
    }

    /// These settings with the secrets of the files that they name.
    ///
    /// # Errors
    ///
    /// [`SettingsError::SecretFile`] if a file cannot be read.
    pub fn with_secrets_of_files(mut self) -> Result<Self, SettingsError> {
        for (name, secret, file) in [
            ("internal_token", &mut self.internal_token, &mut self.internal_token_file),
            ("redis_url", &mut self.redis_url, &mut self.redis_url_file),
            ("openai_api_key", &mut self.openai_api_key, &mut self.openai_api_key_file),
        ] {
            *secret = secret_or_file(name, secret.take(), file.take())?;
        }
        Ok(self)
    }

    /// Creates the worker and loads its emotion model. It does not connect to anything yet.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if a value is missing or invalid.
    pub async fn into_worker(self) -> Result<Worker, SettingsError> {
        let settings = self.with_secrets_of_files()?;
        let (config, queue, api) = settings.connections()?;
        let pipeline = settings.pipeline(None).await?;
        Ok(Worker::new(config, Arc::new(queue), api, pipeline))
    }

    /// The parts of a worker besides its models.
    pub(crate) fn connections(
        &self,
    ) -> Result<(WorkerConfig, RedisQueue, ServerApi), SettingsError> {
        let out_of_range = |name, rule| SettingsError::OutOfRange { name, rule };
        let required = |name| SettingsError::Required { name };
        let concurrency = self.concurrency()?;
        let token = self.internal_token.as_ref().ok_or_else(|| required("internal_token"))?;
        let server_url = self.server_url.as_deref().unwrap_or(DEFAULT_SERVER_URL);
        let api = ServerApi::new(server_url, token.reveal())
            .map_err(|_| out_of_range("server_url", "an http or https URL without credentials"))?;
        let url = self.redis_url.as_ref().ok_or_else(|| required("redis_url"))?;
        let prefix = self.redis_prefix.as_deref().unwrap_or("shiori");
        let redis = Redis::new(url.reveal(), prefix)
            .map_err(|_| out_of_range("redis_url", "a Redis URL"))?;

        let drain = self.drain_seconds.unwrap_or(10);
        if drain > 3600 {
            return Err(out_of_range("drain_seconds", "at most 3600"));
        }
        let worker_id = self.worker_id.clone().unwrap_or_else(host_and_process);
        if worker_id.is_empty() || worker_id.chars().count() > 128 {
            return Err(out_of_range("worker_id", "1 to 128 characters"));
        }
        let config = WorkerConfig {
            worker_id,
            concurrency,
            drain_timeout: Duration::from_secs(drain),
            patience: self.llm_patience,
        };
        Ok((config, RedisQueue::with_redis_clock(redis, QUEUE_NAME), api))
    }

    /// Loads the models of the settings; `engine` overrides the emotion model.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if a value is invalid or a model cannot be loaded.
    pub(crate) async fn pipeline(
        &self,
        engine: Option<EmotionEngine>,
    ) -> Result<Pipeline, SettingsError> {
        let mut pipeline = Pipeline::builtin();
        if let Some(summarizer) = self.summarizer()? {
            let builtin = std::mem::replace(&mut pipeline.summarizer, Arc::new(summarizer));
            if self.llm_fallback.unwrap_or_default() == Fallback::Extractive {
                pipeline.fallback = Some(builtin);
            }
        }
        // Loaded last, because it may take long.
        pipeline.emotion = self.emotion(engine).await?;
        Ok(pipeline)
    }

    /// The language model, if the settings have one.
    pub(crate) fn summarizer(&self) -> Result<Option<OpenAiSummarizer>, SettingsError> {
        // Compose files pass unset variables as empty strings.
        let Some(model) = self.llm_model.as_deref().filter(|model| !model.is_empty()) else {
            return Ok(None);
        };
        let config = self.openai(model)?;
        OpenAiSummarizer::new(config).map(Some).map_err(SettingsError::Model)
    }

    /// The configuration for this language model.
    fn openai(&self, model: &str) -> Result<OpenAiConfig, SettingsError> {
        let out_of_range = |name, rule| SettingsError::OutOfRange { name, rule };
        let mut config = OpenAiConfig {
            model: model.to_owned(),
            api_key: self.openai_api_key.clone().filter(|key| !key.reveal().is_empty()),
            max_in_flight: self.concurrency()?,
            requests_per_minute: self.llm_requests_per_minute,
            tokens_per_minute: self.llm_tokens_per_minute,
            ..OpenAiConfig::default()
        };
        if let Some(base_url) = self.openai_base_url.clone().filter(|url| !url.is_empty()) {
            config.base_url = base_url;
        }
        match self.llm_temperature {
            Some(Temperature::At(degree)) => config.temperature = Some(degree),
            Some(Temperature::Provider) => config.temperature = None,
            None => {}
        }
        if let Some(tokens) = self.llm_input_tokens {
            if tokens < MIN_INPUT_BUDGET {
                return Err(out_of_range("llm_input_tokens", "at least 4000"));
            }
            config.input_budget = tokens;
        }
        if let Some(tokens) = self.llm_output_tokens {
            config.max_output_tokens = tokens.get();
        }
        config.ask_usage = self.llm_ask_usage.unwrap_or(config.ask_usage);
        config.unmarked_thinking = self.llm_unmarked_thinking.unwrap_or_default();
        if let Some(seconds) = self.llm_timeout_seconds {
            if !(1..=3600).contains(&seconds) {
                return Err(out_of_range("llm_timeout_seconds", "1 to 3600"));
            }
            config.request_timeout = Duration::from_secs(seconds);
            config.first_byte_timeout = config.first_byte_timeout.min(config.request_timeout);
        }
        Ok(config)
    }

    /// Loads this emotion model, or the one of the settings.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if it cannot be loaded.
    pub(crate) async fn emotion(
        &self,
        engine: Option<EmotionEngine>,
    ) -> Result<Arc<dyn EmotionModel>, SettingsError> {
        let (engine, options) = self.engine(engine)?;
        engine.open(options).await.map_err(SettingsError::Emotion)
    }

    /// The emotion model that is opened, and its options.
    pub(crate) fn engine(
        &self,
        engine: Option<EmotionEngine>,
    ) -> Result<(EmotionEngine, EngineOptions), SettingsError> {
        let out_of_range = |name, rule| SettingsError::OutOfRange { name, rule };
        if self.emotion_threads.is_some_and(|threads| !(1..=1024).contains(&threads)) {
            return Err(out_of_range("emotion_threads", "1 to 1024"));
        }
        let named = self.emotion_model.as_deref().filter(|name| !name.is_empty());
        let engine = match (engine, named) {
            (Some(engine), _) => engine,
            (None, Some(name)) => {
                name.parse().map_err(|_| out_of_range("emotion_model", EmotionEngine::RULE))?
            }
            (None, None) => EmotionEngine::default(),
        };
        let labels = self.emotion_labels.as_deref().filter(|labels| !labels.is_empty());
        let labels =
            labels.map(|labels| labels.split(',').map(|label| label.trim().parse()).collect());
        let labels = labels.transpose().map_err(|_| {
            out_of_range("emotion_labels", "names of the seven emotions, separated by commas")
        })?;
        let options = EngineOptions { threads: self.emotion_threads, labels };
        Ok((engine, options))
    }

    fn concurrency(&self) -> Result<usize, SettingsError> {
        let concurrency = self.worker_concurrency.unwrap_or(64);
        let rule = "1 to 10000";
        let usable = (1..=10_000).contains(&concurrency).then_some(concurrency);
        usable.ok_or(SettingsError::OutOfRange { name: "worker_concurrency", rule })
    }
}

/// A name that is unique across machines.
fn host_and_process() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().take(100).collect();
    format!("{host}-{}", std::process::id())
}
