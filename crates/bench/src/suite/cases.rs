//! What the suite runs, and which figures of it count.

use anyhow::Result;

use super::{SuiteArgs, contender::Running};
use crate::{
    report::Report,
    scenarios::{
        connect::{self, ConnectArgs},
        durable::{self, DurableArgs},
        fanout::{self, FanoutArgs, Length, ManyArgs, RateArgs},
        idle::{self, IdleArgs},
        stalled::{self, StalledArgs},
    },
    wire::Format,
};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether the baseline can do it.
    pub(crate) on_raw: bool,
    pub(crate) run: fn(&Running, &SuiteArgs) -> Result<Report>,
    pub(crate) figures: &'static [&'static str],
}

const FLOOD: &[&str] = &[
    "deliveries_per_s",
    "server_cpu_us_per_delivery",
    "server_cpu_share",
    "generator_cpu_share",
    "disturbed_share",
    "latency_p99_us",
    "server_rss_mib",
];
const PACED: &[&str] = &[
    "latency_p50_us",
    "latency_p99_us",
    "latency_p99_9_us",
    "server_cpu_us_per_delivery",
    "disturbed_share",
];
const CONNECT: &[&str] = &["clients_per_s", "server_cpu_us_per_client"];
const DURABLE: &[&str] = &["acks_per_s", "single_synced_appends_per_s", "times_single_appends", "ack_p99_us"];
const STALLED: &[&str] = &[
    "calm_p99_us",
    "stalled_p99_us",
    "p99_stalled_to_calm",
    "stalled_that_missed_messages",
    "stalled_that_were_told",
    "disturbed_share",
    "server_rss_mib",
];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "fanout-100",
        on_raw: true,
        run: |on, args| fan(on, args, Format::Json, 100),
        figures: FLOOD,
    },
    Case {
        name: "fanout-100-msgpack",
        on_raw: true,
        run: |on, args| fan(on, args, Format::Msgpack, 100),
        figures: FLOOD,
    },
    Case {
        name: "fanout-100-realtime-pubsub",
        on_raw: true,
        run: |on, args| fan(on, args, Format::RealtimePubsub, 100),
        figures: FLOOD,
    },
    Case {
        name: "fanout-1000",
        on_raw: true,
        run: |on, args| fan(on, args, Format::Json, 1000),
        figures: FLOOD,
    },
    Case { name: "many", on_raw: true, run: many, figures: FLOOD },
    Case { name: "rate", on_raw: true, run: rate, figures: PACED },
    Case { name: "connect", on_raw: true, run: connect, figures: CONNECT },
    Case { name: "durable", on_raw: false, run: durable, figures: DURABLE },
    Case { name: "idle", on_raw: true, run: idle, figures: &["server_kib_per_connection"] },
    Case { name: "stalled", on_raw: true, run: stalled, figures: STALLED },
];

fn length(args: &SuiteArgs) -> Length {
    Length { seconds: args.seconds, warmup: args.warmup }
}

fn fan(on: &Running, args: &SuiteArgs, format: Format, subscribers: usize) -> Result<Report> {
    let args = FanoutArgs { length: length(args), subscribers, ..FanoutArgs::new(on.target(format)) };
    fanout::fanout(&args)
}

fn many(on: &Running, args: &SuiteArgs) -> Result<Report> {
    fanout::many(&ManyArgs { length: length(args), ..ManyArgs::new(on.target(Format::Json)) })
}

fn rate(on: &Running, args: &SuiteArgs) -> Result<Report> {
    fanout::rate(&RateArgs { length: length(args), ..RateArgs::new(on.target(Format::Json)) })
}

fn connect(on: &Running, _: &SuiteArgs) -> Result<Report> {
    connect::run(&ConnectArgs::new(on.target(Format::Json)))
}

fn durable(on: &Running, args: &SuiteArgs) -> Result<Report> {
    let probe_dir = Some(on.probe_dir());
    durable::run(&DurableArgs {
        length: length(args),
        probe_dir,
        ..DurableArgs::new(on.target(Format::Json))
    })
}

fn idle(on: &Running, _: &SuiteArgs) -> Result<Report> {
    idle::run(&IdleArgs::new(on.target(Format::Json)))
}

/// As long as it takes to fill a queue, whatever `--seconds` says: its own default.
fn stalled(on: &Running, args: &SuiteArgs) -> Result<Report> {
    stalled::run(&StalledArgs { warmup: args.warmup, ..StalledArgs::new(on.target(Format::Json)) })
}
