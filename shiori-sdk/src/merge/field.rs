//! The fields of a node, other than its content.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::{RawValue, to_raw_value};

use super::{block::Canonical, overlap::OnOverlap};

type Value<'a> = Cow<'a, RawValue>;

/// The maximum number of fields of an object, and of marks of a node, that are merged: all pairs of
/// them are compared.
pub(super) const MAX_MEMBERS: usize = 1_000;

/// The fields of a JSON object in their order, each value byte for byte.
#[derive(Default, Clone)]
pub(super) struct Fields<'a>(pub(super) Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Fields<'a> {
    /// `None` if it is not an object, has a duplicate field or more than [`MAX_MEMBERS`].
    pub(super) fn of(raw: &'a RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The value of a field that is a string.
    pub(super) fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        let Cow::Borrowed(raw) = self.get(key)? else { return None };
        serde_json::from_str(raw.get()).ok().map(|Text(text)| text)
    }

    /// Adds the content of the node whose other fields these are.
    pub(super) fn insert_content(&mut self, at: Option<usize>, content: &[Value<'_>]) {
        let content = to_raw_value(content).expect("a list of JSON values serialises");
        let at = at.unwrap_or(usize::MAX).min(self.0.len());
        self.0.insert(at, (Cow::Borrowed("content"), Cow::Owned(content)));
    }
}

impl<'a, 'de: 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object { node: None })
    }
}

/// A node, divided into its content and its other fields.
#[derive(Default)]
pub(super) struct Node<'a> {
    /// All fields but the content.
    pub(super) fields: Fields<'a>,
    pub(super) content: Vec<&'a RawValue>,
    /// The position of the content among the fields, if it has any.
    pub(super) content_at: Option<usize>,
}

impl<'a> Node<'a> {
    /// `None` if [`Fields::of`] is `None`, or the content is not a list.
    pub(super) fn of(json: &'a str) -> Option<Self> {
        let mut node = Self::default();
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let fields = deserializer.deserialize_map(Object { node: Some(&mut node) }).ok()?;
        Some(Self { fields, ..node })
    }
}

/// Deserialises an object, and the content of a node separately from its other fields.
struct Object<'n, 'de> {
    node: Option<&'n mut Node<'de>>,
}

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields(Vec::with_capacity(4));
        let mut is_twice = false;
        while let Some(Text(key)) = map.next_key()? {
            match &mut self.node {
                Some(node) if key == "content" => {
                    is_twice |= node.content_at.replace(fields.0.len()).is_some();
                    node.content = map.next_value()?;
                }
                _ => fields.0.push((key, Cow::Borrowed(map.next_value()?))),
            }
        }
        if fields.0.len() > MAX_MEMBERS {
            return Err(A::Error::custom("too many fields"));
        }
        let mut keys: Vec<&str> = fields.0.iter().map(|(key, _)| &**key).collect();
        keys.sort_unstable();
        is_twice |= keys.windows(2).any(|pair| pair[0] == pair[1]);
        if is_twice { Err(A::Error::custom("duplicate field")) } else { Ok(fields) }
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// A JSON string, borrowed unless it contains an escape.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Fields after a merge.
#[derive(Default)]
pub(super) struct Merged<'a> {
    /// The fields of ours in their order, then those that only theirs has.
    pub(super) fields: Fields<'a>,
    /// Whether both sides changed one of them to different values.
    pub(super) overlap: bool,
    /// Whether such a value may hold text, being more than a number, `true`, `false` or `null`.
    pub(super) loses_text: bool,
}

/// Merges field by field, and `attrs` attribute by attribute. If both sides changed a field to
/// different values, ours is used, or theirs with [`OnOverlap::Theirs`].
pub(super) fn merge<'a>(
    base: &Fields<'a>,
    ours: &Fields<'a>,
    theirs: &Fields<'a>,
    on_overlap: OnOverlap,
) -> Merged<'a> {
    let mut merged = Merged::default();
    let only_theirs = theirs.0.iter().filter(|(key, _)| ours.get(key).is_none());
    for (key, _) in ours.0.iter().chain(only_theirs) {
        let three = [base, ours, theirs].map(|fields| fields.get(key));
        let value = if let Picked::Agreed(value) = pick(three) {
            value.cloned()
        } else if let Some(attributes) = merge_attributes(key, three, on_overlap) {
            merged.overlap |= attributes.overlap;
            merged.loses_text |= attributes.loses_text;
            to_raw_value(&attributes.fields).ok().map(Cow::Owned)
        } else {
            let [_, ours, theirs] = three;
            merged.overlap = true;
            merged.loses_text |= [ours, theirs].into_iter().flatten().any(|v| may_hold_text(v));
            if on_overlap == OnOverlap::Theirs { theirs } else { ours }.cloned()
        };
        if let Some(value) = value {
            merged.fields.0.push((key.clone(), value));
        }
    }
    merged
}

fn may_hold_text(value: &RawValue) -> bool {
    value.get().starts_with(['"', '[', '{'])
}

/// The result of merging a field.
enum Picked<'m, 'a> {
    /// At most one side changed its value, or both changed it to the same value.
    Agreed(Option<&'m Value<'a>>),
    Disagreed,
}

/// If a side changed only the spelling of a value, its spelling is used.
fn pick<'m, 'a>([base, ours, theirs]: [Option<&'m Value<'a>>; 3]) -> Picked<'m, 'a> {
    let [b, o, t] = [base, ours, theirs].map(|raw| raw.map(|raw| raw.get()));
    if o == b {
        return Picked::Agreed(theirs);
    }
    if t == b {
        return Picked::Agreed(ours);
    }
    let [b, o, t] = [base, ours, theirs].map(|raw| raw.map(|raw| Canonical::of(raw)));
    if o == b || o == t {
        Picked::Agreed(theirs)
    } else if t == b {
        Picked::Agreed(ours)
    } else {
        Picked::Disagreed
    }
}

/// The attributes of the node, when both sides have an object there.
fn merge_attributes<'a>(
    key: &str,
    three: [Option<&Value<'a>>; 3],
    on_overlap: OnOverlap,
) -> Option<Merged<'a>> {
    if key != "attrs" {
        return None;
    }
    // Values that were read from a document are borrowed.
    let object = |raw: &Value<'a>| match raw {
        Cow::Borrowed(raw) => Fields::of(raw),
        Cow::Owned(_) => None,
    };
    let [base, ours, theirs] = three;
    let base = base.map_or(Some(Fields::default()), object)?;
    Some(merge(&base, &object(ours?)?, &object(theirs?)?, on_overlap))
}
