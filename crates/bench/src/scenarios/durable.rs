//! `durable`: acknowledgements a second from channels that sync to disk, beside single synced appends.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    histogram::Histogram,
    report::Report,
    scenarios::{Target, add_memory, fanout::Length, fanout::base_plan, fresh_word},
    traffic::{Pace, Plan, Traffic},
};

#[derive(Args, Clone, Debug)]
pub struct DurableArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub length: Length,
    /// Publishers, each with one message in flight on a channel of its own.
    #[arg(long, default_value_t = 64)]
    pub publishers: usize,
    #[arg(long, default_value_t = 128)]
    pub payload: usize,
    /// The namespace whose rule is `persist`.
    #[arg(long, default_value = "persisted")]
    pub namespace: String,
    /// A directory on the server's disk: single synced appends are measured there, before and after.
    #[arg(long)]
    pub probe_dir: Option<PathBuf>,
    /// Seconds of each of the two probes.
    #[arg(long, default_value_t = 2.0)]
    pub probe_seconds: f64,
}

pub(crate) fn run(args: &DurableArgs) -> Result<Report> {
    let mut report = Report::new(format!("durable {} x{}", args.target.format.name(), args.publishers));
    let mut probe = Probe::default();
    probe.run(args)?;
    let plan = Plan {
        prefix: format!("{}:bench-{}", args.namespace, fresh_word()),
        channels: args.publishers,
        per_channel: 0,
        publishers: args.publishers,
        roam: false,
        payload: args.payload,
        pace: Pace::Full { window: 1, lag: 1, burst: 1 },
        spin: true,
        ..base_plan(&args.target)?
    };
    let mut traffic = Traffic::open(plan)?;
    traffic.run(Duration::from_secs_f64(args.length.warmup))?;
    let stretch = traffic.run(Duration::from_secs_f64(args.length.seconds))?;
    traffic.finish()?;
    probe.run(args)?;
    let acks_per_s = stretch.acked as f64 / stretch.elapsed.as_secs_f64();
    report.add("acks_per_s", acks_per_s);
    report.add_latency("ack", &stretch.ack_latency);
    if let Some(cpu) = stretch.cpu {
        report.add("server_cpu_us_per_ack", cpu.as_secs_f64() * 1e6 / stretch.acked.max(1) as f64);
    }
    if let Some(per_s) = probe.per_second() {
        report.add("single_synced_appends_per_s", per_s);
        report.add_latency("single_append", &probe.latency);
        report.add("times_single_appends", acks_per_s / per_s);
    }
    add_memory(&mut report, args.target.observed())?;
    traffic.account(&mut report);
    Ok(report)
}

/// Write and fdatasync of as many bytes as a message has, one after the other: what a server does that does
/// not group its commits.
struct Probe {
    appends: u64,
    spent: Duration,
    latency: Histogram,
}

impl Default for Probe {
    fn default() -> Self {
        Self { appends: 0, spent: Duration::ZERO, latency: Histogram::new() }
    }
}

impl Probe {
    fn run(&mut self, args: &DurableArgs) -> Result<()> {
        let Some(directory) = &args.probe_dir else { return Ok(()) };
        let path = directory.join(format!("fanfare-bench-probe-{}", fresh_word()));
        let outcome = self.append(&path, args);
        // Best effort: the directory may have gone, and the outcome matters more.
        let _ = std::fs::remove_file(&path);
        outcome.with_context(|| format!("probing {}", path.display()))
    }

    fn append(&mut self, path: &Path, args: &DurableArgs) -> Result<()> {
        let mut file = OpenOptions::new().create_new(true).append(true).open(path)?;
        let record = vec![b'x'; args.payload];
        let start = Instant::now();
        let mut before = start;
        while start.elapsed().as_secs_f64() < args.probe_seconds {
            file.write_all(&record)?;
            file.sync_data()?;
            let now = Instant::now();
            self.latency.record((now - before).as_nanos() as u64);
            before = now;
            self.appends += 1;
        }
        self.spent += start.elapsed();
        Ok(())
    }

    fn per_second(&self) -> Option<f64> {
        (self.appends > 0).then(|| self.appends as f64 / self.spent.as_secs_f64())
    }
}
