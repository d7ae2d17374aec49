//! The worker's binary: processes summaries from the queue in Redis until SIGTERM or Ctrl-C. Its
//! commands run the models without a server or queue.

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
