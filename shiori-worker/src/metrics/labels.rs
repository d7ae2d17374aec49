//! The labels of the metrics.

use prometheus_client::encoding::EncodeLabelSet;
use shiori_sdk::ErrorCode;

use crate::ServerApiError;

/// One label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LabelSet {
    name: &'static str,
    value: &'static str,
}

impl LabelSet {
    pub(crate) fn new(name: &'static str, value: &'static str) -> Self {
        Self { name, value }
    }
}

impl EncodeLabelSet for LabelSet {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>,
    ) -> std::fmt::Result {
        [(self.name, self.value)].encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ServerRequestLabels {
    request: &'static str,
    outcome: &'static str,
}

impl ServerRequestLabels {
    pub(super) fn new(request: ServerRequest, outcome: RequestOutcome) -> Self {
        Self { request: request.as_str(), outcome: outcome.as_str() }
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        let of = |request| RequestOutcome::ALL.map(|outcome| Self::new(request, outcome));
        ServerRequest::ALL.into_iter().flat_map(of)
    }
}

/// Declares the values of a label, which has this name.
macro_rules! label_values {
    ($(#[$attribute:meta])* $visible:vis enum $type:ident: $label:literal {
        $($(#[$of_value:meta])* $value:ident = $text:literal),+ $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visible enum $type {
            $($(#[$of_value])* $value),+
        }

        impl $type {
            /// All values.
            $visible const ALL: [Self; [$($text),+].len()] = [$(Self::$value),+];

            $visible fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text),+
                }
            }
        }

        impl From<$type> for $crate::metrics::LabelSet {
            fn from(value: $type) -> Self {
                Self::new($label, value.as_str())
            }
        }
    };
}

#[cfg(feature = "openai")]
pub(crate) use label_values;

label_values! {
    /// An operation of the queue.
    pub(crate) enum QueueOperation: "operation" {
        Take = "take",
        Offer = "offer",
    }
}

label_values! {
    /// The outcome of a claim.
    pub(crate) enum ClaimOutcome: "outcome" {
        Claimed = "claimed",
        /// The summary has a lease or a final status, or is not due yet.
        NotClaimable = "not_claimable",
        Error = "error",
    }
}

label_values! {
    /// How an attempt ended.
    pub(crate) enum AttemptOutcome: "outcome" {
        Completed = "completed",
        /// The fallback wrote the reflection.
        Fallback = "fallback",
        /// It failed, and another attempt may succeed.
        Retryable = "retryable",
        /// It failed, and another attempt would, too.
        Failed = "failed",
        /// The worker stopped.
        Released = "released",
        LeaseLost = "lease_lost",
        /// The outcome could not be submitted.
        NotSubmitted = "not_submitted",
    }
}

label_values! {
    /// A request to the internal API.
    pub(crate) enum ServerRequest: "request" {
        Check = "check",
        Claim = "claim",
        Heartbeat = "heartbeat",
        Result = "result",
        Failure = "failure",
        Overdue = "overdue",
    }
}

label_values! {
    /// The outcome of a request to the internal API.
    pub(super) enum RequestOutcome: "outcome" {
        Ok = "ok",
        NotClaimable = "not_claimable",
        LeaseLost = "lease_lost",
        Unauthorized = "unauthorized",
        Refused = "refused",
        Unavailable = "unavailable",
    }
}

impl RequestOutcome {
    pub(super) fn of<T>(response: &Result<T, ServerApiError>) -> Self {
        match response {
            Ok(_) => Self::Ok,
            Err(ServerApiError::NotClaimable) => Self::NotClaimable,
            Err(ServerApiError::LeaseLost) => Self::LeaseLost,
            Err(ServerApiError::Refused { code: ErrorCode::Unauthorized }) => Self::Unauthorized,
            Err(ServerApiError::Refused { .. }) => Self::Refused,
            Err(_) => Self::Unavailable,
        }
    }
}
