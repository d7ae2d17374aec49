//! Three-way merges of long diaries, compared with checking and parsing one document.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fmt::Write,
    hint::black_box,
    sync::Mutex,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use shiori_benches::{Percentiles, record};
use shiori_sdk::{Document, DocumentLimits, merge::merge3};

const BLOCKS: usize = 200;

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
    let mut document = Document::from_json(&json).unwrap();
    for text in appended {
        document.push_paragraph(text);
    }
    document
}

/// The inputs of a merge: base, ours and theirs.
fn cases() -> [(&'static str, [Document; 3]); 4] {
    let every = |n: usize, of: usize, edit: Edit| {
        move |i: usize| if i % n == of { edit } else { Edit::None }
    };
    let base = || diary(|_| Edit::None, &[]);
    [
        (
            "12 blocks changed on each side, 4 of them on both",
            [
                base(),
                diary(
                    |i| if i % 50 == 0 { Edit::First } else { every(25, 3, Edit::Last)(i) },
                    &["나의 마지막 줄."],
                ),
                diary(
                    |i| if i % 50 == 0 { Edit::Last } else { every(25, 8, Edit::First)(i) },
                    &["너의 마지막 줄."],
                ),
            ],
        ),
        (
            "every block changed on both sides, different words",
            [base(), diary(|_| Edit::First, &[]), diary(|_| Edit::Last, &[])],
        ),
        (
            "every block changed on both sides, the same word",
            [base(), diary(|_| Edit::Word("정말"), &[]), diary(|_| Edit::Word("다시"), &[])],
        ),
        ("no change in ours", [base(), base(), diary(every(10, 0, Edit::Last), &[])]),
    ]
}

fn merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    let mut table = format!(
        "| of {BLOCKS} blocks | KiB | overlaps | p50 | p95 |\n|:---|---:|---:|---:|---:|\n"
    );
    let mut measure = |name: &str, bytes: usize, overlaps: usize, run: &dyn Fn()| {
        let times = Mutex::new(Vec::new());
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    let started = Instant::now();
                    run();
                    let took = started.elapsed();
                    total += took;
                    times.lock().unwrap().push(took);
                }
                total
            });
        });
        let Percentiles { p50, p95, .. } = Percentiles::of(&mut times.into_inner().unwrap());
        let _ = writeln!(
            table,
            "| {name} | {} | {overlaps} | {p50:.0?} | {p95:.0?} |",
            bytes.div_ceil(1024)
        );
    };
    for (name, [base, ours, theirs]) in cases() {
        let overlaps = merge3(&base, &ours, &theirs).overlaps.len();
        let run = || drop(black_box(merge3(&base, &ours, &theirs)));
        measure(name, base.as_json().len(), overlaps, &run);
    }
    let document = diary(|_| Edit::None, &[]);
    let limits = DocumentLimits::default();
    let (bytes, check) = (document.as_json().len(), || document.check(&limits).unwrap());
    measure("for comparison: checking the limits of one document", bytes, 0, &check);
    measure("for comparison: parsing one document into a tree", bytes, 0, &|| {
        drop(black_box(document.to_value()));
    });
    group.finish();
    record("merge", &table);
}

criterion_group!(benches, merge);
criterion_main!(benches);
