//! Client for the Shiori diary: saves that never lose text, and weekly AI summaries that never
//! make anyone wait.
//!
//! ```no_run
//! use shiori_sdk::{Client, Date, Draft, Week};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("http://127.0.0.1:8080").build()?;
//! client.auth().login("haru@example.com", "correct horse 1!").await?;
//!
//! // Reads, changes and saves; if another device saves in between, changes what stands then.
//! let date = Date::new(2026, 2, 16)?;
//! client
//!     .diaries()
//!     .update(date, |mut draft: Draft| async move {
//!         draft.content.push_paragraph("비가 와서 오래 걸었다.");
//!         draft
//!     })
//!     .await?;
//!
//! // Answers at once; the language model takes its time elsewhere.
//! let summary = client.summaries().request(Week::containing(date)).await?.into_handle()?;
//! if let Some(reflection) = summary.wait().await?.reflection {
//!     println!("{reflection}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The guide has a page each on [conflicts](guide::conflicts), [summaries](guide::summaries) and
//! [configuration](guide::configuration).
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `client` | yes | the HTTP client; without it, the crate is the wire [types] and [merge] alone |
//! | `rustls` | yes | HTTPS through rustls |
//! | `native-tls` | no | HTTPS through the platform's TLS library |
//! | `blocking` | no | `blocking::Client`: the client without async |
//! | `testing` | no | `testing::FakeShiori`: a server in the process, for the tests of programs that use this crate |
//! | `openapi` | no | OpenAPI schemas of the wire types, for servers |
//! | `unstable-reqwest` | no | a reqwest client of one's own; not covered by semantic versioning |

#[cfg(feature = "client")]
mod auth;
pub mod backoff;
#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod conflict;
#[cfg(feature = "client")]
mod diary;
#[cfg(feature = "client")]
mod error;
pub mod merge;
#[cfg(feature = "client")]
mod options;
#[cfg(feature = "client")]
mod retry;
#[cfg(feature = "client")]
mod session;
pub mod sse;
#[cfg(feature = "client")]
mod summary;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "client")]
mod token_store;
#[cfg(feature = "client")]
mod transport;
pub mod types;
#[cfg(feature = "client")]
mod watch;
#[cfg(feature = "client")]
mod week;

pub use types::*;
#[cfg(feature = "client")]
pub use {
    auth::Auth,
    client::{Client, ClientBuilder},
    conflict::{
        Conflict, ConflictResolver, FailOnConflict, MergeBlocks, Overwrite, Resolution,
        resolve_with,
    },
    diary::{Change, Diaries, Entry, FilledEntry, Outcome, Precondition, RetryReport, Save, Saved},
    error::{Error, ErrorKind, Result, WasSent},
    options::CallOptions,
    retry::{ConflictPacing, ConflictPolicy, PollingPolicy, RetryBudget, RetryPolicy},
    summary::{Reflections, Requested, Summaries, SummaryHandle},
    token_store::{FileTokenStore, StoredSession, TokenStore},
    watch::SummaryWatch,
    week::{DayMeta, WeekMeta, Weeks},
};

/// The guide: how the parts are meant to be used together.
#[cfg(all(feature = "client", any(doc, doctest)))]
pub mod guide {
    #[doc = include_str!("../docs/configuration.md")]
    pub mod configuration {}
    #[doc = include_str!("../docs/conflicts.md")]
    pub mod conflicts {}
    #[doc = include_str!("../docs/summaries.md")]
    pub mod summaries {}
}

/// The examples in the crate's README, compiled with the tests.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
