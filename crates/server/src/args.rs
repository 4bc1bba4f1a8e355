//! The command line. Flags win over the environment, which wins over the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(name = "fanfare", version, about = "A realtime messaging server for the SDKs you already use")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the server.
    Serve(ServeArgs),
    /// Look at the configuration without starting.
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Publish a message.
    Publish(PublishArgs),
    /// Print the messages of a channel as they come.
    Subscribe(SubscribeArgs),
    /// Print the messages of a channel that are kept, newest first.
    History(ChannelArgs),
    /// Print who is present on a channel.
    Presence(ChannelArgs),
    /// List the active channels.
    Channels(ChannelsArgs),
    /// Measure a server, beside a raw baseline.
    Bench(fanfare_bench::BenchArgs),
}

#[derive(Subcommand)]
pub(crate) enum ConfigAction {
    /// Say whether the configuration is right, and what is wrong with it.
    Check(ServeArgs),
    /// Print the configuration as it would be used, without secrets.
    Print(ServeArgs),
}

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServeArgs {
    /// The configuration file (TOML).
    #[arg(long, env = "FANFARE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Development mode: a ready app and key, test provisioning, keys accepted without TLS.
    #[arg(long, env = "FANFARE_DEV")]
    pub(crate) dev: bool,
    /// Address to listen on without TLS, e.g. 127.0.0.1:8080. Repeatable.
    #[arg(long, env = "FANFARE_LISTEN", value_delimiter = ',')]
    pub(crate) listen: Vec<SocketAddr>,
    /// Address to listen on with TLS. Repeatable.
    #[arg(long, env = "FANFARE_TLS_LISTEN", value_delimiter = ',')]
    pub(crate) tls_listen: Vec<SocketAddr>,
    /// PEM file with the certificate chain. Read again on SIGHUP.
    #[arg(long, env = "FANFARE_TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file with the private key. Read again on SIGHUP.
    #[arg(long, env = "FANFARE_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Where the server keeps its data.
    #[arg(long, env = "FANFARE_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Workers, one thread each; the default is one for each core.
    #[arg(long, env = "FANFARE_WORKERS")]
    pub(crate) workers: Option<usize>,
    /// Address for Prometheus metrics (http, path /metrics).
    #[arg(long, env = "FANFARE_METRICS_LISTEN")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Network whose X-Forwarded-For is believed, e.g. 10.0.0.0/8. Repeatable.
    #[arg(long = "trusted-proxy", env = "FANFARE_TRUSTED_PROXIES", value_delimiter = ',')]
    pub(crate) trusted_proxies: Vec<String>,
    /// Country database in MaxMind's format (.mmdb). Read again on SIGHUP.
    #[arg(long, env = "FANFARE_GEOIP_DATABASE")]
    pub(crate) geoip_database: Option<PathBuf>,
    /// Print one line with one JSON object once connections are accepted, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(long, env = "FANFARE_LOG_FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    /// error, warn, info, debug or trace; also for each module, e.g. info,fanfare_store=debug.
    #[arg(long, env = "FANFARE_LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: String,
    /// Acknowledges before the disk has it: loses messages. Only there to prove the crash test.
    #[arg(long, hide = true)]
    pub(crate) unsafe_no_sync: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Args, Clone)]
pub(crate) struct ServerArgs {
    /// The server's address, https:// or http://.
    #[arg(long, env = "FANFARE_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// PEM file with the certificate authorities to trust, instead of the system's.
    #[arg(long, env = "FANFARE_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// An API key, appId.keyId:secret.
    #[arg(long, env = "FANFARE_KEY", hide_env_values = true)]
    pub(crate) key: String,
}

#[derive(Args, Clone)]
pub(crate) struct PublishArgs {
    pub(crate) channel: String,
    pub(crate) data: String,
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Clone)]
pub(crate) struct SubscribeArgs {
    pub(crate) channel: String,
    /// Begin with the last so many messages.
    #[arg(long)]
    pub(crate) rewind: Option<u32>,
    /// End after so many messages.
    #[arg(long)]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Clone)]
pub(crate) struct ChannelArgs {
    pub(crate) channel: String,
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Clone)]
pub(crate) struct ChannelsArgs {
    /// Only those whose name begins so.
    #[arg(long, default_value = "")]
    pub(crate) prefix: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
