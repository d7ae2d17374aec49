use std::{error::Error, fmt, str::FromStr};

/// An e-mail address, converted to lower case. `Debug` does not show it.
///
/// It is ASCII; an internationalised domain is in its Punycode form. So different addresses also
/// differ under every collation of a database.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// RFC 5321, section 4.5.3.1.3: a path has 256 octets, two of them its angle brackets.
    const MAX_CHARS: usize = 254;
    /// RFC 5321, section 4.5.3.1.1.
    const MAX_LOCAL_CHARS: usize = 64;
    /// RFC 1035, section 2.3.4.
    const MAX_LABEL_CHARS: usize = 63;

    /// Parses the address of a new account. It is stricter than [`str::parse`], which also accepts
    /// the addresses of older accounts: the last label of the domain must be a top-level domain,
    /// which consists of at least two letters or is internationalised (`xn--…`). `a@1.2` is
    /// rejected.
    ///
    /// # Errors
    ///
    /// [`InvalidEmail`] if the text is not such an address.
    pub fn for_new_account(text: &str) -> Result<Self, InvalidEmail> {
        let email: Self = text.parse()?;
        let top_level = email.0.rsplit('.').next().unwrap_or_default();
        // RFC 3696, section 2: not all-numeric. The root zone has only letters and A-labels.
        let is_top_level = match top_level.strip_prefix("xn--") {
            Some(encoded) => !encoded.is_empty(),
            None => top_level.len() >= 2 && top_level.bytes().all(|byte| byte.is_ascii_lowercase()),
        };
        if is_top_level { Ok(email) } else { Err(InvalidEmail) }
    }

    /// The address itself. Keep it out of logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not an e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidEmail;

impl fmt::Display for InvalidEmail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an e-mail address")
    }
}

impl Error for InvalidEmail {}

impl FromStr for Email {
    type Err = InvalidEmail;

    /// Accepts a mailbox of RFC 5321, except quoted local parts, comments, address literals and
    /// domains of one label.
    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let (local, domain) = text.split_once('@').ok_or(InvalidEmail)?;
        let valid = text.len() <= Self::MAX_CHARS
            && local.len() <= Self::MAX_LOCAL_CHARS
            && local.split('.').all(is_atom)
            && domain.contains('.')
            && domain.split('.').all(is_label);
        if valid { Ok(Self(text.to_ascii_lowercase())) } else { Err(InvalidEmail) }
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

/// RFC 5322, section 3.2.3.
fn is_atom(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
}

fn is_label(text: &str) -> bool {
    (1..=Email::MAX_LABEL_CHARS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_converted_to_lower_case() {
        for (text, email) in [
            ("Mina@Example.COM", "mina@example.com"),
            ("a.b+diary@mail.example.co.kr", "a.b+diary@mail.example.co.kr"),
            ("o'neil_1@xn--ok0b236bp0a.kr", "o'neil_1@xn--ok0b236bp0a.kr"),
        ] {
            assert_eq!(text.parse::<Email>().expect(text).as_str(), email);
        }
    }

    #[test]
    fn text_that_is_not_an_address_is_rejected() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long_label = format!("a@{}.com", "b".repeat(64));
        let long = format!("a@{}com", "b23456789.".repeat(25));
        for text in [
            "",
            "@",
            "mina",
            "mina@",
            "@example.com",
            "mina@example",
            "a@b@example.com",
            "mina@.com",
            "mina@example.",
            "mina@exam..ple.com",
            ".mina@example.com",
            "mi..na@example.com",
            "mi na@example.com",
            " mina@example.com",
            "mina@example.com\n",
            "mina@-example.com",
            "mina@example-.com",
            "mina@exam_ple.com",
            "미나@example.com",
            "mina@예시.kr",
            "mi\0na@example.com",
            "\"mina\"@example.com",
            "mina@[127.0.0.1]",
            &long_local,
            &long_label,
            &long,
        ] {
            assert_eq!(text.parse::<Email>(), Err(InvalidEmail), "{text:?}");
        }
    }

    #[test]
    fn the_address_of_a_new_account_needs_a_top_level_domain() {
        for text in
            ["Mina@Example.COM", "a@b.kr", "a@1.example.museum", "a@x.xn--3e0b707e", "a@x.XN--P1AI"]
        {
            assert_eq!(Email::for_new_account(text), text.parse(), "{text}");
            assert!(Email::for_new_account(text).is_ok(), "{text}");
        }
        for text in [
            "a@1.2",
            "a@127.0.0.1",
            "a@example.123",
            "a@example.c",
            "a@example.c0m",
            "a@x.a-b",
            "a@x.xn--",
        ] {
            assert_eq!(Email::for_new_account(text), Err(InvalidEmail), "{text}");
        }
        // Accounts of earlier versions can still sign in.
        for text in ["a@1.2", "a@example.c0m", "a@x.a-b"] {
            assert!(text.parse::<Email>().is_ok(), "{text}");
        }
        assert_eq!(Email::for_new_account("mina"), Err(InvalidEmail));
    }

    #[test]
    fn debug_shows_no_address() {
        let email: Email = "mina@example.com".parse().expect("an address");
        assert_eq!(format!("{email:?}"), "Email(…)");
    }

    proptest! {
        #[test]
        fn any_text_is_rejected_or_converted_to_lower_case(text in any::<String>()) {
            if let Ok(email) = text.parse::<Email>() {
                prop_assert_eq!(email.as_str(), text.to_lowercase());
            }
        }

        #[test]
        fn letter_case_makes_no_difference(text in "[a-z0-9.+_-]{1,10}@[a-z0-9-]{1,10}\\.[a-z]{2,3}") {
            prop_assert_eq!(text.parse::<Email>(), text.to_uppercase().parse());
        }
    }
}
