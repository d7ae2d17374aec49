use shiori_sdk::{Document, Draft, merge::merge3};

/// A page of text: 40 lines, 3 KiB as JSON.
pub fn page() -> Draft {
    let lines: Vec<String> =
        (0..40).map(|line| format!("{line}번째 줄에는 비가 왔고, 오래 걸었다.")).collect();
    Draft::new("한 쪽", Document::from_text(&lines.join("\n")))
}

/// The blocks of each document of a merge.
pub const BLOCKS: usize = 200;

const SENTENCES: [&str; 6] = [
    "아침부터 비가 와서 우산을 들고 나갔다.",
    "회사 앞 식당에서 칼국수를 먹었는데 생각보다 맛있었다.",
    "The meeting went on for two hours, and nobody seemed to mind.",
    "저녁에는 동생과 통화했다. 다음 달에 내려온다고 한다.",
    "집에 오는 길에 서점에 들러 오래 서 있었다.",
    "Bought milk, bread and a small cactus on the way home 🌵.",
];

/// An edit of a block.
#[derive(Clone, Copy, PartialEq)]
enum Edit {
    None,
    /// Another word at the start or at the end.
    First,
    Last,
    /// The middle word is replaced.
    Word(&'static str),
}

/// A diary of [`BLOCKS`] blocks as an editor saves it, with one edit in each block.
fn diary(edit: impl Fn(usize) -> Edit, appended: &[&str]) -> Document {
    let block = |i: usize| {
        let sentence = |n: usize| SENTENCES[(i + n) % SENTENCES.len()];
        let (first, middle, last) = match edit(i) {
            Edit::None => ("오늘", "그냥", "끝."),
            Edit::First => ("어제", "그냥", "끝."),
            Edit::Last => ("오늘", "그냥", "계속."),
            Edit::Word(word) => ("오늘", word, "끝."),
        };
        let text = format!(
            r#"{{"type":"text","text":"{i} {first} {} "}},{{"type":"text","marks":[{{"type":"bold"}}],"text":"{middle}"}},{{"type":"text","text":" {} {last}"}}"#,
            sentence(0),
            sentence(1),
        );
        let paragraph = format!(r#"{{"type":"paragraph","content":[{text}]}}"#);
        match i % 10 {
            3 => format!(
                r#"{{"type":"taskList","content":[{{"type":"taskItem","attrs":{{"checked":false}},"content":[{paragraph}]}}]}}"#
            ),
            6 => format!(r#"{{"type":"heading","attrs":{{"level":2}},"content":[{text}]}}"#),
            9 => format!(r#"{{"type":"blockquote","content":[{paragraph}]}}"#),
            _ => paragraph,
        }
    };
    let blocks: Vec<String> = (0..BLOCKS).map(block).collect();
    let json = format!(r#"{{"type":"doc","content":[{}]}}"#, blocks.join(","));
    let mut document = Document::from_json(&json).expect("a document");
    for text in appended {
        document.push_paragraph(text);
    }
    document
}

/// The inputs of a merge.
#[derive(Debug)]
pub struct MergeCase {
    /// What was changed.
    pub name: &'static str,
    /// The document that both sides started from.
    pub base: Document,
    /// One side.
    pub ours: Document,
    /// The other side.
    pub theirs: Document,
}

/// The edit in every `n`th block.
fn every(n: usize, of: usize, edit: Edit) -> impl Fn(usize) -> Edit {
    move |i| if i % n == of { edit } else { Edit::None }
}

/// 12 blocks are changed on each side, 4 of them on both.
fn changed_in_part() -> [Document; 3] {
    let ours = |i| if i % 50 == 0 { Edit::First } else { every(25, 3, Edit::Last)(i) };
    let theirs = |i| if i % 50 == 0 { Edit::Last } else { every(25, 8, Edit::First)(i) };
    [
        diary(|_| Edit::None, &[]),
        diary(ours, &["나의 마지막 줄."]),
        diary(theirs, &["너의 마지막 줄."]),
    ]
}

/// The diary with Enter pressed in block 20.
fn split(diary: &Document) -> Document {
    let enter = r#"20 오늘"}]},{"type":"paragraph","content":[{"type":"text","text":" "#;
    let json = diary.as_json().replacen("20 오늘 ", enter, 1);
    Document::from_json(&json).expect("a document")
}

/// Merges of long diaries, from few changes to changes of every block.
pub fn merge_cases() -> [MergeCase; 7] {
    let case = |name, [base, ours, theirs]: [Document; 3]| MergeCase { name, base, ours, theirs };
    let base = || diary(|_| Edit::None, &[]);
    [
        case("12 blocks changed on each side, 4 of them on both", changed_in_part()),
        case(
            "every block changed on both sides, different words",
            [base(), diary(|_| Edit::First, &[]), diary(|_| Edit::Last, &[])],
        ),
        case(
            "every block changed on both sides, the same word",
            [base(), diary(|_| Edit::Word("정말"), &[]), diary(|_| Edit::Word("다시"), &[])],
        ),
        case(
            "a paragraph split in ours and edited in theirs, 8 others changed",
            [
                base(),
                split(&base()),
                diary(|i| if i == 20 { Edit::Last } else { every(25, 8, Edit::First)(i) }, &[]),
            ],
        ),
        case("12 blocks changed on each side, merged again", {
            let [base, ours, theirs] = changed_in_part();
            let merged = merge3(&base, &ours, &theirs).document;
            [base, ours, merged]
        }),
        case("every block changed on both sides, merged again", {
            let [ours, theirs] = [Edit::First, Edit::Last].map(|edit| diary(|_| edit, &[]));
            let merged = merge3(&base(), &ours, &theirs).document;
            [base(), ours, merged]
        }),
        case("no change in ours", [base(), base(), diary(every(10, 0, Edit::Last), &[])]),
    ]
}
