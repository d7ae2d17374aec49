use std::str::FromStr;

/// The `traceparent` of a request: the trace to which it belongs, and the caller's span. Version 00
/// of [W3C Trace Context](https://www.w3.org/TR/trace-context/#traceparent-header). It is passed on
/// as it is; neither server nor worker creates one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent(String);

/// The text is not a [`TraceParent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent of version 00")]
pub struct InvalidTraceParent;

impl TraceParent {
    /// The header.
    pub const HEADER: &str = "traceparent";

    /// The value of the header.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the trace, 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        &self.0[3..35]
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_id = |part: &str, chars: usize| {
            part.len() == chars && part.bytes().all(is_hex) && part.bytes().any(|byte| byte != b'0')
        };
        let parts: Vec<&str> = text.split('-').collect();
        match parts[..] {
            ["00", trace, parent, flags]
                if is_id(trace, 32)
                    && is_id(parent, 16)
                    && flags.len() == 2
                    && flags.bytes().all(is_hex) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidTraceParent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_values_of_version_00_are_accepted() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace: TraceParent = valid.parse().expect("valid");
        assert_eq!(trace.as_str(), valid);
        assert_eq!(trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        for invalid in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b71692033311-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(invalid.parse::<TraceParent>(), Err(InvalidTraceParent), "{invalid:?}");
        }
    }
}
