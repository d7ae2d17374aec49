//! The table of stems and expressions, `stems.tsv`, and its lookup.

use std::{collections::HashMap, sync::LazyLock};

use shiori_sdk::Emotion;

use super::words::decomposed;

/// The built-in table, parsed on first use.
pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    Table::parse(include_str!("stems.tsv")).expect("a test parses the same built-in table")
});

/// Stems and expressions by the first word that they need.
#[derive(Debug, Default)]
pub(super) struct Table {
    expressions: HashMap<String, Vec<Expression>>,
    /// Bytes of the longest key of `expressions`, which bounds the work for a word.
    longest: usize,
}

/// One or more words with an emotion.
#[derive(Debug, PartialEq)]
struct Expression {
    words: Vec<Form>,
    sense: Sense,
}

/// The emotion of an expression.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sense {
    /// The emotion; `None` for a word that only looks like another expression (전화 is not 화).
    pub(super) emotion: Option<Emotion>,
    /// How explicit it is: 3 names the emotion, 1 hints at it.
    pub(super) weight: f64,
}

/// An expression that was found in a sentence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hit {
    pub(super) sense: Sense,
    /// The number of words.
    pub(super) words: usize,
    /// Bytes of the last of these words that belong to the expression; the rest is its ending.
    pub(super) bytes: usize,
}

/// One word of an expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Form {
    text: String,
    /// Whether any ending may follow, or only a Korean particle.
    open: bool,
}

impl Table {
    /// Reads lines of `emotion<TAB>weight<TAB>forms`; `#` starts a comment. Forms are separated by
    /// spaces, and the words of a form by `_`.
    ///
    /// Hangul, bare letters and emoji match every word that starts with them. If a `.` follows,
    /// only a particle may come after it. All words of an expression but the last are read as if
    /// they had that `.`, and so are words in Latin script, unless a `*` follows.
    ///
    /// # Errors
    ///
    /// The number of the first malformed line.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut table = Self::default();
        for (line, number) in text.lines().zip(1_usize..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (sense, forms) = parse_line(line).ok_or(number)?;
            for form in forms.split(' ') {
                table.insert(form, sense).ok_or(number)?;
            }
        }
        Ok(table)
    }

    fn insert(&mut self, form: &str, sense: Sense) -> Option<()> {
        let last = form.matches('_').count();
        let words: Vec<Form> = form
            .split('_')
            .enumerate()
            .map(|(index, word)| {
                let text = word.trim_end_matches(['.', '*']);
                let open = match word.chars().next_back()? {
                    '.' => false,
                    '*' => true,
                    _ => index == last && !text.is_ascii(),
                };
                (!text.is_empty()).then(|| Form { text: decomposed(text), open })
            })
            .collect::<Option<_>>()?;
        let key = words.first()?.text.clone();
        self.longest = self.longest.max(key.len());
        self.expressions.entry(key).or_default().push(Expression { words, sense });
        Some(())
    }

    /// The expression that starts in the first of these words, at the byte `from`. Expressions with
    /// more words take precedence, then longer ones.
    pub(super) fn find(&self, words: &[String], from: usize) -> Option<Hit> {
        let first = words.first()?.get(from..)?;
        let ends = first.char_indices().map(|(at, letter)| at + letter.len_utf8());
        let mut best: Option<Hit> = None;
        for end in ends.take_while(|end| *end <= self.longest) {
            for expression in self.expressions.get(&first[..end]).into_iter().flatten() {
                let longer = best.is_none_or(|hit| expression.words.len() >= hit.words);
                if longer && expression.fits(words, from) {
                    let last = expression.words.last().map_or(0, |form| form.text.len());
                    let count = expression.words.len();
                    let bytes = if count == 1 { from + last } else { last };
                    best = Some(Hit { sense: expression.sense, words: count, bytes });
                }
            }
        }
        best
    }
}

impl Expression {
    fn fits(&self, words: &[String], from: usize) -> bool {
        words.len() >= self.words.len()
            && self.words.iter().zip(words).enumerate().all(|(index, (form, word))| {
                let from = if index == 0 { from } else { 0 };
                word[from..]
                    .strip_prefix(form.text.as_str())
                    .is_some_and(|ending| form.open || is_particle(ending))
            })
    }
}

/// Whether this may follow a noun: nothing, a particle, or a form of 이다.
pub(super) fn is_particle(ending: &str) -> bool {
    /// More bytes than the longest of [`PARTICLES`] has.
    const LONGEST: usize = 36;
    ending.len() <= LONGEST && (ending.is_empty() || PARTICLES.iter().any(|p| p == ending))
}

