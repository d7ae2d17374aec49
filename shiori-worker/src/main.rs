//! The worker's binary: reads the settings, takes summaries from the queue in Redis, and stops on
//! SIGTERM or Ctrl-C. Its commands try the models without either.

use std::process::ExitCode;

use clap::Parser;
use shiori_worker::{cli::Cli, process};

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            process::report("shiori-worker", &*error);
            ExitCode::FAILURE
        }
    }
}
