//! Evaluation of a model on labelled texts.

use shiori_sdk::Emotion;

const EMOTIONS: usize = Emotion::ALL.len();

/// The labelled texts of a file: on each line a label (Korean or English), a tab and a text.
///
/// # Errors
///
/// [`UnlabelledLine`] for the first line in another format.
pub fn labelled(file: &str) -> Result<Vec<(Emotion, &str)>, UnlabelledLine> {
    let texts = file.lines().zip(1..).map(|(line, number)| {
        let wrong = |reason| UnlabelledLine { line: number, reason };
        let (label, text) = line.split_once('\t').ok_or(wrong("has no tab"))?;
        let unknown = wrong("does not begin with one of the seven labels");
        Ok((label.parse().map_err(|_| unknown)?, text))
    });
    texts.collect()
}

/// A line is not a label, a tab and a text. The error contains nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {reason}")]
pub struct UnlabelledLine {
    /// The line number, from 1.
    pub line: usize,
    /// The reason.
    pub reason: &'static str,
}

/// A confusion matrix: the number of texts for each label and prediction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evaluation {
    counts: [[u32; EMOTIONS]; EMOTIONS],
}

impl Evaluation {
    /// The evaluation of these pairs of label and prediction.
    pub fn of(pairs: impl IntoIterator<Item = (Emotion, Emotion)>) -> Self {
        let mut evaluation = Self::default();
        for (meant, given) in pairs {
            evaluation.counts[meant.index()][given.index()] += 1;
        }
        evaluation
    }

    /// The number of texts with this label and this prediction.
    pub fn count(&self, meant: Emotion, given: Emotion) -> u32 {
        self.counts[meant.index()][given.index()]
    }

    /// The number of texts with this label.
    pub fn meant(&self, emotion: Emotion) -> u32 {
        self.counts[emotion.index()].iter().sum()
    }

    /// The number of texts with this prediction.
    pub fn given(&self, emotion: Emotion) -> u32 {
        self.counts.iter().map(|row| row[emotion.index()]).sum()
    }

    /// The share of texts whose prediction is the label; 0 without texts.
    pub fn accuracy(&self) -> f64 {
        let right = Emotion::ALL.iter().map(|e| self.count(*e, *e)).sum();
        share(right, self.counts.as_flattened().iter().sum())
    }

    /// The share of the texts with this prediction that have this label; 0 if there are none.
    pub fn precision(&self, emotion: Emotion) -> f64 {
        share(self.count(emotion, emotion), self.given(emotion))
    }

    /// The share of the texts with this label that have this prediction; 0 if there are none.
    pub fn recall(&self, emotion: Emotion) -> f64 {
        share(self.count(emotion, emotion), self.meant(emotion))
    }

    /// The harmonic mean of precision and recall; 0 if both are 0.
    pub fn f1(&self, emotion: Emotion) -> f64 {
        share(2 * self.count(emotion, emotion), self.meant(emotion) + self.given(emotion))
    }

    /// The mean F1 of all emotions that occur as label or prediction.
    pub fn macro_f1(&self) -> f64 {
        let met = |e: &Emotion| self.meant(*e) + self.given(*e) > 0;
        let count = Emotion::ALL.iter().filter(|e| met(e)).count().max(1);
        #[allow(clippy::cast_precision_loss)] // at most 7
        let count = count as f64;
        Emotion::ALL.iter().map(|e| self.f1(*e)).sum::<f64>() / count
    }
}

fn share(part: u32, whole: u32) -> f64 {
    f64::from(part) / f64::from(whole.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labelled_lines_are_parsed_and_others_rejected() {
        let file = "행복\t좋다\nfear\t무섭다\t정말\r\n중립\t\n";
        let texts =
            [(Emotion::Happiness, "좋다"), (Emotion::Fear, "무섭다\t정말"), (Emotion::Neutral, "")];
        assert_eq!(labelled(file), Ok(texts.to_vec()));
        assert_eq!(labelled(""), Ok(Vec::new()));
        for (file, line) in [("행복 좋다", 1), ("행복\t좋다\n\n", 2), ("행복\t좋다\n기쁨\t좋다", 2)]
        {
            let error = labelled(file).expect_err(file);
            assert_eq!(error.line, line, "{file}");
            assert!(!error.to_string().contains("좋다"));
        }
    }

    #[test]
    fn metrics_match_their_definitions() {
        use Emotion::{Anger, Fear, Sadness};
        let pairs = [(Fear, Fear), (Fear, Fear), (Fear, Anger), (Anger, Anger), (Sadness, Fear)];
        let evaluation = Evaluation::of(pairs);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        near(evaluation.accuracy(), 0.6);
        near(evaluation.precision(Fear), 2.0 / 3.0);
        near(evaluation.recall(Fear), 2.0 / 3.0);
        near(evaluation.precision(Anger), 0.5);
        near(evaluation.recall(Anger), 1.0);
        near(evaluation.f1(Anger), 2.0 / 3.0);
        near(evaluation.f1(Sadness), 0.0);
        near(evaluation.macro_f1(), 4.0 / 9.0);
        near(Evaluation::default().accuracy() + Evaluation::default().macro_f1(), 0.0);
    }
}
