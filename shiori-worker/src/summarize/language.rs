//! Detects the language of a week by its script.

use unicode_normalization::UnicodeNormalization;

/// The language in which a week is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Korean,
    Japanese,
    Chinese,
    /// Latin letters, as in English.
    Latin,
    /// A script that several languages share or that has no templates; the name of the script.
    Other(&'static str),
}

/// The language of the built-in texts: templates and prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wording {
    Korean,
    English,
}

/// Scripts other than Latin, Hangul, Kana and Han: their blocks and their name in English.
const OTHER_SCRIPTS: [(std::ops::RangeInclusive<char>, &str); 22] = [
    ('\u{370}'..='\u{3ff}', "Greek"),
    ('\u{1f00}'..='\u{1fff}', "Greek"),
    ('\u{400}'..='\u{52f}', "Cyrillic"),
    ('\u{530}'..='\u{58f}', "Armenian"),
    ('\u{590}'..='\u{5ff}', "Hebrew"),
    ('\u{600}'..='\u{77f}', "Arabic"),
    ('\u{8a0}'..='\u{8ff}', "Arabic"),
    ('\u{900}'..='\u{97f}', "Devanagari"),
    ('\u{980}'..='\u{9ff}', "Bengali"),
    ('\u{a00}'..='\u{a7f}', "Gurmukhi"),
    ('\u{a80}'..='\u{aff}', "Gujarati"),
    ('\u{b80}'..='\u{bff}', "Tamil"),
    ('\u{c00}'..='\u{c7f}', "Telugu"),
    ('\u{c80}'..='\u{cff}', "Kannada"),
    ('\u{d00}'..='\u{d7f}', "Malayalam"),
    ('\u{d80}'..='\u{dff}', "Sinhala"),
    ('\u{e00}'..='\u{e7f}', "Thai"),
    ('\u{e80}'..='\u{eff}', "Lao"),
    ('\u{f00}'..='\u{fff}', "Tibetan"),
    ('\u{1000}'..='\u{109f}', "Burmese"),
    ('\u{10a0}'..='\u{10ff}', "Georgian"),
    ('\u{1780}'..='\u{17ff}', "Khmer"),
];

/// The number of letters that a syllable or an ideograph counts as.
const LETTERS_PER_SYLLABLE: usize = 2;

