//! Merging blocks whose text was moved from one to another: a paragraph was split or joined, a list
//! item was sunk or lifted, a block was wrapped.
//!
//! The text of all of them is one stream, in which a start token marks the beginning of each block.
//! A start token that one side inserted splits a block, and one that it removed joins two blocks,
//! wherever in the stream the other side made changes. The nodes around a block, such as its list
//! and list item, are properties of its start token.

use std::borrow::Cow;

use serde_json::value::{RawValue, to_raw_value};

use super::{
    block::{Block, Numbering, Piece},
    context::Context,
    field::{self, Fields, Node},
    mark::Marks,
    overlap::OnOverlap,
    schema::Kind,
    segment::{Sort, Unit},
    text,
    token::{self, Content, Inline, Part, Side, Token, Words},
};

/// The maximum number of nodes around a block.
const MAX_WRAPPERS: usize = 32;

/// The result of merging blocks as one stream.
pub(super) struct Flowed {
    pub(super) blocks: Vec<Box<RawValue>>,
    /// Whether both sides changed the same words, marks or attributes.
    pub(super) overlap: bool,
}

/// Merges runs of neighbouring blocks. `None` if they do not have a suitable structure, if both
/// sides changed the same nodes around a block, or if keeping both versions gives a more readable
/// text.
pub(super) fn merge<'a>(context: &mut Context<'a>, three: [&[Block<'a>]; 3]) -> Option<Flowed> {
    let mut marks = Marks::new();
    let mut read = |blocks: &[Block<'a>]| Run::of(blocks, &mut context.numbering, &mut marks);
    let runs = [read(three[0])?, read(three[1])?, read(three[2])?];
    let mut known = Words::default();
    let sides = [0, 1, 2].map(|which| known.side(which, runs[which].parts(), Unit::Word));
    let starts = sides.each_ref().map(starts);
    let letters = sides.each_ref().map(|side| side.tokens.clone());

    let reported = context.overlaps.len();
    let merged = text::combine(context, marks, sides, Unit::Word);
    let overlap = context.overlaps.len() > reported;
    context.overlaps.truncate(reported);
    let merged = merged.filter(|merged| !merged.is_unreadable)?;
    // If all words were rewritten, the blocks do not correspond to each other.
    if merged.kept == 0 && three[0].len() > 1 {
        return None;
    }

    let wrappers = Wrappers::of(&runs, &starts, &merged.tokens);
    let mut tree = Tree {
        on_overlap: context.on_overlap,
        runs: &runs,
        starts,
        letters,
        wrappers,
        marks: &merged.marks,
        open: Vec::new(),
        done: Vec::new(),
        last: [None; 3],
        last_path: Vec::new(),
        overlap,
    };
    let is_start =
        |token: &Token<'_>| token.sort == Sort::Break || matches!(token.part, Part::Atom(_));
    if !merged.tokens.first().is_none_or(is_start) {
        return None;
    }
    for block in merged.tokens.chunk_by(|_, next| !is_start(next)) {
        tree.block(block)?;
    }
    tree.close(0)?;
    Some(Flowed { blocks: tree.done, overlap: tree.overlap })
}

/// Where the blocks of a side start in its tokens.
fn starts(side: &Side<'_>) -> Vec<usize> {
    let is_start =
        |token: &Token<'_>| token.sort == Sort::Break || matches!(token.part, Part::Atom(_));
    (0..side.tokens.len()).filter(|&i| is_start(&side.tokens[i])).collect()
}

/// The innermost blocks of one side, with text or without, and the nodes around them.
#[derive(Default)]
struct Run<'a> {
    leaves: Vec<Leaf<'a>>,
    /// The nodes around them, in reading order, without their content.
    wrappers: Vec<Wrapper<'a>>,
}

struct Leaf<'a> {
    /// The nodes around it, from the outermost to the innermost, as indices of the wrappers.
    path: Vec<usize>,
    raw: &'a RawValue,
    body: Body<'a>,
}

