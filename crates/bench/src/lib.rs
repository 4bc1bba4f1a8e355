//! `fanfare bench`: a load generator that speaks Ably's protocol and Realtime Pub/Sub's, a raw baseline, and the suite of both.
//!
//! The generator is one thread on one epoll and never parses a delivery; it counts every one and checks its
//! order, so that a figure is only shown with the proof that nothing was lost. The baseline is the least that
//! a server can do for the same frames: the practical limit. The suite runs a server and the baseline in turn
//! and compares them with the goals.
//!
//! Never depends on a crate of the server: what measures must not share code with what it measures.
//!
//! ```text
//! suite ── starts ──> server | raw        scenarios ── traffic ──> swarm ──> client ──> frame, wire
//!   └── runs ──> scenarios                                └──> desk ──> ledger, payload, histogram
//! ```

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};

mod client;
mod desk;
mod frame;
mod histogram;
mod ledger;
mod limits;
mod msgpack;
mod observe;
mod payload;
pub mod raw;
mod report;
mod scenarios;
mod suite;
mod swarm;
mod topics;
mod traffic;
mod wire;

pub use scenarios::{
    Target,
    connect::ConnectArgs,
    durable::DurableArgs,
    fanout::{FanoutArgs, Length, ManyArgs, RateArgs},
    idle::IdleArgs,
    stalled::StalledArgs,
};
pub use suite::SuiteArgs;
pub use wire::Format;

/// Load, and what came of it.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub scenario: Scenario,
}

#[derive(Subcommand, Clone, Debug)]
pub enum Scenario {
    /// One publisher at full speed to all subscribers of one channel.
    Fanout(FanoutArgs),
    /// Publishers at full speed over many channels with few subscribers each.
    Many(ManyArgs),
    /// A fixed rate: latency from publish to receive.
    Rate(RateArgs),
    /// Clients that connect and attach.
    Connect(ConnectArgs),
    /// Publishes to channels that sync to disk, beside single synced appends.
    Durable(DurableArgs),
    /// Memory of idle attached connections.
    Idle(IdleArgs),
    /// Subscribers that stop reading, and what that does to the others.
    Stalled(StalledArgs),
    /// The raw baseline: a server that does the least that these scenarios need.
    Raw(raw::RawArgs),
    /// All scenarios on a server and on the baseline, in turn, against the goals.
    Suite(SuiteArgs),
}

/// Runs a scenario and prints its report. An error when anything was lost, duplicated, out of order or refused.
pub fn run(args: BenchArgs) -> Result<()> {
    let (report, json) = match &args.scenario {
        Scenario::Raw(args) => return raw::run(args),
        Scenario::Suite(args) => return suite::run(args),
        Scenario::Fanout(args) => (scenarios::fanout::fanout(args)?, args.target.json),
        Scenario::Many(args) => (scenarios::fanout::many(args)?, args.target.json),
        Scenario::Rate(args) => (scenarios::fanout::rate(args)?, args.target.json),
        Scenario::Connect(args) => (scenarios::connect::run(args)?, args.target.json),
        Scenario::Durable(args) => (scenarios::durable::run(args)?, args.target.json),
        Scenario::Idle(args) => (scenarios::idle::run(args)?, args.target.json),
        Scenario::Stalled(args) => (scenarios::stalled::run(args)?, args.target.json),
    };
    report.show(json);
    ensure!(!report.faults.any(), "the run had faults: {:?}", report.faults);
    Ok(())
}
