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
    /// After the measured stretches, send everyone so much more at full speed that no queue holds it: sockets
    /// alone keep some MiB for a subscriber that does not read.
    #[arg(long, default_value_t = 12)]
    pub overflow_mib: u64,
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
    traffic.overflow(args.overflow_mib << 20)?;
    traffic.set_stalled(false)?;
    // They catch up, and get messages that come after their gap.
    traffic.run(Duration::from_secs_f64(args.warmup.max(1.0)))?;
    traffic.finish()?;

    report.add_latency("calm", &calm.latency);
    report.add_latency("stalled", &stalled.latency);
    let disturbed = (calm.disturbed + stalled.disturbed).as_secs_f64();
    report.add("disturbed_share", disturbed / (calm.elapsed + stalled.elapsed).as_secs_f64());
    if !calm.latency.is_empty() && !stalled.latency.is_empty() {
        let p99 = |stretch: &crate::traffic::Stretch| stretch.latency.quantile(0.99) as f64;
        report.add("p99_stalled_to_calm", p99(&stalled) / p99(&calm));
    }
    let those: Vec<_> = traffic.desk.stalled.iter().flatten().collect();
    let missed: Vec<_> = those.iter().filter(|one| one.missed > 0 || one.ended).collect();
    let told = missed.iter().filter(|one| one.knows()).count();
    report.add("stalled_subscribers", those.len() as f64);
    report.add("stalled_that_missed_messages", missed.len() as f64);
    report.add("stalled_that_were_told", told as f64);
    report.add("stalled_that_were_cut_off", those.iter().filter(|one| one.ended).count() as f64);
    report.add("messages_missed_by_stalled", missed.iter().map(|one| one.missed as f64).sum());
    if missed.is_empty() {
        let note = "no stalled subscriber missed anything, so nothing says that it would be told";
        report.notes.push(format!("{note}: raise --overflow-mib"));
    } else {
        report.add("told_of_those_that_missed", told as f64 / missed.len() as f64);
    }
    traffic.account(&mut report);
    Ok(report)
}
