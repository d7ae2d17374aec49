//! One call over HTTP: a single attempt, whose outcome is what the client knows of it.

use std::{sync::Mutex, sync::PoisonError, time::Duration};

use reqwest::{Method, StatusCode, redirect, retry};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shiori_benches::PASSWORD;
use shiori_sdk::{
    ArchiveReceipt, ConflictBody, DayView, Diary, DiaryEntry, Document, Envelope, ErrorCode,
    SaveReceipt, Summary, SummaryReceipt, VersionPage,
};
use uuid::Uuid;

use crate::{
    Result,
    record::{Call, Outcome, Seen, SeenSummary},
};

/// How long a client waits for a response.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Paragraphs of a diary, so that it is not one page of a store.
const PARAGRAPHS: usize = 20;

/// A session of the user at one server.
pub(crate) struct Api {
    http: reqwest::Client,
    url: String,
    email: String,
    token: Mutex<Option<String>>,
}

impl Api {
    /// A client that is not signed in yet.
    ///
    /// # Errors
    ///
    /// If it cannot be created.
    pub(crate) fn new(url: &str, email: &str) -> Result<Self> {
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .tcp_nodelay(true)
            .timeout(TIMEOUT);
        let (url, email) = (url.to_owned(), email.to_owned());
        Ok(Self { http: http.build()?, url, email, token: Mutex::default() })
    }

