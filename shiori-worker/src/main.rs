//! The worker's binary: processes summaries from the queue in Redis until SIGTERM or Ctrl-C. Its
//! commands run the models without a server or queue.

use std::process::ExitCode;

use shiori_worker::{cli::Cli, process};

#[tokio::main]
async fn main() -> ExitCode {
    let (cli, matches) = process::parse::<Cli>();
    match cli.run(&matches).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            process::report("shiori-worker", &*error);
            ExitCode::FAILURE
        }
    }
}
