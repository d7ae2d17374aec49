//! A reader of server-sent events (WHATWG HTML, section 9.2). The client uses it for the server's
//! events, and the worker for the responses of language models.
//!
//! Only the field `data` is returned; neither of them uses other fields.

/// Splits a stream of bytes into events. The bytes may arrive in chunks of any size.
#[derive(Debug)]
pub struct EventReader {
    max_event_bytes: usize,
    line: Vec<u8>,
    /// The last byte was a carriage return, so a line feed right after it does not end another
    /// line.
    after_carriage_return: bool,
    /// No line has ended yet, so the next may begin with a byte order mark.
    is_first_line: bool,
    data: Option<String>,
}

/// The stream cannot be read as server-sent events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventError {
    /// An event exceeds the limit of the reader.
    TooLarge,
    /// A line is not UTF-8.
    NotUtf8,
}

impl std::fmt::Display for EventError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "an event exceeds the size limit",
            Self::NotUtf8 => "an event is not UTF-8",
        })
    }
}

impl std::error::Error for EventError {}

impl EventReader {
    /// A reader that rejects events of more than this many bytes.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            max_event_bytes,
            line: Vec::new(),
            after_carriage_return: false,
            is_first_line: true,
            data: None,
        }
    }

    /// Returns the data of each event that these bytes complete; several lines of one event are
    /// joined with line feeds.
    ///
    /// # Errors
    ///
    /// [`EventError`] when an event exceeds the limit or is not UTF-8. The reader cannot be used
    /// afterwards.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, EventError> {
        let mut events = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' if self.after_carriage_return => self.after_carriage_return = false,
                b'\n' | b'\r' => {
                    self.after_carriage_return = byte == b'\r';
                    events.extend(self.end_line()?);
                }
                _ => {
                    self.after_carriage_return = false;
                    self.line.push(byte);
                    let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
                    if held > self.max_event_bytes {
                        return Err(EventError::TooLarge);
                    }
                }
            }
        }
        Ok(events)
    }

    /// A blank line ends an event; any other line is one of its fields, or a comment.
    fn end_line(&mut self) -> Result<Option<String>, EventError> {
        let line = std::mem::take(&mut self.line);
        let mut line = std::str::from_utf8(&line).map_err(|_| EventError::NotUtf8)?;
        if std::mem::take(&mut self.is_first_line) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.data.take());
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name == "data" {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reader() -> EventReader {
        EventReader::new(1024)
    }

    fn events(text: &str) -> Vec<String> {
        reader().push(text.as_bytes()).expect("small events")
    }

    #[test]
    fn events_are_separated_by_blank_lines() {
        assert_eq!(events("event: status\nid: 3\ndata: {\"a\":1}\n\n"), ["{\"a\":1}"]);
        assert_eq!(events("data:one\r\ndata: two\r\n\r\ndata\n\n"), ["one\ntwo", ""]);
        assert_eq!(events(":keep-alive\n\n:\n\n"), Vec::<String>::new());
        assert_eq!(events("data: unfinished\n"), Vec::<String>::new());
        assert_eq!(events("data: a\r\rdata: b\r\r"), ["a", "b"]);
        assert_eq!(events("\u{feff}data: a\n\n"), ["a"]);
    }

    #[test]
    fn an_event_over_the_limit_is_an_error() {
        let mut reader = reader();
        let error = (0..1024).find_map(|_| reader.push(b"data: never ends").err());
        assert_eq!(error, Some(EventError::TooLarge));
    }

    #[test]
    fn a_line_that_is_not_utf8_is_an_error() {
        assert_eq!(reader().push(b"data: \xff\n\n"), Err(EventError::NotUtf8));
    }

    proptest! {
        #[test]
        fn events_do_not_depend_on_where_the_bytes_are_cut(
            text in "(data: [가-힣a-z]{0,8}(\r\n|\n|\r)|:x\n|id: 1\n|(\r\n|\n|\r)){0,20}",
            cut in 0usize..200,
        ) {
            let bytes = text.as_bytes();
            let whole = reader().push(bytes).expect("small events");
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut reader = reader();
            let mut parts = reader.push(head).expect("small events");
            parts.extend(reader.push(tail).expect("small events"));
            prop_assert_eq!(parts, whole);
        }
    }
}
