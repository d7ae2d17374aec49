//! Follow every device of a user: a copy of all diaries that is kept up to date.
#![allow(clippy::print_stdout)] // the output is the purpose of an example

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, TryStreamExt};
use shiori_examples::{Service, a_week};
use shiori_sdk::{Draft, Precondition};
use tokio::time::timeout;

#[tokio::main]
async fn main() -> shiori_examples::Result {
    let service = Service::start_or_connect().await?;
    let person = service.sign_up().await?;
    let (phone, laptop) = (person.sign_in("phone").await?, person.sign_in("laptop").await?);
    let (week, drafts) = a_week()?;
    for (date, draft) in drafts {
        phone.diaries().save(date, draft, Precondition::IfAbsent).await?;
    }

    println!("# The laptop reads everything at once");
    let diaries: Vec<_> = laptop.diaries().read(week.into()).try_collect().await?;
    let mut titles: BTreeMap<_, _> =
        diaries.into_iter().map(|diary| (diary.date, (diary.version, diary.title))).collect();
    println!("  {} diaries", titles.len());

    println!("# Then it yields what the phone does");
    let known = laptop.diaries().versions(week.into()).await?;
    let mut changes = laptop.diaries().watch_since(known);
    let [monday, tuesday] = [0, 1].map(|days| week.start().plus_days(days));
    let (monday, tuesday) = (monday.ok_or("no Monday")?, tuesday.ok_or("no Tuesday")?);
    let rename = |draft: Draft| async { Draft { title: "다시 월요일".to_owned(), ..draft } };
    let renamed = phone.diaries().update(monday, rename).await?;
    let archived = phone.diaries().archive(monday, renamed.version, true).await?;
    let second = titles.get(&tuesday).ok_or("no diary of Tuesday")?.0;
    phone.diaries().delete(tuesday, second).await?;

    while titles.get(&monday).is_none_or(|(version, _)| *version < archived)
        || titles.contains_key(&tuesday)
    {
        let change = timeout(Duration::from_secs(30), changes.next()).await?;
        let change = change.ok_or("the watch has ended")??;
        // The diary may have changed again meanwhile; then the watch yields that version, too.
        match laptop.diaries().get(change.date).await? {
            Some(diary) => titles.insert(diary.date, (diary.version, diary.title)),
            None => titles.remove(&change.date),
        };
    }
    let (version, title) = &titles[&monday];
    println!("  {monday} has version {version}: {title}");
    println!("  {tuesday} was deleted; {} diaries are left", titles.len());
    service.stop().await
}
