//! The configuration of the settings.

use std::{path::PathBuf, time::Duration};

use shiori_worker::{Secret, process::secret_or_file};

use super::{ConfigError, Settings, SignUpMode};
use crate::{
    config::{Config, ConnectionPolicy, Limits, OverloadPolicy, SignUpPolicy, SignUps, WorkerMode},
    store::HistoryPolicy,
};

impl Settings {
    /// Converts the settings into a configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a value is out of range or missing, or the data directory or the file of a
    /// secret cannot be used.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        self.with_secrets_of_files()?.convert()
    }

    /// These settings with the secrets of the files that they name.
    pub(super) fn with_secrets_of_files(mut self) -> Result<Self, ConfigError> {
        for (name, secret, file) in [
            ("database_url", &mut self.database_url, &mut self.database_url_file),
            ("mongodb_url", &mut self.mongodb_url, &mut self.mongodb_url_file),
            ("redis_url", &mut self.redis_url, &mut self.redis_url_file),
            ("jwt_secret", &mut self.jwt_secret, &mut self.jwt_secret_file),
            (
                "jwt_secret_previous",
                &mut self.jwt_secret_previous,
                &mut self.jwt_secret_previous_file,
            ),
            ("internal_token", &mut self.internal_token, &mut self.internal_token_file),
            (
                "internal_token_previous",
                &mut self.internal_token_previous,
                &mut self.internal_token_previous_file,
            ),
        ] {
            *secret = secret_or_file(name, secret.take(), file.take())?;
        }
        let codes = self.invitation_codes.as_ref().and_then(|codes| codes.first().cloned());
        let file = self.invitation_codes_file.take();
        if file.is_some() {
            let codes = secret_or_file("invitation_codes", codes, file)?;
            self.invitation_codes = codes.map(|codes| {
                let codes = codes.reveal().split([',', '\r', '\n']).map(str::trim);
                codes.filter(|code| !code.is_empty()).map(Secret::from).collect()
            });
        }
        Ok(self)
    }

    /// The configuration without the files of secrets.
    pub(super) fn convert(self) -> Result<Config, ConfigError> {
        let (connections, overload) = (self.connections()?, self.overload()?);
        let (sign_ups, history) = (self.sign_ups()?, self.history()?);
        let secret = |given: Option<Secret>, name, least, rule| match given {
            Some(secret) if secret.reveal().len() < least => Err(out_of_range(name, rule)),
            given => Ok(given),
        };
        let jwt = |given, name| secret(given, name, 32, "at least 32 characters");
        let internal = |given, name| secret(given, name, 16, "at least 16 characters");
        let jwt_secret = jwt(self.jwt_secret, "jwt_secret")?;
        let jwt_secret_previous = jwt(self.jwt_secret_previous, "jwt_secret_previous")?;
        let internal_token = internal(self.internal_token, "internal_token")?;
        let internal_token_previous =
            internal(self.internal_token_previous, "internal_token_previous")?;
        if self.redis_url.is_some() {
            // With generated secrets, each server would reject the tokens of the others.
            for (name, given) in [("jwt_secret", &jwt_secret), ("internal_token", &internal_token)]
            {
                if given.is_none() {
                    let reason = "all servers and workers with the same Redis must share it";
                    return Err(ConfigError::Required { name, reason });
                }
            }
        }
        let data_dir = self.data_dir.unwrap_or_else(|| PathBuf::from("shiori-data"));
        let mut config = match (jwt_secret, internal_token) {
            (Some(jwt_secret), Some(internal_token)) => {
                Config::with_secrets(data_dir, jwt_secret, internal_token)
            }
            (jwt_secret, internal_token) => {
                let mut config = Config::embedded(&data_dir)
                    .map_err(|source| ConfigError::DataDir { path: data_dir, source })?;
                config.jwt_secret = jwt_secret.unwrap_or(config.jwt_secret);
                config.internal_token = internal_token.unwrap_or(config.internal_token);
                config
            }
        };
        if let Some(url) = self.database_url {
            config.database_url = url;
        }
        config.migrate = self.migrate.unwrap_or(config.migrate);
        config.mongodb_url = self.mongodb_url;
        config.redis_url = self.redis_url;
        config.redis_prefix = self.redis_prefix.unwrap_or(config.redis_prefix);
        config.internal_listen = self.internal_listen;
        config.jwt_secret_previous = jwt_secret_previous;
        config.internal_token_previous = internal_token_previous;
        config.cors_origins = self.cors_origins.unwrap_or_default();
        config.trusted_proxies = self.trusted_proxies.unwrap_or_default();
        config.sign_ups = sign_ups;
        if let Some(attempts) = self.failed_logins_per_address {
            if attempts == 0 {
                return Err(out_of_range("failed_logins_per_address", "at least 1"));
            }
            config.sessions.login_throttle_per_address.attempts = attempts;
        }
        let elsewhere = config.redis_url.is_some();
        let usual = if elsewhere { WorkerMode::None } else { WorkerMode::DEFAULT };
        config.worker = self.worker.unwrap_or(usual);
        if let Some(concurrency) = self.worker_concurrency {
            if !(1..=10_000).contains(&concurrency) {
                return Err(out_of_range("worker_concurrency", "1 to 10000"));
            }
            config.worker_concurrency = concurrency;
        }
        if let Some(seconds) = self.lease_seconds {
            if !(1..=3600).contains(&seconds) {
                return Err(out_of_range("lease_seconds", "1 to 3600"));
            }
            config.summaries.lease = Duration::from_secs(seconds);
        }
        if let Some(attempts) = self.max_attempts {
            if !(1..=100).contains(&attempts) {
                return Err(out_of_range("max_attempts", "1 to 100"));
            }
            config.summaries.max_attempts = attempts;
        }
        config.summaries.llm_patience = self.llm_patience.unwrap_or_default();
        if let Some(days) = self.required_days {
            if !(1..=7).contains(&days) {
                return Err(out_of_range("required_days", "1 to 7"));
            }
            config.summaries.required_days = days;
        }
        // 0 is no limit.
        if let Some(limit) = self.max_summaries_per_day {
            config.summaries.max_per_day = Some(limit).filter(|limit| *limit > 0);
        }
        if let Some(limit) = self.max_diaries {
            config.limits.diaries.diaries = Some(limit).filter(|limit| *limit > 0);
        }
        if let Some(limit) = self.max_diary_bytes {
            config.limits.diaries.bytes = Some(limit).filter(|limit| *limit > 0);
        }
        config.limits.history = history;
        config.sessions.secure_cookies = self.secure_cookies.unwrap_or_default();
        config.connections = connections;
        config.overload = overload;
        Ok(config)
    }

    /// Which replaced texts are kept.
    pub(super) fn history(&self) -> Result<HistoryPolicy, ConfigError> {
        let mut policy = Limits::default().history;
        match self.max_revisions {
            Some(1001..) => return Err(out_of_range("max_revisions", "0 to 1000")),
            given => policy.per_date = given.unwrap_or(policy.per_date),
        }
        match self.revision_days {
            Some(3651..) => return Err(out_of_range("revision_days", "0 to 3650")),
            Some(days) => policy.max_age = Duration::from_hours(24 * u64::from(days)),
            None => {}
        }
        Ok(policy)
    }

    /// Who may create an account.
    pub(super) fn sign_ups(&self) -> Result<SignUpPolicy, ConfigError> {
        let mut policy = SignUpPolicy::default();
        let codes = self.invitation_codes.as_deref().unwrap_or_default();
        policy.who = match self.signup {
            Some(SignUpMode::Invitation) if codes.is_empty() => {
                let reason = "sign-ups need an invitation code";
                return Err(ConfigError::Required { name: "invitation_codes", reason });
            }
            Some(SignUpMode::Invitation) => SignUps::Invited(codes.to_vec()),
            // Otherwise, an operator could believe that they restrict something.
            _ if !codes.is_empty() => {
                let reason = "invitation codes need the value invitation";
                return Err(ConfigError::Required { name: "signup", reason });
            }
            Some(SignUpMode::Closed) => SignUps::Closed,
            None | Some(SignUpMode::Open) => SignUps::Open,
        };
        if codes.iter().any(|code| code.reveal().chars().count() < 8) {
            return Err(out_of_range("invitation_codes", "at least 8 characters each"));
        }
        match self.signups_per_address {
            Some(0) => return Err(out_of_range("signups_per_address", "at least 1")),
            Some(attempts) => policy.throttle.attempts = attempts,
            None => {}
        }
        Ok(policy)
    }

    /// The limits and timeouts of connections.
    pub(super) fn connections(&self) -> Result<ConnectionPolicy, ConfigError> {
        let default = ConnectionPolicy::default();
        Ok(ConnectionPolicy {
            head_timeout: seconds("head_timeout_seconds", self.head_timeout_seconds)?
                .unwrap_or(default.head_timeout),
            body_timeout: seconds("body_timeout_seconds", self.body_timeout_seconds)?
                .unwrap_or(default.body_timeout),
            idle_timeout: seconds("idle_timeout_seconds", self.idle_timeout_seconds)?
                .unwrap_or(default.idle_timeout),
            unread_timeout: seconds("unread_timeout_seconds", self.unread_timeout_seconds)?
                .unwrap_or(default.unread_timeout),
            max_connections: at_least_one("max_connections", self.max_connections)?
                .unwrap_or(default.max_connections),
            max_connections_per_address: at_least_one(
                "max_connections_per_address",
                self.max_connections_per_address,
            )?
            .unwrap_or(default.max_connections_per_address),
            max_head_bytes: match self.max_head_bytes {
                Some(bytes) if !(8192..=1 << 20).contains(&bytes) => {
                    return Err(out_of_range("max_head_bytes", "8192 to 1048576"));
                }
                bytes => bytes.unwrap_or(default.max_head_bytes),
            },
            max_streams: match self.max_streams {
                Some(0) => return Err(out_of_range("max_streams", "at least 1")),
                streams => streams.unwrap_or(default.max_streams),
            },
        })
    }

    /// The limits of requests in progress.
    pub(super) fn overload(&self) -> Result<OverloadPolicy, ConfigError> {
        let default = OverloadPolicy::default();
        Ok(OverloadPolicy {
            max_requests: at_least_one("max_requests", self.max_requests)?
                .unwrap_or(default.max_requests),
            max_requests_per_address: at_least_one(
                "max_requests_per_address",
                self.max_requests_per_address,
            )?
            .unwrap_or(default.max_requests_per_address),
            max_waits: at_least_one("max_waits", self.max_waits)?.unwrap_or(default.max_waits),
            max_waits_per_user: at_least_one("max_waits_per_user", self.max_waits_per_user)?
                .unwrap_or(default.max_waits_per_user),
            queue_timeout: match self.queue_timeout_millis {
                Some(millis) if millis > 10_000 => {
                    return Err(out_of_range("queue_timeout_millis", "0 to 10000"));
                }
                millis => millis.map_or(default.queue_timeout, Duration::from_millis),
            },
        })
    }
}

fn out_of_range(name: &'static str, rule: &'static str) -> ConfigError {
    ConfigError::OutOfRange { name, rule }
}

/// A timeout of 1 second to 1 hour.
fn seconds(name: &'static str, given: Option<u64>) -> Result<Option<Duration>, ConfigError> {
    match given {
        Some(seconds) if !(1..=3600).contains(&seconds) => Err(out_of_range(name, "1 to 3600")),
        given => Ok(given.map(Duration::from_secs)),
    }
}

fn at_least_one(name: &'static str, given: Option<usize>) -> Result<Option<usize>, ConfigError> {
    match given {
        Some(0) => Err(out_of_range(name, "at least 1")),
        given => Ok(given),
    }
}
