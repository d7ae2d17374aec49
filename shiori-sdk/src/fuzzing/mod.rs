//! Properties that hold for any input: the bodies of the fuzz targets in `fuzz/` that concern this
//! crate. `scripts/fuzz.sh` runs them on generated inputs, and the tests on the committed corpora.
//!
//! Each function panics if a property does not hold.

#![allow(clippy::missing_panics_doc)]

mod merge;

use std::time::{Duration, UNIX_EPOCH};

use serde::{
    Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;

use crate::{
    backoff::{MAX_RETRY_AFTER, parse_retry_after},
    sse::{EventError, EventReader},
    types::{
        ConflictBody, Date, DateRange, DayView, Diary, DiaryEntry, Document, DocumentError,
        DocumentLimits, Envelope, ErrorCode, MissingDates, Reflection, SaveReceipt, SessionInfo,
        Summary, SummaryReceipt, Timestamp, Week, Weekday,
    },
};

pub use merge::merge;

/// Parses a document under two limits. An accepted document is within them, keeps its bytes, and can
/// be read, sent and appended to.
pub fn document(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let small = DocumentLimits { max_depth: 6, max_nodes: 40 };
    let accepted = Document::from_json(text);
    match Document::from_json_within(text, &small) {
        Ok(document) => {
            is_within(&document, &small);
            assert!(accepted.is_ok(), "larger limits accept more");
        }
        Err(DocumentError::TooDeep { limit }) => assert_eq!(limit, small.max_depth),
        Err(DocumentError::TooManyNodes { limit }) => assert_eq!(limit, small.max_nodes),
        Err(error) => assert_eq!(accepted.as_ref().err(), Some(&error), "limits differ only"),
    }
    let Ok(mut document) = accepted else { return };
    let limits = DocumentLimits::default();
    is_within(&document, &limits);
    assert_eq!(document.as_json(), text.trim_matches([' ', '\t', '\n', '\r']));

    let sent = serde_json::to_string(&document).expect("a document is JSON");
    assert_eq!(sent, document.as_json());
    let received: Document = serde_json::from_str(&sent).expect("clients accept it");
    assert_eq!(received, document);

    let texts = document.block_texts();
    assert_eq!(document.is_blank(), texts.is_empty());
    document.push_paragraph("끝");
    assert_eq!(document.block_texts().last().map(String::as_str), Some("끝"));
    let one_more = DocumentLimits { max_depth: 64, max_nodes: limits.max_nodes + 1 };
    assert_eq!(document.check(&one_more), Ok(()));
}

fn is_within(document: &Document, limits: &DocumentLimits) {
    let value = document.to_value();
    assert_eq!(value["type"], "doc");
    let (depth, nodes) = size(&value);
    assert!(depth <= limits.max_depth && nodes <= limits.max_nodes, "{depth} {nodes}");
}

/// The depth and the number of the nodes of a tree.
fn size(node: &Value) -> (usize, usize) {
    assert!(node["type"].is_string(), "a node has a type");
    assert!(node["text"].is_string() || node.get("text").is_none(), "a text is a string");
    let children = match node.get("content") {
        Some(children) => children.as_array().expect("a list of nodes"),
        None => &Vec::new(),
    };
    let sizes = children.iter().map(size);
    let (depth, nodes) =
        sizes.fold((0, 0), |all: (usize, usize), one| (all.0.max(one.0), all.1 + one.1));
    (depth + 1, nodes + 1)
}

/// Reads server-sent events: a limit, the size of the chunks, and the stream. The events do not
/// depend on the chunks, exceed no limit, and are those of a second reader.
pub fn sse(input: &[u8]) {
    let [limit, chunk_len, stream @ ..] = input else { return };
    let limit = usize::from(*limit) * 4;
    let read = |chunk_len: usize| -> (Vec<String>, Option<EventError>) {
        let mut reader = EventReader::new(limit);
        let mut events = Vec::new();
        for chunk in stream.chunks(chunk_len) {
            match reader.push(chunk) {
                Ok(more) => events.extend(more),
                Err(error) => return (events, Some(error)),
            }
        }
        (events, None)
    };
    let (events, error) = read(1);
    let (chunked, chunked_error) = read(usize::from(*chunk_len).max(1));
    assert_eq!(error, chunked_error);
    // The events of the chunk with the error are lost.
    assert!(events.starts_with(&chunked));
    assert!(events.iter().all(|event| event.len() <= limit));
    match error {
        None => assert_eq!((&events, &chunked), (&whole_events(stream), &events)),
        Some(EventError::TooLarge) => assert!(stream.len() > limit, "the stream is small"),
        Some(EventError::NotUtf8) => assert!(std::str::from_utf8(stream).is_err()),
    }
}

/// The events of a complete stream. Its last line may be unfinished.
fn whole_events(stream: &[u8]) -> Vec<String> {
    let stream = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
    let stream = stream.strip_prefix('\u{feff}').unwrap_or(&stream);
    let Some((lines, _unfinished)) = stream.rsplit_once('\n') else { return Vec::new() };
    let mut events = Vec::new();
    let mut data: Vec<&str> = Vec::new();
    for line in lines.split('\n') {
        if line.is_empty() && !data.is_empty() {
            events.push(std::mem::take(&mut data).join("\n"));
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name == "data" {
            data.push(value.strip_prefix(' ').unwrap_or(value));
        }
    }
    events
}

/// Decodes a response as each body of the API, and as a request. What decodes is the same after it
/// was sent again, and `Debug` does not show its text.
pub fn envelope(input: &[u8]) {
    let diary = resent::<Diary>(input);
    if let Some(diary) = diary.filter(|diary| diary.title.len() >= 32) {
        assert!(!format!("{diary:?}").contains(&diary.title));
    }
    if let Some(day) = resent::<DayView>(input) {
        let is_diary = day.clone().into_diary().map(DayView::from);
        assert!(is_diary.is_none_or(|again| again == day));
    }
    resent::<ConflictBody>(input);
    resent::<Vec<DiaryEntry>>(input);
    resent::<SaveReceipt>(input);
    resent::<Vec<SessionInfo>>(input);
    resent::<SummaryReceipt>(input);
    resent::<Summary>(input);
    resent::<Vec<Reflection>>(input);
    resent::<MissingDates>(input);
    if let Ok(Envelope { code, error, .. }) = serde_json::from_slice::<Envelope<IgnoredAny>>(input)
    {
        is_classified(code, error.as_ref());
    }
    #[cfg(feature = "strict-json")]
    is_strict(input);
}

fn resent<T: Serialize + DeserializeOwned>(input: &[u8]) -> Option<T> {
    let received: Envelope<T> = serde_json::from_slice(input).ok()?;
    let sent = serde_json::to_string(&received).expect("a body is JSON");
    let again: Envelope<T> = serde_json::from_str(&sent).expect("what was sent can be received");
    assert_eq!(serde_json::to_string(&again).expect("a body is JSON"), sent);
    received.data
}

/// The error of a response with this status and code.
#[cfg(feature = "client")]
fn is_classified(status: u16, code: Option<&ErrorCode>) {
    use crate::transport::error::{Error, WasSent};

    let is_conflict = code == Some(&ErrorCode::DiaryConflict);
    let error = Error::from_response(status, code.cloned());
    assert_eq!((error.is_conflict(), error.was_sent()), (is_conflict, WasSent::Yes));
    assert_eq!((error.code(), error.status_code()), (code, Some(status)));
    assert!(!error.to_string().is_empty());
}

#[cfg(not(feature = "client"))]
fn is_classified(_: u16, code: Option<&ErrorCode>) {
    assert!(code.is_none_or(|code| ErrorCode::from(code.as_str()) == *code));
}

/// Strict parsing accepts no text that is not JSON, and rejects no other for its syntax.
#[cfg(feature = "strict-json")]
fn is_strict(input: &[u8]) {
    use crate::{
        strict_json::{self, BodyFault},
        types::SaveRequest,
    };
    use serde_json::value::RawValue;

    let lenient = serde_json::from_slice::<Value>(input);
    match strict_json::parse::<Value>(input) {
        Ok(value) => assert_eq!(lenient.ok(), Some(value)),
        Err(fault) if lenient.is_ok() => assert_eq!(fault.kind, BodyFault::RepeatedKey),
        Err(_) => {}
    }
    if let Ok(request) = strict_json::parse::<SaveRequest<Box<RawValue>>>(input) {
        let lenient: SaveRequest<Box<RawValue>> =
            serde_json::from_slice(input).expect("lenient parsing accepts more");
        assert_eq!(lenient.content.get(), request.content.get());
    }
}

/// Parses each line as a date, as a timestamp, and as a number of days from the previous date.
pub fn dates(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut last: Option<Date> = None;
    for line in text.lines() {
        if let Ok(moment) = line.parse::<Timestamp>() {
            is_timestamp(moment);
        }
        if let Ok(number) = line.parse::<i64>() {
            is_timestamp(Timestamp::from_millis(number));
            let moved = last.and_then(|date| date.plus_days(number));
            if let (Some(date), Some(moved)) = (last, moved) {
                assert_eq!(date.days_until(moved), number);
                is_range(date, moved);
            }
        }
        let parsed = line.parse::<Date>();
        assert_eq!(parsed.is_ok(), is_date(line), "{line:?}");
        let quoted = serde_json::to_string(line).expect("a string is JSON");
        assert_eq!(serde_json::from_str::<Date>(&quoted).ok(), parsed.ok());
        if let Ok(date) = parsed {
            assert_eq!(date.to_string(), line);
            assert_eq!(Date::from_number(date.as_number()), Ok(date));
            assert_eq!(Date::new(date.year(), date.month(), date.day()), Ok(date));
            is_range(last.unwrap_or(date), date);
            last = Some(date);
        }
    }
}

/// The Gregorian calendar, written a second time.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() != 8 || !bytes.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let number = |range: std::ops::Range<usize>| -> u32 { text[range].parse().expect("digits") };
    let (year, month, day) = (number(0..4), number(4..6), number(6..8));
    let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => 0,
    };
    year >= 1 && (1..=days).contains(&day)
}