enum Body<'a> {
    Text {
        fields: Fields<'a>,
        content_at: Option<usize>,
        content: Vec<Inline<'a>>,
    },
    /// Anything other than text, by its number.
    Atom(u32),
}

struct Wrapper<'a> {
    kind: Kind,
    fields: Fields<'a>,
    content_at: Option<usize>,
}

impl<'a> Run<'a> {
    fn of(
        blocks: &[Block<'a>],
        numbering: &mut Numbering<'a>,
        marks: &mut Marks<'a>,
    ) -> Option<Self> {
        let mut run = Self::default();
        for block in blocks {
            run.read(block.raw, &mut Vec::new(), numbering, marks)?;
        }
        Some(run)
    }

    fn read(
        &mut self,
        raw: &'a RawValue,
        path: &mut Vec<usize>,
        numbering: &mut Numbering<'a>,
        marks: &mut Marks<'a>,
    ) -> Option<()> {
        let node = Node::of(raw.get())?;
        let kind = node.fields.text("type").map_or(Kind::Unknown, |kind| Kind::of(&kind));
        if kind.is_wrapper() && !node.content.is_empty() {
            if path.len() >= MAX_WRAPPERS {
                return None;
            }
            let Node { fields, content, content_at } = node;
            path.push(self.wrappers.len());
            self.wrappers.push(Wrapper { kind, fields, content_at });
            for child in content {
                self.read(child, path, numbering, marks)?;
            }
            path.pop();
            return Some(());
        }
        let body = if kind.is_text_block() || token::is_inline(&node.content) {
            let Node { fields, content, content_at } = node;
            let inline = |raw: &'a RawValue| Inline::of(raw, numbering, marks);
            Body::Text { fields, content_at, content: content.into_iter().map(inline).collect() }
        } else {
            Body::Atom(numbering.block(raw).id())
        };
        self.leaves.push(Leaf { path: path.clone(), raw, body });
        Some(())
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.leaves.iter().flat_map(|leaf| {
            let (start, content) = match &leaf.body {
                Body::Text { content, .. } => (Part::Start, &content[..]),
                Body::Atom(id) => (Part::Atom(*id), &[][..]),
            };
            [start].into_iter().chain(content.iter().map(Part::Inline))
        })
    }
}

/// The nodes around blocks that correspond to each other in the three documents.
struct Wrappers {
    /// For each wrapper of base, ours and theirs, the number that corresponding wrappers share.
    numbers: [Vec<usize>; 3],
    /// For each number, its wrapper in base, ours and theirs.
    places: Vec<[Option<usize>; 3]>,
}

impl Wrappers {
    fn of(runs: &[Run<'_>; 3], starts: &[Vec<usize>; 3], tokens: &[Token<'_>]) -> Self {
        let base = runs[0].wrappers.len();
        let mut places: Vec<[Option<usize>; 3]> =
            (0..base).map(|i| [Some(i), None, None]).collect();
        let mut numbers: [Vec<Option<usize>>; 3] = [Vec::new(), Vec::new(), Vec::new()];
        for which in [1, 2] {
            let mut to_base: Vec<Option<usize>> = vec![None; runs[which].wrappers.len()];
            for token in tokens {
                let leaf = |side: usize| leaf_at(&starts[side], token.at[side]);
                let (Some(from), Some(to)) = (leaf(which), leaf(0)) else { continue };
                let path = &runs[which].leaves[from].path;
                let base_path = &runs[0].leaves[to].path;
                let mut next = 0;
                for &wrapper in path {
                    let kind = runs[which].wrappers[wrapper].kind;
                    let is_it = |&i: &usize| {
                        let base = base_path[i];
                        runs[0].wrappers[base].kind == kind
                            && (to_base[wrapper] == Some(base)
                                || to_base[wrapper].is_none() && places[base][which].is_none())
                    };
                    if let Some(i) = (next..base_path.len()).find(is_it) {
                        to_base[wrapper] = Some(base_path[i]);
                        places[base_path[i]][which] = Some(wrapper);
                        next = i + 1;
                    }
                }
            }
            numbers[which] = to_base;
        }
        // Both sides may have wrapped the same block in the same way, or inserted the same block.
        for token in tokens {
            let leaf = |side: usize| leaf_at(&starts[side], token.at[side]);
            let (Some(ours), Some(theirs)) = (leaf(1), leaf(2)) else { continue };
            let (ours, theirs) = (&runs[1].leaves[ours].path, &runs[2].leaves[theirs].path);
            let mut theirs = theirs.iter();
            for &our in ours {
                if numbers[1][our].is_some() {
                    continue;
                }
                let kind = runs[1].wrappers[our].kind;
                let is_it = |their: &&usize| {
                    numbers[2][**their].is_none() && runs[2].wrappers[**their].kind == kind
                };
                if let Some(&their) = theirs.find(is_it) {
                    numbers[1][our] = Some(places.len());
                    numbers[2][their] = Some(places.len());
                    places.push([None, Some(our), Some(their)]);
                }
            }
        }
        let mut all = |which: usize, numbers: &[Option<usize>]| -> Vec<usize> {
            let number = |(wrapper, number): (usize, &Option<usize>)| {
                number.unwrap_or_else(|| {
                    let mut place = [None; 3];
                    place[which] = Some(wrapper);
                    places.push(place);
                    places.len() - 1
                })
            };
            numbers.iter().enumerate().map(number).collect()
        };
        let numbers = [(0..base).collect(), all(1, &numbers[1]), all(2, &numbers[2])];
        Self { numbers, places }
    }

