//! End to end: a server in this process, real sockets, every test on both connectors by the same
//! function. The table below is the list of all tests; its second part says what the connector
//! `tiny-http` cannot do, and why.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod browsers;
#[path = "../common/mod.rs"]
mod common;
mod connects;
mod delivery;
mod demo;
mod dojo;
mod embedding;
mod files;
mod harness;
mod originals;
mod proxies;
mod requests;
mod slowness;
mod stopping;

macro_rules! tests {
    ($on:ident as $variant:ident: $($group:ident { $($name:ident)+ })+) => {
        mod $on {
            $(mod $group {
                $(#[test]
                fn $name() {
                    crate::$group::$name(bayeux::config::Connector::$variant);
                })+
            })+
        }
    };
}

macro_rules! on_both_connectors {
    ($($table:tt)+) => {
        tests!(native as Native: $($table)+);
        tests!(tiny_http as TinyHttp: $($table)+);
    };
}

/// Tests with the reason why they are for `native` alone.
macro_rules! tiny_http_cannot {
    ($($group:ident { $($name:ident: $reason:literal,)+ })+) => {
        tests!(native_only as Native: $($group { $($name)+ })+);
    };
}

on_both_connectors! {
    requests {
        a_response_has_these_headers
        any_path_below_the_mount
        types_of_bodies
        transports_that_are_not_offered
        a_form_with_several_messages
        an_empty_array_is_answered_in_kind
        other_methods
        refusals_are_counted
        nothing_of_a_bad_request_is_executed
        a_body_may_be_this_long
        fifty_requests_on_one_connection
        requests_in_a_row_are_answered_in_order
        bodies_in_chunks
        http_1_0_is_answered_and_closed
    }
    connects {
        held_until_the_timeout
        the_wish_for_a_shorter_hold_is_granted
        a_message_ends_the_hold
        other_messages_do_not
        messages_between_connects_wait_for_the_next
        a_newer_connect_takes_over
        in_company_never_held
        disconnecting_ends_the_hold
        clients_that_never_shake_hands_again_wait
        the_server_may_end_a_session
        a_push_and_then_the_end_lose_nothing
        silent_sessions_expire
        one_address_may_hold_so_many
    }
    delivery {
        a_thousand_messages_in_order
        an_own_message_rides_along
        data_is_passed_on_byte_for_byte
        a_full_queue
        a_queue_is_bounded_in_bytes_too
        a_large_backlog_comes_in_several_answers
        delivery_bound_to_connects
        not_to_the_publisher
        anonymous_publishing
        local_clients_and_services
        no_room_for_another_session
    }
    browsers {
        the_cookie_of_a_browser
        a_cookie_as_pages_of_other_sites_need_it
        windows_wait_as_long_as_they_are_told
        one_held_connect_per_browser
        a_browser_may_be_asked_for
        pages_of_allowed_origins
        pages_of_any_origin
        origins_by_pattern
        native_clients_name_the_server
        names_that_are_not_the_servers
        messages_in_a_script
        who_may_load_scripts
        filtered_comments
    }
    files {
        files_and_their_types
        nothing_outside_the_root
        copies_are_revalidated
        the_client_script_lies_below_the_endpoint
        parts_of_files
        demo_pages_are_built_in
        files_beside_an_endpoint_at_the_root
    }
    embedding {
        content_by_path_and_any_method
        bodies_of_content_are_bounded
        content_that_fails
        a_slow_handler_delays_nobody_but_its_caller
        the_hook_sees_every_response
        a_hook_that_fails
        messages_survive_the_hook
        types_by_ending
        a_late_answer_of_a_service
    }
    proxies {
        nobody_is_believed_by_default
        a_trusted_proxy_is_believed
        a_limit_per_address_counts_the_client
        secure_behind_a_proxy
        pages_of_the_reported_host_are_own
        a_line_for_every_request
    }
    originals {
        channel_matching
        acls
        server_and_client
        services
        errors_are_delivered
        one_request_does_not_end_the_server
        ids_are_no_secrets_of_others
        an_empty_id_is_nobody
        services_ask_for_session_and_policy
        what_is_denied_is_not_done
        files_outside_are_out_of_reach
        the_limit_of_held_connects_is_exact
        companions_wait_for_nothing
        a_second_connect_keeps_the_session
        messages_outlive_a_lost_connect
        the_first_connect_returns_at_once
        the_id_zero_comes_back
        stopping_with_held_connects_twice
        every_answer_has_a_length
        a_repeated_subscribe_is_harmless
        a_callback_filters_deliveries
    }
    demo {
        a_calculator
        private_channels
        a_bot_confirms
        who_is_there_and_what_was_said
        magnets_stay_where_they_were_put
        pages_may_be_kept
    }
    dojo {
        the_first_words
        a_chat
        the_leave_that_is_a_subscribe
        remote_calls
        the_time
        scripts_from_elsewhere
        a_lost_session
    }
    stopping {
        every_held_connect_is_answered
        stopping_takes_no_longer_than_it_must
        a_port_can_be_taken_again_at_once
        a_thousand_connections_at_once
        user_code_that_hangs_does_not_delay_the_stop
    }
}

tiny_http_cannot! {
    requests {
        a_request_behind_a_held_connect_waits_its_turn: "its library reads on behind a request",
        a_body_is_asked_for_when_it_is_wanted: "its library answers `Expect` itself",
        smuggled_requests_are_refused: "its library judges heads, and leniently",
    }
    proxies {
        upgrades_and_streams_are_logged: "it has neither sockets nor streams of events",
    }
    connects {
        a_peer_that_leaves_is_noticed: "its library shows no closed connection",
    }
    slowness {
        a_slow_head: "its library has no read timeout",
        a_slow_body: "its library has no read timeout",
        a_connection_that_says_nothing: "its library has no read timeout",
        a_reader_that_stops: "its library does not count connections",
        too_many_connections: "its library accepts by itself",
        half_sent_bodies_hold_up_nobody: "each takes a worker until its body is there",
    }
    stopping {
        answered_connections_are_closed: "its library closes none by itself",
    }
}
