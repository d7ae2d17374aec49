//! Reads server-sent events (WHATWG HTML, section 9.2), as far as the server uses them.

/// Bytes of one event. A summary is a few thousand.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Event {
    /// Its data, lines joined by line feeds.
    pub(crate) data: String,
}

/// Cuts a stream of bytes into events, however the bytes arrive.
#[derive(Debug, Default)]
pub(crate) struct EventReader {
    line: Vec<u8>,
    /// A line feed right after a carriage return ends no second line.
    after_return: bool,
    data: Option<String>,
}

/// An event is larger than any of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl EventReader {
    /// The events that these bytes complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLarge> {
        let mut events = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' if self.after_return => self.after_return = false,
                b'\n' | b'\r' => {
                    self.after_return = byte == b'\r';
                    events.extend(self.end_line());
                }
                _ => {
                    self.after_return = false;
                    self.line.push(byte);
                    let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
                    if held > MAX_EVENT_BYTES {
                        return Err(TooLarge);
                    }
                }
            }
        }
        Ok(events)
    }

    /// A blank line ends an event; any other is one of its fields.
    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.data.take().map(|data| Event { data });
        }
        let line = String::from_utf8_lossy(&line);
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
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
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(text: &str) -> Vec<String> {
        let events = EventReader::default().push(text.as_bytes()).expect("small");
        events.into_iter().map(|event| event.data).collect()
    }

    #[test]
    fn events_are_parted_by_blank_lines() {
        assert_eq!(events("event: status\nid: 3\ndata: {\"a\":1}\n\n"), ["{\"a\":1}"]);
        assert_eq!(events("data:one\r\ndata: two\r\n\r\ndata\n\n"), ["one\ntwo", ""]);
        assert_eq!(events(":keep-alive\n\n:\n\n"), Vec::<String>::new());
        assert_eq!(events("data: unfinished\n"), Vec::<String>::new());
        assert_eq!(events("data: a\r\rdata: b\r\r"), ["a", "b"]);
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut reader = EventReader::default();
        let endless = (0..100_000).find(|_| reader.push(b"data: never ends").is_err());
        assert!(endless.is_some());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_arrive(
            text in "(data: [가-힣a-z]{0,8}(\r\n|\n|\r)|:x\n|id: 1\n|(\r\n|\n|\r)){0,20}",
            cut in 0usize..200,
        ) {
            let bytes = text.as_bytes();
            let whole = EventReader::default().push(bytes).expect("small");
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut reader = EventReader::default();
            let mut parts = reader.push(head).expect("small");
            parts.extend(reader.push(tail).expect("small"));
            prop_assert_eq!(parts, whole);
        }
    }
}