impl Language {
    /// The language of the most frequent script, after NFC, which composes Hangul syllables and
    /// letters with accents. Korean for texts without letters.
    pub(super) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut hangul, mut kana, mut han, mut latin) = (0_usize, 0_usize, 0_usize, 0_usize);
        let mut others = [0_usize; OTHER_SCRIPTS.len()];
        for c in texts.into_iter().flat_map(UnicodeNormalization::nfc) {
            match c {
                '가'..='힣' => hangul += LETTERS_PER_SYLLABLE,
                // Jamo outside syllables, as in ㅋㅋ and in old texts.
                '\u{1100}'..='\u{11ff}'
                | '\u{3131}'..='\u{318e}'
                | '\u{a960}'..='\u{a97c}'
                | '\u{d7b0}'..='\u{d7fb}'
                | '\u{ffa0}'..='\u{ffdc}' => hangul += 1,
                '\u{3041}'..='\u{30fa}'
                | '\u{30fc}'..='\u{30ff}'
                | '\u{31f0}'..='\u{31ff}'
                | '\u{ff66}'..='\u{ff9d}' => kana += LETTERS_PER_SYLLABLE,
                '\u{3005}'
                | '\u{3400}'..='\u{4dbf}'
                | '\u{4e00}'..='\u{9fff}'
                | '\u{f900}'..='\u{faff}'
                | '\u{20000}'..='\u{323af}' => han += LETTERS_PER_SYLLABLE,
                '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}' => latin += 1,
                c if !c.is_alphabetic() => {}
                c if c <= '\u{24f}' || ('\u{1e00}'..='\u{1eff}').contains(&c) => latin += 1,
                c => {
                    let script = OTHER_SCRIPTS.iter().position(|(block, _)| block.contains(&c));
                    if let Some(nth) = script {
                        others[nth] += 1;
                    }
                }
            }
        }
        // Korean text may contain Han characters. Japanese text mixes them with Kana in every
        // sentence.
        let is_japanese = kana * 10 >= kana + han;
        let east_asian = if is_japanese && kana > 0 { Self::Japanese } else { Self::Chinese };
        let mut counts =
            vec![(hangul, Self::Korean), (kana + han, east_asian), (latin, Self::Latin)];
        for (nth, (_, name)) in OTHER_SCRIPTS.iter().enumerate() {
            let count: usize = OTHER_SCRIPTS
                .iter()
                .zip(&others)
                .filter(|((_, other), _)| other == name)
                .map(|(_, count)| count)
                .sum();
            counts.push((if others[nth] > 0 { count } else { 0 }, Self::Other(name)));
        }
        // In a tie, the first.
        let most = counts.iter().rev().max_by_key(|(count, _)| *count);
        most.map_or(Self::Korean, |(_, language)| *language)
    }

    /// The language of the built-in texts for a diary in this language. English if it has none.
    pub(super) fn wording(self) -> Wording {
        match self {
            Self::Korean => Wording::Korean,
            _ => Wording::English,
        }
    }

    /// The name of the language in an English prompt.
    #[cfg(feature = "openai")]
    pub(super) fn in_english(self) -> String {
        match self {
            Self::Korean => "Korean".to_owned(),
            Self::Japanese => "Japanese".to_owned(),
            Self::Chinese => "Chinese".to_owned(),
            Self::Latin => "the language that most of the diary is written in".to_owned(),
            Self::Other(script) => {
                format!("the language that most of the diary is written in, in {script} script")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Language {
        Language::of([text])
    }

    #[test]
    fn the_language_follows_from_the_script() {
        for (text, language) in [
            ("오늘은 river를 따라 걸었다.", Language::Korean),
            ("ㅋㅋㅋㅋ ok", Language::Korean),
            ("大韓民國의 역사를 배웠다. 재미있었다.", Language::Korean),
            ("今日は川沿いを歩いた。楽しかった。", Language::Japanese),
            ("カタカナ", Language::Japanese),
            ("ﾊﾝｶｸ", Language::Japanese),
            ("今天沿着河边散步，很开心。", Language::Chinese),
            ("Walked along the 강 for an hour.", Language::Latin),
            ("À l’été, j’étais bien allé.", Language::Latin),
            ("Ｆｕｌｌ ｗｉｄｔｈ", Language::Latin),
            ("Сегодня я гулял у реки.", Language::Other("Cyrillic")),
            ("วันนี้ฉันเดินริมแม่น้ำ", Language::Other("Thai")),
            ("مشيت اليوم على ضفة النهر", Language::Other("Arabic")),
            ("", Language::Korean),
            ("123 😀 …", Language::Korean),
        ] {
            assert_eq!(of(text), language, "{text}");
        }
    }

    #[test]
    fn languages_other_than_korean_use_the_english_wording() {
        assert_eq!(of("오늘").wording(), Wording::Korean);
        for text in ["today", "今日は", "今天", "сегодня"] {
            assert_eq!(of(text).wording(), Wording::English, "{text}");
        }
    }

    proptest! {
        /// The language does not depend on the normal form.
        #[test]
        fn decomposed_text_has_the_same_language(
            text in "[가-힣a-zA-Zé-ü ぁ-ゖがぎぐー一-龥а-я]{0,60}",
        ) {
            let decomposed: String = text.nfd().collect();
            let composed: String = text.nfc().collect();
            prop_assert_eq!(of(&decomposed), of(&composed));
            let mut parts = text.chars().map(|c| c.to_string()).collect::<Vec<_>>();
            parts.reverse();
            let parts: Vec<_> = parts.iter().map(String::as_str).collect();
            prop_assert_eq!(Language::of(parts), of(&composed));
        }

        /// A few foreign words do not change the language.
        #[test]
        fn a_foreign_word_does_not_change_the_language(
            korean in "[가-힣]{5,10}( [가-힣]{1,9}){0,5}", japanese in "[ぁ-ゖ]{5,60}", word in "[a-z]{1,8}",
        ) {
            let decomposed: String = korean.nfd().collect();
            prop_assert_eq!(of(&format!("{decomposed} {word}")), Language::Korean);
            prop_assert_eq!(of(&format!("{word}{japanese}")), Language::Japanese);
        }
    }
}