    /// Creates the account.
    ///
    /// # Errors
    ///
    /// If the server does not create it.
    pub(crate) async fn sign_up(&self) -> Result<()> {
        let body = json!({"email": self.email, "password": PASSWORD, "nickname": "history"});
        let request = self.http.post(format!("{}/api/user/signup", self.url)).json(&body);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// Whether the next call has a token.
    pub(crate) fn is_signed_in(&self) -> bool {
        self.token().is_some()
    }

    /// Creates a new session.
    ///
    /// # Errors
    ///
    /// If the server does not create it.
    pub(crate) async fn sign_in(&self) -> Result<()> {
        let body = json!({"email": self.email, "password": PASSWORD});
        let request = self.http.post(format!("{}/api/user/login", self.url)).json(&body);
        let body: Value = request.send().await?.error_for_status()?.json().await?;
        let token = body["data"]["token"].as_str().ok_or("no token")?.to_owned();
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Ok(())
    }

    fn token(&self) -> Option<String> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends the call once.
    pub(crate) async fn send(&self, call: &Call) -> Outcome {
        let (method, path, body) = request(call);
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        request = request.bearer_auth(self.token().unwrap_or_default());
        if let Some(body) = body {
            request = request.json(&body);
        }
        // Also a response that is cut off says nothing.
        let Ok(response) = request.send().await else { return Outcome::Indeterminate };
        let status = response.status();
        let Ok(body) = response.bytes().await else { return Outcome::Indeterminate };
        if status == StatusCode::UNAUTHORIZED {
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        outcome(call, status, &body).unwrap_or(Outcome::Indeterminate)
    }
}

/// Method, path and body.
fn request(call: &Call) -> (Method, String, Option<Value>) {
    match call {
        Call::Save { date, expected, save_id, text } => {
            let (title, content) = (format!("t{text}"), document(*text));
            let mut body = json!({"title": title, "content": content, "version": expected});
            if let Some(save_id) = save_id {
                body["save_id"] = json!(save_id);
            }
            (Method::POST, format!("/api/diary/{date}"), Some(body))
        }
        Call::Delete { date, expected } => {
            (Method::DELETE, format!("/api/diary/{date}?version={expected}"), None)
        }
        Call::Archive { date, expected, archived } => {
            let body = json!({"archived": archived, "version": expected});
            (Method::POST, format!("/api/diary/{date}/archive"), Some(body))
        }
        Call::Read { date } => (Method::GET, format!("/api/diary/{date}"), None),
        Call::List { start, end } => {
            (Method::GET, format!("/api/diary?start={start}&end={end}"), None)
        }
        Call::Versions { start, end } => {
            (Method::GET, format!("/api/diary/versions?start={start}&end={end}"), None)
        }
        Call::Request { week, force } => {
            let end = week.plus_days(6).unwrap_or(*week);
            let body = json!({"start": week, "end": end, "force": force});
            (Method::POST, "/api/diary/summary".to_owned(), Some(body))
        }
        Call::Look { summary } => (Method::GET, format!("/api/diary/summary/{summary}"), None),
        Call::Cancel { summary } => (Method::DELETE, format!("/api/diary/summary/{summary}"), None),
    }
}

fn document(text: u64) -> Document {
    Document::from_text(&vec![format!("t{text}"); PARAGRAPHS].join("\n"))
}

/// The outcome of a response; `None` if it cannot be read.
fn outcome(call: &Call, status: StatusCode, body: &[u8]) -> Option<Outcome> {
    if status.is_success() {
        return success(call, status, body);
    }
    let error = || Some(serde_json::from_slice::<Envelope<Value>>(body).ok()?.error);
    Some(match status {
        StatusCode::NOT_FOUND => Outcome::NotFound,
        StatusCode::CONFLICT => match error()? {
            Some(ErrorCode::DiaryConflict) => {
                Outcome::Conflict(data::<ConflictBody>(body)?.current.as_ref().map(seen))
            }
            Some(ErrorCode::SummaryFinal) => Outcome::AlreadyFinal,
            _ => Outcome::Rejected(status.as_u16()),
        },
        _ if status.is_client_error() => Outcome::Rejected(status.as_u16()),
        _ => Outcome::Indeterminate,
    })
}

fn success(call: &Call, status: StatusCode, body: &[u8]) -> Option<Outcome> {
    Some(match call {
        Call::Save { .. } => {
            let receipt: SaveReceipt = data(body)?;
            Outcome::Saved {
                version: receipt.version.get(),
                created: status == StatusCode::CREATED,
                replayed: receipt.replayed,
                updated_at: receipt.updated_at.as_millis(),
            }
        }
        Call::Delete { .. } => Outcome::Deleted,
        Call::Archive { .. } => Outcome::Archived(data::<ArchiveReceipt>(body)?.version.get()),
        Call::Read { .. } => Outcome::Diary(data::<DayView>(body)?.into_diary().as_ref().map(seen)),
        Call::List { .. } => {
            let entries: Vec<DiaryEntry> = data(body)?;
            Outcome::Dates(entries.iter().map(|entry| (entry.date, seen_entry(entry))).collect())
        }
        Call::Versions { .. } => {
            let page: VersionPage = data(body)?;
            let seen = page.versions.iter().map(|date| {
                let seen = Seen {
                    version: date.version.get(),
                    archived: date.is_archived,
                    deleted: date.is_deleted,
                    title: None,
                    content: None,
                };
                (date.date, seen)
            });
            Outcome::Dates(seen.collect())
        }
        Call::Request { .. } => {
            let id = Uuid::from_bytes(*data::<SummaryReceipt>(body)?.id.as_bytes());
            let is_accepted = status == StatusCode::ACCEPTED;
            if is_accepted { Outcome::Accepted(id) } else { Outcome::Completed(id) }
        }
        Call::Look { .. } => Outcome::Summary(seen_summary(data(body)?)),
        Call::Cancel { .. } => Outcome::Cancelled,
    })
}

fn data<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice::<Envelope<T>>(body).ok()?.data
}

fn seen(diary: &Diary) -> Seen {
    Seen {
        version: diary.version.get(),
        archived: diary.is_archived,
        deleted: false,
        title: Some(number(&diary.title)),
        content: Some(number_of_all(&diary.content)),
    }
}

fn seen_entry(entry: &DiaryEntry) -> Seen {
    Seen {
        version: entry.version.get(),
        archived: entry.is_archived,
        deleted: false,
        title: Some(number(&entry.title)),
        content: None,
    }
}

fn seen_summary(summary: Summary) -> SeenSummary {
    let phase = |phase| u8::from(phase == shiori_sdk::ProgressPhase::Writing);
    SeenSummary {
        status: summary.status,
        revision: summary.revision.get(),
        progress: summary.progress.map(|progress| (phase(progress.phase), progress.characters)),
        result: summary
            .reflection
            .or_else(|| summary.failure.map(|failure| failure.kind.as_str().to_owned())),
    }
}

/// The number of a text; 0, which no save has, if it has none.
fn number(text: &str) -> u64 {
    text.strip_prefix('t').and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The number that all paragraphs of a document have; 0 if they differ.
fn number_of_all(document: &Document) -> u64 {
    let texts = document.as_json().split("\"text\":\"t").skip(1);
    let mut numbers = texts.filter_map(|text| text.split('"').next()?.parse().ok());
    let Some(first) = numbers.next() else { return 0 };
    let rest: Vec<u64> = numbers.collect();
    let is_whole = rest.len() + 1 == PARAGRAPHS && rest.iter().all(|number| *number == first);
    if is_whole { first } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_the_number_of_its_text() {
        let whole = document(7);
        assert_eq!(number_of_all(&whole), 7);
        let torn = whole.as_json().replacen("t7", "t8", 1);
        assert_eq!(number_of_all(&Document::from_json(&torn).expect("a document")), 0);
        assert_eq!(number_of_all(&Document::empty()), 0);
        assert_eq!([number("t12"), number("12"), number("t")], [12, 0, 0]);
    }

    #[test]
    fn only_responses_without_an_effect_are_definite_failures() {
        let call =
            Call::Delete { date: shiori_sdk::Date::new(2026, 2, 16).expect("a date"), expected: 1 };
        let conflict =
            br#"{"code":409,"message":"","error":"diary_conflict","data":{"current":null}}"#;
        for (status, body, expected) in [
            (200, &b"{}"[..], Some(Outcome::Deleted)),
            (404, b"", Some(Outcome::NotFound)),
            (409, conflict, Some(Outcome::Conflict(None))),
            (409, b"", None),
            (429, b"", Some(Outcome::Rejected(429))),
            (500, b"", Some(Outcome::Indeterminate)),
            (503, b"", Some(Outcome::Indeterminate)),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(outcome(&call, status, body), expected, "{status}");
        }
    }
}
