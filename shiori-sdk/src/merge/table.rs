//! Merging tables as grids: first the rows and columns, then the cells.

use std::borrow::Cow;

use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use super::{
    block::{self, Block, Piece},
    context::Context,
    field::{self, Fields, Node},
    overlap::Step,
    schema::Kind,
};

/// The maximum number of pairs of rows, or of columns, that are compared.
const MAX_PAIRS: usize = 10_000;

/// Merges a cell that both sides changed, given the steps to its row and to the cell.
pub(super) type MergeCell<'c, 'a> =
    &'c mut dyn FnMut(&mut Context<'a>, [Step; 2], [&Block<'a>; 3]) -> Option<Box<RawValue>>;

/// The rows of the merged table, which are empty if both sides together removed all of them. `None`
/// if one side changed what the other removed, or the result would not be a grid.
pub(super) fn merge<'a>(
    context: &mut Context<'a>,
    contents: [&[&'a RawValue]; 3],
    merge_cell: MergeCell<'_, 'a>,
) -> Option<Vec<Cow<'a, RawValue>>> {
    let grids = [
        Grid::of(context, contents[0])?,
        Grid::of(context, contents[1])?,
        Grid::of(context, contents[2])?,
    ];
    let (rows, columns) = if grids.iter().all(Grid::is_plain) {
        let [our_rows, their_rows] = matching_lines(&grids.each_ref().map(Grid::words_of_rows))?;
        let words = |side: usize, rows: &[(usize, usize)]| {
            let base: Vec<usize> = rows.iter().map(|row| row.0).collect();
            let side_rows: Vec<usize> = rows.iter().map(|row| row.1).collect();
            [grids[0].words_of_columns(&base), grids[side].words_of_columns(&side_rows)]
        };
        let both: Vec<usize> = our_rows
            .iter()
            .map(|row| row.0)
            .filter(|base| their_rows.iter().any(|row| row.0 == *base))
            .collect();
        let only = |rows: &[(usize, usize)]| -> Vec<(usize, usize)> {
            rows.iter().copied().filter(|row| both.contains(&row.0)).collect()
        };
        let [base, ours] = words(1, &only(&our_rows));
        let [_, theirs] = words(2, &only(&their_rows));
        let [our_columns, their_columns] = matching_lines(&[base, ours, theirs])?;
        let lengths = grids.each_ref().map(Grid::width);
        let common: Vec<(usize, usize)> = our_rows
            .iter()
            .filter_map(|&(b, o)| {
                their_rows.iter().find(|(base, _)| *base == b).map(|&(_, t)| (o, t))
            })
            .collect();
        let columns = lines(lengths, [&our_columns, &their_columns], &|o, t| {
            !common.is_empty()
                && common.iter().all(|&(our_row, their_row)| {
                    grids[1].rows[our_row].cells[o].id() == grids[2].rows[their_row].cells[t].id()
                })
        });
        let lengths = grids.each_ref().map(|grid| grid.rows.len());
        let rows = lines(lengths, [&our_rows, &their_rows], &|o, t| {
            columns.iter().all(|column| {
                let our = column[1].map(|column| &grids[1].rows[o].cells[column]);
                let their = column[2].map(|column| &grids[2].rows[t].cells[column]);
                match (our, their) {
                    (Some(our), Some(their)) => our.id() == their.id(),
                    (Some(cell), None) | (None, Some(cell)) => is_blank(cell),
                    (None, None) => true,
                }
            })
        });
        (rows, columns)
    } else if grids[0].shape() == grids[1].shape() && grids[0].shape() == grids[2].shape() {
        return merge_in_place(context, &grids, merge_cell);
    } else {
        return None;
    };
    if !covers_new_text(&grids, &rows, &columns) {
        return None;
    }
    if columns.is_empty() {
        return Some(Vec::new());
    }
    rows.iter().map(|row| merge_row(context, &grids, *row, &columns, merge_cell)).collect()
}

/// The indices of a row or a column in base, ours and theirs.
type Line = [Option<usize>; 3];

struct Grid<'a> {
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    raw: &'a RawValue,
    fields: Fields<'a>,
    content_at: Option<usize>,
    cells: Vec<Block<'a>>,
    /// The number of columns and rows that each cell spans.
    spans: Vec<[String; 2]>,
}

