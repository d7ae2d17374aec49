//! Reading, changing and deleting the account.

use super::Account;
use crate::{
    transport::{error::Result, request::Request},
    types::{AccountChange, AccountInfo, PasswordChange, PasswordCheck},
};

const PATH: &str = "/api/user";

impl Account {
    /// The account: id, e-mail address, nickname and the time of the signup.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the request fails or the client is not signed in.
    pub async fn get(&self) -> Result<AccountInfo> {
        self.client.send(&Request::get(PATH)).await?.data()
    }

    /// Changes the nickname, and returns the account.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) with code `invalid_request` if the nickname breaks the rule of
    /// [`check_nickname`](crate::check_nickname).
    pub async fn rename(&self, nickname: &str) -> Result<AccountInfo> {
        let body = AccountChange { nickname: nickname.to_owned() };
        self.client.send(&Request::patch(PATH).json(&body)?).await?.data()
    }

    /// Changes the password. All other sessions of the account end; this one continues.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) with code `wrong_password` if `current` is not the password,
    /// `invalid_request` if `new` breaks the rule of [`Password::check`](crate::Password::check), or
    /// `too_many_attempts` with the time to wait. If [`Error::was_sent`](crate::Error::was_sent) is
    /// `Maybe`, a login with the new password shows whether it was changed.
    pub async fn change_password(&self, current: &str, new: &str) -> Result<()> {
        let body = PasswordChange { password: current.into(), new_password: new.into() };
        let request = Request::post("/api/user/password").json(&body)?;
        let response = self.client.send(&request).await?;
        self.client.keep_device(&response).await;
        Ok(())
    }

    /// Deletes the account and everything that the server stores of it: the account and all its
    /// sessions at once, diaries, reflections and emotions within minutes. This cannot be undone.
    /// The client is then signed out.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) with code `wrong_password`, or `too_many_attempts` with the time to
    /// wait. If [`Error::was_sent`](crate::Error::was_sent) is `Maybe`, a login shows whether the
    /// account still exists.
    pub async fn delete(&self, password: &str) -> Result<()> {
        let body = PasswordCheck { password: password.into() };
        // Sent once: after a lost response, a second request would fail because its session has
        // ended, and would not show why.
        let request = Request::delete(PATH).sent_once().json(&body)?;
        self.client.send_last(&request).await?;
        Ok(())
    }
}
