//! `stalled`: some subscribers stop reading. The others must not notice, and the stalled must be told what
//! they missed.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::{
    report::Report,
    scenarios::{Target, add_memory, fanout::base_plan},
    traffic::{Pace, Plan, Traffic},
};

#[derive(Args, Clone, Debug)]
pub struct StalledArgs {
    #[command(flatten)]
    pub target: Target,
    /// Seconds of each of the measured stretches: calm, stalled.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    #[arg(long, default_value_t = 2.0)]
    pub warmup: f64,
    #[arg(long, default_value_t = 1000)]
    pub subscribers: usize,
    /// Of these, how many stop reading.
    #[arg(long, default_value_t = 100)]
    pub stalled: usize,
    /// Messages a second.
    #[arg(long, default_value_t = 50)]
    pub rate: u64,
    /// Larger than elsewhere, so that a stalled subscriber's queue overflows within the run.
    #[arg(long, default_value_t = 4096)]
    pub payload: usize,
}

pub(crate) fn run(args: &StalledArgs) -> Result<Report> {
    ensure!(args.stalled > 0 && args.stalled < args.subscribers, "some stall, and some do not");
    let mut report =
        Report::new(format!("stalled {} {}of{}", args.target.format.name(), args.stalled, args.subscribers));
    let plan = Plan {
        per_channel: args.subscribers,
        payload: args.payload,
        pace: Pace::Rate { per_second: args.rate.max(1) },
        stall_every: Some(args.subscribers.div_ceil(args.stalled)),
        ..base_plan(&args.target)?
    };
    let stretch = Duration::from_secs_f64(args.seconds);
    let mut traffic = Traffic::open(plan)?;
    traffic.run(Duration::from_secs_f64(args.warmup))?;
    let calm = traffic.run(stretch)?;
    traffic.set_stalled(true)?;
    let stalled = traffic.run(stretch)?;
    add_memory(&mut report, args.target.observed())?;
    traffic.set_stalled(false)?;
    // They catch up, and get messages that come after their gap.
    traffic.run(Duration::from_secs_f64(args.warmup.max(1.0)))?;
    traffic.finish()?;

    report.add_latency("calm", &calm.latency);
    report.add_latency("stalled", &stalled.latency);
    if !calm.latency.is_empty() && !stalled.latency.is_empty() {
        let p99 = |stretch: &crate::traffic::Stretch| stretch.latency.quantile(0.99) as f64;
        report.add("p99_stalled_to_calm", p99(&stalled) / p99(&calm));
    }
    if traffic.desk.stalled.iter().flatten().all(|one| one.missed == 0 && !one.ended) {
        let note =
            "no stalled subscriber missed anything, so nothing says that it would be told: stall longer";
        report.notes.push(note.to_owned());
    }
    let those = || traffic.desk.stalled.iter().flatten();
    report.add("stalled_subscribers", those().count() as f64);
    report.add("stalled_that_missed_messages", those().filter(|one| one.missed > 0).count() as f64);
    report.add("stalled_that_were_told", those().filter(|one| one.gaps_told > 0 || one.ended).count() as f64);
    report.add("stalled_that_were_cut_off", those().filter(|one| one.ended).count() as f64);
    report.add("messages_missed_by_stalled", those().map(|one| one.missed as f64).sum());
    traffic.account(&mut report);
    Ok(report)
}
