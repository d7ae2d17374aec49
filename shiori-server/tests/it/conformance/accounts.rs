//! Accounts and sessions.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use shiori_sdk::{UserId, testing::Person};

use super::{Device, Target, assert_error, cookie, data};
use crate::fixtures::{PASSWORD, fresh_email};
use crate::raw_client::{RawClient, RawResponse};

const MINUTE: Duration = Duration::from_secs(60);

fn account(email: &str, password: &str, nickname: &str) -> Value {
    json!({"email": email, "password": password, "nickname": nickname})
}

pub async fn accounts_are_checked_field_by_field(server: &impl Target) {
    let raw = RawClient::anonymous(&server.url());
    for (body, field, rule) in [
        (account("no-at-sign", PASSWORD, "가"), "email", "email"),
        (account("a@b@c.com", PASSWORD, "가"), "email", "email"),
        (account("a@localhost", PASSWORD, "가"), "email", "email"),
        (account("a b@example.com", PASSWORD, "가"), "email", "email"),
        (account("가@example.com", PASSWORD, "가"), "email", "email"),
        (account("", "", ""), "email", "email"),
        (account("a@example.com", "short-1", ""), "password", "at_least_8_characters"),
        (account("a@example.com", &"a-1".repeat(43), "가"), "password", "at_most_128_characters"),
        (account("a@example.com", "12345678!", "가"), "password", "a_letter"),
        (account("a@example.com", "no-digit-here", "가"), "password", "a_digit"),
        (account("a@example.com", "nospecial1", "가"), "password", "a_special_character"),
        (account("a@example.com", PASSWORD, ""), "nickname", "1_to_30_characters"),
        (account("a@example.com", PASSWORD, &"가".repeat(31)), "nickname", "1_to_30_characters"),
        (account("a@example.com", PASSWORD, "  "), "nickname", "not_blank"),
        (account("a@example.com", PASSWORD, "가\n"), "nickname", "no_control_characters"),
        (account("a@example.com", PASSWORD, "가\u{2029}"), "nickname", "no_control_characters"),
        (account("a@1.2", PASSWORD, "가"), "email", "email"),
        (account("a@10.0.0.1", PASSWORD, "가"), "email", "email"),
        (account("a@example.c", PASSWORD, "가"), "email", "email"),
        (account("a@example.com", PASSWORD, "\u{200b}\u{200d}\u{feff}"), "nickname", "not_blank"),
        (account("a@example.com", PASSWORD, "\u{202e}\u{2066}\u{2069}"), "nickname", "not_blank"),
        (account("a@example.com", PASSWORD, "\u{3164} \u{115f}"), "nickname", "not_blank"),
        (
            account("a@example.com", PASSWORD, &format!("가{}", "\u{301}".repeat(600))),
            "nickname",
            "at_most_1200_bytes",
        ),
        (account("a@example.com", PASSWORD, &"👨‍👩‍👧‍👦".repeat(31)), "nickname", "1_to_30_characters"),
        // Five characters in the prepared form, eight code points as sent.
        (
            account("a@example.com", "\u{1112}\u{1161}\u{11ab}e\u{301}-1a", "가"),
            "password",
            "at_least_8_characters",
        ),
    ] {
        let response = raw.post("/api/user/signup", &body).await;
        assert_error(&response, 422, "invalid_request");
        assert_eq!(response.json()["data"], json!({"field": field, "rule": rule}), "{body}");
    }
    assert_error(&raw.post("/api/user/signup", &json!({"email": 3})).await, 422, "invalid_request");
}

/// The length of a nickname is counted in grapheme clusters.
pub async fn nicknames_are_counted_in_grapheme_clusters(server: &impl Target) {
    let raw = RawClient::anonymous(&server.url());
    for nickname in [
        "👨‍👩‍👧‍👦".repeat(30),
        "🧑🏻‍❤️‍💋‍🧑🏼".repeat(30),
        "\u{1112}\u{1161}\u{11ab}".repeat(30),
        "e\u{301}".repeat(30),
        "\u{202e}하루".to_owned(),
    ] {
        let body = account(&fresh_email(), PASSWORD, &nickname);
        data(&raw.post("/api/user/signup", &body).await, 201);
    }
}

