//! kind, the charts and the project's own image: what the README installs serves, through edits, outages and rollouts.
//!
//! One cluster for all, made by the README's commands, and one test at a time. `tests/servers/with-docker` brings an
//! engine; without one the tests say so and are not run.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "a test fails by panicking")]

mod edit;
mod installed;
mod outage;
mod rollout;
mod serve;
mod sets;
mod upgrade;

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::installed::Installed;

/// What all tests use; made by the first of them.
static INSTALLED: Mutex<Option<Result<Installed, String>>> = Mutex::new(None);

/// A test by its name.
type Named = (&'static str, fn(&Installed));

const TESTS: [Named; 17] = [
    ("the_readme_is_true", serve::the_readme_is_true),
    ("the_examples_are_served", serve::the_examples_are_served),
    ("events_are_delivered", serve::events_are_delivered),
    ("edits_show_and_fail_no_call", edit::edits_show_and_fail_no_call),
    ("a_secret_is_rotated", edit::a_secret_is_rotated),
    ("a_grant_is_revoked", edit::a_grant_is_revoked),
    ("a_namespace_is_deleted", edit::a_namespace_is_deleted),
    ("operators_are_killed", outage::operators_are_killed),
    ("the_authority_is_replaced", outage::the_authority_is_replaced),
    ("the_api_server_is_away", outage::the_api_server_is_away),
    ("a_second_set_serves_its_own_tenants", sets::a_second_set_serves_its_own_tenants),
    ("gateways_are_scaled", rollout::gateways_are_scaled),
    ("delivers_are_scaled", rollout::delivers_are_scaled),
    ("everything_is_restarted", rollout::everything_is_restarted),
    ("a_release_is_upgraded_and_rolled_back", rollout::a_release_is_upgraded_and_rolled_back),
    ("a_canary_that_does_not_run_is_taken_back", rollout::a_canary_that_does_not_run_is_taken_back),
    ("a_canary_whose_answers_are_errors_is_taken_back", rollout::a_canary_whose_answers_are_errors_is_taken_back),
];

/// The one that needs an earlier revision.
const UPGRADE: Named = ("an_earlier_build_is_upgraded", upgrade::an_earlier_build_is_upgraded);

fn run(test: fn(&Installed)) -> Result<(), Failed> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    match installed.get_or_insert_with(|| Installed::start().map_err(|error| error.to_string())) {
        Ok(installed) => test(installed),
        // It is told once.
        Err(why) => return Err(std::mem::replace(why, "there is no installation".to_owned()).into()),
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let missing = tests::kind::engine();
    if let Some(why) = &missing {
        eprintln!("cluster: NOT RUN: {why}");
    }
    let trial = |(name, test): Named, runs: bool| {
        Trial::test(name, move || run(test)).with_ignored_flag(missing.is_some() || !runs)
    };
    let upgrade = trial(UPGRADE, std::env::var_os(upgrade::EARLIER).is_some());
    let trials = TESTS.into_iter().map(|test| trial(test, true)).chain([upgrade]);
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(INSTALLED.lock().unwrap_or_else(PoisonError::into_inner).take());
    conclusion.exit_code()
}
