//! Takes summary jobs and brings them to an end: emotion model, summariser, leases and the
//! hand-over of results.
//!
//! A worker knows no database. It takes a hint from a [`JobQueue`], claims the summary from the
//! server over its internal API ([`protocol`]), runs the [`Pipeline`], and hands the result
//! back. The server's row is the truth and the queue only a hint, so a worker may be killed at any
//! moment.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod clock;
#[cfg(feature = "cli")]
mod config;
pub mod emotion;
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
pub mod summarize;
mod worker;

pub use clock::{Clock, ManualClock, SystemClock};
#[cfg(feature = "cli")]
pub use config::{Fallback, InvalidTemperature, Settings, SettingsError, Temperature};
pub use pipeline::{Pipeline, PipelineError};
pub use queue::JobQueue;
pub use secret::Secret;
pub use server_api::{ServerApi, ServerApiError};
pub use worker::{Worker, WorkerConfig};