/// Every normal form of a password is accepted.
pub async fn a_password_is_accepted_in_every_normal_form(server: &impl Target) {
    let raw = RawClient::anonymous(&server.url());
    let composed = "한글 되는-é1!";
    let decomposed = "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}\u{3000}\u{1103}\u{116c}\u{1102}\u{1173}\u{11ab}-e\u{301}1!";
    for stored in [composed, decomposed] {
        let email = fresh_email();
        data(&raw.post("/api/user/signup", &account(&email, stored, "가")).await, 201);
        let login = async |password: &str| {
            let body = json!({"email": email, "password": password});
            raw.post("/api/user/login", &body).await
        };
        for typed in [composed, decomposed, "한글\u{a0}되는-é1!"] {
            data(&login(typed).await, 200);
        }
        for wrong in ["한글되는-é1!", "한글 되는-e1!", "한글 되는-É1!", " 한글 되는-é1!"]
        {
            assert_error(&login(wrong).await, 401, "bad_credentials");
        }
    }
}

pub async fn an_email_address_has_one_account(server: &impl Target) {
    let raw = RawClient::anonymous(&server.url());
    let email = fresh_email();
    let made = data(&raw.post("/api/user/signup", &account(&email, PASSWORD, "가")).await, 201);
    assert!(made["user_id"].as_str().unwrap().parse::<UserId>().is_ok());
    let shouted = account(&email.to_uppercase(), "another pass 1!", "나");
    assert_error(&raw.post("/api/user/signup", &shouted).await, 409, "email_taken");
    let login = json!({"email": email.to_uppercase(), "password": PASSWORD});
    data(&raw.post("/api/user/login", &login).await, 200);
}

pub async fn a_login_returns_a_token_and_a_cookie(server: &impl Target) {
    let (device, email) = Device::sign_up(server).await;
    let login = json!({"email": email, "password": Person::PASSWORD});
    let response = device.raw.post("/api/user/login", &login).await;
    let given = data(&response, 200);
    assert_eq!(response.headers["cache-control"], "no-store");
    assert_eq!(given["expires_in"], 900);
    assert_ne!(given["token"], device.access);
    let set = response.headers["set-cookie"].to_str().unwrap();
    let attributes: Vec<_> = set.split("; ").skip(1).collect();
    assert_eq!(
        attributes,
        ["Path=/api/auth", "Max-Age=2592000", "HttpOnly", "SameSite=Strict"],
        "{set}"
    );
    let body = json!({"access_token": given["token"]});
    assert_eq!(data(&device.raw.post("/api/auth/verify", &body).await, 200), Value::Null);
    let garbage = json!({"access_token": "garbage"});
    assert_error(&device.raw.post("/api/auth/verify", &garbage).await, 400, "token_decode_error");
}

pub async fn wrong_credentials_are_indistinguishable_and_throttled(server: &impl Target) {
    let (device, email) = Device::sign_up(server).await;
    let login = async |email: &str, password: &str| {
        let body = json!({"email": email, "password": password});
        device.raw.post("/api/user/login", &body).await
    };
    let wrong = login(&email, "wrong-pass-1").await;
    assert_error(&wrong, 401, "bad_credentials");
    assert_eq!(wrong.headers["www-authenticate"], "Bearer realm=\"shiori\"");
    assert_eq!(wrong.json(), login("nobody@example.com", "wrong-pass-1").await.json());
    assert_eq!(wrong.json(), login("nowhere", "wrong-pass-1").await.json());
    for _ in 1..10 {
        assert_error(&login(&email, "wrong-pass-1").await, 401, "bad_credentials");
    }
    server.advance(MINUTE);
    let closed = login(&email, Person::PASSWORD).await;
    assert_error(&closed, 429, "too_many_attempts");
    assert_eq!(closed.headers["retry-after"], "240");
    server.advance(4 * MINUTE);
    data(&login(&email, Person::PASSWORD).await, 200);
}

