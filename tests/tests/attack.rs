//! The attacks of `./dev attack` with little load, each on a gateway of its own.

#![cfg(test)]

use tests::attack::{ALL, Scale};

/// Runs the attack of this name and fails with what it saw.
fn held(name: &str) {
    let attack = ALL.iter().find(|attack| attack.name == name).unwrap();
    let seen = attack.run(Scale::Short).unwrap();
    assert!(seen.held, "{}: {}", attack.promise, seen.what);
}

macro_rules! attacks {
    ($($rule:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $rule() {
                held($name);
            }
        )*

        #[test]
        fn every_attack_has_a_test() {
            let tested = [$($name),*];
            assert_eq!(ALL.iter().map(|attack| attack.name).collect::<Vec<_>>(), tested);
        }
    };
}

attacks! {
    unauthenticated_bodies_leave_memory_and_the_neighbour_is_served: "memory",
    body_of_a_byte_at_a_time_ends: "slow-bodies",
    stalled_streams_end: "http2-stalls",
    connection_that_ends_in_the_preface_costs_nothing: "http2-preface",
    tunnels_count_in_max_connections: "tunnels",
    wrong_signatures_stop_no_right_ones: "lock-out",
    no_spelling_passes_a_guarded_path: "paths",
    no_field_of_a_caller_is_identity: "identity",
    no_request_hides_in_another: "smuggling",
    no_manifest_splits_a_request: "splitting",
    revoked_security_is_not_kept_beside_a_fault: "last-good",
    admin_port_is_closed_to_what_looks_local: "admin",
}
