//! `postern demo`: the gateway on the examples, small upstreams behind it, and a story told in plain words.

mod client;
mod gateway;
mod manifests;
mod payload;
mod story;
mod token;
mod upstreams;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use client::Client;
use gateway::Gateway;
use upstreams::Upstreams;

use crate::out;

/// What the demo is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Ends after the story instead of staying up.
    #[arg(long)]
    once: bool,
    /// Folder for the manifests, the event store and the gateway's log; emptied first. Default: a new folder
    /// in the system's folder for temporary files.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file, socket or process failed.
    #[error("{step}")]
    Io {
        /// What was tried.
        step: String,
        /// What came of it.
        source: io::Error,
    },
    /// The gateway did not start, or ended.
    #[error("the gateway {what}; its log is {}:\n{tail}", .log.display())]
    Gateway {
        /// What it did.
        what: &'static str,
        /// Where it wrote.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// An exchange with the gateway failed.
    #[error("{request}: {why}")]
    Exchange {
        /// What was asked.
        request: String,
        /// What came of it.
        why: String,
    },
    /// Something in the story went otherwise than told.
    #[error("{0} of the steps went otherwise than they should; they are marked above")]
    Unexpected(usize),
}

impl DemoError {
    fn io(step: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { step: step.to_string(), source }
    }
}

/// Starts everything, tells the story, and stays until it is interrupted (or ends, with `--once`).
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let told = runtime
        .map_err(DemoError::io("starting the demo's own runtime"))
        .and_then(|runtime| tokio::task::LocalSet::new().block_on(&runtime, tell(args)));
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ DemoError::Unexpected(_)) => out::failed(&error, out::FAULT),
        Err(error) => out::failed(&error, out::TROUBLE),
    }
}

async fn tell(args: &Args) -> Result<(), DemoError> {
    let folder = manifests::folder(args.dir.as_deref())?;
    let upstreams = Upstreams::start().await?;
    manifests::write(&folder.join("manifests"), upstreams.ports())?;
    out::line("Starting the gateway on the examples ...");
    let mut gateway = Gateway::start(&folder)?;
    let client = Client { gateway: gateway.listen, admin: gateway.admin };
    gateway.await_ready(&client).await?;
    out::line(format_args!(
        "Three tenants are served on http://{}: acme, globex, and the platform with one WhatsApp callback for both.\n",
        gateway.listen
    ));

    let unexpected = story::tell(&client, &upstreams).await?;
    story::where_to_look(&gateway, &folder);
    if unexpected > 0 {
        return Err(DemoError::Unexpected(unexpected));
    }
    if args.once {
        gateway.stop().await?;
        return manifests::remove_own(args.dir.as_deref(), &folder);
    }
    story::try_yourself(&gateway, &folder)?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => out::line("\nStopping: what is in flight is finished, what is accepted stays in the store."),
        () = gateway.ended() => {}
    }
    gateway.stop().await
}
