//! Runs the summary jobs of the Shiori diary: claims a week of diaries, detects their emotions,
//! writes a reflection, and submits the result.
//!
//! A worker has no access to the databases. It takes a hint from a [`JobQueue`], claims the summary
//! over the server's internal API ([`protocol`]), runs the [`Pipeline`], and submits the outcome.
//! The server's record is authoritative and the queue contains only hints, so a worker may be
//! killed at any time.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `models` | yes | [`Worker`] and [`Pipeline`] with the built-in models. Without it, the crate has what a server needs: [`protocol`], [`queue`], `redis` and [`ServerApi`] |
//! | `openai` | yes | a summariser for any OpenAI-compatible endpoint; includes `models` |
//! | `bert` | no | an emotion model for BERT checkpoints; includes `models` |
//! | `redis` | yes | the Redis client and the queue in Redis |
//! | `process` | yes | settings, log and signals, for both binaries |
//! | `rustls` | yes | TLS for all connections |
//! | `cli` | yes | the worker's binary; includes `openai`, `redis` and `process` |

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod clock;
#[cfg(feature = "cli")]
mod config;
#[cfg(feature = "models")]
pub mod emotion;
#[cfg(feature = "models")]
mod metrics;
mod patience;
#[cfg(feature = "models")]
mod pipeline;
#[cfg(feature = "process")]
#[doc(hidden)]
pub mod process;
pub mod protocol;
pub mod queue;
#[cfg(feature = "redis")]
pub mod redis;
mod secret;
mod server_api;
#[cfg(feature = "models")]
pub mod summarize;
mod trace;
#[cfg(feature = "models")]
mod worker;

pub use clock::{Clock, ManualClock, MeasuredClock, RemoteTime, SystemClock, TimeReading};
#[cfg(feature = "cli")]
pub use config::{Fallback, InvalidTemperature, Settings, SettingsError, Temperature};
#[cfg(feature = "models")]
pub use metrics::{MetricsRegistry, WorkerMetrics};
pub use patience::{InvalidPatience, Patience};
#[cfg(feature = "models")]
pub use pipeline::{Pipeline, PipelineError};
#[cfg(feature = "process")]
pub use process::{LogFormat, SecretFileError};
pub use queue::JobQueue;
pub use secret::Secret;
pub use server_api::{ServerApi, ServerApiError, ServerCalls};
pub use trace::{InvalidTraceParent, TraceParent};
#[cfg(feature = "models")]
pub use worker::{Worker, WorkerConfig, WorkerError};