/// Whether this ending forms a noun, with or without a particle: 두려움도, 웃기가.
pub(super) fn is_nominal(ending: &str) -> bool {
    const FINAL_M: char = '\u{11b7}';
    let noun = |stem: &str| {
        stem.is_empty() || stem.ends_with(FINAL_M) || stem.ends_with("\u{1100}\u{1175}")
    };
    let mut stems = PARTICLES.iter().filter_map(|particle| ending.strip_suffix(particle.as_str()));
    noun(ending) || stems.any(noun)
}

static PARTICLES: LazyLock<Vec<String>> = LazyLock::new(|| {
    "이 가 은 는 을 를 도 만 의 에 에서 에게 로 으로 와 과 랑 이랑 나 이나 까지 조차 마저 뿐 밖에 \
     처럼 보다 부터 에도 에는 만은 만큼 다 이다 야 이야 요 이요 라 이라 라서 이라서 라니 이라니 라고 \
     이라고 였다 이었다 였어 이었어 예요 이에요 입니다 였고 이었고 인 인데 인지 이고 고 이며 며 들 들이 들은 들을"
        .split_whitespace()
        .map(decomposed)
        .collect()
});

fn parse_line(line: &str) -> Option<(Sense, &str)> {
    let mut columns = line.split('\t');
    let (emotion, weight, forms) = (columns.next()?, columns.next()?, columns.next()?);
    let emotion = if emotion == "-" { None } else { Some(emotion.parse().ok()?) };
    let weight: f64 = weight.parse().ok()?;
    let whole = columns.next().is_none() && (0.0..=3.0).contains(&weight);
    whole.then_some((Sense { emotion, weight }, forms))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn rows() -> impl Iterator<Item = (Sense, &'static str)> {
        let lines = include_str!("stems.tsv").lines();
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| parse_line(line).expect("is well formed"))
    }

    #[test]
    fn the_built_in_table_is_well_formed_and_has_no_duplicates() {
        let mut seen = HashSet::new();
        for (_, forms) in rows() {
            for form in forms.split(' ') {
                assert!(seen.insert(form), "{form} is listed twice");
            }
        }
        Table::parse(include_str!("stems.tsv")).expect("is well formed");
    }

    #[test]
    fn every_form_of_the_table_is_found() {
        for (sense, forms) in rows() {
            for form in forms.split(' ') {
                let words: Vec<String> =
                    form.split('_').map(|w| decomposed(w.trim_end_matches(['.', '*']))).collect();
                let hit = TABLE.find(&words, 0).unwrap_or_else(|| panic!("{form} is not found"));
                assert_eq!((hit.sense, hit.words), (sense, words.len()), "{form}");
            }
        }
    }

    #[test]
    fn every_emotion_has_words_in_both_languages() {
        for emotion in Emotion::ALL {
            let forms = || {
                rows().filter(|(s, _)| s.emotion == Some(emotion)).flat_map(|(_, f)| f.split(' '))
            };
            let english = forms().filter(|form| form.is_ascii()).count();
            let korean =
                forms().filter(|form| form.starts_with(|c| matches!(c, '가'..='힣'))).count();
            let (most, least) = if emotion == Emotion::Neutral { (40, 5) } else { (100, 25) };
            assert!(korean >= most && english >= least, "{emotion}: {korean} and {english}");
        }
    }

    #[test]
    fn the_number_of_a_malformed_line_is_returned() {
        for (text, line) in [
            ("행복", 1),
            ("행복\t1", 1),
            ("# fine\n\n기쁨\t1\t좋", 3),
            ("행복\t9\t좋", 1),
            ("행복\t1\t좋  좋", 1),
            ("행복\t1\t마음_.", 1),
            ("행복\t1\t좋\t1", 1),
        ] {
            assert_eq!(Table::parse(text).err(), Some(line), "{text}");
        }
    }

    #[test]
    fn expressions_with_more_words_and_longer_ones_take_precedence() {
        let table = Table::parse(
            "분노\t2\t화.\n분노\t3\t화_나\n행복\t1\t기대\n-\t0\t기대어\n행복\t1\tjoy*",
        )
        .expect("is well formed");
        let find = |text: &str| {
            let words: Vec<String> = text.split(' ').map(decomposed).collect();
            table.find(&words, 0).map(|hit| (hit.sense.weight, hit.words))
        };
        assert_eq!(find("화가"), Some((2.0, 1)));
        assert_eq!(find("화가 났다"), Some((3.0, 2)));
        assert_eq!(find("화가 풀렸다"), Some((2.0, 1)));
        assert_eq!(find("화장실"), None);
        assert_eq!(find("기대했다"), Some((1.0, 1)));
        assert_eq!(find("기대어"), Some((0.0, 1)));
        assert_eq!(find("joyful"), Some((1.0, 1)));
    }
}
