//! Client for the Shiori diary: concurrent saves without lost updates, and weekly AI summaries that
//! are written in the background.
//!
//! ```no_run
//! use shiori_sdk::{Client, Date, Draft, Week};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("http://127.0.0.1:8080").build()?;
//! // `client.auth().signup(email, password, nickname)` creates an account.
//! client.auth().login("haru@example.com", "correct horse 1!").await?;
//!
//! // Reads, changes and saves. If another device saves in between, changes the new version instead.
//! let date = Date::new(2026, 2, 16)?;
//! client
//!     .diaries()
//!     .update(date, |mut draft: Draft| async move {
//!         draft.content.push_paragraph("비가 와서 오래 걸었다.");
//!         draft
//!     })
//!     .await?;
//!
//! // Returns at once; a worker writes the summary in the background. It fails if a day of the week has
//! // no diary.
//! let summary = client.summaries().request(Week::containing(date)).await?.into_handle()?;
//! if let Some(reflection) = summary.wait().await?.reflection {
//!     println!("{reflection}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The guide has pages on [sessions](guide::sessions), [conflicts](guide::conflicts),
//! [getting old text back](guide::history), [summaries](guide::summaries), [changes](guide::changes),
//! [export and import](guide::export), [errors](guide::errors),
//! [configuration](guide::configuration) and [embedding the server](guide::embedding). With the features `replica`, `testing` and
//! `blocking`, it also has a page on each of them.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `client` | yes | the HTTP client; without it, the crate has only the wire [types], [merge], [backoff] and [sse] |
//! | `rustls` | yes | HTTPS through rustls |
//! | `native-tls` | no | HTTPS through the platform's TLS library |
//! | `blocking` | no | `blocking::Client`: a client without async |
//! | `replica` | no | `Replica`: the diaries of an account on the device, which works offline |
//! | `testing` | no | `testing::FakeShiori`: an in-process server, for the tests of programs that use this crate |
//! | `openapi` | no | OpenAPI schemas of the wire types, for servers |
//! | `strict-json` | no | `strict_json`: strict parsing of request bodies, for servers |
//! | `unstable-reqwest` | no | a custom reqwest client; not covered by semantic versioning |

#[cfg(feature = "client")]
mod account;
pub mod backoff;
#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod diary;
#[cfg(feature = "client")]
mod emotions;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod merge;
#[cfg(feature = "client")]
mod private_file;
#[cfg(feature = "replica")]
mod replica;
#[cfg(feature = "client")]
mod session;
pub mod sse;
#[cfg(feature = "strict-json")]
pub mod strict_json;
#[cfg(feature = "client")]
mod summary;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "client")]
mod transport;
pub mod types;

#[cfg(feature = "replica")]
pub use replica::{
    ConflictCause, ConflictNote, DateStatus, MemoryStore, RedbStore, Rejection, Replica,
    ReplicaBuilder, ReplicaDiary, ReplicaEntry, ReplicaEvent, ReplicaEvents, ReplicaStore,
    StoreError, StoredDay, UnsentChanges,
};
pub use types::*;
#[cfg(feature = "client")]
pub use {
    account::{Account, Export, ExportReader, ImportConflict, ImportReport, RejectedDiary},
    client::{Client, ClientBuilder},
    diary::{
        Change, ConflictResolver, DayMeta, Diaries, DiaryRead, DiaryWatch, Entry, FailOnConflict,
        FilledEntry, MergeBlocks, Outcome, Overwrite, Precondition, Resolution, RetryReport, Save,
        Saved, WeekMeta, Weeks, resolve_with,
    },
    emotions::Emotions,
    session::{Auth, FileTokenStore, StoreLock, StoredSession, TokenStore},
    summary::{Reflections, Requested, Summaries, SummaryHandle, SummaryStep, SummaryWatch},
    transport::{
        error::{Conflict, Error, ErrorKind, Result, WasSent},
        hook::{Attempt, AttemptOutcome, ExtraHeaders, RequestHook},
        options::CallOptions,
        retry::{ConflictPacing, ConflictPolicy, PollingPolicy, RetryBudget, RetryPolicy},
    },
};

/// The guide: how to use the parts of the SDK together.
#[cfg(all(feature = "client", any(doc, doctest)))]
pub mod guide {
    #[doc = include_str!("../docs/account.md")]
    pub mod account {}
    #[cfg(feature = "blocking")]
    #[doc = include_str!("../docs/blocking.md")]
    pub mod blocking {}
    #[doc = include_str!("../docs/changes.md")]
    pub mod changes {}
    #[doc = include_str!("../docs/configuration.md")]
    pub mod configuration {}
    #[doc = include_str!("../docs/conflicts.md")]
    pub mod conflicts {}
    #[doc = include_str!("../docs/embedding.md")]
    pub mod embedding {}
    #[doc = include_str!("../docs/errors.md")]
    pub mod errors {}
    #[doc = include_str!("../docs/export.md")]
    pub mod export {}
    #[doc = include_str!("../docs/history.md")]
    pub mod history {}
    #[cfg(feature = "replica")]
    #[doc = include_str!("../docs/offline.md")]
    pub mod offline {}
    #[doc = include_str!("../docs/sessions.md")]
    pub mod sessions {}
    #[doc = include_str!("../docs/summaries.md")]
    pub mod summaries {}
    #[cfg(feature = "testing")]
    #[doc = include_str!("../docs/testing.md")]
    pub mod testing {}
}

/// The examples in the crate's README, compiled with the tests.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