impl<'a> Grid<'a> {
    fn of(context: &mut Context<'a>, content: &[&'a RawValue]) -> Option<Self> {
        let rows = content.iter().map(|raw| {
            let Node { fields, content, content_at } = Node::of(raw.get())?;
            let is_row = fields.text("type").is_some_and(|kind| Kind::of(&kind) == Kind::Row);
            let is_cell = |raw: &&RawValue| Kind::of_node(raw) == Kind::Cell;
            if !is_row || !content.iter().all(is_cell) {
                return None;
            }
            let spans = content.iter().map(|cell| spans(cell)).collect();
            let cells = context.numbering.blocks(&content, &[]);
            Some(Row { raw, fields, content_at, cells, spans })
        });
        Some(Self { rows: rows.collect::<Option<_>>()? })
    }

    fn width(&self) -> usize {
        self.rows.first().map_or(0, |row| row.cells.len())
    }

    /// Whether each cell spans one row and one column, and all rows have the same width.
    fn is_plain(&self) -> bool {
        let is_one = |spans: &[String; 2]| spans.iter().all(|span| span == "1");
        self.rows.iter().all(|row| row.cells.len() == self.width() && row.spans.iter().all(is_one))
    }

    fn words_of_rows(&self) -> Vec<Vec<u32>> {
        let words =
            |row: &Row<'_>| sorted(row.cells.iter().flat_map(|cell| block::words(cell.raw)));
        self.rows.iter().map(words).collect()
    }

    /// The words of each column in the given rows.
    fn words_of_columns(&self, rows: &[usize]) -> Vec<Vec<u32>> {
        let words = |column: usize| {
            sorted(rows.iter().flat_map(|&row| block::words(self.rows[row].cells[column].raw)))
        };
        (0..self.width()).map(words).collect()
    }

    fn shape(&self) -> Vec<&[[String; 2]]> {
        self.rows.iter().map(|row| &row.spans[..]).collect()
    }
}

fn spans(cell: &RawValue) -> [String; 2] {
    let fields = Fields::of(cell).unwrap_or_default();
    let attrs = match fields.get("attrs") {
        Some(Cow::Borrowed(attrs)) => Fields::of(attrs).unwrap_or_default(),
        _ => Fields::default(),
    };
    ["colspan", "rowspan"].map(|name| match attrs.get(name).map(|value| value.get()) {
        None | Some("null") => "1".to_owned(),
        Some(span) => span.to_owned(),
    })
}

fn is_blank(cell: &Block<'_>) -> bool {
    block::words(cell.raw).is_empty()
}

/// The rows or columns of the base that ours and theirs kept, given the words of each.
fn matching_lines([base, ours, theirs]: &[Vec<Vec<u32>>; 3]) -> Option<[Vec<(usize, usize)>; 2]> {
    let mut our_lines = matching(base, ours)?;
    let mut their_lines = matching(base, theirs)?;
    // If a line without words has words now, it may be a new line in place of a removed one. This
    // is assumed if the other side removed the line, or has the same new line elsewhere.
    let is_new = |&(b, s): &(usize, usize),
                  side: &[Vec<u32>],
                  other: &[Vec<u32>],
                  other_lines: &[(usize, usize)]| {
        base[b].is_empty()
            && !side[s].is_empty()
            && other_lines
                .iter()
                .find(|line| line.0 == b)
                .is_none_or(|line| other[line.1] != side[s] && other.contains(&side[s]))
    };
    let (our_all, their_all) = (our_lines.clone(), their_lines.clone());
    our_lines.retain(|line| !is_new(line, ours, theirs, &their_all));
    their_lines.retain(|line| !is_new(line, theirs, ours, &our_all));
    Some([our_lines, their_lines])
}

fn sorted(words: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut words: Vec<u32> = words.collect();
    words.sort_unstable();
    words
}

