//! A diary server inside another program: settings in code, stopped with the program.
//!
//! ```console
//! $ cargo run -p shiori-examples --example embedded_server            # until Ctrl-C
//! $ cargo run -p shiori-examples --example embedded_server -- --once  # one round trip
//! ```
#![allow(clippy::print_stdout)] // an example is there to be read

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

    // A program that wants to keep its diaries names a directory that stays.
    let data_dir = tempfile::tempdir()?;
    let mut config = Config::embedded(data_dir.path())?;
    config.worker_concurrency = 2;
    config.summaries.max_attempts = 3;
    config.summaries.max_unfinished = 4;
    config.limits.body_bytes = 256 * 1024;
    config.drain_timeout = Duration::from_secs(5);

    // The program owns the listener and the token: it chooses the address and when to stop.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let shutdown = CancellationToken::new();
    let server = Server::start(config, listener, shutdown.clone()).await?;
    println!("listening at {}", server.url());

    if once {
        round_trip(&server.url()).await?;
    } else {
        println!("Ctrl-C stops it");
        tokio::signal::ctrl_c().await?;
    }

    // Requests and summaries under way finish first, for at most `drain_timeout` each.
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
    let read = client.diaries().get(date).await?.ok_or("it was just saved")?;
    if read.to_draft() != draft {
        return Err("what was read is not what was saved".into());
    }
    println!("saved and read back {date}, version {}", saved.version);
    Ok(())
}
