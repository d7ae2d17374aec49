//! The children that the usual editors accept in a node. If they accept three documents, they must
//! accept the merged one, too. Nothing is assumed about unknown node types.

use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;

use super::field::Fields;

/// A node type of ProseMirror's basic schema or TipTap's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Document,
    Paragraph,
    Heading,
    Code,
    Quote,
    /// A bullet list or an ordered one.
    List,
    Item,
    TaskList,
    TaskItem,
    Table,
    Row,
    Cell,
    Details,
    Summary,
    DetailsContent,
    /// A rule, an image, or another block without content.
    Leaf,
    /// Text, a line break or a mention.
    Inline,
    Unknown,
}

impl Kind {
    /// The kind of a node type, whose name may be in camel case or snake case.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "doc" => Self::Document,
            "paragraph" => Self::Paragraph,
            "heading" => Self::Heading,
            "codeBlock" | "code_block" => Self::Code,
            "blockquote" => Self::Quote,
            "bulletList" | "bullet_list" | "orderedList" | "ordered_list" => Self::List,
            "listItem" | "list_item" => Self::Item,
            "taskList" | "task_list" => Self::TaskList,
            "taskItem" | "task_item" => Self::TaskItem,
            "table" => Self::Table,
            "tableRow" | "table_row" => Self::Row,
            "tableCell" | "table_cell" | "tableHeader" | "table_header" => Self::Cell,
            "details" => Self::Details,
            "detailsSummary" | "details_summary" => Self::Summary,
            "detailsContent" | "details_content" => Self::DetailsContent,
            "horizontalRule" | "horizontal_rule" => Self::Leaf,
            "text" | "hardBreak" | "hard_break" | "mention" | "emoji" => Self::Inline,
            _ => Self::Unknown,
        }
    }

    pub(super) fn of_node(raw: &RawValue) -> Self {
        let kind = Fields::of(raw).and_then(|fields| fields.text("type"));
        kind.map_or(Self::Unknown, |kind| Self::of(&kind))
    }

    /// Whether it contains a line of text.
    pub(super) fn is_text_block(self) -> bool {
        matches!(self, Self::Paragraph | Self::Heading | Self::Code | Self::Summary)
    }

    /// Whether it only groups the blocks in it, so that text may be moved out of it or into it.
    pub(super) fn is_wrapper(self) -> bool {
        matches!(
            self,
            Self::Quote
                | Self::List
                | Self::Item
                | Self::TaskList
                | Self::TaskItem
                | Self::Details
                | Self::DetailsContent
        )
    }

    /// Whether it may be a sibling of blocks. Unknown nodes may be.
    fn is_block(self) -> bool {
        !matches!(
            self,
            Self::Document
                | Self::Item
                | Self::TaskItem
                | Self::Row
                | Self::Cell
                | Self::Summary
                | Self::DetailsContent
                | Self::Inline
        )
    }

    /// Whether a node of this type may have such children.
    pub(super) fn takes(self, children: &[Self]) -> bool {
        let all = |kind: Self| !children.is_empty() && children.iter().all(|child| *child == kind);
        match self {
            Self::Document | Self::Quote | Self::Cell | Self::DetailsContent => {
                !children.is_empty() && children.iter().all(|child| child.is_block())
            }
            Self::List => all(Self::Item),
            Self::TaskList => all(Self::TaskItem),
            Self::Item | Self::TaskItem => {
                children.first() == Some(&Self::Paragraph)
                    && children.iter().all(|child| child.is_block())
            }
            Self::Table => all(Self::Row),
            Self::Row => children.iter().all(|child| *child == Self::Cell),
            Self::Details => children == [Self::Summary, Self::DetailsContent],
            Self::Leaf => children.is_empty(),
            Self::Paragraph | Self::Heading | Self::Summary => {
                children.iter().all(|child| matches!(child, Self::Inline | Self::Unknown))
            }
            Self::Code => children.iter().all(|child| *child == Self::Inline),
            Self::Inline | Self::Unknown => true,
        }
    }

    /// Whether a node that lost all its children is kept, with an empty paragraph in it.
    pub(super) fn stays_when_empty(self) -> bool {
        matches!(
            self,
            Self::Document | Self::Item | Self::TaskItem | Self::Cell | Self::DetailsContent
        )
    }

    /// Whether it needs a paragraph before such children.
    pub(super) fn needs_paragraph(self, children: &[Self]) -> bool {
        match self {
            Self::Item | Self::TaskItem => children.first() != Some(&Self::Paragraph),
            _ => children.is_empty() && self.stays_when_empty(),
        }
    }

    /// Whether it may contain both versions of a child, one after the other.
    pub(super) fn takes_twice(self, child: Self) -> bool {
        !matches!((self, child), (Self::Details, _))
    }
}

/// The children of a node, with an empty paragraph where the node requires one. `None` if an editor
/// would reject them although it accepts the children in the three documents.
pub(super) fn settle<'a>(
    parent: Kind,
    three: [&[&RawValue]; 3],
    mut children: Vec<Cow<'a, RawValue>>,
) -> Option<Vec<Cow<'a, RawValue>>> {
    let kinds = |nodes: &[&RawValue]| -> Vec<Kind> {
        nodes.iter().map(|node| Kind::of_node(node)).collect()
    };
    let merged = |children: &[Cow<'_, RawValue>]| -> Vec<Kind> {
        children.iter().map(|node| Kind::of_node(node)).collect()
    };
    if parent == Kind::Unknown {
        let [b, o, t] = three.map(kinds);
        // An unknown node may require a fixed number of children, such as columns.
        let is_fixed = b == o && b == t && b.contains(&Kind::Unknown);
        return (!is_fixed || merged(&children) == b).then_some(children);
    }
    if parent.takes(&merged(&children)) || three.iter().any(|nodes| !parent.takes(&kinds(nodes))) {
        return Some(children);
    }
    if parent.needs_paragraph(&merged(&children)) {
        children.insert(0, Cow::Owned(empty_paragraph()));
    }
    parent.takes(&merged(&children)).then_some(children)
}

pub(super) fn empty_paragraph() -> Box<RawValue> {
    to_raw_value(&serde_json::json!({"type": "paragraph"})).expect("a JSON value serialises")
}
