//! The limits of a document. They are checked while it is parsed, so that memory and stack are
//! bounded for any input.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::DocumentError;

/// Limits of a document's depth and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentLimits {
    /// Maximum nesting depth in nodes, counting the outermost. Default 64.
    pub max_depth: usize,
    /// Maximum number of nodes. Default 10,000.
    pub max_nodes: usize,
}

impl Default for DocumentLimits {
    fn default() -> Self {
        Self { max_depth: 64, max_nodes: 10_000 }
    }
}

impl DocumentLimits {
    /// Whether the JSON text is a document within the limits.
    pub(super) fn check(&self, json: &str) -> Result<(), DocumentError> {
        let walk = Walk { limits: self, nodes: Cell::new(0), refusal: Cell::new(None) };
        let mut deserializer = serde_json::Deserializer::from_str(json);
        // The walk has its own limits, which allow more than serde_json's 128 levels.
        deserializer.disable_recursion_limit();
        let walked = Node { walk: &walk, depth: 1 }.deserialize(&mut deserializer);
        if let Some(refusal) = walk.refusal.get() {
            return Err(refusal);
        }
        walked.and_then(|()| deserializer.end()).map_err(|error| {
            if error.is_data() { DocumentError::NotADocument } else { DocumentError::NotJson }
        })
    }
}

struct Walk<'a> {
    limits: &'a DocumentLimits,
    nodes: Cell<usize>,
    refusal: Cell<Option<DocumentError>>,
}

impl Walk<'_> {
    fn refuse<E: serde::de::Error>(&self, refusal: DocumentError) -> E {
        self.refusal.set(Some(refusal));
        E::custom(refusal)
    }

    fn enter<E: serde::de::Error>(&self, depth: usize) -> Result<(), E> {
        let limit = self.limits.max_depth;
        if depth > limit { Err(self.refuse(DocumentError::TooDeep { limit })) } else { Ok(()) }
    }
}

/// A document node; the outermost has depth 1.
struct Node<'a> {
    walk: &'a Walk<'a>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document node")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { walk, depth } = self;
        walk.enter(depth)?;
        walk.nodes.set(walk.nodes.get() + 1);
        let limit = walk.limits.max_nodes;
        if walk.nodes.get() > limit {
            return Err(walk.refuse(DocumentError::TooManyNodes { limit }));
        }
        let mut kind = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "type" => kind = Some(map.next_value::<String>()?),
                "text" => drop(map.next_value::<String>()?),
                "content" => map.next_value_seed(Nodes { walk, depth: depth + 1 })?,
                "marks" => map.next_value_seed(Marks { walk })?,
                _ => map.next_value_seed(Json { walk, depth: 1 })?,
            }
        }
        match kind.as_deref() {
            None => Err(A::Error::missing_field("type")),
            Some(kind) if depth == 1 && kind != "doc" => {
                Err(A::Error::custom("the outermost node is not a doc"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// The nodes in a node.
struct Nodes<'a> {
    walk: &'a Walk<'a>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Nodes<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Nodes<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of document nodes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Node { walk: self.walk, depth: self.depth })?.is_some() {}
        Ok(())
    }
}

/// The marks of a node: objects with a type.
struct Marks<'a> {
    walk: &'a Walk<'a>,
}

impl<'de> DeserializeSeed<'de> for Marks<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Marks<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of marks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Json { walk: self.walk, depth: 1 })?.is_some() {}
        Ok(())
    }
}

/// Any JSON value, such as an attribute. It is walked, not skipped, so that its nesting is bounded
/// and its strings are checked.
struct Json<'a> {
    walk: &'a Walk<'a>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Json<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { walk, depth } = self;
        walk.enter(depth)?;
        while seq.next_element_seed(Json { walk, depth: depth + 1 })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { walk, depth } = self;
        walk.enter(depth)?;
        while map.next_key::<String>()?.is_some() {
            map.next_value_seed(Json { walk, depth: depth + 1 })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        let mut json =
            r#"{"type":"text","text":"바닥","marks":[{"type":"link","attrs":{"href":"x"}}]}"#
                .to_owned();
        for _ in 2..depth {
            json = format!(r#"{{"type":"blockquote","content":[{json}]}}"#);
        }
        format!(r#"{{"type":"doc","content":[{json}]}}"#)
    }

    #[test]
    fn depth_is_counted_in_nodes() {
        let limits = DocumentLimits::default();
        assert_eq!(limits.check(&nested(64)), Ok(()));
        assert_eq!(limits.check(&nested(65)), Err(DocumentError::TooDeep { limit: 64 }));
        assert_eq!(limits.check(&nested(200)), Err(DocumentError::TooDeep { limit: 64 }));
        assert_eq!(super::super::parse(&nested(64)).map(|v| v["type"] == "doc").ok(), Some(true));
    }

    #[test]
    fn the_depth_of_attributes_is_limited() {
        let attrs = format!("{}{}", "[".repeat(65), "]".repeat(65));
        let json = format!(r#"{{"type":"doc","attrs":{attrs}}}"#);
        assert_eq!(
            DocumentLimits::default().check(&json),
            Err(DocumentError::TooDeep { limit: 64 })
        );
    }

    #[test]
    fn nodes_are_counted() {
        let document = |nodes: usize| {
            let blocks = vec![r#"{"type":"paragraph"}"#; nodes - 1].join(",");
            format!(r#"{{"type":"doc","content":[{blocks}]}}"#)
        };
        let limits = DocumentLimits::default();
        assert_eq!(limits.check(&document(10_000)), Ok(()));
        assert_eq!(
            limits.check(&document(10_001)),
            Err(DocumentError::TooManyNodes { limit: 10_000 })
        );
    }

    #[test]
    fn json_that_is_not_a_document_is_rejected() {
        for (json, error) in [
            ("", DocumentError::NotJson),
            ("{", DocumentError::NotJson),
            (r#"{"type":"doc"} x"#, DocumentError::NotJson),
            (
                r#"{"type":"doc","content":[{"type":"text","text":"\ud800"}]}"#,
                DocumentError::NotJson,
            ),
            (r#"{"type":"doc","attrs":{"a":"\udc00"}}"#, DocumentError::NotJson),
            ("null", DocumentError::NotADocument),
            ("[]", DocumentError::NotADocument),
            ("{}", DocumentError::NotADocument),
            (r#"{"type":"paragraph"}"#, DocumentError::NotADocument),
            (r#"{"type":3}"#, DocumentError::NotADocument),
            (r#"{"type":"doc","content":{}}"#, DocumentError::NotADocument),
            (r#"{"type":"doc","content":["text"]}"#, DocumentError::NotADocument),
            (r#"{"type":"doc","content":[{"text":"no type"}]}"#, DocumentError::NotADocument),
            (r#"{"type":"doc","content":[{"type":"text","text":7}]}"#, DocumentError::NotADocument),
        ] {
            assert_eq!(DocumentLimits::default().check(json), Err(error), "{json}");
        }
    }
}
