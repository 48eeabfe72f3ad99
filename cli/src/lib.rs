//! The library half of the `postern` binary, so that tests can call its commands.
//!
//! One file a command: each has `Args` (what is written after its name) and `run`. A command answers with
//! an exit code: 0 done, 1 the input is at fault, 2 the call is (as clap has it) or the machine.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod bounds;
pub mod check;
pub mod crds;
pub mod demo;
pub mod diff;
pub mod events;
pub mod explain;
mod fetched;
pub mod grant;
pub mod installation;
pub mod keys;
mod log;
pub mod operator;
pub mod out;
mod provide;
pub mod ranges;
pub mod rollout;
pub mod run;
pub mod send;
pub mod settings;
pub mod source;
pub mod status;
pub mod watch;

/// A gateway for webhooks and multi-tenant APIs.
#[derive(Debug, Parser)]
#[command(name = "postern", version, arg_required_else_help = true, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Says everything that is wrong with the manifests of a directory, where, and what to do.
    #[command(
        after_help = "Examples:\n  postern check examples\n  postern check deploy/ --output json | jq '.problems[]'\n\nEnds with 0 when nothing is wrong, 1 when something is, 2 when the directory cannot be read."
    )]
    Check(check::Args),
    /// Writes the CustomResourceDefinitions of the four kinds.
    #[command(hide = true)]
    Crds(crds::Args),
    /// Runs one role of a gateway whose events go through a broker.
    #[command(
        after_help = "Examples:\n  postern dataplane --role gateway --config manifests --settings settings.yaml\n  postern dataplane --role spool --config manifests --settings settings.yaml --data /var/lib/postern\n  postern dataplane --role deliver --config manifests --settings settings.yaml"
    )]
    Dataplane(run::DataplaneArgs),
    /// Starts the gateway on built-in examples and tells a story with it.
    #[command(after_help = "Examples:\n  postern demo\n  postern demo --once")]
    Demo(demo::Args),
    /// Says what applying manifests to a cluster would change, and for which tenants.
    #[command(
        after_help = "Examples:\n  postern diff deploy/\n  postern diff deploy/ --context kind-postern --output json\n\nEnds with 0 when nothing would change, 1 when something would, 2 when that cannot be said."
    )]
    Diff(diff::Args),
    /// Lists, shows, replays and drops events that wait, are parked or are dead.
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Says which rule takes a request, which policies meet it in which order, where each came from, and what it says.
    #[command(
        after_help = "Examples:\n  postern explain examples GET http://api.acme.example/v1/conversations\n  postern explain examples POST http://api.acme.example/v1/conversations -H 'x-api-key: pk_live_...' --address 203.0.113.7"
    )]
    Explain(explain::Args),
    /// Prints the Role by which the operator may read Secrets and ConfigMaps of a namespace; applies nothing.
    #[command(after_help = "Example:\n  postern grant acme globex | kubectl apply -f -")]
    Grant(grant::Args),
    /// Makes API keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Watches the objects of a Kubernetes cluster and pushes what they compile to the dataplanes.
    #[command(
        after_help = "Example:\n  postern operator --identity $POD_NAME --address https://$POD_IP:9443 --dataplane-account postern-system/postern-dataplane"
    )]
    Operator(operator::Args),
    /// Compares the canary set of gateways with the stable one, and takes it back when it is worse.
    #[command(
        after_help = "Examples:\n  postern rollout\n  postern rollout --release edge --namespace gateways --for 15m --max-error-rate 1 --max-p99 500ms\n\nEnds with 0 when the canary set is no worse, 1 when it was taken back, 2 when nothing can be said, 3 when too few requests came."
    )]
    Rollout(rollout::Args),
    /// Runs a gateway from a directory of manifests; reloads them when they change.
    #[command(
        after_help = "Example:\n  postern run --config examples --listen 127.0.0.1:8080 --admin 127.0.0.1:9901 --data postern-data"
    )]
    Run(run::Args),
    /// Signs a sample, or a file, as a provider does, and sends it.
    #[command(
        after_help = "Examples:\n  postern send whatsapp http://127.0.0.1:8080/webhooks/whatsapp --host hooks.example.com --secret demo-app-secret-of-meta --to 106540352242922\n  postern send genesys http://127.0.0.1:8080/webhooks/genesys --host api.acme.example --secret demo-genesys-token\n  postern send standard-webhooks http://127.0.0.1:8080/hooks --secret whsec_... --file event.json\n\nEnds with 0 for a 2xx, 1 for another answer, 2 when there was none."
    )]
    Send(send::Args),
    /// Says how an installation in a cluster is, most important first, and what to do.
    #[command(
        after_help = "Examples:\n  postern status\n  postern status --namespace gateways --lease edge-operator --output json\n\nEnds with 0 when nothing is wrong, 1 when something is, 2 when that cannot be said."
    )]
    Status(status::Args),
    /// Prints a completion script for a shell.
    #[command(after_help = "Example:\n  postern completions bash > /etc/bash_completion.d/postern")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Reads the arguments of the process and does what they say.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Check(args) => check::run(&args),
        Command::Crds(args) => crds::run(&args),
        Command::Dataplane(args) => run::run_role(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Events(command) => events::run(&command),
        Command::Explain(args) => explain::run(&args),
        Command::Grant(args) => grant::run(&args),
        Command::Keys(command) => keys::run(&command),
        Command::Operator(args) => operator::run(&args),
        Command::Rollout(args) => rollout::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "postern", &mut std::io::stdout().lock());
            ExitCode::SUCCESS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
