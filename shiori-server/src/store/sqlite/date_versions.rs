//! The versions of many dates, and the diaries of chosen ones.

use rusqlite::{Connection, params};
use shiori_sdk::{Date, DateRange, DateVersion, UserId, Version, limits::MAX_READ_BYTES};

use super::{connection::Statements, diary};
use crate::store::{ManyDiaries, StoreError};

/// Reads one tree of pages, the primary key's, in the order of its keys. Texts are in another table.
/// A second index would be smaller, but every save would have to write it, too.
const VERSIONS: &str = "SELECT date, version, is_archived, deleted FROM diary
     WHERE user_id = ? AND date BETWEEN ? AND ? ORDER BY date LIMIT ?";

pub(super) fn versions(
    connection: &Connection,
    user: UserId,
    range: DateRange,
    limit: u32,
) -> Result<Vec<DateVersion>, StoreError> {
    let (first, last) = (range.start().as_number(), range.end().as_number());
    let rows = connection.all(VERSIONS, params![user.as_bytes(), first, last, limit], |row| {
        Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get(3)?))
    })?;
    let corrupt = || StoreError::Corrupt { what: "the version of a diary" };
    let read = |(date, version, is_archived, is_deleted)| {
        Ok(DateVersion {
            date: Date::from_number(date).map_err(|_| corrupt())?,
            version: u64::try_from(version).map(Version::new).map_err(|_| corrupt())?,
            is_archived,
            is_deleted,
        })
    };
    rows.into_iter().map(read).collect()
}

pub(super) fn read_many(
    connection: &Connection,
    user: UserId,
    dates: &[Date],
) -> Result<ManyDiaries, StoreError> {
    let mut many = ManyDiaries::default();
    let mut bytes = 0;
    for (nth, date) in dates.iter().enumerate() {
        if bytes >= MAX_READ_BYTES {
            many.rest = dates[nth..].to_vec();
            break;
        }
        match diary::record(connection, user, *date) {
            Ok(None) => {}
            Ok(Some(record)) => {
                bytes += record.content.as_json().len();
                many.diaries.push(record);
            }
            Err(StoreError::Corrupt { .. }) => many.unreadable.push(*date),
            Err(error) => return Err(error),
        }
    }
    Ok(many)
}

#[cfg(test)]
mod tests {
    use super::VERSIONS;
    use crate::store::sqlite::open_temporary;

    /// The versions are read from the primary key, in its order, without another table or a sort.
    #[tokio::test]
    async fn versions_are_read_from_the_primary_key() {
        let (store, _directory) = open_temporary().await;
        let plan = store.snapshot(|connection| {
            let mut prepared = connection.prepare(&format!("EXPLAIN QUERY PLAN {VERSIONS}"))?;
            let rows = prepared.query_map((&[0_u8; 16], 0, 0, 0), |row| row.get("detail"))?;
            Ok(rows.collect::<rusqlite::Result<Vec<String>>>()?)
        });
        let plan = plan.await.expect("planned");
        let [step] = &plan[..] else { panic!("one step was expected: {plan:?}") };
        assert!(step.starts_with("SEARCH diary USING PRIMARY KEY"), "{step}");
    }
}
