//! A diary server inside another program, which configures, starts and stops it.
//!
//! ```console
//! $ cargo run -p shiori-examples --example embedded_server            # until Ctrl-C
//! $ cargo run -p shiori-examples --example embedded_server -- --once  # one round trip
//! ```
#![allow(clippy::print_stdout)] // the output is the purpose of an example

use std::{env, time::Duration};

use shiori_sdk::{Client, Date, Document, Draft, Precondition};
use shiori_server::{Config, Server};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> shiori_examples::Result {
    let once = match env::args().nth(1).as_deref() {
        None => false,
        Some("--once") => true,
        Some(_) => return Err("usage: embedded_server [--once]".into()),
    };

    // For a program that keeps its diaries, use a permanent directory.
    let data_dir = tempfile::tempdir()?;
    let mut config = Config::embedded(data_dir.path())?;
    config.worker_concurrency = 2;
    config.summaries.max_attempts = 3;
    config.summaries.max_unfinished = 4;
    config.summaries.max_per_day = Some(20);
    config.limits.body_bytes = 256 * 1024;
    config.drain_timeout = Duration::from_secs(5);

    // The caller creates the listener and the token, so it chooses the address and when to stop.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let shutdown = CancellationToken::new();
    let server = Server::start(config, listener, shutdown.clone()).await?;
    println!("listening at {}", server.url());

    if once {
        round_trip(&server.url()).await?;
    } else {
        println!("press Ctrl-C to stop");
        tokio::signal::ctrl_c().await?;
    }

    // Summaries and requests in progress each have `drain_timeout` to finish.
    shutdown.cancel();
    server.stopped().await?;
    println!("stopped");
    Ok(())
}

async fn round_trip(url: &str) -> shiori_examples::Result {
    let client = Client::builder(url).build()?;
    client.auth().signup("haru@example.com", "correct horse 1!", "하루").await?;
    client.auth().login("haru@example.com", "correct horse 1!").await?;

    let date = Date::new(2026, 4, 6)?;
    let draft = Draft::new("첫날", Document::from_text("서버도 일기도 이 프로그램 안에 있다."));
    let saved = client.diaries().save(date, draft.clone(), Precondition::IfAbsent).await?;
    let read = client.diaries().get(date).await?.ok_or("the saved diary was not found")?;
    if read.to_draft() != draft {
        return Err("the diary differs from the saved draft".into());
    }
    println!("saved and read back {date}, version {}", saved.version);
    Ok(())
}
