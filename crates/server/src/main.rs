//! The binary `fanfare`: configuration, the command line, and the wiring of the house.
//!
//! Invariants: only this crate reads the environment, files and arguments; a secret is never printed
//! but where someone asked for it.

#![forbid(unsafe_code)]

mod ably;
mod args;
mod client;
mod config;
mod config_limits;
mod dev;
mod logging;
mod outgoing;
mod realtime_pubsub;
mod serve;
mod tls;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, ConfigAction};

/// The message path allocates for each publish and frees minutes later: the system's allocator takes
/// more memory and more time for that (docs/decisions/005).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // The one cryptography provider of the process, before anything could choose another.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            #[allow(clippy::print_stderr)]
            {
                eprintln!("fanfare: {failure:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Config { action: ConfigAction::Check(args) } => config::check(&args),
        Command::Config { action: ConfigAction::Print(args) } => config::print(&args),
        Command::Bench(args) => fanfare_bench::run(args),
        Command::Publish(args) => client::publish(&args),
        Command::Subscribe(args) => client::subscribe(&args),
        Command::History(args) => client::history(&args),
        Command::Presence(args) => client::presence(&args),
        Command::Channels(args) => client::channels(&args),
    }
}