/// Strangers cannot lock out a device that has signed in before, even after it signed out.
pub async fn a_known_device_is_throttled_separately(server: &impl Target) {
    let (device, email) = Device::sign_up(server).await;
    let login = async |email: &str, password: &str, cookie: &str| {
        let request = device.raw.request(Method::POST, "/api/user/login").header("cookie", cookie);
        RawResponse::send(request.json(&json!({"email": email, "password": password}))).await
    };
    let first = login(&email, Person::PASSWORD, "").await;
    data(&first, 200);
    let cookies = first.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let cookies: Vec<_> = cookies.collect();
    assert_eq!(cookies.len(), 2);
    let known: Vec<_> = cookies[1].split("; ").collect();
    assert!(known[0].starts_with("device="), "{known:?}");
    assert_eq!(
        known[1..],
        ["Path=/api/user/login", "Max-Age=34560000", "HttpOnly", "SameSite=Strict"]
    );
    data(&device.raw.delete("/api/user/logout").await, 200);
    for _ in 0..10 {
        assert_error(&login(&email, "wrong-pass-1", "").await, 401, "bad_credentials");
    }
    let other = Device::sign_up(server).await.1;
    let of_other = login(&other, Person::PASSWORD, known[0]).await;
    data(&of_other, 200);
    for unknown in ["", "device=", "device=garbage", "refresh_token=x"] {
        let closed = login(&email, Person::PASSWORD, unknown).await;
        assert_error(&closed, 429, "too_many_attempts");
    }
    let again = login(&email, Person::PASSWORD, &format!("theme=dark; {}", known[0])).await;
    data(&again, 200);
    // The device itself has a limit, too.
    for _ in 0..10 {
        assert_error(&login(&email, "wrong-pass-1", known[0]).await, 401, "bad_credentials");
    }
    assert_error(&login(&email, Person::PASSWORD, known[0]).await, 429, "too_many_attempts");
}

pub async fn sessions_of_devices_are_listed_and_revoked_separately(server: &impl Target) {
    let (phone, email) = Device::sign_up(server).await;
    server.advance(2 * MINUTE);
    let laptop = Device::log_in(server, &email).await;
    let sessions = data(&phone.raw.get("/api/auth/sessions").await, 200);
    let sessions = sessions.as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    for session in sessions {
        for field in ["id", "created_at", "last_seen_at"] {
            assert!(session[field].is_string(), "{session}");
        }
        assert!(session.get("user_agent").is_some(), "{session}");
    }
    // Both have the current time: this request updated the phone's session.
    assert_eq!(sessions[0]["last_seen_at"], sessions[1]["last_seen_at"]);
    let theirs = sessions.iter().find(|session| session["current"] == false).unwrap();
    assert_eq!(sessions.iter().filter(|session| session["current"] == true).count(), 1);

    let path = format!("/api/auth/sessions/{}", theirs["id"].as_str().unwrap());
    let stranger = Device::sign_up(server).await.0;
    assert_error(&stranger.raw.delete(&path).await, 404, "not_found");
    assert_error(&phone.raw.delete("/api/auth/sessions/mine").await, 404, "not_found");
    data(&laptop.raw.get("/api/diary/20260216").await, 200);
    assert_eq!(data(&phone.raw.delete(&path).await, 200), Value::Null);
    assert_error(&phone.raw.delete(&path).await, 404, "not_found");
    assert_error(&laptop.raw.get("/api/diary/20260216").await, 401, "session_expired");
    let body = json!({"access_token": laptop.access});
    assert_error(&laptop.raw.post("/api/auth/verify", &body).await, 400, "token_decode_error");
    assert_error(&laptop.refresh(&laptop.access, &laptop.cookie).await, 401, "session_expired");
    data(&phone.raw.get("/api/diary/20260216").await, 200);
}

