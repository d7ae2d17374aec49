//! One pass over a JSON text that checks the rules which decoders do not check. It does not
//! recurse, and it uses at most a few bytes of memory for each byte of the text.

use std::borrow::Cow;

use super::{BodyFault, InvalidBody};

/// Maximum bytes of a field's name in an error. All fields of the API are shorter.
const MAX_FIELD_BYTES: usize = 64;

/// Checks syntax, keys and numbers of the whole text.
pub(super) fn scan(body: &[u8]) -> Result<(), InvalidBody> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(InvalidBody { field: ".".to_owned(), kind: BodyFault::Syntax });
    };
    let mut scan = Scan { text, at: 0, open: Vec::new(), keys: Vec::new(), field: None };
    scan.run().map_err(|kind| {
        let field = scan.field.filter(|field| field.len() <= MAX_FIELD_BYTES);
        InvalidBody { field: field.map_or_else(|| ".".to_owned(), Cow::into_owned), kind }
    })
}

struct Scan<'a> {
    text: &'a str,
    /// The next byte to read. Slices begin and end next to ASCII bytes, so they are at character
    /// boundaries.
    at: usize,
    /// The arrays and objects that are still open.
    open: Vec<Container>,
    /// The keys of all open objects.
    keys: Vec<Cow<'a, str>>,
    /// The current field of the outermost object.
    field: Option<Cow<'a, str>>,
}

enum Container {
    Array,
    Object {
        /// The number of keys of the enclosing objects.
        outer_keys: u32,
    },
}

impl<'a> Scan<'a> {
    fn run(&mut self) -> Result<(), BodyFault> {
        loop {
            if self.value()? {
                continue;
            }
            // A value is complete; close the containers that end with it.
            loop {
                let next = self.token();
                match (self.open.last(), next) {
                    (None, None) => return Ok(()),
                    (Some(Container::Array), Some(b',')) => {
                        self.at += 1;
                        break;
                    }
                    (Some(Container::Array), Some(b']')) => {
                        self.at += 1;
                        self.open.pop();
                    }
                    (Some(Container::Object { .. }), Some(b',')) => {
                        self.at += 1;
                        self.key()?;
                        break;
                    }
                    (Some(Container::Object { .. }), Some(b'}')) => self.close_object()?,
                    _ => return Err(BodyFault::Syntax),
                }
            }
        }
    }

    /// Reads a scalar or an empty container, or opens a container. Returns whether it opened one,
    /// so that another value follows.
    fn value(&mut self) -> Result<bool, BodyFault> {
        match self.token() {
            Some(b'{') => {
                self.at += 1;
                let outer_keys = u32::try_from(self.keys.len()).map_err(|_| BodyFault::Syntax)?;
                self.open.push(Container::Object { outer_keys });
                if self.token() == Some(b'}') {
                    self.close_object()?;
                    return Ok(false);
                }
                self.key()?;
                Ok(true)
            }
            Some(b'[') => {
                self.at += 1;
                if self.token() == Some(b']') {
                    self.at += 1;
                    return Ok(false);
                }
                self.open.push(Container::Array);
                Ok(true)
            }
            Some(b'"') => self.string().map(|_| false),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| false),
            _ => {
                let rest = &self.text.as_bytes()[self.at..];
                let literals = [&b"true"[..], b"false", b"null"];
                let literal = literals.into_iter().find(|literal| rest.starts_with(literal));
                self.at += literal.ok_or(BodyFault::Syntax)?.len();
                Ok(false)
            }
        }
    }

    /// Reads a key and the colon after it.
    fn key(&mut self) -> Result<(), BodyFault> {
        if self.token() != Some(b'"') {
            return Err(BodyFault::Syntax);
        }
        let quoted = self.string()?;
        let plain = &quoted[1..quoted.len() - 1];
        // Keys are compared after decoding escapes. A key that is not valid text is compared as
        // written.
        let key = if plain.contains('\\') {
            serde_json::from_str(quoted).map_or(Cow::Borrowed(plain), Cow::Owned)
        } else {
            Cow::Borrowed(plain)
        };
        if self.open.len() == 1 {
            self.field = Some(key.clone());
        }
        self.keys.push(key);
        if self.token() != Some(b':') {
            return Err(BodyFault::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    fn close_object(&mut self) -> Result<(), BodyFault> {
        self.at += 1;
        let Some(Container::Object { outer_keys }) = self.open.pop() else {
            return Err(BodyFault::Syntax);
        };
        let first = outer_keys as usize;
        let keys = &mut self.keys[first..];
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            if self.open.is_empty() {
                self.field = Some(pair[0].clone());
            }
            return Err(BodyFault::RepeatedKey);
        }
        self.keys.truncate(first);
        Ok(())
    }

    /// Reads a string; returns it with its quotes.
    fn string(&mut self) -> Result<&'a str, BodyFault> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.next()? {
                b'"' => return Ok(&self.text[start..self.at]),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            if !self.next()?.is_ascii_hexdigit() {
                                return Err(BodyFault::Syntax);
                            }
                        }
                    }
                    _ => return Err(BodyFault::Syntax),
                },
                ..0x20 => return Err(BodyFault::Syntax),
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Result<(), BodyFault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let number: f64 = self.text[start..self.at].parse().map_err(|_| BodyFault::Syntax)?;
        if number.is_finite() { Ok(()) } else { Err(BodyFault::NumberOutOfRange) }
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), BodyFault> {
        let rest = &self.text.as_bytes()[self.at..];
        match rest.iter().take_while(|byte| byte.is_ascii_digit()).count() {
            0 => Err(BodyFault::Syntax),
            count => {
                self.at += count;
                Ok(())
            }
        }
    }

    /// The next byte that is not white space.
    fn token(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += rest.iter().take_while(is_space).count();
        self.peek()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, BodyFault> {
        let byte = self.peek().ok_or(BodyFault::Syntax)?;
        self.at += 1;
        Ok(byte)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, de::IgnoredAny};
    use serde_json::Value;

    use super::*;

    /// JSON texts, and texts that are almost JSON.
    fn jsonish() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just(","),
            Just(":"),
            Just("\"a\""),
            Just("\"b\""),
            Just("\"\\u0061\""),
            Just("\"\\"),
            Just("1"),
            Just("-0.5e3"),
            Just("01"),
            Just("1e999"),
            Just("true"),
            Just("null"),
            Just(" "),
            Just("\"가\\n\""),
            Just("\u{7f}"),
        ];
        let tokens = prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat());
        prop_oneof![tokens, any::<String>()]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        /// It rejects the same texts as `serde_json`, apart from its own two rules.
        #[test]
        fn the_syntax_equals_that_of_serde_json(text in jsonish()) {
            let is_json = || {
                let mut deserializer = serde_json::Deserializer::from_str(&text);
                IgnoredAny::deserialize(&mut deserializer).is_ok() && deserializer.end().is_ok()
            };
            match scan(text.as_bytes()).map_err(|fault| fault.kind) {
                Ok(()) => prop_assert!(is_json()),
                Err(BodyFault::Syntax) => prop_assert!(!is_json()),
                Err(_) => {}
            }
        }

        #[test]
        fn every_value_is_accepted(value in value()) {
            prop_assert_eq!(scan(value.to_string().as_bytes()), Ok(()));
            prop_assert_eq!(scan(format!("{value:#}").as_bytes()), Ok(()));
        }
    }
}
