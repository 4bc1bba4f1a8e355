//! `connect`: how fast clients connect, get CONNECTED, attach and get ATTACHED, and what each costs.

use std::time::Instant;

use anyhow::Result;
use clap::Args;

use crate::{
    client::Spec,
    limits,
    observe::Observed,
    report::Report,
    scenarios::{Target, add_memory, fresh_word},
    swarm::Swarm,
    traffic::loopback,
};

#[derive(Args, Clone, Debug)]
pub struct ConnectArgs {
    #[command(flatten)]
    pub target: Target,
    #[arg(long, default_value_t = 5000)]
    pub clients: usize,
    /// Clients on their way at the same time.
    #[arg(long, default_value_t = 128)]
    pub concurrency: usize,
    /// Channels that the clients spread over.
    #[arg(long, default_value_t = 100)]
    pub channels: usize,
}

pub(crate) fn run(args: &ConnectArgs) -> Result<Report> {
    limits::allow_files(args.clients + 100)?;
    let observed = args.target.observed();
    let mut report = Report::new(format!("connect {} x{}", args.target.format.name(), args.clients));
    let mut swarm = Swarm::new(args.target.address()?, &args.target.path()?, args.target.format)?;
    let before = observed.map(|observed| observed.cpu()).transpose()?;
    let start = Instant::now();
    swarm.establish(specs(args), args.concurrency)?;
    let elapsed = start.elapsed();
    report.add("clients_per_s", args.clients as f64 / elapsed.as_secs_f64());
    if let (Some(observed), Some(before)) = (observed, before) {
        let spent = Observed::spent(&before, &observed.cpu()?);
        report.add("server_cpu_us_per_client", spent.as_secs_f64() * 1e6 / args.clients as f64);
        report.add("server_cpu_share", spent.as_secs_f64() / elapsed.as_secs_f64());
    }
    add_memory(&mut report, observed)?;
    Ok(report)
}

fn specs(args: &ConnectArgs) -> impl Iterator<Item = Spec> + use<> {
    let prefix = format!("bench-{}", fresh_word());
    let is_loopback = args.target.address().is_ok_and(|address| address.ip().is_loopback());
    let channels = args.channels.max(1);
    (0..args.clients).map(move |client| Spec {
        attach: Some(format!("{prefix}-{}", client % channels)),
        source: is_loopback.then(|| loopback(client)),
        receive_buffer: None,
    })
}
