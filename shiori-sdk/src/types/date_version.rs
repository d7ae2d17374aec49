//! The versions of many dates, in a compact form.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IgnoredAny, SeqAccess, Visitor},
    ser::SerializeSeq,
};

use super::{Date, Version};

/// The current version of a date that has or had a diary, and whether the diary is archived or
/// deleted.
///
/// On the wire it is an array, so that the versions of ten years have less than 64 KiB: the date as a
/// number (`20260216`), the version, and the sum of the flags, 1 (archived) and 2 (deleted). Flags of
/// zero are omitted. Readers ignore unknown flags and further items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DateVersion {
    /// The date.
    pub date: Date,
    /// The version. A deletion is a version, too.
    pub version: Version,
    /// Whether the diary is archived.
    pub is_archived: bool,
    /// Whether the diary was deleted, so that the date has none.
    pub is_deleted: bool,
}

const ARCHIVED: u64 = 1;
const DELETED: u64 = 2;

impl DateVersion {
    /// The flags on the wire.
    fn flags(self) -> u64 {
        u64::from(self.is_archived) * ARCHIVED + u64::from(self.is_deleted) * DELETED
    }
}

impl Serialize for DateVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let flags = self.flags();
        let mut items = serializer.serialize_seq(Some(if flags == 0 { 2 } else { 3 }))?;
        items.serialize_element(&self.date.as_number())?;
        items.serialize_element(&self.version)?;
        if flags != 0 {
            items.serialize_element(&flags)?;
        }
        items.end()
    }
}

impl<'de> Deserialize<'de> for DateVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;

        impl<'de> Visitor<'de> for Items {
            type Value = DateVersion;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of a date, a version and flags")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<DateVersion, A::Error> {
                let date =
                    items.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                let date = Date::from_number(date).map_err(de::Error::custom)?;
                let version =
                    items.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
                let flags: u64 = items.next_element()?.unwrap_or_default();
                while items.next_element::<IgnoredAny>()?.is_some() {}
                let (is_archived, is_deleted) = (flags & ARCHIVED != 0, flags & DELETED != 0);
                Ok(DateVersion { date, version, is_archived, is_deleted })
            }
        }

        deserializer.deserialize_seq(Items)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for DateVersion {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};

        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        ArrayBuilder::new()
            .items(number)
            .min_items(Some(2))
            .max_items(Some(3))
            .description(Some(
                "A date as a number, its current version, and the sum of the flags: 1 if the diary is \
                 archived, 2 if it was deleted. Flags of zero are omitted. Clients must ignore unknown \
                 flags and further items.",
            ))
            .examples([serde_json::json!([20_260_216, 3, 1])])
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for DateVersion {}

/// `data` of the response to `GET /api/diary/versions`: the versions of the dates of a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionPage {
    /// The dates of the range that have or had a diary, by date.
    ///
    /// At most [`MAX_VERSIONS`](super::limits::MAX_VERSIONS).
    #[cfg_attr(feature = "openapi", schema(max_items = 4096))]
    pub versions: Vec<DateVersion>,
    /// Null if the range is complete. Otherwise the first date that is missing: the `start` of the next
    /// request.
    #[serde(default)]
    pub next: Option<Date>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(number: u64, is_archived: bool, is_deleted: bool) -> DateVersion {
        let date = Date::new(2026, 2, 16).expect("a date");
        DateVersion { date, version: Version::new(number), is_archived, is_deleted }
    }

    #[test]
    fn a_version_is_a_short_array() {
        for (value, expected) in [
            (version(1, false, false), json!([20_260_216, 1])),
            (version(2, true, false), json!([20_260_216, 2, 1])),
            (version(u64::MAX, false, true), json!([20_260_216, u64::MAX, 2])),
        ] {
            assert_eq!(json!(value), expected);
            assert_eq!(serde_json::from_value::<DateVersion>(expected).expect("valid"), value);
        }
    }

    #[test]
    fn unknown_flags_and_items_are_ignored() {
        let later = json!([20_260_216, 3, 0b1011, "more", [4]]);
        let read: DateVersion = serde_json::from_value(later).expect("valid");
        assert_eq!(read, version(3, true, true));
    }

    #[test]
    fn other_values_are_rejected() {
        for invalid in [json!([]), json!([20_260_216]), json!([20_260_230, 1]), json!(20_260_216)] {
            serde_json::from_value::<DateVersion>(invalid).expect_err("invalid");
        }
    }

    /// A page of ten years whose dates have been saved a thousand times each.
    #[test]
    fn ten_years_have_less_than_64_kib() {
        let first = Date::new(2016, 2, 29).expect("a date");
        let dates = (0..3653).filter_map(|days| first.plus_days(days));
        let versions: Vec<_> =
            dates.map(|date| DateVersion { date, ..version(9999, false, false) }).collect();
        let page = VersionPage { versions, next: None };
        let bytes = serde_json::to_vec(&page).expect("JSON");
        assert!(bytes.len() < 64 * 1024, "{}", bytes.len());
    }
}
