/// Defines an enum that is a string on the wire and may get more values in later versions.
///
/// An unknown string decodes as `Unknown` instead of failing the whole body, so that an older
/// client works with a newer server and an older server with a newer worker.
macro_rules! wire_enum {
    (
        $(#[$meta:meta])*
        pub enum $enum:ident {
            $($(#[$doc:meta])* $variant:ident = $name:tt,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[non_exhaustive]
        pub enum $enum {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
            /// A value that is unknown to this version of the crate.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl $enum {
            /// The name on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Unknown => "unknown",
                }
            }
        }

        impl From<&str> for $enum {
            /// The value with this name on the wire; `Unknown` for any other name.
            fn from(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)*
                    _ => Self::Unknown,
                }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        #[cfg(test)]
        impl $enum {
            /// Every value with its name on the wire.
            pub(super) const NAMES: &'static [(Self, &'static str)] =
                &[$((Self::$variant, $name),)* (Self::Unknown, "unknown")];
        }
    };
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};

    use serde::{Serialize, de::DeserializeOwned};
    use serde_json::json;

    use crate::types::{
        DiaryChange, DiarySummaryStatus, FailureKind, ProgressPhase, Quota, SummaryStatus,
    };

    fn check<T>(names: &[(T, &str)], unknown: T)
    where
        T: Copy
            + PartialEq
            + Debug
            + Display
            + Serialize
            + DeserializeOwned
            + for<'a> From<&'a str>,
    {
        for (value, name) in names {
            assert_eq!(json!(value), *name);
            assert_eq!(value.to_string(), *name);
            assert_eq!(serde_json::from_value::<T>(json!(name)).expect("a known name"), *value);
            assert_eq!(T::from(name), *value);
        }
        for name in ["added_later", "", "Unknown"] {
            assert_eq!(serde_json::from_value::<T>(json!(name)).expect(name), unknown);
            assert_eq!(T::from(name), unknown);
        }
        for not_a_name in [json!(7), json!(null), json!(["queued"])] {
            assert!(serde_json::from_value::<T>(not_a_name).is_err());
        }
    }

    #[test]
    fn unknown_names_decode_as_unknown() {
        check(SummaryStatus::NAMES, SummaryStatus::Unknown);
        check(DiarySummaryStatus::NAMES, DiarySummaryStatus::Unknown);
        check(FailureKind::NAMES, FailureKind::Unknown);
        check(ProgressPhase::NAMES, ProgressPhase::Unknown);
        check(Quota::NAMES, Quota::Unknown);
        check(DiaryChange::NAMES, DiaryChange::Unknown);
    }
}
