//! Strict parsing of request bodies, for servers.
//!
//! Parsers differ on some valid JSON. If a key is repeated, some take the first value and some the
//! last. A number such as `1e400` is infinity to some and an error to others. And a decoder that
//! serde derives also accepts an array in place of a struct. A body with any of these is rejected.
//! Only requests are parsed strictly; responses and stored data are read leniently.

mod scan;
mod structs;

use std::{error::Error, fmt};

use serde::de::DeserializeOwned;

use self::{scan::scan, structs::Strict};

/// Parses a whole body.
///
/// The body must be one JSON text (RFC 8259) in UTF-8 without a byte order mark. No object may
/// repeat a key, at any depth and also in fields that `T` ignores. Every number must be within the
/// range of a 64-bit float. A struct must be an object.
///
/// # Errors
///
/// [`InvalidBody`] has the field and the broken rule, never a value.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, InvalidBody> {
    // A syntax error is left to the decoder, which reports the field.
    let scanned = match scan(body) {
        Err(fault) if fault.kind != BodyFault::Syntax => return Err(fault),
        scanned => scanned,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(Strict(&mut deserializer)).map_err(|error| {
        let kind = match error.inner().classify() {
            serde_json::error::Category::Data => BodyFault::Type,
            _ => BodyFault::Syntax,
        };
        InvalidBody { field: error.path().to_string(), kind }
    })?;
    // The decoder stops at the end of the value and skips unknown fields, so the rest is checked
    // here.
    scanned.map_err(|fault| InvalidBody { field: "body".to_owned(), ..fault })?;
    Ok(value)
}

/// Whether a `Content-Type` is JSON in UTF-8: `application/json` or a type that ends with `+json`,
/// without a `charset` or with `utf-8`.
pub fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_utf_8 = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.trim().eq_ignore_ascii_case("charset")
            || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    (essence == "application/json" || essence.ends_with("+json")) && parts.all(is_utf_8)
}

/// Whether a `Content-Encoding` leaves the body unencoded. A server without decoders must reject
/// all others.
pub fn is_identity(content_encoding: &str) -> bool {
    let mut codings = content_encoding.split(',').map(str::trim);
    codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"))
}

/// A body was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidBody {
    /// The path of the field, e.g. `progress.phase`; for a repeated key or a number out of range,
    /// the outermost field that contains it. `.` and `body` mean the whole body, `?` an unknown
    /// place.
    pub field: String,
    /// The broken rule.
    pub kind: BodyFault,
}

/// The rule that a body breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyFault {
    /// It is not a JSON text.
    Syntax,
    /// A field is missing or has the wrong type.
    Type,
    /// An object repeats a key.
    RepeatedKey,
    /// A number is beyond the range of a 64-bit float.
    NumberOutOfRange,
}

impl BodyFault {
    /// The name of the broken rule, as in `data.rule` of a 422 `invalid_request`.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Syntax => "json",
            Self::Type => "type",
            Self::RepeatedKey => "unique_keys",
            Self::NumberOutOfRange => "finite_numbers",
        }
    }
}

impl fmt::Display for InvalidBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            BodyFault::Syntax => "is not valid JSON",
            BodyFault::Type => "is missing or has the wrong type",
            BodyFault::RepeatedKey => "repeats a key",
            BodyFault::NumberOutOfRange => "has a number that is out of range",
        };
        write!(f, "the field `{}` {what}", self.field)
    }
}