fn is_timestamp(moment: Timestamp) {
    assert_eq!(moment.to_string().parse(), Ok(moment));
    assert_eq!(Timestamp::from_millis(moment.as_millis()), moment);
    let date = Date::at(moment);
    assert_eq!(Date::from_number(date.as_number()), Ok(date));
}

fn is_range(start: Date, end: Date) {
    let range = DateRange::new(start, end);
    assert_eq!(range.is_ok(), start <= end);
    for weekday in [Weekday::Monday, Weekday::Sunday] {
        let week = Week::containing_from(weekday, start);
        assert_eq!(week.dates().count(), Week::DAYS);
        assert_eq!(Week::from_range(week.into()), Ok(week));
        assert!(week.contains(start) || week.start().year() == 1 || week.end().year() == 9999);
    }
    let Ok(range) = range else { return };
    assert!(range.contains(start) && range.contains(end));
    assert_eq!(i64::from(range.days()), start.days_until(end) + 1);
    assert_eq!(Week::from_range(range).is_ok(), range.days() == 7);
    if range.days() <= 400 {
        let dates: Vec<Date> = range.dates().collect();
        assert_eq!(dates.len(), range.days() as usize);
        assert!(dates.is_sorted() && dates.first() == Some(&start) && dates.last() == Some(&end));
    }
}