    fn path(&self, which: usize, leaf: &Leaf<'_>) -> Vec<usize> {
        leaf.path.iter().map(|&wrapper| self.numbers[which][wrapper]).collect()
    }
}

/// The leaf that starts at a position counted from 1.
fn leaf_at(starts: &[usize], at: usize) -> Option<usize> {
    starts.binary_search(&at.checked_sub(1)?).ok()
}

/// Puts blocks back into the nodes around them.
struct Tree<'m, 'a, 'n> {
    on_overlap: OnOverlap,
    runs: &'m [Run<'a>; 3],
    starts: [Vec<usize>; 3],
    /// All tokens of each side.
    letters: [Vec<Token<'n>>; 3],
    wrappers: Wrappers,
    marks: &'m Marks<'a>,
    open: Vec<Open<'a>>,
    done: Vec<Box<RawValue>>,
    /// For each side, its position of the leaf that was added last, if that side contains it.
    last: [Option<usize>; 3],
    last_path: Vec<usize>,
    overlap: bool,
}

/// A node whose content is being put together.
struct Open<'a> {
    number: usize,
    kind: Kind,
    fields: Fields<'a>,
    content_at: Option<usize>,
    content: Vec<Cow<'a, RawValue>>,
    kinds: Vec<Kind>,
}

