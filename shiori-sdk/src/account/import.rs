//! The import of an export into the account of the user.

use futures_util::{StreamExt, TryStreamExt, stream};
use sha1_smol::Sha1;
use uuid::{Builder, Uuid};

use super::Account;
use crate::{
    client::Client,
    diary::{Attempt, Precondition},
    transport::error::{Error, ErrorKind, Result},
    types::{Date, Diary, Draft, ExportRecord, ExportedDiary, SaveId, SaveReceipt, Version},
};

/// Maximum diaries that are saved concurrently.
const CONCURRENCY: usize = 8;

/// The name space of the ids of imported saves.
const NAMESPACE: Uuid = Uuid::from_u128(0x5c6b_1b8e_3f0d_4a52_9c1e_7a4f_d0b2_6e93);

impl Account {
    /// Saves the diaries of an export in the user's account. Dates that already have a diary are not
    /// changed: if its title and text differ, the date is listed as a conflict.
    ///
    /// Repeating an import is harmless, whether it failed or succeeded. The id of each save is
    /// derived from the content of the record, so the server recognises a save that it has already
    /// applied, also after the diary was changed or deleted. An archived diary is archived again.
    /// Versions, times and ids are new. Reflections and the account are not imported.
    ///
    /// The records are read from an iterator, such as an [`ExportReader`](super::ExportReader), at
    /// most 8 at a time, and on the thread of the caller.
    ///
    /// # Errors
    ///
    /// The first [`Error`] of the records; [`Error`] if a save fails, such as one of kind
    /// [`ErrorKind::QuotaExceeded`]. Diaries that were saved before stay saved. A diary that the
    /// server rejects as invalid is not an error, but listed in the report.
    ///
    /// ```no_run
    /// use shiori_sdk::ExportReader;
    ///
    /// # async fn example(client: shiori_sdk::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let file = std::io::BufReader::new(std::fs::File::open("export.ndjson")?);
    /// let report = client.account().import(ExportReader::new(file)).await?;
    /// println!("{} saved, {} already there", report.created, report.present);
    /// for conflict in report.conflicts {
    ///     println!("{} already has another diary", conflict.date);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn import<I>(&self, records: I) -> Result<ImportReport>
    where
        I: IntoIterator<Item = Result<ExportRecord>>,
        I::IntoIter: Send,
    {
        let diaries = stream::iter(records).try_filter_map(async |record| {
            Ok(if let ExportRecord::Diary(diary) = record { Some(diary) } else { None })
        });
        let mut imports = diaries
            .map_ok(|diary| import_diary(&self.client, diary))
            .try_buffer_unordered(CONCURRENCY)
            .boxed();
        let mut report = ImportReport::default();
        while let Some((date, outcome)) = imports.try_next().await? {
            match outcome {
                Outcome::Created => report.created += 1,
                Outcome::Present => report.present += 1,
                Outcome::Deleted => report.deleted.push(date),
                Outcome::Conflict(current) => {
                    report.conflicts.push(ImportConflict { date, current });
                }
                Outcome::Rejected(error) => report.rejected.push(RejectedDiary { date, error }),
            }
        }
        report.deleted.sort_unstable();
        report.conflicts.sort_unstable_by_key(|conflict| conflict.date);
        report.rejected.sort_unstable_by_key(|rejected| rejected.date);
        Ok(report)
    }
}

/// The result of an import: what became of each diary in the export.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ImportReport {
    /// The number of diaries that were saved.
    pub created: u64,
    /// The number of diaries that the account already has, or that an earlier import has saved.
    pub present: u64,
    /// The dates whose diary an earlier import has saved, and that was deleted since. They are not
    /// restored.
    pub deleted: Vec<Date>,
    /// The dates that have a diary with another title or text. They are not changed.
    pub conflicts: Vec<ImportConflict>,
    /// The diaries that the server rejected, for example because its limits are lower.
    pub rejected: Vec<RejectedDiary>,
}

impl ImportReport {
    /// Whether the account has every diary of the export.
    pub fn is_complete(&self) -> bool {
        self.deleted.is_empty() && self.conflicts.is_empty() && self.rejected.is_empty()
    }
}