/// Pairs of lines that share words, in order, chosen so that the number of shared words is as large
/// as possible. Lines without words match any line; if no line was added or removed, each line also
/// matches the one with the same index.
fn matching(base: &[Vec<u32>], side: &[Vec<u32>]) -> Option<Vec<(usize, usize)>> {
    let (n, m) = (base.len(), side.len());
    if n.saturating_mul(m) > MAX_PAIRS {
        return None;
    }
    let score = |i: usize, j: usize| {
        let shared = block::shared(&base[i], &side[j]);
        let is_possible =
            shared > 0 || base[i].is_empty() || side[j].is_empty() || n == m && i == j;
        2 * shared + usize::from(is_possible)
    };
    let mut best = vec![vec![0; m + 1]; n + 1];
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            let skipped = best[i + 1][j].max(best[i][j + 1]);
            best[i][j] = skipped.max(score(i, j) + best[i + 1][j + 1]);
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < n && j < m {
        let score = score(i, j);
        if score > 0 && best[i][j] == score + best[i + 1][j + 1] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if best[i][j] == best[i + 1][j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    Some(pairs)
}

/// The lines of the merged table: those of the base that neither side removed, and at each place
/// those that theirs inserted, then those that ours inserted. Lines that both inserted occur once.
fn lines(
    lengths: [usize; 3],
    [ours, theirs]: [&[(usize, usize)]; 2],
    is_equal: &dyn Fn(usize, usize) -> bool,
) -> Vec<Line> {
    // The lines that a side inserted before the first line of the base, and after each.
    let inserted = |pairs: &[(usize, usize)], len: usize| -> Vec<Vec<usize>> {
        let mut inserted = vec![Vec::new(); lengths[0] + 1];
        let mut behind = 0;
        for line in 0..len {
            match pairs.iter().find(|(_, side)| *side == line) {
                Some((base, _)) => behind = base + 1,
                None => inserted[behind].push(line),
            }
        }
        inserted
    };
    let our_new = inserted(ours, lengths[1]);
    let their_new = inserted(theirs, lengths[2]);
    let kept = |pairs: &[(usize, usize)], base: usize| {
        pairs.iter().find(|(line, _)| *line == base).map(|(_, side)| *side)
    };
    let mut lines = Vec::new();
    for place in 0..=lengths[0] {
        if let Some(base) = place.checked_sub(1)
            && let (Some(our), Some(their)) = (kept(ours, base), kept(theirs, base))
        {
            lines.push([Some(base), Some(our), Some(their)]);
        }
        let (our, their) = (&our_new[place], &their_new[place]);
        // One insertion may contain all lines of the other.
        let mut their_rest = their.iter();
        let our_in_theirs: Option<Vec<usize>> =
            our.iter().map(|&o| their_rest.find(|&&t| is_equal(o, t)).copied()).collect();
        let mut our_rest = our.iter();
        let theirs_in_our: Option<Vec<usize>> =
            their.iter().map(|&t| our_rest.find(|&&o| is_equal(o, t)).copied()).collect();
        if let Some(places) = our_in_theirs {
            lines.extend(their.iter().map(|&t| {
                let our = places.iter().position(|place| *place == t).map(|i| our[i]);
                [None, our, Some(t)]
            }));
        } else if let Some(places) = theirs_in_our {
            lines.extend(our.iter().map(|&o| {
                let their = places.iter().position(|place| *place == o).map(|i| their[i]);
                [None, Some(o), their]
            }));
        } else {
            lines.extend(their.iter().map(|&t| [None, None, Some(t)]));
            lines.extend(our.iter().map(|&o| [None, Some(o), None]));
        }
    }
    lines
}

/// Whether the merged table contains each cell that a side inserted or changed.
fn covers_new_text(grids: &[Grid<'_>; 3], rows: &[Line], columns: &[Line]) -> bool {
    let [base, ..] = grids;
    let old: std::collections::HashSet<u32> =
        base.rows.iter().flat_map(|row| &row.cells).map(Piece::id).collect();
    [1, 2].into_iter().all(|side| {
        let is_in = |lines: &[Line], at: usize| lines.iter().any(|line| line[side] == Some(at));
        grids[side].rows.iter().enumerate().all(|(y, row)| {
            let is_row_in = is_in(rows, y);
            row.cells.iter().enumerate().all(|(x, cell)| {
                is_row_in && is_in(columns, x) || old.contains(&cell.id()) || is_blank(cell)
            })
        })
    })
}

fn merge_row<'a>(
    context: &mut Context<'a>,
    grids: &[Grid<'a>; 3],
    row: Line,
    columns: &[Line],
    merge_cell: MergeCell<'_, 'a>,
) -> Option<Cow<'a, RawValue>> {
    let rows = [0, 1, 2].map(|side| row[side].map(|y| &grids[side].rows[y]));
    let mut cells = Vec::with_capacity(columns.len());
    for column in columns {
        let three = [0, 1, 2].map(|side| Some(&rows[side]?.cells[column[side]?]));
        let steps = [row, *column].map(|line| {
            let [base, ours, theirs] = line.map(Option::unwrap_or_default);
            Step { base, ours, theirs }
        });
        cells.push(match three {
            [_, Some(cell), None] | [_, None, Some(cell)] => Cow::Borrowed(cell.raw),
            [Some(b), Some(o), Some(t)] => pick_cell(context, steps, [b, o, t], merge_cell)?,
            [None, Some(o), Some(t)] if o.id() == t.id() || is_blank(o) => Cow::Borrowed(t.raw),
            [None, Some(o), Some(t)] if is_blank(t) => Cow::Borrowed(o.raw),
            [None, Some(_), Some(_)] => return None,
            [_, None, None] => {
                let like = rows[1].or(rows[2])?.cells.first()?;
                let kind = Fields::of(like.raw)?.text("type")?;
                let cell = json!({"type": kind, "content": [{"type": "paragraph"}]});
                Cow::Owned(to_raw_value(&cell).ok()?)
            }
        });
    }
    compose(context, rows, &cells)
}

/// Merges tables with the same shape cell by cell.
fn merge_in_place<'a>(
    context: &mut Context<'a>,
    grids: &[Grid<'a>; 3],
    merge_cell: MergeCell<'_, 'a>,
) -> Option<Vec<Cow<'a, RawValue>>> {
    let [base, ours, theirs] = grids;
    let mut merged = Vec::with_capacity(base.rows.len());
    for (y, row) in base.rows.iter().enumerate() {
        let three = [row, &ours.rows[y], &theirs.rows[y]];
        let mut cells = Vec::with_capacity(row.cells.len());
        for x in 0..row.cells.len() {
            let steps = [y, x].map(|at| Step { base: at, ours: at, theirs: at });
            cells.push(pick_cell(context, steps, three.map(|row| &row.cells[x]), merge_cell)?);
        }
        merged.push(compose(context, three.map(Some), &cells)?);
    }
    Some(merged)
}

fn pick_cell<'a>(
    context: &mut Context<'a>,
    steps: [Step; 2],
    [base, ours, theirs]: [&Block<'a>; 3],
    merge_cell: MergeCell<'_, 'a>,
) -> Option<Cow<'a, RawValue>> {
    if theirs.id() == base.id() || ours.id() == theirs.id() {
        // If theirs changed only the spelling, its spelling is used.
        let is_respelt = theirs.raw.get() != base.raw.get() && ours.id() == theirs.id();
        return Some(Cow::Borrowed(if is_respelt { theirs.raw } else { ours.raw }));
    }
    if ours.id() == base.id() {
        return Some(Cow::Borrowed(theirs.raw));
    }
    merge_cell(context, steps, [base, ours, theirs]).map(Cow::Owned)
}