/// Parses a `Retry-After` header: eight bytes of the current time, and the value.
pub fn retry_after(input: &[u8]) {
    let Some((now, value)) = input.split_first_chunk() else { return };
    let Ok(value) = std::str::from_utf8(value) else { return };
    let now = Timestamp::from_millis(i64::from_be_bytes(*now));
    let wait = parse_retry_after(value, now);
    assert!(wait.is_none_or(|wait| wait <= MAX_RETRY_AFTER));
    assert_eq!(parse_retry_after(&format!(" {value}\t"), now), wait);
    let Ok(seconds) = value.parse::<u32>() else { return };
    let seconds = Duration::from_secs(seconds.into());
    assert_eq!(wait.is_some(), !value.starts_with('+'), "{value:?}");
    assert!(wait.is_none_or(|wait| wait == seconds.min(MAX_RETRY_AFTER)));
    // The same wait as a date.
    let start = Timestamp::from(UNIX_EPOCH);
    let date = httpdate::fmt_http_date((start + seconds).into());
    assert_eq!(parse_retry_after(&date, start), Some(seconds.min(MAX_RETRY_AFTER)));
}

/// Finds the refresh token in the `Set-Cookie` headers of a response, one a line.
#[cfg(feature = "client")]
pub fn cookies(input: &[u8]) {
    use reqwest::header::{HeaderMap, HeaderValue, SET_COOKIE};

    let lines = input.split(|byte| *byte == b'\n');
    let values: Vec<HeaderValue> =
        lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let mut headers = HeaderMap::new();
    for value in &values {
        headers.append(SET_COOKIE, value.clone());
    }
    let Some(token) = crate::session::refresh_cookie(&headers) else { return };
    assert!(!token.is_empty() && !token.contains(';') && token.trim() == token);
    let is_named = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or_default();
        value.trim_start().starts_with("refresh_token") && value.contains(&token)
    };
    assert!(values.iter().any(is_named), "the token is in a cookie of this name");
    // It can be sent back.
    assert!(HeaderValue::from_str(&format!("refresh_token={token}")).is_ok());
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::{replay::replay, *};

    #[test]
    fn the_corpora_of_the_fuzz_targets_pass() {
        replay("document", document);
        replay("merge", merge);
        replay("sse", sse);
        replay("envelope", envelope);
        replay("dates", dates);
        replay("retry_after", retry_after);
        #[cfg(feature = "client")]
        replay("cookies", cookies);
    }
}
