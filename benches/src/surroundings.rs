use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What distinguishes a process from the others on this machine: its clock and its file systems. The
/// default is nothing.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Its clock.
    pub clock: Option<FakeClock>,
    /// The id of a process whose user and mount namespaces it shares.
    pub mounts_of: Option<u32>,
}

/// A clock that differs from that of the machine. Monotonic time does not.
#[derive(Debug, Clone)]
pub struct FakeClock {
    library: PathBuf,
    offset_s: i32,
}

impl Surroundings {
    /// A command that runs this program there.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = if let Some(process) = self.mounts_of {
            // It executes the program in its own process, so that signals reach it.
            let mut command = Command::new("nsenter");
            command.args(["--user", "--mount", "--preserve-credentials", "--target"]);
            command.arg(process.to_string()).arg("--").arg(program);
            command
        } else {
            Command::new(program)
        };
        if let Some(clock) = &self.clock {
            command
                .env("LD_PRELOAD", &clock.library)
                .env("FAKETIME", format!("{:+}s", clock.offset_s))
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("NO_FAKE_STAT", "1");
        }
        command
    }

    /// Removes what a process with this id has left behind when it was killed.
    pub fn clean_up(&self, process: u32) {
        if self.clock.is_some() {
            for name in [format!("sem.faketime_sem_{process}"), format!("faketime_shm_{process}")] {
                let _ = fs::remove_file(Path::new("/dev/shm").join(name));
            }
        }
    }
}

impl FakeClock {
    /// A clock without an offset.
    ///
    /// # Errors
    ///
    /// If the program `faketime` is not installed.
    pub fn new() -> Result<Self, &'static str> {
        const MISSING: &str = "faketime is not installed; Debian's package is `faketime`";
        // The program would start another process, which signals do not reach, so only its library is used.
        let printed = Command::new("faketime")
            .args(["-m", "-f", "+0s", "printenv", "LD_PRELOAD"])
            .output()
            .map_err(|_| MISSING)?;
        let library = String::from_utf8_lossy(&printed.stdout).trim().to_owned();
        if !printed.status.success() || library.is_empty() {
            return Err(MISSING);
        }
        Ok(Self { library: library.into(), offset_s: 0 })
    }

    /// The same clock with this offset, in seconds.
    #[must_use]
    pub fn with_offset(&self, offset_s: i32) -> Self {
        Self { library: self.library.clone(), offset_s }
    }

    /// The offset, in seconds.
    pub fn offset_s(&self) -> i32 {
        self.offset_s
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    /// The first number that the command prints, in seconds.
    fn seconds(mut command: Command) -> f64 {
        let output = command.output().expect("a program");
        let printed = String::from_utf8(output.stdout).expect("text");
        printed.split_whitespace().next().expect("a number").parse().expect("a number")
    }

    #[test]
    fn a_fake_clock_changes_the_time_but_not_monotonic_time() {
        // Without the program there is no such clock.
        let Ok(clock) = FakeClock::new() else { return };
        let [behind, same, ahead] = [-4000, 0, 4000].map(|offset| {
            let clock = Some(clock.with_offset(offset));
            let surroundings = Surroundings { clock, mounts_of: None };
            let mut date = surroundings.command("date");
            date.arg("+%s");
            let mut monotonic = surroundings.command("python3");
            monotonic.args(["-c", "import time; print(time.monotonic())"]);
            (seconds(date), seconds(monotonic))
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs_f64();
        for ((time, monotonic), offset) in [(behind, -4000.0), (same, 0.0), (ahead, 4000.0)] {
            assert!((time - now - offset).abs() < 1000.0, "{time} at {now}");
            assert!((monotonic - same.1).abs() < 1000.0, "{monotonic} instead of {}", same.1);
        }
    }
}