/// A row with the given cells. If one of the documents contains the same row, its bytes are used.
fn compose<'a>(
    context: &Context<'a>,
    rows: [Option<&Row<'a>>; 3],
    cells: &[Cow<'a, RawValue>],
) -> Option<Cow<'a, RawValue>> {
    let [base, ours, theirs] = rows;
    let empty = Fields::default();
    let mut fields = match (ours, theirs) {
        (Some(ours), Some(theirs)) => {
            let base = base.map_or(&empty, |row| &row.fields);
            let merged = field::merge(base, &ours.fields, &theirs.fields, context.on_overlap);
            if merged.overlap {
                return None;
            }
            merged.fields
        }
        (row, other) => row.or(other)?.fields.clone(),
    };
    for row in [theirs, ours].into_iter().flatten() {
        let is_same = |(one, other): (&Block<'_>, &Cow<'_, RawValue>)| one.raw.get() == other.get();
        if row.cells.len() == cells.len()
            && row.cells.iter().zip(cells).all(is_same)
            && row.fields.0.len() == fields.0.len()
            && row
                .fields
                .0
                .iter()
                .all(|(key, value)| fields.get(key).is_some_and(|other| other.get() == value.get()))
        {
            return Some(Cow::Borrowed(row.raw));
        }
    }
    let content_at = ours.or(theirs)?.content_at;
    fields.insert_content(content_at, cells);
    to_raw_value(&fields).ok().map(Cow::Owned)
}
