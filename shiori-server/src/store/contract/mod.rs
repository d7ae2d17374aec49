//! The contract of the store traits as test suites: every implementation is held to the same.
//!
//! Each function is one promise. All of them use fresh random users, so that suites may share a
//! store; each panics when the store breaks the promise. Where things expire the times lie around
//! the present, for a store may do that by its own clock.

pub mod account;
pub mod diary;
pub mod session;
pub mod summary;

/// Instantiates a suite for one implementation: `$open` makes a fresh future of an `Arc` of the
/// store and of what must live as long. Attributes in brackets before it go to
/// every test.
#[doc(hidden)]
#[macro_export]
macro_rules! contract {
    ($suite:ident, $attributes:tt, $open:expr, [$($promise:ident),* $(,)?]) => {
        mod $suite {
            use super::*;

            $($crate::contract!(@test $suite, $attributes, $open, $promise);)*
        }
    };
    (@test $suite:ident, [$($attribute:meta),*], $open:expr, $promise:ident) => {
                #[tokio::test(flavor = "multi_thread")]
                $(#[$attribute])*
                async fn $promise() {
                    let (store, _guard) = $open.await;
                    $crate::store::contract::$suite::$promise(store).await;
                }
    };
}

/// The promises of a diary store.
#[doc(hidden)]
#[macro_export]
macro_rules! diary_contract {
    ($open:expr) => {
        $crate::diary_contract!([], $open);
    };
    ([$($attribute:meta),*], $open:expr) => {
        $crate::contract!(
            diary,
            [$($attribute),*],
            $open,
            [
                what_was_saved_is_read_to_the_letter,
                of_racing_first_saves_one_wins,
                of_racing_saves_over_one_version_one_wins,
                a_repeated_save_is_answered_as_the_first_time,
                a_repeated_save_is_recognised_as_long_as_promised,
                racing_attempts_of_one_save_apply_it_once,
                a_deleted_diary_leaves_no_text_and_no_version_twice,
                archiving_is_a_save_of_its_own,
                a_listing_is_ordered_and_bounded_by_its_range,
                users_do_not_see_each_other,
            ]
        );
    };
}

/// The promises of a summary store.
#[doc(hidden)]
#[macro_export]
macro_rules! summary_contract {
    ($open:expr) => {
        $crate::summary_contract!([], $open);
    };
    ([$($attribute:meta),*], $open:expr) => {
        $crate::contract!(
            summary,
            [$($attribute),*],
            $open,
            [
                every_field_of_a_row_is_kept,
                of_racing_requests_for_a_week_one_is_inserted,
                unfinished_requests_are_bounded,
                of_racing_steps_one_wins,
                a_heartbeat_defeats_a_step_computed_before_it,
                a_result_is_stored_with_its_step_or_not_at_all,
                the_newest_result_is_found,
                coverage_tells_the_newest_request_of_each_week,
                the_newest_tag_of_a_day_wins,
                what_is_due_is_found_and_nothing_else,
            ]
        );
    };
}

/// The promises of an account store.
#[doc(hidden)]
#[macro_export]
macro_rules! account_contract {
    ($open:expr) => {
        $crate::account_contract!([], $open);
    };
    ([$($attribute:meta),*], $open:expr) => {
        $crate::contract!(
            account,
            [$($attribute),*],
            $open,
            [
                an_account_is_found_by_its_email,
                a_taken_email_stays_with_its_first_account,
                one_of_many_creates_at_once_wins,
                the_store_answers,
            ]
        );
    };
}

/// The promises of a session store.
#[doc(hidden)]
#[macro_export]
macro_rules! session_contract {
    ($open:expr) => {
        $crate::session_contract!([], $open);
    };
    ([$($attribute:meta),*], $open:expr) => {
        $crate::contract!(
            session,
            [$($attribute),*],
            $open,
            [
                an_open_session_is_live_until_it_expires,
                the_sessions_of_a_user_are_listed_by_last_use,
                an_ended_session_is_gone,
                nobody_uses_the_session_of_another,
                the_least_recently_used_sessions_make_room,
                an_expired_session_takes_up_no_room,
                concurrent_logins_keep_to_the_limit,
                being_seen_never_moves_back,
                a_rotation_moves_generation_and_expiry,
                a_rotation_is_repeated_within_the_grace_alone,
                an_old_refresh_token_ends_the_session,
                an_expired_session_is_not_rotated,
                one_of_many_rotations_at_once_wins,
                logins_are_throttled_until_their_window_ends,
                a_successful_login_forgets_the_attempts,
                concurrent_attempts_are_all_counted,
                purging_takes_the_expired_alone,
                the_store_answers,
            ]
        );
    };
}