pub async fn a_logout_ends_the_session_at_once(server: &impl Target) {
    let device = Device::sign_up(server).await.0;
    let response = device.raw.delete("/api/user/logout").await;
    assert_eq!(data(&response, 200), Value::Null);
    let set = response.headers["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("refresh_token=; Path=/api/auth; Max-Age=0;"), "{set}");
    assert_error(&device.raw.delete("/api/user/logout").await, 401, "session_expired");
    assert_error(&device.refresh(&device.access, &device.cookie).await, 401, "session_expired");
}

pub async fn an_access_token_expires_and_is_renewed(server: &impl Target) {
    let device = Device::sign_up(server).await.0;
    server.advance(Duration::from_secs(15 * 60 - 1));
    data(&device.raw.get("/api/diary/20260216").await, 200);
    server.advance(Duration::from_secs(2));
    assert_error(&device.raw.get("/api/diary/20260216").await, 401, "unauthorized");
    let body = json!({"access_token": device.access});
    assert_error(&device.raw.post("/api/auth/verify", &body).await, 400, "token_decode_error");
    let renewed = device.refresh(&device.access, &device.cookie).await;
    let token = data(&renewed, 200)["token"].as_str().unwrap().to_owned();
    let raw = RawClient::with_token(&server.url(), &token);
    data(&raw.get("/api/diary/20260216").await, 200);
}

pub async fn a_refresh_token_rotates_and_can_be_used_once(server: &impl Target) {
    let device = Device::sign_up(server).await.0;
    let (access, first) = (&device.access, &device.cookie);
    assert_error(&device.refresh("garbage", first).await, 400, "token_decode_error");
    assert_error(&device.refresh(access, "refresh_token=garbage").await, 401, "session_expired");
    let bare = device.raw.request(Method::POST, "/api/auth/refresh");
    let body = json!({"access_token": access});
    assert_error(&RawResponse::send(bare.json(&body)).await, 401, "session_expired");
    let other = Device::sign_up(server).await.0;
    assert_error(&device.refresh(access, &other.cookie).await, 401, "session_expired");

    let rotated = device.refresh(access, first).await;
    let given = data(&rotated, 200);
    assert_eq!(given["expires_in"], 900);
    let second = cookie(&rotated);
    assert_ne!(&second, first);
    // Other cookies are ignored.
    let among = format!("theme=dark; {first}; lang=ko");
    let again = device.refresh(access, &among).await;
    data(&again, 200);
    assert_eq!(cookie(&again), second, "the repeated request returns the same token");
    // The old access token stays valid until it expires.
    data(&device.raw.get("/api/diary/20260216").await, 200);

    // Until one of the new tokens is used, the response may have been lost.
    server.advance(Duration::from_secs(11));
    let again = device.refresh(access, first).await;
    let new = data(&again, 200)["token"].as_str().unwrap().to_owned();
    assert_eq!(cookie(&again), second);
    data(&RawClient::with_token(&server.url(), &new).get("/api/diary/20260216").await, 200);
    assert_error(&device.refresh(access, first).await, 401, "refresh_reused");
    assert_error(&device.refresh(access, &second).await, 401, "session_expired");
    assert_error(&device.raw.get("/api/diary/20260216").await, 401, "session_expired");
}

pub async fn a_session_that_is_not_refreshed_expires(server: &impl Target) {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let device = Device::sign_up(server).await.0;
    server.advance(29 * DAY);
    let rotated = device.refresh(&device.access, &device.cookie).await;
    data(&rotated, 200);
    server.advance(29 * DAY);
    let rotated = device.refresh(&device.access, &cookie(&rotated)).await;
    data(&rotated, 200);
    server.advance(30 * DAY);
    let late = device.refresh(&device.access, &cookie(&rotated)).await;
    assert_error(&late, 401, "session_expired");
}

pub async fn the_account_is_read_and_renamed(server: &impl Target) {
    let (device, email) = Device::sign_up(server).await;
    let account = data(&device.raw.get("/api/user").await, 200);
    assert_eq!(account["email"], email.as_str());
    assert_eq!(account["nickname"], "손");
    assert!(account["user_id"].as_str().unwrap().parse::<UserId>().is_ok());
    assert!(account["created_at"].is_string());
    let rename = async |body: &Value| device.raw.patch("/api/user", body).await;
    let blank = rename(&json!({"nickname": " "})).await;
    assert_error(&blank, 422, "invalid_request");
    assert_eq!(blank.json()["data"], json!({"field": "nickname", "rule": "not_blank"}));
    let renamed = data(&rename(&json!({"nickname": "하루"})).await, 200);
    assert_eq!(renamed["nickname"], "하루");
    assert_eq!(data(&device.raw.get("/api/user").await, 200), renamed);
}

pub async fn a_new_password_ends_all_other_sessions(server: &impl Target) {
    let (phone, email) = Device::sign_up(server).await;
    let laptop = Device::log_in(server, &email).await;
    let change = async |current: &str, new: &str| {
        let body = json!({"password": current, "new_password": new});
        phone.raw.post("/api/user/password", &body).await
    };
    assert_error(&change("wrong-pass-1", "another-88").await, 403, "wrong_password");
    let weak = change(Person::PASSWORD, "short").await;
    assert_error(&weak, 422, "invalid_request");
    let rule = json!({"field": "new_password", "rule": "at_least_8_characters"});
    assert_eq!(weak.json()["data"], rule);
    data(&laptop.raw.get("/api/diary/20260216").await, 200);
    assert_eq!(data(&change(Person::PASSWORD, "another-88").await, 200), Value::Null);
    data(&phone.raw.get("/api/diary/20260216").await, 200);
    assert_error(&laptop.raw.get("/api/diary/20260216").await, 401, "session_expired");
    let login = async |password: &str| {
        let body = json!({"email": email, "password": password});
        RawClient::anonymous(&server.url()).post("/api/user/login", &body).await
    };
    assert_error(&login(Person::PASSWORD).await, 401, "bad_credentials");
    data(&login("another-88").await, 200);
}

pub async fn passwords_of_requests_are_throttled_apart_from_logins(server: &impl Target) {
    let (device, email) = Device::sign_up(server).await;
    let delete = async |password: &str| {
        let body = json!({"password": password});
        RawResponse::send(device.raw.request(Method::DELETE, "/api/user").json(&body)).await
    };
    for _ in 0..10 {
        assert_error(&delete("wrong-pass-1").await, 403, "wrong_password");
    }
    let closed = delete(Person::PASSWORD).await;
    assert_error(&closed, 429, "too_many_attempts");
    assert_eq!(closed.headers["retry-after"], "300");
    Device::log_in(server, &email).await;
    server.advance(5 * MINUTE);
    data(&delete(Person::PASSWORD).await, 202);
}

pub async fn a_deleted_account_is_gone(server: &impl Target) {
    let (phone, email) = Device::sign_up(server).await;
    let laptop = Device::log_in(server, &email).await;
    let diary = json!({"title": "하루", "content": {"type": "doc", "content": [
        {"type": "paragraph"}]}});
    data(&phone.raw.post("/api/diary/20260216", &diary).await, 201);
    let delete = async |password: &str| {
        let body = json!({"password": password});
        RawResponse::send(phone.raw.request(Method::DELETE, "/api/user").json(&body)).await
    };
    assert_error(&delete("wrong-pass-1").await, 403, "wrong_password");
    data(&phone.raw.get("/api/user").await, 200);
    let deleted = delete(Person::PASSWORD).await;
    assert_eq!(data(&deleted, 202), Value::Null);
    let set = deleted.headers["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("refresh_token=; Path=/api/auth; Max-Age=0;"), "{set}");
    for device in [&phone, &laptop] {
        assert_error(&device.raw.get("/api/diary/20260216").await, 401, "session_expired");
        let refreshed = device.refresh(&device.access, &device.cookie).await;
        assert_error(&refreshed, 401, "session_expired");
    }
    let anonymous = RawClient::anonymous(&server.url());
    let login = json!({"email": email, "password": Person::PASSWORD});
    assert_error(&anonymous.post("/api/user/login", &login).await, 401, "bad_credentials");
    // The address is free again, and its new account has nothing of the old one.
    data(&anonymous.post("/api/user/signup", &account(&email, Person::PASSWORD, "손")).await, 201);
    let again = Device::log_in(server, &email).await;
    assert_eq!(data(&again.raw.get("/api/diary/20260216").await, 200)["content"], Value::Null);
}
