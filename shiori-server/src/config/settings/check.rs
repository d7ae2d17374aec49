//! What is wrong with a configuration, as `shiori-server config check` prints it.

use std::net::SocketAddr;

use shiori_worker::{
    Secret,
    process::{Findings, is_guessable, with_sources},
};

use super::{Settings, SignUpMode};
use crate::config::{Config, ConnectionPolicy, OverloadPolicy, WorkerMode};

impl Settings {
    /// Invalid values, contradictions, and settings that are probably not intended. Reads the files of
    /// secrets, and changes and connects to nothing.
    #[doc(hidden)]
    pub fn check(&self) -> Findings {
        let mut findings = Findings::default();
        match self.clone().with_secrets_of_files() {
            Err(error) => findings.errors.push(with_sources(&error)),
            Ok(settings) => {
                let config = settings.values(&mut findings.errors);
                settings.secrets(&mut findings.errors);
                settings.engines(&mut findings.errors);
                settings.cookies(&mut findings.errors);
                if let Some(config) = config {
                    settings.parts(&config, &mut findings);
                }
            }
        }
        findings
    }

    /// Values that are invalid by themselves. Returns the configuration if there are none.
    fn values(&self, errors: &mut Vec<String>) -> Option<Config> {
        let mut settings = self.clone();
        if self.redis_url.is_none() {
            // They would be generated in the data directory.
            settings.jwt_secret.get_or_insert_with(|| "x".repeat(32).into());
            settings.internal_token.get_or_insert_with(|| "x".repeat(16).into());
        }
        let converted = settings.convert();
        let parts = [
            self.connections().err(),
            self.overload().err(),
            self.sign_ups().err(),
            self.history().err(),
        ];
        let invalid = parts.iter().flatten().chain(converted.as_ref().err());
        for error in invalid.map(|error| with_sources(error)) {
            // The conversion has the first of the others, too.
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
        converted.ok()
    }

    /// Secrets that others could know.
    fn secrets(&self, errors: &mut Vec<String>) {
        let secrets = [
            ("jwt_secret", &self.jwt_secret),
            ("jwt_secret_previous", &self.jwt_secret_previous),
            ("internal_token", &self.internal_token),
            ("internal_token_previous", &self.internal_token_previous),
        ];
        if let Some(address) = self.outside_the_loopback() {
            for (name, secret) in secrets {
                if secret.as_ref().is_some_and(is_guessable) {
                    errors.push(format!(
                        "the setting {name} is an example or has fewer than 8 different characters, \
                         but the server listens at {address}, outside the loopback; set it to a random \
                         text, e.g. of `openssl rand -hex 32`"
                    ));
                }
            }
        }
        let given = |(name, secret): (&'static str, &Option<_>)| {
            secret.as_ref().map(|secret: &Secret| (name, secret.reveal().to_owned()))
        };
        let given: Vec<_> = secrets.into_iter().filter_map(given).collect();
        for (at, (name, secret)) in given.iter().enumerate() {
            if let Some((other, _)) = given[..at].iter().find(|(_, other)| other == secret) {
                errors.push(format!("the settings {other} and {name} must differ"));
            }
        }
    }

    /// The first listener that other machines can connect to.
    fn outside_the_loopback(&self) -> Option<SocketAddr> {
        let listeners = [Some(self.listen()), self.internal_listen];
        listeners.into_iter().flatten().find(|address| !address.ip().is_loopback())
    }

    /// Engines of URLs that this version does not have, and a mixture of profiles.
    fn engines(&self, errors: &mut Vec<String>) {
        let scheme = |url: &Secret| url.reveal().split(':').next().unwrap_or_default().to_owned();
        let database = self.database_url.as_ref().map(scheme);
        let mongodb = self.mongodb_url.as_ref().map(scheme);
        let redis = self.redis_url.as_ref().map(scheme);
        for (name, given, schemes) in [
            ("database_url", &database, &["sqlite", "mysql", "mariadb"][..]),
            ("mongodb_url", &mongodb, &["mongodb", "mongodb+srv"]),
            (
                "redis_url",
                &redis,
                &[
                    "redis",
                    "rediss",
                    "redis+cluster",
                    "rediss+cluster",
                    "redis+sentinel",
                    "rediss+sentinel",
                ],
            ),
        ] {
            if given.as_ref().is_some_and(|given| !schemes.contains(&given.as_str())) {
                let schemes = schemes.join(", ");
                errors.push(format!(
                    "the setting {name} must be a URL with one of the schemes {schemes}"
                ));
            }
        }
        let engines = [
            (
                "a MySQL or MariaDB in database_url",
                database.is_some_and(|scheme| scheme != "sqlite"),
            ),
            ("mongodb_url", mongodb.is_some()),
            ("redis_url", redis.is_some()),
        ];
        let names = |set: bool| {
            let names = engines.iter().filter(|(_, given)| *given == set).map(|(name, _)| *name);
            names.collect::<Vec<_>>().join(" and ")
        };
        let set = engines.iter().filter(|(_, set)| *set).count();
        if (1..engines.len()).contains(&set) {
            errors.push(format!(
                "several servers need all three engines: {} is set, but not {}; set all of them, or none \
                 for the embedded profile",
                names(true),
                names(false)
            ));
        }
    }

    /// Cookies that a browser sends without TLS, although the server is behind TLS.
    fn cookies(&self, errors: &mut Vec<String>) {
        if self.secure_cookies == Some(true) {
            return;
        }
        let origins = self.cors_origins.as_deref().unwrap_or_default();
        let behind = if let Some(origin) =
            origins.iter().find(|origin| origin.as_str().starts_with("https:"))
        {
            format!("cors_origins has {}", origin.as_str())
        } else if self.trusted_proxies.as_ref().is_some_and(|networks| !networks.is_empty()) {
            "trusted_proxies names a proxy".to_owned()
        } else {
            return;
        };
        errors.push(format!(
            "secure_cookies must be true behind TLS, and {behind}; otherwise browsers also send the \
             cookies of a session over plain HTTP"
        ));
    }

    /// Parts of the server that do not fit together.
    fn parts(&self, config: &Config, findings: &mut Findings) {
        if config.worker == WorkerMode::None && config.redis_url.is_none() {
            findings.errors.push(
                "the setting worker is none, but only workers with the same redis_url could process \
                 the summaries"
                    .to_owned(),
            );
        }
        if self.internal_listen == Some(self.listen()) {
            findings.errors.push("the settings listen and internal_listen must differ".to_owned());
        }
        if self.internal_listen.is_none() && !self.listen().ip().is_loopback() {
            findings.warnings.push(format!(
                "the internal API and /metrics can be reached at {}; set internal_listen to an address \
                 that only workers and Prometheus can reach",
                self.listen()
            ));
        }
        if self.signup == Some(SignUpMode::Closed) && self.signups_per_address.is_some() {
            findings.warnings.push(
                "the setting signups_per_address has no effect, because signup is closed"
                    .to_owned(),
            );
        }
        let ConnectionPolicy { max_connections, max_connections_per_address, .. } =
            config.connections;
        let OverloadPolicy { max_requests, max_requests_per_address, .. } = config.overload;
        for (name, limit, per_address) in [
            ("max_connections", max_connections, max_connections_per_address),
            ("max_requests", max_requests, max_requests_per_address),
        ] {
            if !config.trusted_proxies.is_empty() && per_address < limit {
                findings.warnings.push(format!(
                    "all users of a proxy share the limit {name}_per_address, {per_address}; set it to \
                     {limit}, the limit {name}"
                ));
            }
        }
    }
}
