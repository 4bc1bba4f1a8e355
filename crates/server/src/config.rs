//! The configuration file, and how it becomes apps.

mod realtime_pubsub;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use fanfare_gateway::{Clock, Countries, TransportLimits, TrustedProxies};
use fanfare_model::{App, AppId, Capability, Durability, Key, KeyId, Limits, RETENTION_DEFAULT, Rule, Rules};
use fanfare_realtime_pubsub::AppSettings;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::args::ServeArgs;
use crate::config_limits::{LimitsSection, TransportSection};
use crate::outgoing::{BackendConfig, Outgoing};
use realtime_pubsub::RealtimePubSubSection;

pub(crate) use realtime_pubsub::CONNECTIONS_PER_SUBJECT_MAX;

/// Data directory when none is given.
pub(crate) const DATA_DEFAULT: &str = "fanfare-data";

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) server: ServerSection,
    pub(crate) transport: TransportSection,
    pub(crate) limits: LimitsSection,
    pub(crate) egress: EgressSection,
    pub(crate) apps: Vec<AppSection>,
}

/// What leaves the server: webhooks, queues, questions for issuers' keys.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EgressSection {
    /// Networks, addresses and hosts that may be asked although they are private. Read at start only.
    pub(crate) allow: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerSection {
    pub(crate) listen: Vec<std::net::SocketAddr>,
    pub(crate) tls_listen: Vec<std::net::SocketAddr>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) metrics_listen: Option<std::net::SocketAddr>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) workers: Option<usize>,
    /// Accept API keys without TLS. Off: a key on the wire is a key lost.
    pub(crate) keys_without_tls: bool,
    /// Networks whose `X-Forwarded-For` is believed. None, unless named.
    pub(crate) trusted_proxies: Vec<String>,
    /// A country database in MaxMind's format.
    pub(crate) geoip_database: Option<PathBuf>,
    /// permessage-deflate for clients that offer it. On by default.
    pub(crate) compression: Option<bool>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppSection {
    pub(crate) id: String,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    tls_only: bool,
    #[serde(default)]
    keys: Vec<KeySection>,
    /// By namespace: the part of a channel's name before the first colon.
    #[serde(default)]
    namespaces: BTreeMap<String, RuleSection>,
    #[serde(default)]
    default_rule: RuleSection,
    #[serde(default)]
    limits: LimitsSection,
    /// With it, the app's clients may speak Realtime Pub/Sub.
    realtime_pubsub: Option<RealtimePubSubSection>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeySection {
    id: String,
    #[serde(skip_serializing)]
    secret: Option<String>,
    /// A file that holds the secret and nothing else.
    secret_file: Option<PathBuf>,
    /// Resources and operations; everything when left out.
    #[serde(default)]
    capability: HashMap<String, Vec<String>>,
    #[serde(default)]
    revocable_tokens: bool,
    #[serde(default)]
    disabled: bool,
}

impl std::fmt::Debug for KeySection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySection").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RuleSection {
    durability: Option<Durability>,
    /// A number and s, m, h or d: `72h`.
    retention: Option<String>,
    identified: bool,
    tls_only: bool,
}

