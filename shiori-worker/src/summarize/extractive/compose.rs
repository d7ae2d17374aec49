//! The sentences around the quotes.

use shiori_sdk::{Date, Emotion};
use unicode_segmentation::UnicodeSegmentation;

use super::{super::language::Wording, MAX_REFLECTION_CHARS, arc::MoodArc, sentence::Sentence};

/// Maximum characters of a quote. A longer sentence is cut after a word.
const MAX_QUOTE_CHARS: usize = 60;

/// An opening that describes how the mood changed, the quotes, and a closing; at most
/// [`MAX_REFLECTION_CHARS`] characters, with as many quotes as fit.
pub(super) fn reflection(wording: Wording, arc: MoodArc, quoted: &[Sentence]) -> String {
    let (opening, closing) = match wording {
        Wording::Korean => (korean_opening(arc), korean_closing(arc)),
        Wording::English => (english_opening(arc), english_closing(arc)),
    };
    let mut text = opening;
    let mut room =
        MAX_REFLECTION_CHARS.saturating_sub(text.chars().count() + closing.chars().count() + 1);
    for (index, sentence) in quoted.iter().enumerate() {
        let passage = match wording {
            Wording::Korean => korean_passage(sentence, index, quoted.len()),
            Wording::English => english_passage(sentence, index, quoted.len()),
        };
        let chars = passage.chars().count() + 1;
        if chars <= room {
            room -= chars;
            text.push(' ');
            text.push_str(&passage);
        }
    }
    text.push(' ');
    text.push_str(&closing);
    text
}

/// The sentence, cut after a word if it is too long, and never within a grapheme cluster.
fn quote(text: &str) -> String {
    let text = text.trim_end_matches(['.', '。']).trim();
    if text.chars().count() <= MAX_QUOTE_CHARS {
        return text.to_owned();
    }
    let mut head = String::new();
    let mut chars = 0;
    for grapheme in text.graphemes(true) {
        chars += grapheme.chars().count();
        if chars >= MAX_QUOTE_CHARS {
            break;
        }
        head.push_str(grapheme);
    }
    let end = head.rfind(char::is_whitespace).unwrap_or(head.len());
    format!("{}…", head[..end].trim_end())
}

fn korean_passage(sentence: &Sentence, index: usize, count: usize) -> String {
    let day = korean_weekday(sentence.date);
    let quote = quote(&sentence.text);
    match (index, count) {
        (0, _) => format!("{day}에는 「{quote}」라고 썼네요."),
        (n, count) if n + 1 == count => format!("그리고 {day}에는 「{quote}」라고 썼고요."),
        (n, _) if n % 2 == 1 => {
            format!("{day}에 쓴 「{quote}」, 이 한 줄에서 그날 마음이 느껴졌어요.")
        }
        _ => format!("{day}에 쓴 「{quote}」라는 말도 기억에 남아요."),
    }
}

fn korean_opening(arc: MoodArc) -> String {
    match arc {
        MoodArc::OneDay(Emotion::Neutral) => "차분하게 하루를 기록했네요.".to_owned(),
        MoodArc::OneDay(emotion) => {
            format!("{}이 가장 컸던 하루였네요.", korean_feeling(emotion))
        }
        MoodArc::Calm => "큰 기복 없이 잔잔하게 지나간 한 주였네요.".to_owned(),
        MoodArc::Steady(emotion) => {
            format!("한 주 내내 {}이 이어졌네요.", korean_feeling(emotion))
        }
        MoodArc::Turn { from, to } => format!(
            "{}으로 시작해서 {}으로 마무리한 한 주였네요.",
            korean_feeling(from),
            korean_feeling(to)
        ),
        MoodArc::Return { around, between } => format!(
            "한 주의 처음과 끝은 {}이었고, 그 사이에는 {}도 있었네요.",
            korean_feeling(around),
            korean_feeling(between)
        ),
    }
}

fn korean_closing(arc: MoodArc) -> String {
    let last = match arc {
        MoodArc::OneDay(emotion) | MoodArc::Steady(emotion) => emotion,
        MoodArc::Turn { to, .. } => to,
        MoodArc::Return { around, .. } => around,
        MoodArc::Calm => Emotion::Neutral,
    };
    let turned = matches!(arc, MoodArc::Turn { from, .. } if from != Emotion::Happiness);
    match last {
        Emotion::Happiness if turned => {
            "쉽지 않은 날도 있었는데, 좋은 마음으로 한 주를 마쳐서 참 다행이에요. 그 마음이 다음 주에도 이어지면 좋겠어요."
        }
        Emotion::Happiness => "이번 주에 좋았던 순간들이 다음 주에도 힘이 되어 줄 거예요.",
        Emotion::Sadness => {
            "마음이 무거웠을 텐데도 이렇게 일기를 썼네요. 정말 애썼어요. 다음 주에는 마음이 조금 가벼워지면 좋겠어요."
        }
        Emotion::Anger => {
            "충분히 화가 날 만했어요. 속에만 담아 두지 않고 이렇게 적어 두길 잘했어요. 다음 주에는 마음이 조금 편해지면 좋겠어요."
        }
        Emotion::Fear => {
            "불안한 중에도 하루하루 잘 버텼어요. 다음 주에는 마음 놓을 수 있는 시간이 더 많으면 좋겠어요."
        }
        Emotion::Surprise => {
            "갑작스러운 일에 많이 놀랐죠. 다음 주에는 조금 느긋하게 쉬어 갈 수 있으면 좋겠어요."
        }
        Emotion::Disgust => {
            "불쾌했던 일은 여기에 적어 두고 잊어버려요. 다음 주에는 기분 좋은 일이 더 많으면 좋겠어요."
        }
        Emotion::Neutral => "이런 평범한 하루하루가 쌓이면 큰 힘이 될 거예요.",
    }
    .to_owned()
}

