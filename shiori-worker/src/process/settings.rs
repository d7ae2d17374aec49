//! Where the settings of a program come from, and variables that no program has.

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    ffi::OsString,
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::Path,
};

use clap::{Arg, ArgMatches, Command, Parser, parser::ValueSource};

/// All settings of both programs. A test of the server holds the file.
const EXAMPLE: &str = include_str!("../../env.example");

/// What an unset setting without a documented default has.
const NO_DEFAULT: &str = "none";

/// Parses the command line and the environment. Exits if they are invalid: with 1 if they are those of
/// `config check`, whose result it is, otherwise with the usual 2.
pub fn parse<C: Parser>() -> (C, ArgMatches) {
    let arguments: Vec<_> = env::args_os().collect();
    let mut command = C::command();
    let parsed = command.try_get_matches_from_mut(&arguments).and_then(|matches| {
        let cli = C::from_arg_matches(&matches)?;
        Ok((cli, matches))
    });
    parsed.unwrap_or_else(|error| {
        let is_check = arguments.windows(2).any(|pair| pair[0] == "config" && pair[1] == "check");
        if is_check && error.use_stderr() {
            // If stderr is closed, nobody can be informed.
            let _ = error.print();
            std::process::exit(1)
        }
        error.exit()
    })
}

/// What a configuration has that must be changed, and what is probably not intended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Invalid or contradictory settings.
    pub errors: Vec<String>,
    /// Settings without an effect, and variables that no program has.
    pub warnings: Vec<String>,
}

impl Findings {
    /// Logs them all as warnings, at the start of a program, which does not exit because of a
    /// contradiction.
    pub fn log(&self) {
        for finding in self.errors.iter().chain(&self.warnings) {
            tracing::warn!(finding, "configuration");
        }
    }

    /// Prints the [`effective`] settings to stdout, and these findings to stderr.
    ///
    /// # Errors
    ///
    /// [`InvalidConfiguration`] if one of them is an error; any error of stdout.
    #[allow(clippy::print_stderr)] // the result of a command
    pub fn print(&self, effective: &str) -> Result<(), Box<dyn Error>> {
        io::stdout().write_all(effective.as_bytes())?;
        for warning in &self.warnings {
            eprintln!("warning: {warning}");
        }
        for error in &self.errors {
            eprintln!("error: {error}");
        }
        if self.errors.is_empty() { Ok(()) } else { Err(InvalidConfiguration.into()) }
    }
}

/// The configuration has errors, which were printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has errors")]
pub struct InvalidConfiguration;

/// The effective settings, one per line: name, source and value. `settings` has an argument for
/// each; `file` is the settings file. Values of secrets are masked.
///
/// # Errors
///
/// The error of the system if the file cannot be read. A file that is not TOML has no settings.
pub fn effective(
    settings: &Command,
    matches: &ArgMatches,
    file: Option<&Path>,
) -> io::Result<String> {
    let file: toml::Table = match file {
        Some(path) => fs::read_to_string(path)?.parse().unwrap_or_default(),
        None => toml::Table::new(),
    };
    let given = |name: &str| given(name, matches, &file);
    let name_of = |arg: &Arg| arg.get_id().to_string();
    let width = settings.get_arguments().map(|arg| name_of(arg).len()).max().unwrap_or_default();
    let mut lines = String::new();
    for arg in settings.get_arguments() {
        let name = name_of(arg);
        let (source, value) = match given(&name) {
            Some((source, _)) if arg.is_hide_env_values_set() => (source, "(secret)".to_owned()),
            Some((source, value)) => (source, printable(&value)),
            None if given(&format!("{name}_file")).is_some() => {
                ("file of its own", "(secret)".to_owned())
            }
            None => ("default", default_of(arg).unwrap_or_else(|| NO_DEFAULT.to_owned())),
        };
        let _ = writeln!(lines, "{name:width$}  {source:15}  {value}");
    }
    Ok(lines)
}

/// The source and the value of a setting that is set.
fn given(name: &str, matches: &ArgMatches, file: &toml::Table) -> Option<(&'static str, String)> {
    // The name of a secret's file may be asked of a setting that is no secret.
    let source = matches.try_contains_id(name).ok().and_then(|_| matches.value_source(name));
    let source = match source {
        Some(ValueSource::CommandLine) => "command line",
        Some(ValueSource::EnvVariable) => "environment",
        _ => {
            let value =
                match file.get(name)? {
                    toml::Value::String(text) => text.clone(),
                    toml::Value::Array(values) => join(values.iter().map(|value| {
                        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
                    })),
                    value => value.to_string(),
                };
            return Some(("file", value));
        }
    };
    let values = matches.get_raw(name).into_iter().flatten();
    Some((source, join(values.map(|value| value.to_string_lossy().into_owned()))))
}