impl Config {
    /// Defaults, then the file, then the environment and the flags (which clap has put in `args`).
    pub(crate) fn load(args: &ServeArgs) -> anyhow::Result<Self> {
        let mut config = match &args.config {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("the configuration {} cannot be read", path.display()))?;
                toml::from_str(&text).with_context(|| format!("in {}", path.display()))?
            }
        };
        let server = &mut config.server;
        if !args.listen.is_empty() {
            server.listen.clone_from(&args.listen);
        }
        if !args.tls_listen.is_empty() {
            server.tls_listen.clone_from(&args.tls_listen);
        }
        server.tls_cert = args.tls_cert.clone().or(server.tls_cert.take());
        server.tls_key = args.tls_key.clone().or(server.tls_key.take());
        server.metrics_listen = args.metrics_listen.or(server.metrics_listen);
        server.data = args.data.clone().or(server.data.take());
        server.workers = args.workers.or(server.workers);
        server.geoip_database = args.geoip_database.clone().or(server.geoip_database.take());
        if !args.trusted_proxies.is_empty() {
            server.trusted_proxies.clone_from(&args.trusted_proxies);
        }
        if server.workers == Some(0) {
            bail!("workers must be 1 or more");
        }
        config.transport.check()?;
        let server = &config.server;
        if !server.tls_listen.is_empty() && (server.tls_cert.is_none() || server.tls_key.is_none()) {
            bail!("a TLS listener needs tls_cert and tls_key");
        }
        if config.apps.is_empty() && !args.dev {
            bail!(
                "no app is configured, so nobody could connect: add an [[apps]] section to a file and give it \
                 with --config, or try --dev"
            );
        }
        Ok(config)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.server.data.clone().unwrap_or_else(|| DATA_DEFAULT.into())
    }

    pub(crate) fn trusted_proxies(&self) -> anyhow::Result<TrustedProxies> {
        TrustedProxies::parse(&self.server.trusted_proxies)
            .map_err(|wrong| anyhow!("trusted_proxies: {wrong}"))
    }

    pub(crate) fn countries(&self) -> anyhow::Result<Option<Countries>> {
        let Some(path) = &self.server.geoip_database else { return Ok(None) };
        let bytes = std::fs::read(path)
            .with_context(|| format!("the country database {} cannot be read", path.display()))?;
        let countries = Countries::from_bytes(bytes)
            .map_err(|wrong| anyhow!("{} is not a country database: {wrong}", path.display()))?;
        Ok(Some(countries))
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits.over(Limits::default())
    }

    /// `files_max` is how many files the process may have open.
    pub(crate) fn transport(&self, files_max: u64) -> TransportLimits {
        self.transport.limits(&self.limits(), files_max)
    }

    pub(crate) fn apps(&self) -> anyhow::Result<Vec<App>> {
        let mut seen = std::collections::HashSet::new();
        let mut apps = Vec::new();
        for section in &self.apps {
            if !seen.insert(&section.id) {
                bail!("the app {} stands twice", section.id);
            }
            apps.push(section.app(self.limits()).with_context(|| format!("in the app {}", section.id))?);
        }
        Ok(apps)
    }

    /// The settings of the apps that speak Realtime Pub/Sub, and the back ends of each.
    pub(crate) fn realtime_pubsub(
        &self,
        outgoing: &Outgoing,
    ) -> anyhow::Result<Vec<(AppId, AppSettings, Vec<BackendConfig>)>> {
        let spoken = self.apps.iter().filter_map(|app| Some((app, app.realtime_pubsub.as_ref()?)));
        let settings = spoken.map(|(app, section)| {
            let limits = app.limits.over(self.limits());
            let whole =
                section.settings(&app.id, &limits, outgoing).and_then(|s| Ok((s, section.backends()?)));
            let (settings, backends) = whole.with_context(|| format!("in the app {}", app.id))?;
            Ok((AppId::parse(&app.id)?, settings, backends))
        });
        settings.collect()
    }
}

impl AppSection {
    /// What Realtime Pub/Sub promises is that nothing is kept; what Ably's SDKs expect is two minutes for resume.
    fn durability_default(&self) -> Durability {
        if self.realtime_pubsub.is_some() && self.keys.is_empty() {
            Durability::None
        } else {
            Durability::Tail
        }
    }

    fn app(&self, limits: Limits) -> anyhow::Result<App> {
        if let Some(name) = self.limits.of_the_whole_server() {
            bail!("{name} is the whole server's: a connection has it before it says which app it is for");
        }
        let rule = |(name, rule): (&String, &RuleSection)| {
            Ok((
                name.clone(),
                rule.rule(Durability::Tail).with_context(|| format!("in the namespace {name}"))?,
            ))
        };
        Ok(App {
            id: AppId::parse(&self.id)?,
            enabled: !self.disabled,
            tls_only: self.tls_only,
            keys: self.keys.iter().map(KeySection::key).collect::<anyhow::Result<_>>()?,
            rules: Rules {
                default: self.default_rule.rule(self.durability_default())?,
                namespaces: self.namespaces.iter().map(rule).collect::<anyhow::Result<_>>()?,
            },
            limits: self.limits.over(limits),
        })
    }
}

