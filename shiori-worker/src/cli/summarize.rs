//! `shiori-worker summarize`.

use std::{error::Error, fmt::Write, fs, path::PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use shiori_sdk::{Date, DayEmotion, DiaryId, Document, Version, Week};

use super::{Engine, table::names};
use crate::{
    Settings,
    pipeline::{Attempt, Outcome},
    protocol::{ClaimedDay, TokenUsage},
    summarize::Written,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// File with the diaries: a JSON array of {"date": "YYYYMMDD", "title": …, "content": a TipTap document}
    file: PathBuf,
    #[command(flatten)]
    engine: Engine,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// A diary as the API returns it; other fields are ignored.
#[derive(Deserialize)]
struct Diary {
    date: Date,
    title: String,
    content: Document,
}

/// The JSON output.
#[derive(Serialize)]
struct Summary {
    reflection: String,
    engine: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<TokenUsage>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    truncated: Vec<Date>,
    emotion_engine: String,
    emotions: Vec<DayEmotion>,
}

impl Arguments {
    pub(super) async fn run(self, settings: &Settings) -> Result<String, Box<dyn Error>> {
        let days = self.days()?;
        let pipeline = settings.pipeline(self.engine.engine).await?;
        let attempt = Attempt { is_last: true, is_overdue: None };
        let Outcome { written, emotion_engine, emotions } =
            pipeline.run(days, None, attempt, &|_, _| {}).await?;
        let Written { reflection, engine, usage, truncated } = written;
        let summary = Summary { reflection, engine, usage, truncated, emotion_engine, emotions };
        if self.json {
            return Ok(format!("{}\n", serde_json::to_string_pretty(&summary)?));
        }
        Ok(summary.text()?)
    }

    /// The days of the file, in order.
    fn days(&self) -> Result<Vec<ClaimedDay>, Box<dyn Error>> {
        let file = self.file.display();
        let text = fs::read_to_string(&self.file).map_err(|error| format!("{file}: {error}"))?;
        // The error of serde may quote the diary, so only its position is shown.
        let mut diaries: Vec<Diary> = serde_json::from_str(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("{file}: line {line}, column {column}: not an array of diaries, each with date, title and content")
        })?;
        if diaries.is_empty() || diaries.len() > Week::DAYS {
            return Err(format!("{file}: a week has 1 to {} diaries", Week::DAYS).into());
        }
        diaries.sort_by_key(|diary| diary.date);
        if let Some([twice, _]) = diaries.array_windows().find(|[a, b]| a.date == b.date) {
            return Err(format!("{file}: two diaries have the date {}", twice.date).into());
        }
        let day = |diary: Diary| ClaimedDay {
            date: diary.date,
            diary_id: DiaryId::new(),
            version: Version::new(1),
            title: diary.title,
            texts: diary.content.block_texts(),
        };
        Ok(diaries.into_iter().map(day).collect())
    }
}

impl Summary {
    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = format!("{}\n\n", self.reflection);
        writeln!(out, "written by {}, emotions by {}\n", self.engine, self.emotion_engine)?;
        for date in &self.truncated {
            writeln!(out, "{date} was too long and was shortened\n")?;
        }
        for day in &self.emotions {
            let percent = format!("{:.0} %", day.confidence * 100.0);
            writeln!(out, "{}  {}  {percent:>5}", day.date, names(day.label))?;
        }
        Ok(out)
    }
}
