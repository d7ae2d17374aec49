use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// How long after its request a summary waits for the language model; afterwards its next attempt
/// is the last. 1 s to 24 h; as text `900`, `900s`, `15m` or `1h`. Default 15 min.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(Duration);

/// The text is not a [`Patience`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be seconds or a time like 15m, from 1s to 24h")]
pub struct InvalidPatience;

impl Patience {
    /// 15 minutes.
    pub const DEFAULT: Self = Self(Duration::from_secs(15 * 60));

    const MAX_SECONDS: u64 = 24 * 60 * 60;

    fn of_seconds(seconds: u64) -> Result<Self, InvalidPatience> {
        if (1..=Self::MAX_SECONDS).contains(&seconds) {
            Ok(Self(Duration::from_secs(seconds)))
        } else {
            Err(InvalidPatience)
        }
    }

    /// The time.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl FromStr for Patience {
    type Err = InvalidPatience;

    fn from_str(text: &str) -> Result<Self, InvalidPatience> {
        let text = text.trim();
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match text[digits.len()..].trim() {
            "" | "s" => 1,
            "m" | "min" => 60,
            "h" => 60 * 60,
            _ => return Err(InvalidPatience),
        };
        let count: u64 = digits.parse().map_err(|_| InvalidPatience)?;
        Self::of_seconds(count.saturating_mul(unit))
    }
}

impl fmt::Display for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs())
    }
}

impl<'de> Deserialize<'de> for Patience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Value {
            Seconds(u64),
            Text(String),
        }
        let patience = match Value::deserialize(deserializer)? {
            Value::Seconds(seconds) => Self::of_seconds(seconds),
            Value::Text(text) => text.parse(),
        };
        patience.map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patience_is_seconds_or_a_time_with_a_unit() {
        for (text, seconds) in
            [("900", 900), ("900s", 900), ("15m", 900), ("15 min", 900), ("24h", 86_400), ("1", 1)]
        {
            assert_eq!(text.parse(), Ok(Patience(Duration::from_secs(seconds))), "{text}");
        }
        for text in ["", "0", "25h", "-1", "1d", "m", "1.5h", "99999999999999999999", "15분"] {
            assert_eq!(text.parse::<Patience>(), Err(InvalidPatience), "{text}");
        }
        assert_eq!(Patience::default().to_string().parse(), Ok(Patience::default()));
        let read: Result<Patience, _> = serde_json::from_str("900");
        assert_eq!(read.expect("seconds"), Patience::default());
        let read: Result<Patience, _> = serde_json::from_str("\"15m\"");
        assert_eq!(read.expect("minutes"), Patience::default());
        assert!(serde_json::from_str::<Patience>("0").is_err());
    }
}