/// A date that has another diary than the export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportConflict {
    /// The date.
    pub date: Date,
    /// The version of the account's diary.
    pub current: Version,
}

/// A diary that the server rejected.
#[derive(Debug)]
#[non_exhaustive]
pub struct RejectedDiary {
    /// The date.
    pub date: Date,
    /// The reason; its [`code`](Error::code) names the rule.
    pub error: Error,
}

enum Outcome {
    Created,
    Present,
    Deleted,
    Conflict(Version),
    Rejected(Error),
}

async fn import_diary(client: &Client, exported: ExportedDiary) -> Result<(Date, Outcome)> {
    let (date, is_archived, save_id) = (exported.date, exported.is_archived, save_id(&exported));
    let draft = exported.into_draft();
    let attempt = client.attempt_save(date, &draft, Precondition::IfAbsent, save_id, false).await;
    let outcome = match attempt {
        Ok(Attempt::Saved { receipt, .. }) if !receipt.replayed => {
            archive(client, date, receipt.version, is_archived).await?;
            Outcome::Created
        }
        Ok(Attempt::Saved { receipt, .. }) => replayed(client, date, &receipt, is_archived).await?,
        Ok(Attempt::Conflict(rejected)) => match rejected.current {
            Some(current) if is_same(&current, &draft) => Outcome::Present,
            Some(current) => Outcome::Conflict(current.version),
            // It was deleted at the same moment.
            None => Outcome::Deleted,
        },
        Err(error) if error.kind() == ErrorKind::Rejected => Outcome::Rejected(error),
        Err(error) => return Err(error),
    };
    Ok((date, outcome))
}

/// An earlier import, or an earlier request of this one, has saved the diary.
async fn replayed(
    client: &Client,
    date: Date,
    receipt: &SaveReceipt,
    is_archived: bool,
) -> Result<Outcome> {
    let Some(current) = client.diaries().get(date).await? else { return Ok(Outcome::Deleted) };
    // Later changes of the user are kept, also whether it is archived.
    if current.version == receipt.version {
        archive(client, date, current.version, is_archived && !current.is_archived).await?;
    }
    Ok(Outcome::Present)
}

/// Archives this version of a diary, unless it was changed since.
async fn archive(client: &Client, date: Date, version: Version, is_archived: bool) -> Result<()> {
    if !is_archived {
        return Ok(());
    }
    match client.diaries().archive(date, version, true).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_same(current: &Diary, draft: &Draft) -> bool {
    (&current.title, &current.content) == (&draft.title, &draft.content)
}

/// The id of the save of a record: the same for the same date, title and text (RFC 9562, section
/// 5.5). A server recognises it only for the user who saved it.
fn save_id(diary: &ExportedDiary) -> SaveId {
    let mut hash = Sha1::from(NAMESPACE.as_bytes());
    for part in [&diary.date.to_string(), "\n", &diary.title, "\n", diary.content.as_json()] {
        hash.update(part.as_bytes());
    }
    let digest = hash.digest().bytes();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    SaveId::from_bytes(Builder::from_sha1_bytes(id).into_uuid().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DiaryId, Document, Timestamp};

    fn diary(day: u8, title: &str, text: &str) -> ExportedDiary {
        ExportedDiary {
            id: DiaryId::new(),
            date: Date::new(2026, 2, day).expect("a date"),
            title: title.to_owned(),
            content: Document::from_text(text),
            version: Version::new(u64::from(day)),
            is_archived: false,
            updated_at: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn the_id_of_a_save_follows_from_its_content() {
        let one = diary(16, "제목", "글");
        // Repeated imports with later versions of this crate must be recognised, too.
        assert_eq!(save_id(&one).to_string(), "eb646ee8-b485-5995-99ac-98fe370e528e");
        assert_eq!(
            save_id(&one),
            save_id(&ExportedDiary { version: Version::new(9), ..one.clone() })
        );
        for other in [diary(17, "제목", "글"), diary(16, "제", "글"), diary(16, "제목", "글.")]
        {
            assert_ne!(save_id(&one), save_id(&other));
        }
    }
}