impl Error for InvalidBody {}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Outer {
        title: String,
        #[serde(default)]
        inner: Option<Inner>,
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(default)]
        raw: Option<Box<RawValue>>,
        #[serde(default)]
        choice: Option<Choice>,
        #[serde(default)]
        pair: Option<(u8, u8)>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Inner {
        a: u8,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    enum Choice {
        Unit,
        New(Inner),
        Tuple(u8, u8),
        Struct { a: u8 },
    }

    fn fault(body: &str) -> Option<(String, &'static str)> {
        parse::<Outer>(body.as_bytes()).err().map(|error| (error.field, error.kind.rule()))
    }

    #[test]
    fn a_well_formed_body_is_parsed() {
        for body in [
            r#"{"title":""}"#,
            " \t\r\n{ \"title\" : \"\\u0000\\ud83d\\ude00\\\\\\\"\" } \n",
            r#"{"title":"","inner":{"a":1},"list":[{"a":1},{"a":2}],"pair":[1,2]}"#,
            r#"{"title":"","inner":null,"raw":{"a":[1e308,-0.0,1e-999,123456789012345678901234567890]}}"#,
            r#"{"title":"","unknown":[{"a":1},{"a":1},[],{},[[]],true,false,null]}"#,
            r#"{"title":"","choice":"Unit"}"#,
            r#"{"title":"","choice":{"New":{"a":1}}}"#,
            r#"{"title":"","choice":{"Tuple":[1,2]}}"#,
            r#"{"title":"","choice":{"Struct":{"a":1}}}"#,
            r#"{"title":"","raw":{"a":{"a":{"a":1}},"b":{"a":1}}}"#,
        ] {
            assert_eq!(fault(body), None, "{body}");
        }
        let body = r#"{"title":"","raw": { "b" :1.0,"a":[ ]} }"#;
        let parsed: Outer = parse(body.as_bytes()).expect("well-formed");
        assert_eq!(parsed.raw.expect("a value").get(), r#"{ "b" :1.0,"a":[ ]}"#);
    }

    #[test]
    fn an_array_in_place_of_a_struct_is_rejected() {
        for (body, field) in [
            (r#"["글",null,[],null,null,null]"#, "."),
            (r#"{"title":"","inner":[1]}"#, "inner"),
            (r#"{"title":"","list":[{"a":1},[1]]}"#, "list[1]"),
            (r#"{"title":"","choice":{"New":[1]}}"#, "choice.New"),
            (r#"{"title":"","choice":{"Struct":[1]}}"#, "choice.Struct"),
        ] {
            assert_eq!(fault(body), Some((field.to_owned(), "type")), "{body}");
        }
    }

    #[test]
    fn a_repeated_key_is_rejected_at_any_depth() {
        let long = format!(r#"{{"{0}":1,"{0}":2}}"#, "k".repeat(100));
        for (body, field) in [
            (r#"{"title":"","title":""}"#, "title"),
            (r#"{"title":"","x":1,"x":1}"#, "x"),
            (r#"{"title":"","raw":{"a":1,"b":[{"c":1,"c":2}]}}"#, "raw"),
            (r#"{"title":"","raw":[[[{"a":{},"b":{},"a":{}}]]]}"#, "raw"),
            (r#"{"title":"","unknown":{"가":1,"\uac00":2}}"#, "unknown"),
            (r#"{"title":"","unknown":{"\u0061":1,"a":2}}"#, "unknown"),
            (r#"{"title":"","unknown":{"\ud800":1,"\ud800":2}}"#, "unknown"),
            (r#"{"title":"","unknown":{"":1,"":2}}"#, "unknown"),
            (&long, "."),
        ] {
            assert_eq!(fault(body), Some((field.to_owned(), "unique_keys")), "{body}");
        }
    }

    #[test]
    fn a_number_out_of_range_is_rejected() {
        let digits = format!(r#"{{"title":"","raw":{}}}"#, "9".repeat(400));
        for (body, field) in [
            (r#"{"title":"","raw":{"attrs":{"x":1e400}}}"#, "raw"),
            (r#"{"title":"","raw":[-1E+400]}"#, "raw"),
            (r#"{"title":"","unknown":1e309}"#, "unknown"),
            (r#"{"title":1e400}"#, "title"),
            ("1e400", "."),
            (&digits, "raw"),
        ] {
            assert_eq!(fault(body), Some((field.to_owned(), "finite_numbers")), "{body}");
        }
    }

    #[test]
    fn invalid_json_is_rejected_anywhere_in_the_body() {
        for body in [
            "",
            " ",
            "{",
            r#"{"title":""} {}"#,
            r#"{"title":""},"#,
            r#"{"title":"",}"#,
            r#"{"title":"" "raw":1}"#,
            r#"{"title":"","raw":[1,]}"#,
            r#"{"title":"","raw":[1 2]}"#,
            r#"{"title":"","raw":{"a"}}"#,
            r#"{"title":"","raw":{a:1}}"#,
            r#"{"title":"","raw":01}"#,
            r#"{"title":"","raw":1.}"#,
            r#"{"title":"","raw":.5}"#,
            r#"{"title":"","raw":+1}"#,
            r#"{"title":"","raw":1e}"#,
            r#"{"title":"","raw":NaN}"#,
            r#"{"title":"","raw":Infinity}"#,
            r#"{"title":"","raw":nul}"#,
            r#"{"title":"","raw":"\x"}"#,
            r#"{"title":"","raw":"\u00g0"}"#,
            "{\"title\":\"\",\"unknown\":\"\u{1}\"}",
            "{\"title\":\"\n\"}",
            "{\"title\":\"\"}\u{0}",
            "\u{feff}{\"title\":\"\"}",
            r#"{"title":"","unknown":[}"#,
            r#"{"title":"","unknown":{]}"#,
        ] {
            let found = fault(body);
            assert_eq!(found.map(|(_, rule)| rule), Some("json"), "{body}");
        }
        // Not UTF-8, in an ignored field.
        let error = parse::<Outer>(b"{\"title\":\"\",\"unknown\":\"\xff\"}").err();
        assert_eq!(error.map(|error| error.kind), Some(BodyFault::Syntax));
        // A lone surrogate is not text.
        assert_eq!(fault(r#"{"title":"\ud800"}"#), Some(("title".to_owned(), "json")));
    }

    #[test]
    fn deep_nesting_does_not_overflow_the_stack() {
        assert!(fault(&"[".repeat(1 << 20)).is_some());
        let open = format!(r#"{{"title":"","raw":{}"#, r#"{"a":"#.repeat(200_000));
        assert_eq!(fault(&open).map(|(_, rule)| rule), Some("json"));
        let deep =
            format!(r#"{{"title":"","raw":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(fault(&deep), None, "the depth is limited by the document's parser, not here");
    }

    #[test]
    fn media_types_are_json_in_utf_8() {
        for (text, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; profile=x; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("application/json; charset=euc-kr", false),
            ("application/json; charset=", false),
            ("application/json; charset", false),
            ("text/json", false),
            ("application/jsonx", false),
            ("", false),
        ] {
            assert_eq!(is_json(text), expected, "{text}");
        }
        for (text, expected) in [
            ("identity", true),
            ("", true),
            ("Identity, identity", true),
            ("gzip", false),
            ("identity, br", false),
            ("x", false),
        ] {
            assert_eq!(is_identity(text), expected, "{text}");
        }
    }
}
