//! Side-by-side benchmarks: the same requests through nginx, HAProxy, Envoy and Postern, each pinned to
//! one core, with the load and the origin on the other. Prints ratios; asserts nothing by clock.

mod events;
mod histogram;
mod load;
mod origin;
mod peers;
mod report;
mod rig;
mod scenario;
mod scrape;
mod token;

use std::io;
use std::net::SocketAddr;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about, long_about = None)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answers every request with the same 1 KiB, on one thread.
    Origin {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:18081")]
        listen: SocketAddr,
    },
    /// Sends one scenario to one address and prints what came back.
    Load(load::LoadArgs),
    /// Runs all scenarios through all proxies and prints the table.
    Run(rig::RunArgs),
    /// The way of events through a real broker and Redis: accepted, delivered, kept, drained.
    Events(events::EventsArgs),
}

fn main() -> io::Result<()> {
    // One thread does everything here: the whole program is meant to live on one core.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        match Args::parse().command {
            Command::Origin { listen } => origin::serve(listen).await,
            Command::Load(args) => load::command(&args).await,
            Command::Run(args) => rig::run(&args).await,
            Command::Events(args) => events::run(&args).await,
        }
    })
}
