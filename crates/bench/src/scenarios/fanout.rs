//! `fanout`, `many` and `rate`: the same traffic with other numbers of channels and another pace.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::{
    report::Report,
    scenarios::{Target, add_memory, add_stretch, fresh_word},
    traffic::{Pace, Plan, Traffic},
};

/// How long a run takes.
#[derive(Args, Clone, Copy, Debug)]
pub struct Length {
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds before, not measured.
    #[arg(long, default_value_t = 2.0)]
    pub warmup: f64,
}

#[derive(Args, Clone, Debug)]
pub struct FanoutArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub length: Length,
    #[arg(long, default_value_t = 100)]
    pub subscribers: usize,
    /// Bytes of each message's data.
    #[arg(long, default_value_t = 128)]
    pub payload: usize,
    /// Publishes that may wait for their ACK.
    #[arg(long, default_value_t = 512)]
    pub window: u64,
    /// How far behind the slowest subscriber may be. Small keeps what is in flight in the processor's cache.
    #[arg(long, default_value_t = 256)]
    pub lag: u64,
    /// Publishes sent in one write.
    #[arg(long, default_value_t = 64)]
    pub burst: u64,
}

#[derive(Args, Clone, Debug)]
pub struct ManyArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub length: Length,
    #[arg(long, default_value_t = 500)]
    pub channels: usize,
    /// Subscribers of each channel.
    #[arg(long, default_value_t = 2)]
    pub subscribers: usize,
    #[arg(long, default_value_t = 10)]
    pub publishers: usize,
    #[arg(long, default_value_t = 128)]
    pub payload: usize,
    /// Publishes of each publisher that may wait for their ACK. With publishers x window below the number of
    /// channels, a delivery rarely finds a neighbour to share a write with: that is what is measured.
    #[arg(long, default_value_t = 48)]
    pub window: u64,
    #[arg(long, default_value_t = 64)]
    pub lag: u64,
    #[arg(long, default_value_t = 8)]
    pub burst: u64,
}

#[derive(Args, Clone, Debug)]
pub struct RateArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub length: Length,
    #[arg(long, default_value_t = 100)]
    pub subscribers: usize,
    /// Messages a second.
    #[arg(long, default_value_t = 100)]
    pub rate: u64,
    #[arg(long, default_value_t = 128)]
    pub payload: usize,
    /// Poll without sleeping: takes the generator's own wake-up out of the latency.
    #[arg(long)]
    pub spin: bool,
}

pub(crate) fn fanout(args: &FanoutArgs) -> Result<Report> {
    let FanoutArgs { target, subscribers, window, lag, burst, .. } = args;
    let pace = Pace::Full { window: *window, lag: *lag, burst: (*burst).min(*window).min(*lag) };
    let title = format!("fanout {} x{subscribers}", target.format.name());
    let plan =
        Plan { per_channel: *subscribers, payload: args.payload, pace, spin: true, ..base_plan(target)? };
    measure(title, target, plan, args.length)
}

pub(crate) fn many(args: &ManyArgs) -> Result<Report> {
    let ManyArgs { target, channels, subscribers, publishers, window, lag, burst, .. } = args;
    let pace = Pace::Full { window: *window, lag: *lag, burst: (*burst).min(*window) };
    let title = format!("many {} {channels}x{subscribers}", target.format.name());
    let plan = Plan {
        channels: *channels,
        per_channel: *subscribers,
        publishers: *publishers,
        payload: args.payload,
        pace,
        spin: true,
        ..base_plan(target)?
    };
    measure(title, target, plan, args.length)
}

pub(crate) fn rate(args: &RateArgs) -> Result<Report> {
    let RateArgs { target, subscribers, rate, .. } = args;
    let pace = Pace::Rate { per_second: (*rate).max(1) };
    let title = format!("rate {} {subscribers}x{rate}", target.format.name());
    let plan = Plan {
        per_channel: *subscribers,
        payload: args.payload,
        pace,
        spin: args.spin,
        ..base_plan(target)?
    };
    measure(title, target, plan, args.length)
}

/// One channel, one publisher, nobody stalls.
pub(crate) fn base_plan(target: &Target) -> Result<Plan> {
    Ok(Plan {
        target: target.address()?,
        path: target.path()?,
        format: target.format,
        prefix: format!("bench-{}", fresh_word()),
        channels: 1,
        per_channel: 1,
        publishers: 1,
        roam: true,
        payload: 128,
        pace: Pace::Rate { per_second: 1 },
        stall_every: None,
        observed: target.observed(),
        spin: false,
    })
}

fn measure(title: String, target: &Target, plan: Plan, length: Length) -> Result<Report> {
    let mut report = Report::new(title);
    let paced = matches!(plan.pace, Pace::Rate { .. });
    let mut traffic = Traffic::open(plan)?;
    traffic.run(Duration::from_secs_f64(length.warmup))?;
    let stretch = traffic.run(Duration::from_secs_f64(length.seconds))?;
    add_stretch(&mut report, &stretch);
    if paced {
        report.add("schedule_worst_lateness_us", traffic.worst_lateness_ns as f64 / 1e3);
    }
    add_memory(&mut report, target.observed())?;
    traffic.finish()?;
    traffic.account(&mut report);
    Ok(report)
}
