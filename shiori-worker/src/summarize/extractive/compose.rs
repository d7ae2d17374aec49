//! The words around the quotes.

use shiori_sdk::{Date, Emotion};
use unicode_segmentation::UnicodeSegmentation;

use super::{super::language::Wording, MAX_REFLECTION_CHARS, arc::MoodArc, sentence::Sentence};

/// Characters of a quote; a longer sentence is shortened at a word.
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

/// The person's own words, shortened at the end of a word if need be, and never within what a
/// reader sees as one character.
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
        (0, _) => format!("{day}에는 「{quote}」라고 적었어요."),
        (n, count) if n + 1 == count => format!("그리고 {day}에는 「{quote}」라는 말을 남겼고요."),
        (n, _) if n % 2 == 1 => {
            format!("{day}의 「{quote}」에는 그날의 마음이 고스란히 담겨 있어요.")
        }
        _ => format!("{day}에는 「{quote}」라는 문장이 눈에 띄어요."),
    }
}

fn korean_opening(arc: MoodArc) -> String {
    match arc {
        MoodArc::OneDay(Emotion::Neutral) => "하루의 기록을 차분히 남겨 두었네요.".to_owned(),
        MoodArc::OneDay(emotion) => {
            format!("{}이 또렷하게 남은 하루였어요.", korean_feeling(emotion))
        }
        MoodArc::Calm => "크게 출렁이는 일 없이 잔잔하게 흘러간 한 주였어요.".to_owned(),
        MoodArc::Steady(emotion) => {
            format!("한 주 내내 {}이 곁에 머물러 있었어요.", korean_feeling(emotion))
        }
        MoodArc::Turn { from, to } => format!(
            "{}에서 시작해 {}으로 닿은 한 주였어요.",
            korean_feeling(from),
            korean_feeling(to)
        ),
        MoodArc::Return { around, between } => format!(
            "{}으로 열고 닫은 한 주, 그 사이에는 {}도 지나갔어요.",
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
            "쉽지 않은 날들을 지나 이런 순간에 닿은 것, 참 다행이에요. 그 온기가 다음 주에도 오래 남기를 바라요."
        }
        Emotion::Happiness => "이 따뜻한 순간들이 다음 주에도 든든한 힘이 되어 줄 거예요.",
        Emotion::Sadness => {
            "마음이 무거운 날에도 이렇게 적어 내려간 것만으로 애쓴 거예요. 다음 주에는 조금 더 가벼운 숨을 쉴 수 있기를 바라요."
        }
        Emotion::Anger => {
            "그렇게 느낄 만한 일이었어요. 속에 담아 두지 않고 적어 둔 만큼, 다음 주에는 마음이 조금 누그러지기를 바라요."
        }
        Emotion::Fear => {
            "떨리는 마음으로도 하루하루를 지나왔네요. 다음 주에는 안심할 수 있는 시간이 더 많기를 바라요."
        }
        Emotion::Surprise => {
            "뜻밖의 일들이 남긴 여운을 천천히 살펴볼 수 있는, 느긋한 한 주가 이어지기를 바라요."
        }
        Emotion::Disgust => {
            "불편했던 장면들은 이 기록에 내려놓고, 다음 주에는 기분 좋은 것들이 더 자주 눈에 들어오기를 바라요."
        }
        Emotion::Neutral => "이렇게 차곡차곡 쌓인 보통의 날들이 든든한 바탕이 되어 줄 거예요.",
    }
    .to_owned()
}

/// A noun phrase that ends in 마음 or 기분, so that the particles after it are always the same.
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
        (n, count) if n + 1 == count => format!("And on {day} it was “{quote}”."),
        _ => format!("{day} left “{quote}”."),
    }
}

fn english_opening(arc: MoodArc) -> String {
    match arc {
        MoodArc::OneDay(Emotion::Neutral) => "A calm day, quietly kept.".to_owned(),
        MoodArc::OneDay(emotion) => format!("A day that left {} behind.", english_feeling(emotion)),
        MoodArc::Calm => "A week that flowed by gently, without great waves.".to_owned(),
        MoodArc::Steady(emotion) => {
            format!("All through the week {} stayed close.", english_feeling(emotion))
        }
        MoodArc::Turn { from, to } => format!(
            "The week set out from {} and arrived at {}.",
            english_feeling(from),
            english_feeling(to)
        ),
        MoodArc::Return { around, between } => format!(
            "The week opened and closed with {}, and in between there was {}.",
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
        Emotion::Happiness => "May that warmth stay with you into the next week.",
        Emotion::Sadness => {
            "Writing it down on heavy days took strength; may the next week breathe a little easier."
        }
        Emotion::Anger => {
            "It was something to be angry about; may it weigh less now that it is written."
        }
        Emotion::Fear => "You came through each day all the same; may the next week feel safer.",
        Emotion::Surprise => "May there be time to let it all sink in.",
        Emotion::Disgust => "May the unpleasant parts stay on this page, and better ones follow.",
        Emotion::Neutral => "Ordinary days like these are good ground to stand on.",
    }
    .to_owned()
}

fn english_feeling(emotion: Emotion) -> &'static str {
    match emotion {
        Emotion::Fear => "a worried heart",
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
    fn a_quote_is_the_persons_own_words() {
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
    fn every_arc_has_a_text_within_the_limit_in_both_languages() {
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
