//! The log of this process at level TRACE, and of the processes that it starts at level DEBUG. With
//! `SHIORI_TEST_LOGS`, it is a file in this directory, which `scripts/search_logs.py` searches.

use std::{
    env,
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, LazyLock},
};

use shiori_worker::{LogFormat, process::log_lines};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// All crates at level TRACE, except those that log the bytes of a connection.
const FILTER: &str = "trace,hyper=info,h2=info";

/// The filter of the processes that are started.
pub const PROCESS_FILTER: &str = "debug,hyper=info,h2=info";

pub struct TestLog(Arc<File>);

/// The log, which the first call starts. It has the events of all servers, workers and clients of this
/// process, so also those of concurrent tests.
pub fn test_log() -> &'static TestLog {
    static LOG: LazyLock<TestLog> = LazyLock::new(TestLog::start);
    &LOG
}

impl TestLog {
    fn start() -> Self {
        let file = match env::var_os("SHIORI_TEST_LOGS") {
            Some(dir) => {
                let name = format!("server-it-{}.log", std::process::id());
                let mut options = OpenOptions::new();
                options.read(true).write(true).create_new(true);
                options.open(Path::new(&dir).join(name)).unwrap()
            }
            None => tempfile::tempfile().unwrap(),
        };
        let file = Arc::new(file);
        let filter: Targets = FILTER.parse().unwrap();
        let lines = log_lines(LogFormat::Text, false, file.clone());
        tracing_subscriber::registry().with(filter).with(lines).init();
        Self(file)
    }

    /// Adds a line of a process.
    pub fn add(&self, line: &str) {
        (&*self.0).write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// All lines so far.
    pub fn text(&self) -> String {
        let length = self.0.metadata().unwrap().len();
        let mut text = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact_at(&mut text, 0).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }
}
