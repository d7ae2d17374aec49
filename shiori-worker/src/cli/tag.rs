//! `shiori-worker tag`.

use std::{error::Error, io, iter::zip};

use clap::Args;
use serde::Serialize;
use shiori_sdk::{Distribution, Document, Emotion};

use super::{
    Engine,
    table::{fit, names},
};
use crate::{Settings, emotion::Judgement};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    engine: Engine,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// The JSON output.
#[derive(Serialize)]
struct Tagged<'a> {
    engine: &'a str,
    texts: Vec<Tag>,
}

#[derive(Serialize)]
struct Tag {
    text: String,
    label: Emotion,
    confidence: f64,
    evidence: f64,
    distribution: Distribution,
}

impl Arguments {
    pub(super) async fn run(self, settings: &Settings) -> Result<String, Box<dyn Error>> {
        let texts = texts(&io::read_to_string(io::stdin().lock())?)?;
        let model = self.engine.open(settings).await?;
        let judged = model.judge(texts.clone()).await?;
        let tag = |(text, judgement): (String, Judgement)| {
            let (distribution, evidence) = (judgement.distribution, judgement.evidence);
            let label = distribution.label();
            Tag { text, label, confidence: distribution.probability(label), evidence, distribution }
        };
        let tagged =
            Tagged { engine: model.engine(), texts: zip(texts, judged).map(tag).collect() };
        if self.json {
            return Ok(format!("{}\n", serde_json::to_string_pretty(&tagged)?));
        }
        Ok(tagged.texts.iter().map(Tag::line).collect())
    }
}

impl Tag {
    fn line(&self) -> String {
        /// Width of the text, so that a line fits into 80 columns.
        const COLUMNS: usize = 57;
        let percent = format!("{:.0} %", self.confidence * 100.0);
        format!("{}  {percent:>5}  {}\n", names(self.label), fit(&self.text, COLUMNS))
    }
}

/// The blocks of a document, if the input begins with `{`, otherwise the lines. Blank ones are
/// omitted.
fn texts(input: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let texts = if input.trim_start().starts_with('{') {
        Document::from_json(input.trim())?.block_texts()
    } else {
        input.lines().map(str::to_owned).collect()
    };
    Ok(texts.into_iter().filter(|text| !text.trim().is_empty()).collect())
}
