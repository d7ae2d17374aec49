//! The contract of the store traits as test suites that every implementation must pass.
//!
//! Each function is one test and panics if the store violates the contract. All tests use new
//! random users, so that suites can share a store. Expiry times are near the present, because a
//! store may use its own clock.

pub mod account;
pub mod date_versions;
pub mod diary;
pub mod revision;
pub mod session;
pub mod summary;

/// Instantiates a suite for one implementation. `$open` is a future of an `Arc` of the store and a
/// guard that is dropped after the test. The attributes in brackets are added to every test.
#[doc(hidden)]
#[macro_export]
macro_rules! contract {
    ($suite:ident, $attributes:tt, $open:expr, [$($test:ident),* $(,)?]) => {
        mod $suite {
            use super::*;

            $($crate::contract!(@test $suite, $attributes, $open, $test);)*
        }
    };
    (@test $suite:ident, [$($attribute:meta),*], $open:expr, $test:ident) => {
                #[tokio::test(flavor = "multi_thread")]
                $(#[$attribute])*
                async fn $test() {
                    let (store, _guard) = $open.await;
                    $crate::store::contract::$suite::$test(store).await;
                }
    };
}

/// The contract of a diary store.
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
                content_round_trips_byte_for_byte,
                of_concurrent_first_saves_one_succeeds,
                of_concurrent_saves_over_one_version_one_succeeds,
                a_repeated_save_is_replayed,
                a_repeated_save_is_replayed_after_deletions,
                save_ids_are_recognised_up_to_the_limit,
                save_ids_are_recognised_across_deletions,
                concurrent_attempts_of_one_save_apply_it_once,
                a_deletion_keeps_the_version_but_no_text,
                versions_that_no_diary_has_are_conflicts,
                an_erasure_leaves_nothing_of_its_user,
                archiving_is_a_compare_and_swap,
                a_listing_is_ordered_and_bounded_by_its_range,
                diaries_are_private_to_their_user,
                the_number_of_diaries_is_bounded,
                the_bytes_of_diaries_are_bounded,
                concurrent_saves_at_the_quota_lose_nothing,
                pages_contain_every_diary_once,
            ]
        );
        $crate::contract!(
            date_versions,
            [$($attribute),*],
            $open,
            [
                every_date_that_had_a_diary_has_a_version,
                the_number_of_versions_is_limited,
                diaries_of_chosen_dates_are_read,
                the_bytes_of_a_read_are_bounded,
            ]
        );
    };
}

/// The contract of a diary store that keeps revisions.
#[doc(hidden)]
#[macro_export]
macro_rules! revision_contract {
    ($open:expr) => {
        $crate::revision_contract!([], $open);
    };
    ([$($attribute:meta),*], $open:expr) => {
        $crate::contract!(
            revision,
            [$($attribute),*],
            $open,
            [
                autosaves_of_one_session_keep_nothing,
                a_text_of_a_clock_that_is_far_ahead_is_kept,
                a_save_of_another_session_keeps_what_it_replaces,
                a_text_older_than_the_limit_is_kept,
                a_change_of_the_archive_state_does_not_renew_the_text,
                a_save_keeps_what_it_replaces_on_request,
                a_deletion_keeps_the_text,
                a_rejected_change_adds_no_false_revision,
                a_repeated_save_keeps_once,
                the_newest_revisions_of_a_date_are_kept,
                expired_revisions_are_not_found_and_deleted,
                without_a_history_nothing_is_kept,
                a_purge_deletes_the_revisions_of_a_date_or_all,
                revisions_are_private_to_their_user,
                every_replaced_text_of_concurrent_saves_is_kept,
            ]
        );
    };
}

/// The contract of a summary store.
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
                every_field_of_a_job_round_trips,
                of_concurrent_requests_for_a_week_one_is_inserted,
                unfinished_requests_are_bounded,
                concurrent_requests_for_different_weeks_are_bounded,
                requests_of_a_day_are_bounded,
                of_concurrent_steps_one_succeeds,
                a_heartbeat_makes_an_older_step_stale,
                the_last_text_of_a_run_is_kept,
                the_text_of_a_run_ends_with_it,
                a_result_is_stored_atomically_with_its_step,
                the_newest_result_is_found,
                pages_contain_every_result_once,
                the_newest_finished_summaries_of_a_week_are_kept,
                the_newest_request_of_each_week_is_listed,
                the_newest_emotion_of_each_day_is_listed,
                annotations_are_statuses_and_emotions,
                only_expired_leases_are_listed,
                a_walk_visits_every_queued_row_once,
                overdue_jobs_are_listed,
                unfinished_jobs_are_counted,
                an_erasure_leaves_nothing_of_its_user,
            ]
        );
    };
}

/// The contract of an account store.
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
                of_concurrent_creates_one_succeeds,
                a_password_hash_is_replaced_by_compare_and_swap,
                an_account_is_found_by_its_user_and_renamed,
                a_walk_over_the_accounts_finds_each_once,
                a_new_password_and_its_task_are_stored_together,
                a_deletion_and_its_task_are_stored_together,
                a_task_is_due_at_its_time_and_postponed_once,
                the_store_answers,
            ]
        );
    };
}

/// The contract of a session store.
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
                a_revoked_session_is_gone,
                the_sessions_until_a_moment_are_revoked,
                sessions_are_private_to_their_user,
                the_least_recently_used_sessions_are_revoked,
                expired_sessions_do_not_count,
                concurrent_logins_keep_to_the_limit,
                last_seen_never_moves_back,
                a_rotation_moves_generation_and_expiry,
                a_rotation_is_replayed_while_the_new_generation_is_unused,
                a_use_of_the_new_generation_ends_replays,
                each_generation_is_unused_at_first,
                an_old_refresh_token_revokes_the_session,
                an_expired_session_is_not_rotated,
                of_concurrent_rotations_one_succeeds,
                attempts_are_counted_until_their_window_ends,
                attempts_are_refunded_and_cleared,
                concurrent_attempts_are_all_counted,
                purging_deletes_only_expired_rows,
                the_store_answers,
            ]
        );
    };
}