impl KeySection {
    fn key(&self) -> anyhow::Result<(KeyId, Arc<Key>)> {
        let id = KeyId::parse(&self.id)?;
        let secret = match (&self.secret, &self.secret_file) {
            (Some(secret), None) => secret.clone(),
            (None, Some(path)) => std::fs::read_to_string(path)
                .with_context(|| {
                    format!("the secret of the key {id} cannot be read from {}", path.display())
                })?
                .trim()
                .to_owned(),
            _ => bail!("the key {id} needs either secret or secret_file"),
        };
        if secret.is_empty() || secret.contains(':') {
            bail!("the secret of the key {id} must not be empty or have ':' in it");
        }
        let capability = if self.capability.is_empty() {
            Capability::everything()
        } else {
            Capability::parse(&serde_json::to_string(&self.capability)?)
                .with_context(|| format!("in the capability of the key {id}"))?
        };
        let key = Key {
            id: id.clone(),
            secret: SecretString::from(secret),
            capability: Arc::new(capability),
            revocable_tokens: self.revocable_tokens,
            enabled: !self.disabled,
        };
        Ok((id, Arc::new(key)))
    }
}

impl RuleSection {
    fn rule(&self, durability_default: Durability) -> anyhow::Result<Rule> {
        Ok(Rule {
            durability: self.durability.unwrap_or(durability_default),
            retention: self.retention.as_deref().map_or(Ok(RETENTION_DEFAULT), duration)?,
            identified: self.identified,
            tls_only: self.tls_only,
            ..Rule::default()
        })
    }
}

/// `90s`, `5m`, `72h`, `30d`.
fn duration(text: &str) -> anyhow::Result<Duration> {
    let right = "a duration is a number and s, m, h or d, for example 72h";
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).context(right)?;
    let number: u64 = number.parse().context(right)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => bail!(right),
    };
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

pub(crate) fn check(args: &ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(args)?;
    let apps = config.apps()?;
    Outgoing::start(&config, Clock::start())?.check(&config)?;
    config.trusted_proxies()?;
    config.countries()?;
    let keys: usize = apps.iter().map(|a| a.keys.len()).sum();
    say(&format!("the configuration is right: {} apps, {keys} keys", apps.len()));
    Ok(())
}

pub(crate) fn print(args: &ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(args)?;
    config.apps()?;
    Outgoing::start(&config, Clock::start())?.check(&config)?;
    say(&toml::to_string_pretty(&config)?);
    Ok(())
}

#[allow(clippy::print_stdout, reason = "what a person asked for on the command line")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Vec<App>> {
        toml::from_str::<Config>(text)?.apps()
    }

    #[test]
    fn a_whole_file() {
        let apps = parse(
            r#"
            [limits]
            message_bytes_max = 1000
            [[apps]]
            id = "shop"
            [apps.limits]
            presence_members_max = 5
            [[apps.keys]]
            id = "k1"
            secret = "s3cret"
            capability = { "orders:*" = ["publish", "subscribe"] }
            [apps.namespaces.orders]
            durability = "persist"
            retention = "30d"
            "#,
        )
        .unwrap();
        let app = &apps[0];
        assert_eq!((app.limits.message_bytes_max, app.limits.presence_members_max), (1000, 5));
        assert_eq!(app.rules.namespaces["orders"].durability, Durability::Persist);
        assert_eq!(app.rules.namespaces["orders"].retention, Duration::from_secs(30 * 86_400));
        assert_eq!(app.rules.default.durability, Durability::Tail);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("[server]\nlisen = []", "lisen"),
            ("[[apps]]\nid = \"a b\"", "a b"),
            ("[[apps]]\nid = \"a\"\n[[apps.keys]]\nid = \"k\"", "secret"),
            ("[[apps]]\nid = \"a\"\n[[apps.keys]]\nid = \"k\"\nsecret = \"a:b\"", "':'"),
            ("[[apps]]\nid = \"a\"\n[apps.default_rule]\nretention = \"3x\"", "72h"),
            ("[[apps]]\nid = \"a\"\n[[apps]]\nid = \"a\"", "twice"),
        ] {
            let failure = format!("{:#}", parse(text).unwrap_err());
            assert!(failure.contains(named), "{failure} should name {named}");
        }
    }

    #[test]
    fn nothing_configured_says_what_to_do() {
        let failure = Config::load(&ServeArgs::default()).unwrap_err().to_string();
        assert!(failure.contains("[[apps]]") && failure.contains("--dev"), "{failure}");
        assert!(Config::load(&ServeArgs { dev: true, ..ServeArgs::default() }).is_ok());
    }

    #[test]
    fn a_printed_configuration_has_no_secret() {
        let text = "[[apps]]\nid = \"a\"\n[[apps.keys]]\nid = \"k\"\nsecret = \"canary\"";
        let config: Config = toml::from_str(text).unwrap();
        assert!(!toml::to_string_pretty(&config).unwrap().contains("canary"));
        assert!(!format!("{config:?}").contains("canary"));
    }
}