/// A noun phrase that ends in 마음, so that the particles after it are always the same.
fn korean_feeling(emotion: Emotion) -> &'static str {
    match emotion {
        Emotion::Fear => "조마조마한 마음",
        Emotion::Surprise => "놀란 마음",
        Emotion::Anger => "화난 마음",
        Emotion::Sadness => "슬픈 마음",
        Emotion::Neutral => "담담한 마음",
        Emotion::Happiness => "행복한 마음",
        Emotion::Disgust => "언짢은 마음",
    }
}

fn korean_weekday(date: Date) -> &'static str {
    const DAYS: [&str; 7] = ["월요일", "화요일", "수요일", "목요일", "금요일", "토요일", "일요일"];
    DAYS[usize::from(date.days_since_monday())]
}

fn english_passage(sentence: &Sentence, index: usize, count: usize) -> String {
    let day = english_weekday(sentence.date);
    let quote = quote(&sentence.text);
    match (index, count) {
        (0, _) => format!("On {day} you wrote, “{quote}”."),
        (n, count) if n + 1 == count => format!("And on {day} you wrote, “{quote}”."),
        _ => format!("On {day} it was “{quote}”."),
    }
}

fn english_opening(arc: MoodArc) -> String {
    match arc {
        MoodArc::OneDay(Emotion::Neutral) => "It was a calm day.".to_owned(),
        MoodArc::OneDay(emotion) => {
            format!("The strongest feeling of the day was {}.", english_feeling(emotion))
        }
        MoodArc::Calm => "It was a calm week without big ups and downs.".to_owned(),
        MoodArc::Steady(emotion) => {
            format!("The strongest feeling of the week was {}.", english_feeling(emotion))
        }
        MoodArc::Turn { from, to } => format!(
            "The week began with {} and ended with {}.",
            english_feeling(from),
            english_feeling(to)
        ),
        MoodArc::Return { around, between } => format!(
            "The week began and ended with {}, with some {} in between.",
            english_feeling(around),
            english_feeling(between)
        ),
    }
}

fn english_closing(arc: MoodArc) -> String {
    let last = match arc {
        MoodArc::OneDay(emotion) | MoodArc::Steady(emotion) => emotion,
        MoodArc::Turn { to, .. } => to,
        MoodArc::Return { around, .. } => around,
        MoodArc::Calm => Emotion::Neutral,
    };
    match last {
        Emotion::Happiness => "I hope that this good feeling stays with you next week.",
        Emotion::Sadness => {
            "It takes strength to write on heavy days. I hope that next week feels a little lighter."
        }
        Emotion::Anger => {
            "You had good reason to be angry, and it is good that you wrote it down. I hope that next week is easier."
        }
        Emotion::Fear => "You got through every day. I hope that next week feels safer.",
        Emotion::Surprise => "That was a lot at once. I hope that next week leaves you time to take it in.",
        Emotion::Disgust => "Leave the unpleasant things on this page. I hope that next week brings better ones.",
        Emotion::Neutral => "Ordinary days like these are worth keeping, too.",
    }
    .to_owned()
}

fn english_feeling(emotion: Emotion) -> &'static str {
    match emotion {
        Emotion::Fear => "worry",
        Emotion::Surprise => "astonishment",
        Emotion::Anger => "anger",
        Emotion::Sadness => "sadness",
        Emotion::Neutral => "calm",
        Emotion::Happiness => "joy",
        Emotion::Disgust => "distaste",
    }
}

fn english_weekday(date: Date) -> &'static str {
    const DAYS: [&str; 7] =
        ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    DAYS[usize::from(date.days_since_monday())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_a_part_of_the_sentence() {
        assert_eq!(quote("비가 왔다."), "비가 왔다");
        assert_eq!(quote("정말?!"), "정말?!");
        let long = "아주 긴 문장이 ".repeat(20);
        let shortened = quote(&long);
        let head = shortened.strip_suffix('…').expect("shortened");
        assert!(long.starts_with(head) && head.chars().count() < MAX_QUOTE_CHARS);
        assert!(head.ends_with("문장이") || head.ends_with("아주") || head.ends_with('긴'));
        let families = "👨‍👩‍👧‍👦".repeat(30);
        let shortened = quote(&families);
        assert!(families.starts_with(shortened.strip_suffix('…').expect("shortened")));
        assert_eq!(shortened.matches('👨').count(), shortened.matches('👦').count());
    }

    #[test]
    fn every_arc_has_its_own_text_within_the_limit_in_both_languages() {
        let sentence = Sentence {
            date: Date::new(2026, 2, 16).expect("real"),
            text: "가나다라 ".repeat(40),
            salience: 0.5,
            in_body: true,
        };
        let quoted = vec![sentence; 4];
        let mut arcs = vec![MoodArc::Calm];
        for one in Emotion::ALL {
            arcs.extend([MoodArc::OneDay(one), MoodArc::Steady(one)]);
            for other in Emotion::ALL {
                arcs.push(MoodArc::Turn { from: one, to: other });
                arcs.push(MoodArc::Return { around: one, between: other });
            }
        }
        let mut texts = std::collections::BTreeSet::new();
        for arc in arcs.iter().copied() {
            for wording in [Wording::Korean, Wording::English] {
                let text = reflection(wording, arc, &quoted);
                assert!(text.chars().count() <= MAX_REFLECTION_CHARS, "{text}");
                assert!(text.matches('…').count() >= 2, "too few quotes: {text}");
                texts.insert(text);
            }
        }
        assert_eq!(texts.len(), arcs.len() * 2, "every arc has its own text");
    }
}
