//! `shiori-worker emotion`.

use std::{
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use shiori_sdk::Emotion;

use super::{Engine, table::names};
use crate::{
    Settings,
    emotion::{
        EmotionModel,
        evaluation::{Evaluation, labelled},
    },
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Classify labelled texts, and print accuracy, macro-F1 and the confusion matrix
    Eval(Eval),
}

#[derive(Debug, Args)]
pub(super) struct Eval {
    /// File with a label (Korean or English), a tab and a text on each line
    file: PathBuf,
    #[command(flatten)]
    engine: Engine,
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<String, Box<dyn Error>> {
        let Self::Eval(Eval { file, engine }) = self;
        let named = |error: &dyn Error| format!("{}: {error}", file.display());
        let text = fs::read_to_string(&file).map_err(|error| named(&error))?;
        let texts = labelled(&text).map_err(|error| named(&error))?;
        if texts.is_empty() {
            return Err(format!("{} is empty", file.display()).into());
        }
        let model = engine.open(settings).await?;
        let evaluation = evaluate(&*model, &texts).await?;
        Ok(report(model.engine(), &file, &evaluation)?)
    }
}

async fn evaluate(
    model: &dyn EmotionModel,
    texts: &[(Emotion, &str)],
) -> Result<Evaluation, Box<dyn Error>> {
    /// Texts per call, which bounds the memory.
    const GROUP: usize = 1024;
    let mut given = Vec::with_capacity(texts.len());
    for group in texts.chunks(GROUP) {
        let judged =
            model.judge(group.iter().map(|(_, text)| (*text).to_owned()).collect()).await?;
        given.extend(judged.iter().map(|judgement| judgement.distribution.label()));
    }
    if given.len() != texts.len() {
        return Err("the emotion model returned too few results".into());
    }
    Ok(Evaluation::of(texts.iter().map(|(meant, _)| *meant).zip(given)))
}

fn report(engine: &str, file: &Path, evaluation: &Evaluation) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let texts: u32 = Emotion::ALL.iter().map(|emotion| evaluation.meant(*emotion)).sum();
    writeln!(out, "{engine} on {}, texts: {texts}", file.display())?;
    writeln!(out, "accuracy  {:.3}", evaluation.accuracy())?;
    writeln!(out, "macro-F1  {:.3}", evaluation.macro_f1())?;
    writeln!(out, "\n{}  precision  recall     F1   texts", " ".repeat(14))?;
    for emotion in Emotion::ALL {
        let (precision, recall) = (evaluation.precision(emotion), evaluation.recall(emotion));
        let (f1, texts) = (evaluation.f1(emotion), evaluation.meant(emotion));
        let names = names(emotion);
        writeln!(out, "{names}  {precision:9.3}  {recall:6.3}  {f1:5.3}  {texts:6}")?;
    }
    write!(out, "\nlabel \\ pred. ")?;
    for emotion in Emotion::ALL {
        write!(out, "  {emotion}")?;
    }
    for meant in Emotion::ALL {
        write!(out, "\n{}", names(meant))?;
        for given in Emotion::ALL {
            write!(out, "  {:4}", evaluation.count(meant, given))?;
        }
    }
    writeln!(out)?;
    Ok(out)
}