fn join(values: impl Iterator<Item = String>) -> String {
    values.collect::<Vec<_>>().join(",")
}

/// The value in one line, without user, password and query of a URL.
fn printable(value: &str) -> String {
    let mut text = value.to_owned();
    if let Some((scheme, rest)) = value.split_once("://") {
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let authority = rest.split('/').next().unwrap_or_default();
        let credentials = authority.rfind('@').map_or(0, |at| at + 1);
        text = format!("{scheme}://{}", &rest[credentials..]);
    }
    text.replace(char::is_control, "\u{fffd}")
}

/// The text of the setting's help, without the default.
pub fn description_of(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    help.split(" [default:").next().unwrap_or_default().to_owned()
}

/// The default in the setting's help.
pub fn default_of(arg: &Arg) -> Option<String> {
    let help = arg.get_help()?.to_string();
    let (_, default) = help.split_once("[default: ")?;
    Some(default.strip_suffix(']').unwrap_or(default).to_owned())
}

/// A message for each variable of the environment that begins with `SHIORI_` and is no setting of
/// either program.
pub fn unknown_variables() -> Vec<String> {
    unknown_among(env::vars_os().map(|(name, _)| name))
}

fn unknown_among(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let known: BTreeSet<&str> = EXAMPLE
        .lines()
        .filter_map(|line| Some(line.strip_prefix('#')?.split_once('=')?.0))
        .filter(|name| name.starts_with("SHIORI_"))
        .collect();
    let mut unknown: Vec<_> = names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with("SHIORI_") && !known.contains(name.as_str()))
        .filter(|name| !is_of_a_service(name))
        .collect();
    unknown.sort();
    let message = |name: &String| {
        let nearest = known.iter().map(|known| (strsim::damerau_levenshtein(known, name), known));
        // Beyond a third of its letters, another setting is probably meant.
        let nearest =
            nearest.min().filter(|(distance, _)| distance * 3 < name.len() - "SHIORI_".len());
        let name = printable(name);
        match nearest {
            Some((_, known)) => {
                format!("{name} is not a setting and has no effect; did you mean {known}?")
            }
            None => format!("{name} is not a setting and has no effect"),
        }
    };
    unknown.iter().map(message).collect()
}

/// Whether Kubernetes sets such a variable for each service, for example for one with the name
/// `shiori-server`.
fn is_of_a_service(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(arguments: &[&str], file: &str) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("settings.toml");
        fs::write(&path, file).expect("written");
        let arg = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
        let command = Command::new("example").no_binary_name(true).args([
            arg("listen", "Address of the listener [default: 127.0.0.1:8080]"),
            arg("secret", "Secret of the tokens [default: generated]").hide_env_values(true),
            arg("secret_file", "File with the secret"),
            arg("names", "Names, separated by commas").value_delimiter(','),
        ]);
        let matches = command.clone().get_matches_from(arguments);
        let text = effective(&command, &matches, Some(&path)).expect("readable");
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn each_setting_has_its_value_and_source() {
        assert_eq!(
            lines(&[], ""),
            [
                "listen default 127.0.0.1:8080",
                "secret default generated",
                "secret_file default none",
                "names default none"
            ]
        );
        assert_eq!(
            lines(
                &[
                    "--listen",
                    "https://haru:hunter2@example.com/a@b?key=hunter2",
                    "--names",
                    "a,b\x1b[31m"
                ],
                "listen = 'ignored'\nsecret = 'hunter2'"
            ),
            [
                "listen command line https://example.com/a@b",
                "secret file (secret)",
                "secret_file default none",
                "names command line a,b\u{fffd}[31m"
            ]
        );
        assert_eq!(
            lines(&[], "secret_file = '/run/secret'\nnames = ['a', 'b']"),
            [
                "listen default 127.0.0.1:8080",
                "secret file of its own (secret)",
                "secret_file file /run/secret",
                "names file a,b"
            ]
        );
    }

    #[test]
    fn unknown_variables_are_reported_with_the_nearest_name() {
        let unknown = |names: &[&str]| unknown_among(names.iter().map(OsString::from));
        assert_eq!(
            unknown(&["SHIORI_LEASE_SECOND", "SHIORI_JWT_SECRET_FILE", "SHIORI_LLM_MODEL", "PATH"]),
            ["SHIORI_LEASE_SECOND is not a setting and has no effect; did you mean \
                 SHIORI_LEASE_SECONDS?"]
        );
        assert_eq!(
            unknown(&["SHIORI_X\n"]),
            ["SHIORI_X\u{fffd} is not a setting and has no effect"]
        );
        let service = ["SHIORI_SERVER_SERVICE_HOST", "SHIORI_SERVER_PORT_8080_TCP_ADDR"];
        assert!(unknown(&service).is_empty());
    }
}
