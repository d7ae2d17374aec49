//! The OpenAPI schema of documents.

use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{
            AdditionalProperties, Array, ArrayBuilder, Object, ObjectBuilder, Schema, SchemaType,
            Type,
        },
    },
};

use super::Document;

const NODE: &str = "DocumentNode";

impl PartialSchema for Document {
    fn schema() -> RefOr<Schema> {
        let kind = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["doc"]));
        let example = json!({
            "type": "doc",
            "content": [
                {"type": "heading", "attrs": {"level": 2}, "content": [{"type": "text", "text": "할머니 집"}]},
                {"type": "paragraph", "content": [
                    {"type": "text", "text": "감나무에 "},
                    {"type": "text", "text": "인사했다", "marks": [{"type": "bold"}]},
                    {"type": "text", "text": "."},
                ]},
            ],
        });
        node()
            .property("type", kind)
            .description(Some(
                "The text of a diary: a ProseMirror (TipTap) document, at most 64 nodes deep and of at \
                 most 10,000 nodes. It is kept byte for byte, with unknown nodes, marks, attributes and \
                 properties.",
            ))
            .examples([example])
            .into()
    }
}

impl ToSchema for Document {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        let kind = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("The name of the node's type, e.g. `paragraph`."));
        let node = node()
            .property("type", kind)
            .description(Some("A node of a document: a block, or inline content."))
            .examples([
                json!({"type": "paragraph", "content": [{"type": "text", "text": "비가 왔다."}]}),
            ]);
        schemas.push((NODE.to_owned(), node.into()));
    }
}

/// A node, except its type.
fn node() -> ObjectBuilder {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("The text of a node of the type `text`."));
    let attrs = Object::builder()
        .schema_type(SchemaType::AnyValue)
        .description(Some("The attributes of the node: an object by convention."));
    let mark = Object::builder()
        .schema_type(SchemaType::AnyValue)
        .description(Some("By convention an object with a `type`, e.g. `{\"type\": \"bold\"}`."));
    let content: ArrayBuilder = Array::builder()
        .items(Ref::from_schema_name(NODE))
        .description(Some("The nodes in this node, in their order."));
    let marks: ArrayBuilder =
        Array::builder().items(mark).description(Some("The marks of the node's text."));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .required("type")
        .property("content", content)
        .property("text", text)
        .property("marks", marks)
        .property("attrs", attrs)
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(true)))
}
