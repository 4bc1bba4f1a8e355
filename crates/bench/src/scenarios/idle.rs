//! `idle`: what a connection that is attached and silent holds of the server's memory.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    client::Spec,
    limits,
    report::Report,
    scenarios::{Target, fresh_word},
    swarm::{Nobody, Swarm},
    traffic::loopback,
};

/// Time for the server to give back what connecting needed only for a moment.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Args, Clone, Debug)]
pub struct IdleArgs {
    #[command(flatten)]
    pub target: Target,
    #[arg(long, default_value_t = 15_000)]
    pub connections: usize,
    #[arg(long, default_value_t = 128)]
    pub concurrency: usize,
    /// Channels that the connections spread over.
    #[arg(long, default_value_t = 1000)]
    pub channels: usize,
}

pub(crate) fn run(args: &IdleArgs) -> Result<Report> {
    limits::allow_files(args.connections + 100)?;
    let observed = args.target.observed().context("idle measures memory: it needs --server-pid")?;
    let mut report = Report::new(format!("idle {} x{}", args.target.format.name(), args.connections));
    let target = args.target.address()?;
    let mut swarm = Swarm::new(target, &args.target.path()?, args.target.format)?;
    let prefix = format!("bench-{}", fresh_word());
    let before = observed.rss_kib()?;
    let specs = (0..args.connections).map(|client| Spec {
        attach: Some(format!("{prefix}-{}", client % args.channels.max(1))),
        source: target.ip().is_loopback().then(|| loopback(client)),
        receive_buffer: None,
    });
    swarm.establish(specs, args.concurrency)?;
    let settled = swarm.now_ns() + SETTLE.as_nanos() as u64;
    while swarm.now_ns() < settled {
        swarm.turn(Some(Duration::from_millis(100)), &mut Nobody)?;
    }
    let after = observed.rss_kib()?;
    report.add("server_rss_before_mib", before as f64 / 1024.0);
    report.add("server_rss_after_mib", after as f64 / 1024.0);
    report.add("server_kib_per_connection", after.saturating_sub(before) as f64 / args.connections as f64);
    Ok(report)
}
