//! The scenarios, a module each. Each runs against any server that speaks the protocol and gives a report.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    observe::Observed,
    report::Report,
    topics,
    traffic::Stretch,
    wire::{self, Format},
};

pub(crate) mod connect;
pub(crate) mod durable;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod stalled;

/// Where the server is and how to speak to it.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// The server, as ws://HOST:PORT (plain WebSocket).
    #[arg(long, default_value = "ws://127.0.0.1:8080")]
    pub url: String,
    /// The API key of Ably's protocol, as APP.KEYID:SECRET.
    #[arg(long, env = "FANFARE_KEY", default_value = "bench.bench:bench", hide_env_values = true)]
    pub key: String,
    /// The app, for Realtime Pub/Sub.
    #[arg(long)]
    pub app: Option<String>,
    /// A client token that may publish everywhere, for Realtime Pub/Sub: without a subject, whose connections
    /// are limited.
    #[arg(long, env = "FANFARE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The server's process, when it is on this machine: its CPU time and memory are then reported.
    #[arg(long)]
    pub server_pid: Option<u32>,
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
    /// One line of JSON in place of a table.
    #[arg(long)]
    pub json: bool,
}

impl Target {
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        let rest = self.url.strip_prefix("ws://").or_else(|| self.url.strip_prefix("http://"));
        let host = rest.with_context(|| format!("{} is not ws://HOST:PORT", self.url))?;
        let host = host.trim_end_matches('/');
        let mut found = host.to_socket_addrs().with_context(|| format!("cannot resolve {host}"))?;
        found.next().with_context(|| format!("{host} has no address"))
    }

    /// What a client asks for when it connects.
    pub(crate) fn path(&self) -> Result<String> {
        match (self.format, &self.app, &self.token) {
            (Format::Json | Format::Msgpack, ..) => Ok(wire::ably_path(&self.key, self.format)),
            (Format::RealtimePubsub, Some(app), Some(token)) => Ok(topics::path(app, token)),
            (Format::RealtimePubsub, ..) => bail!("--format realtime-pubsub needs --app and --token"),
        }
    }

    pub(crate) fn observed(&self) -> Option<Observed> {
        self.server_pid.map(Observed::new)
    }
}

/// A word that no earlier run used, so that channels start without a past.
pub(crate) fn fresh_word() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}{:x}", std::process::id(), now.as_micros())
}

/// The figures that every publish/subscribe scenario has.
pub(crate) fn add_stretch(report: &mut Report, stretch: &Stretch) {
    let seconds = stretch.elapsed.as_secs_f64();
    report.add("publishes_per_s", stretch.acked as f64 / seconds);
    report.add("deliveries_per_s", stretch.deliveries as f64 / seconds);
    if let Some(cpu) = stretch.cpu {
        let each = cpu.as_secs_f64() / stretch.deliveries.max(1) as f64;
        report.add("server_cpu_us_per_delivery", each * 1e6);
        report.add("server_cpu_s_per_million", each * 1e6);
        report.add("server_cpu_share", cpu.as_secs_f64() / seconds);
    }
    // Near 1 the generator is the limit, and the server could do more.
    report.add("generator_cpu_share", stretch.own_cpu.as_secs_f64() / seconds);
    // Far above 0 something else ran on these cores, and rates and latencies say little.
    report.add("disturbed_share", stretch.disturbed.as_secs_f64() / seconds);
    report.add_latency("latency", &stretch.latency);
}

/// Resident memory at the end of a run.
pub(crate) fn add_memory(report: &mut Report, observed: Option<Observed>) -> Result<()> {
    if let Some(observed) = observed {
        report.add("server_rss_mib", observed.rss_kib()? as f64 / 1024.0);
    }
    Ok(())
}

/// Gives a scenario's arguments their defaults outside a command line: clap's own, so that there is one place
/// for each.
macro_rules! defaults {
    ($($args:ty),+) => {$(
        impl $args {
            /// The defaults, on a target.
            #[must_use]
            pub fn new(target: Target) -> Self {
                let command = <$args as clap::Args>::augment_args(clap::Command::new("defaults"));
                let matches = command.get_matches_from(["defaults"]);
                let args = <$args as clap::FromArgMatches>::from_arg_matches(&matches);
                let mut args = args.unwrap_or_else(|error| error.exit());
                args.target = target;
                args
            }
        }
    )+};
}

defaults!(
    connect::ConnectArgs,
    durable::DurableArgs,
    fanout::FanoutArgs,
    fanout::ManyArgs,
    fanout::RateArgs,
    idle::IdleArgs,
    stalled::StalledArgs
);