impl<'a> Tree<'_, 'a, '_> {
    /// Adds a block, given its tokens.
    fn block(&mut self, tokens: &[Token<'_>]) -> Option<()> {
        let (start, content) = tokens.split_first()?;
        let leaves = [0, 1, 2].map(|side| leaf_at(&self.starts[side], start.at[side]));
        let runs = self.runs;
        let leaf = |side: usize| leaves[side].map(|leaf| &runs[side].leaves[leaf]);
        let paths = [0, 1, 2].map(|side| leaf(side).map(|leaf| self.wrappers.path(side, leaf)));
        let [b, o, t] = &paths;
        let inherited = self.inherited(&leaves, &paths);
        let path = match (b, o, t) {
            (_, Some(path), None) | (_, None, Some(path)) => path,
            (_, Some(ours), Some(theirs)) if Some(ours) == b.as_ref() || ours == theirs => theirs,
            (_, Some(ours), Some(theirs)) if Some(theirs) == b.as_ref() => ours,
            _ => return None,
        };
        let path = inherited.as_ref().unwrap_or(path);

        // The open nodes that also contain this block.
        let same = self.open.iter().zip(path).take_while(|(open, number)| open.number == **number);
        let mut kept = same.count();
        for side in [0, 1, 2] {
            if paths[side].as_ref() == Some(path)
                && let Some(at) = leaves[side]
                && at > 0
                && self.last[side] == Some(at - 1)
            {
                let before = &runs[side].leaves[at - 1].path;
                let shared =
                    before.iter().zip(&runs[side].leaves[at].path).take_while(|(a, b)| a == b);
                let open = self.open.iter().zip(path);
                let alike = open.take_while(|(open, number)| open.kind == self.kind(**number));
                kept = kept.max(shared.count().min(alike.count()));
            }
        }
        self.close(kept)?;
        for &number in &path[kept..] {
            self.enter(number)?;
        }
        self.last = leaves;
        self.last_path.clone_from(path);

        let (raw, kind) = self.leaf([leaf(0), leaf(1), leaf(2)], tokens, content)?;
        self.add(raw, kind);
        Some(())
    }

    /// The nodes around a block that only one side inserted. If that side has it in the same nodes
    /// as the block before it, and the other side moved that block into other nodes, the inserted
    /// block is moved into them, too.
    fn inherited(
        &self,
        leaves: &[Option<usize>; 3],
        paths: &[Option<Vec<usize>>; 3],
    ) -> Option<Vec<usize>> {
        let side = match leaves {
            [None, Some(_), None] => 1,
            [None, None, Some(_)] => 2,
            _ => return None,
        };
        let at = leaves[side]?;
        let before = at.checked_sub(1).filter(|before| self.last[side] == Some(*before))?;
        let path = paths[side].as_ref()?;
        let before = self.wrappers.path(side, &self.runs[side].leaves[before]);
        let shared = path.iter().zip(&before).take_while(|(one, other)| one == other).count();
        let rest = &path[shared..];
        if rest.is_empty() && before.len() == shared {
            return Some(self.last_path.clone());
        }
        let around =
            self.last_path.iter().position(|number| Some(number) == path[..shared].last())?;
        Some([&self.last_path[..=around], rest].concat())
    }

    fn kind(&self, number: usize) -> Kind {
        let places = self.wrappers.places[number].iter().enumerate();
        let mut kinds =
            places.filter_map(|(side, place)| Some(self.runs[side].wrappers[(*place)?].kind));
        kinds.next().unwrap_or(Kind::Unknown)
    }

    /// Opens a node.
    fn enter(&mut self, number: usize) -> Option<()> {
        let runs = self.runs;
        let place = self.wrappers.places[number];
        let [b, o, t] = [0, 1, 2].map(|side| place[side].map(|i| &runs[side].wrappers[i]));
        let nodes = [b, o, t].map(|wrapper| wrapper.map(|wrapper| &wrapper.fields));
        let fields = self.fields(nodes)?;
        let kind = fields.text("type").map_or(Kind::Unknown, |kind| Kind::of(&kind));
        let content_at = o.or(t).or(b)?.content_at;
        self.open.push(Open { number, kind, fields, content_at, content: vec![], kinds: vec![] });
        Some(())
    }

    /// The merged fields of a node that at least one side contains.
    fn fields(&mut self, [base, ours, theirs]: [Option<&Fields<'a>>; 3]) -> Option<Fields<'a>> {
        let empty = Fields::default();
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            return ours.or(theirs).or(base).cloned();
        };
        let merged = field::merge(base.unwrap_or(&empty), ours, theirs, self.on_overlap);
        self.overlap |= merged.overlap;
        (!merged.loses_text).then_some(merged.fields)
    }

    /// Closes the innermost nodes until `kept` of them are open.
    fn close(&mut self, kept: usize) -> Option<()> {
        while self.open.len() > kept {
            let Open { kind, mut fields, content_at, content, kinds, .. } = self.open.pop()?;
            if !kind.takes(&kinds) {
                return None;
            }
            fields.insert_content(content_at, &content);
            let raw = to_raw_value(&fields).ok()?;
            self.add(raw, kind);
        }
        Some(())
    }

    fn add(&mut self, raw: Box<RawValue>, kind: Kind) {
        match self.open.last_mut() {
            Some(open) => {
                open.content.push(Cow::Owned(raw));
                open.kinds.push(kind);
            }
            None => self.done.push(raw),
        }
    }

    /// A block with its content.
    fn leaf(
        &mut self,
        leaves: [Option<&Leaf<'a>>; 3],
        tokens: &[Token<'_>],
        content: &[Token<'_>],
    ) -> Option<(Box<RawValue>, Kind)> {
        let [b, o, t] = leaves;
        let leaf = t.or(o).or(b)?;
        if let Body::Atom(_) = leaf.body {
            let is_same = [b, o].into_iter().flatten().all(|l| matches!(l.body, Body::Atom(_)));
            return (content.is_empty() && is_same)
                .then(|| (leaf.raw.to_owned(), Kind::of_node(leaf.raw)));
        }
        let fields_of = |leaf: Option<&'_ Leaf<'a>>| match leaf.map(|leaf| &leaf.body) {
            Some(Body::Text { fields, .. }) => Some(fields.clone()),
            _ => None,
        };
        let three = [fields_of(b), fields_of(o), fields_of(t)];
        let mut fields = self.fields(three.each_ref().map(Option::as_ref))?;
        let kind = fields.text("type").map_or(Kind::Unknown, |kind| Kind::of(&kind));
        let is_text = |token: &Token<'_>| match token.part {
            Part::Inline(node) => matches!(node.content, Content::Text { .. }),
            Part::Space => true,
            Part::Start | Part::Atom(_) => false,
        };
        if matches!(kind, Kind::Code | Kind::Summary) && !content.iter().all(is_text)
            || kind == Kind::Code && content.iter().any(|token| token.marks != 0)
        {
            return None;
        }
        for (side, leaf) in leaves.iter().enumerate().rev() {
            if let Some(leaf) = leaf
                && self.is_whole(side, leaf, tokens, &fields)
            {
                return Some((leaf.raw.to_owned(), kind));
            }
        }
        let content_at = [o, t, b].into_iter().flatten().find_map(|leaf| match &leaf.body {
            Body::Text { content_at, .. } => *content_at,
            Body::Atom(_) => None,
        });
        let nodes: Vec<_> =
            text::compose(content, self.marks).into_iter().map(Cow::Owned).collect();
        if !nodes.is_empty() {
            fields.insert_content(content_at, &nodes);
        }
        Some((to_raw_value(&fields).ok()?, kind))
    }

    /// Whether the block is the same, byte for byte, as a block of one of the documents.
    fn is_whole(
        &self,
        side: usize,
        leaf: &Leaf<'a>,
        tokens: &[Token<'_>],
        fields: &Fields<'a>,
    ) -> bool {
        let Body::Text { fields: own, .. } = &leaf.body else { return false };
        let start = tokens[0].at[side];
        let next = leaf_at(&self.starts[side], start).map_or(0, |leaf| leaf + 1);
        let end = self.starts[side].get(next).copied().unwrap_or(self.letters[side].len());
        let is_same = |(one, other): (&Token<'_>, &Token<'_>)| {
            one.marks == other.marks
                && one.text == other.text
                && match (one.part, other.part) {
                    (Part::Inline(one), Part::Inline(other)) => {
                        !one.is_leaf() || one.raw.get() == other.raw.get()
                    }
                    (Part::Start, Part::Start) => true,
                    _ => false,
                }
        };
        start > 0
            && tokens.len() == end + 1 - start
            && tokens.iter().zip(&self.letters[side][start - 1..end]).all(is_same)
            && own.0.len() == fields.0.len()
            && own
                .0
                .iter()
                .all(|(key, value)| fields.get(key).is_some_and(|other| other.get() == value.get()))
    }
}
