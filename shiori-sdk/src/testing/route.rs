use hyper::Method;

use super::response::ApiError;
use crate::types::ErrorCode;

/// A route of the API, to select the requests that a fault affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// `POST /api/user/signup`
    SignUp,
    /// `POST /api/user/login`
    LogIn,
    /// `DELETE /api/user/logout`
    LogOut,
    /// `GET /api/user`
    Account,
    /// `PATCH /api/user`
    Rename,
    /// `POST /api/user/password`
    ChangePassword,
    /// `DELETE /api/user`
    DeleteAccount,
    /// `GET /api/user/export`
    Export,
    /// `POST /api/auth/refresh`
    Refresh,
    /// `POST /api/auth/verify`
    Verify,
    /// `GET /api/auth/sessions`
    Sessions,
    /// `DELETE /api/auth/sessions/{id}`
    Revoke,
    /// `GET /api/diary/{date}`
    Get,
    /// `POST /api/diary/{date}`
    Save,
    /// `DELETE /api/diary/{date}`
    Delete,
    /// `POST /api/diary/{date}/archive`
    Archive,
    /// `GET /api/diary/{date}/revisions`
    Revisions,
    /// `GET /api/diary/{date}/revisions/{version}`
    Revision,
    /// `DELETE /api/diary/{date}/revisions` and `DELETE /api/diary/revisions`
    PurgeRevisions,
    /// `GET /api/diary`
    List,
    /// `GET /api/diary/versions`
    Versions,
    /// `GET /api/diary/events`
    Changes,
    /// `POST /api/diary/read`
    ReadMany,
    /// `GET /api/diary/emotions`
    Emotions,
    /// `POST /api/diary/summary`
    RequestSummary,
    /// `GET /api/diary/summary/{id}`
    Summary,
    /// `GET /api/diary/summary/{id}/events`
    Events,
    /// `DELETE /api/diary/summary/{id}`
    Cancel,
    /// `GET /api/diary/reflections`
    Reflection,
}

impl Route {
    /// Whether it reads or changes summaries.
    pub(super) fn needs_summaries(self) -> bool {
        matches!(
            self,
            Self::RequestSummary
                | Self::Summary
                | Self::Events
                | Self::Cancel
                | Self::Reflection
                | Self::Export
                | Self::Emotions
        )
    }

    /// The route of a request, and the date or id in its path; for a revision, the rest of the path
    /// from its date.
    pub(super) fn find<'a>(method: &Method, path: &'a str) -> Result<(Self, &'a str), ApiError> {
        use Route::{
            Account, Archive, Cancel, ChangePassword, Changes, Delete, DeleteAccount, Emotions,
            Events, Export, Get, List, LogIn, LogOut, PurgeRevisions, ReadMany, Reflection,
            Refresh, Rename, RequestSummary, Revision, Revisions, Revoke, Save, Sessions, SignUp,
            Summary, Verify, Versions,
        };
        const GET: Method = Method::GET;
        const POST: Method = Method::POST;
        const PATCH: Method = Method::PATCH;
        const DELETE: Method = Method::DELETE;

        let segments: Vec<_> = path.split('/').skip(1).collect();
        let (parameter, routes): (&str, &[(Method, Self)]) = match segments[..] {
            ["api", "user", "signup"] => ("", &[(POST, SignUp)]),
            ["api", "user", "login"] => ("", &[(POST, LogIn)]),
            ["api", "user", "logout"] => ("", &[(DELETE, LogOut)]),
            ["api", "user"] => ("", &[(GET, Account), (PATCH, Rename), (DELETE, DeleteAccount)]),
            ["api", "user", "password"] => ("", &[(POST, ChangePassword)]),
            ["api", "user", "export"] => ("", &[(GET, Export)]),
            ["api", "auth", "refresh"] => ("", &[(POST, Refresh)]),
            ["api", "auth", "verify"] => ("", &[(POST, Verify)]),
            ["api", "auth", "sessions"] => ("", &[(GET, Sessions)]),
            ["api", "auth", "sessions", id] => (id, &[(DELETE, Revoke)]),
            ["api", "diary"] => ("", &[(GET, List)]),
            ["api", "diary", "versions"] => ("", &[(GET, Versions)]),
            ["api", "diary", "events"] => ("", &[(GET, Changes)]),
            ["api", "diary", "read"] => ("", &[(POST, ReadMany)]),
            ["api", "diary", "summary"] => ("", &[(POST, RequestSummary)]),
            ["api", "diary", "summary", id] => (id, &[(GET, Summary), (DELETE, Cancel)]),
            ["api", "diary", "summary", id, "events"] => (id, &[(GET, Events)]),
            ["api", "diary", "reflections"] => ("", &[(GET, Reflection)]),
            ["api", "diary", "emotions"] => ("", &[(GET, Emotions)]),
            ["api", "diary", "revisions"] => ("", &[(DELETE, PurgeRevisions)]),
            ["api", "diary", date, "revisions"] if !date.is_empty() => {
                (date, &[(GET, Revisions), (DELETE, PurgeRevisions)])
            }
            ["api", "diary", date, "revisions", version]
                if !date.is_empty() && !version.is_empty() =>
            {
                (&path["/api/diary/".len()..], &[(GET, Revision)])
            }
            ["api", "diary", date] if !date.is_empty() => {
                (date, &[(GET, Get), (POST, Save), (DELETE, Delete)])
            }
            ["api", "diary", date, "archive"] => (date, &[(POST, Archive)]),
            _ => return Err(ApiError::not_found()),
        };
        let found = routes.iter().find(|(candidate, _)| candidate == method);
        let (_, route) = found.ok_or_else(|| ApiError::new(405, ErrorCode::MethodNotAllowed))?;
        Ok((*route, parameter))
    }
}
