use std::{env, fs, io, path::Path, thread, time::Duration};

/// Percentiles of measured times.
#[derive(Debug, Clone, Copy)]
pub struct Percentiles {
    /// The median.
    pub p50: Duration,
    /// The 95th percentile.
    pub p95: Duration,
    /// The 99th percentile.
    pub p99: Duration,
}

impl Percentiles {
    /// The percentiles of these times; zero if there are none.
    pub fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(rank).copied().unwrap_or_default()
        };
        Self { p50: at(50), p95: at(95), p99: at(99) }
    }
}

/// Prints a table of figures; with `SHIORI_BENCH_RECORD` set, also writes it to
/// `benches/results/` and into the block of this name in `benches/README.md` or a guide.
///
/// # Panics
///
/// If the files cannot be written.
#[allow(clippy::print_stdout)] // a bench prints its table
pub fn record(name: &str, table: &str) {
    println!("\n{table}");
    if env::var_os("SHIORI_BENCH_RECORD").is_some() {
        write(name, table).expect("the project's files can be written");
    }
}

/// The resident memory of a process in MiB; 0 if the system does not provide it.
pub fn resident_mib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0_u64) / 1024
}

/// Writes content into the block of this name in a page of the project.
///
/// # Errors
///
/// If the page cannot be read or written, or does not have the block.
pub fn record_block(page: &Path, name: &str, content: &str) -> io::Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(&page)?;
    if !text.contains(&format!("<!-- bench:{name} -->")) {
        let problem = format!("{} has no block {name}", page.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    fs::write(page, replace_block(&text, name, content))
}

fn write(name: &str, table: &str) -> io::Result<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let machine = machine();
    fs::create_dir_all(package.join("results"))?;
    fs::write(package.join(format!("results/{name}.md")), format!("{machine}\n\n{table}"))?;
    for page in ["README.md", "../docs/emotion-bert.md", "../shiori-sdk/docs/conflicts.md"] {
        let page = package.join(page);
        let text = fs::read_to_string(&page)?;
        let text = replace_block(&text, name, table);
        fs::write(page, replace_block(&text, "machine", &machine))?;
    }
    Ok(())
}

/// Replaces the content between the marks of a block. A text without the block is returned
/// unchanged.
fn replace_block(text: &str, name: &str, content: &str) -> String {
    let (open, close) = (format!("<!-- bench:{name} -->"), format!("<!-- /bench:{name} -->"));
    let parts = text.split_once(&open).and_then(|(head, rest)| {
        let (_, tail) = rest.split_once(&close)?;
        Some((head, tail))
    });
    match parts {
        Some((head, tail)) => format!("{head}{open}\n{}\n{close}{tail}", content.trim_end()),
        None => text.to_owned(),
    }
}

/// The name of the processor.
pub fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("an unknown processor", |(_, model)| model.trim()).to_owned()
}

/// A description of the machine and the build.
fn machine() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let model = processor();
    let server =
        if crate::Place::is_given() { "the server at SHIORI_URL" } else { "an embedded server" };
    let build = if cfg!(debug_assertions) { "development" } else { "release" };
    format!(
        "Measured on {cores} cores of {model} (a shared virtual machine), {build} build, client and \
         {server} on the same machine, SQLite with every write synced."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_times() {
        let mut times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let found = Percentiles::of(&mut times);
        assert_eq!(found.p50, Duration::from_millis(100));
        assert_eq!(found.p95, Duration::from_millis(190));
        assert_eq!(found.p99, Duration::from_millis(198));
        assert_eq!(Percentiles::of(&mut []).p99, Duration::ZERO);
    }

    #[test]
    fn only_the_named_block_is_replaced() {
        let text =
            "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb <!-- bench:y --><!-- /bench:y -->";
        let once = replace_block(text, "x", "new\n");
        assert_eq!(
            once,
            "a\n<!-- bench:x -->\nnew\n<!-- /bench:x -->\nb <!-- bench:y --><!-- /bench:y -->"
        );
        assert_eq!(replace_block(&once, "x", "new"), once);
        assert_eq!(replace_block(text, "z", "new"), text);
    }
}
