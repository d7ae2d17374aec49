use std::{error::Error, fmt, str::FromStr};

use http::Uri;
use serde::Deserialize;

/// The origin of a web page, such as `https://app.example.com`, as browsers send it (RFC 6454,
/// section 6.2): a scheme, a host in lower case and, unless it is the scheme's default, a port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Origin(String);

impl Origin {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    /// Parses an origin. `*` and `null` are rejected, because they match any page.
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Origin {
    type Error = InvalidOrigin;

    fn try_from(text: String) -> Result<Self, InvalidOrigin> {
        let uri: Uri = text.parse().map_err(|_| InvalidOrigin)?;
        let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or(InvalidOrigin)?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(InvalidOrigin),
        };
        // The text must consist of scheme, host and port.
        let port = uri.port_u16().filter(|port| *port != default_port);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let host = authority.host().to_ascii_lowercase();
        let is_origin = !host.is_empty() && format!("{scheme}://{host}{port}") == text;
        if is_origin { Ok(Self(text)) } else { Err(InvalidOrigin) }
    }
}

/// A text that is not an [`Origin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidOrigin;

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an origin is http or https, a host in lower case and a port other than the default, \
             without a path, e.g. https://app.example.com",
        )
    }
}

impl Error for InvalidOrigin {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_accepted_only_as_browsers_send_them() {
        for origin in [
            "https://app.example.com",
            "http://localhost:5173",
            "http://127.0.0.1:8080",
            "http://[::1]:3000",
            "https://xn--bj0bj06e.example",
        ] {
            assert_eq!(origin.parse().as_ref().map(Origin::as_str), Ok(origin));
        }
        for text in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://app.example.com?query",
            "https://App.example.com",
            "HTTPS://app.example.com",
            "https://app.example.com:443",
            "http://app.example.com:80",
            "https://app.example.com:",
            "https://user@app.example.com",
            "https://*.example.com/",
            "ftp://app.example.com",
            "https://a.example,https://b.example",
            "https://일기.example",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(InvalidOrigin), "{text}");
        }
    }
}
