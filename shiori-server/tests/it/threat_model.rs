//! `docs/threat-model.md` names tests, settings and files that exist.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

fn of_the_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The cells of the tables of threats: threat, defence, tests, remaining risk.
fn threats(page: &str) -> Vec<[&str; 4]> {
    let (_, page) = page.split_once("\n## Threats\n").unwrap();
    let rows = page.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    let cells = rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        <[&str; 4]>::try_from(cells).unwrap_or_else(|_| panic!("not four cells: {row}"))
    });
    cells.filter(|[threat, ..]| *threat != "threat").collect()
}

/// What is written in backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The names of all tests in the sources. In the modules of the suites that run against every
/// implementation, each public function is a test.
fn tests() -> HashSet<String> {
    let mut tests = HashSet::new();
    let mut dirs: Vec<_> =
        ["shiori-sdk", "shiori-worker", "shiori-server"].map(of_the_project).into();
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let is_suite = path.to_str().is_some_and(|path| {
                    path.contains("/conformance/") || path.contains("contract")
                });
                let source = fs::read_to_string(path).unwrap();
                let mut is_test = false;
                for line in source.lines().map(str::trim_start) {
                    if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
                        is_test = true;
                    } else if let Some((before, rest)) = line.split_once("fn ") {
                        let name = rest.split(['(', '<']).next().unwrap_or_default();
                        let is_of_suite = is_suite && before == "pub async ";
                        if std::mem::take(&mut is_test) || is_of_suite {
                            tests.insert(name.to_owned());
                        }
                    }
                }
            }
        }
    }
    tests
}

#[test]
fn every_threat_has_tests_that_exist() {
    let page = fs::read_to_string(of_the_project("docs/threat-model.md")).unwrap();
    let (threats, existing) = (threats(&page), tests());
    assert!(threats.len() > 50 && existing.len() > 500, "the page or the sources were not read");
    for [threat, defence, tests, risk] in threats {
        assert!(!defence.is_empty() && !risk.is_empty(), "{threat}");
        let named: Vec<_> = code(tests).collect();
        assert!(!named.is_empty(), "no test: {threat}");
        for name in named {
            assert!(existing.contains(name), "no such test: {name} ({threat})");
        }
    }
}

#[test]
fn the_named_settings_and_modules_exist() {
    let page = fs::read_to_string(of_the_project("docs/threat-model.md")).unwrap();
    let settings = fs::read_to_string(of_the_project(".env.example")).unwrap();
    let mut found = 0;
    for name in code(&page) {
        if name.starts_with("SHIORI_") && !name.ends_with('…') {
            assert!(settings.contains(&format!("\n#{name}=")), "{name}");
            found += 1;
        } else if name.ends_with('/') || Path::new(name).extension().is_some_and(|it| it == "rs") {
            let module = of_the_project("shiori-server/src").join(name);
            assert!(module.exists(), "{name}");
            found += 1;
        }
    }
    assert!(found > 15, "{found}");
}

/// No dependency is replaced by a repository or a directory, and the build checks what it downloads.
#[test]
fn every_dependency_is_from_the_registry_with_a_checksum() {
    let lock = fs::read_to_string(of_the_project("Cargo.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let of_the_workspace = ["shiori-", "public-api-"];
    let mut checked = 0;
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        match package.get("source").and_then(toml::Value::as_str) {
            None => assert!(of_the_workspace.iter().any(|own| name.starts_with(own)), "{name}"),
            Some(source) => {
                assert_eq!(
                    source, "registry+https://github.com/rust-lang/crates.io-index",
                    "{name}"
                );
                assert_eq!(package["checksum"].as_str().map(str::len), Some(64), "{name}");
                checked += 1;
            }
        }
    }
    assert!(checked > 300, "{checked}");
}
