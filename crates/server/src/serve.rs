//! `fanfare serve`: everything is put together here, and taken apart again on a signal.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context as _, bail};
use fanfare_engine::Directory;
use fanfare_gateway::{Clock, Gateway, GatewayConfig, Listener};
use fanfare_model::{Epoch, Timestamp};
use fanfare_realtime_pubsub::Apps;
use fanfare_store::{Backend, Disk, DiskOptions, SyncPolicy};
use serde_json::json;

use crate::args::ServeArgs;
use crate::config::{Config, say};
use crate::dev::{self, Bearer, DevApp};
use crate::outgoing::Outgoing;
use crate::tls::Certificates;
use crate::{ably, logging, realtime_pubsub};

const LISTEN_DEFAULT: &str = "127.0.0.1:8080";
/// Connections that the system may hold for us until we take them. One that finds no room there waits a
/// second before it tries again.
const ACCEPT_QUEUE: i32 = 4_096;
/// How long clients have to hear that they should reconnect.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the store is asked whether it has failed for good.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How often old records are dropped from the disk.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(60);

pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<()> {
    logging::start(args.log_format, &args.log_level)?;
    no_core_dumps();
    let config = Config::load(args)?;
    let data = config.data();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&data)
        .with_context(|| format!("the data directory {} cannot be made", data.display()))?;
    let store = open_store(&data, args.unsafe_no_sync)?;
    let dev = args.dev.then(|| DevApp::open(&data)).transpose()?;
    let directory = Arc::new(Directory::default());
    let clock = Clock::start();
    let topics = Topics { apps: Arc::default(), outgoing: Outgoing::start(&config, clock)? };
    fill(&directory, &topics, &config, dev.as_ref())?;
    let certificates = match (&config.server.tls_cert, &config.server.tls_key) {
        (Some(cert), Some(key)) => Some(Certificates::load(cert.clone(), key.clone())?),
        _ => None,
    };
    let (listeners, plain) = listeners(&config, certificates.as_ref())?;
    let metrics = config.server.metrics_listen.map(bind).transpose()?;
    let metrics_at = metrics.as_ref().map(TcpListener::local_addr).transpose()?;
    let address = plain.or_else(|| listeners.first().and_then(|l| l.socket.local_addr().ok()));
    let address = address.context("there is no listener")?;
    let setup = ably::Setup {
        sandbox_at: args.dev.then_some((address, plain.is_none())),
        keys_without_tls: args.dev || config.server.keys_without_tls,
        server_id: format!("fanfare-{}", dev::random(6)?).into(),
        limits: config.limits(),
        auth: ably::restore(&*store, clock.now())?,
    };
    let workers = config.server.workers;
    let workers = workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let gateway = Gateway::start(
        GatewayConfig {
            workers,
            listeners,
            metrics,
            directory: directory.clone(),
            store: store.clone(),
            memory_epoch: Epoch::parse(&dev::random(10)?).context("an epoch is letters and digits")?,
            compression: config.server.compression.unwrap_or(true),
            trusted_proxies: config.trusted_proxies()?,
            countries: config.countries()?,
            limits: config.transport(files_max()),
            clock,
            refusals: ably::refusal,
        },
        |engine, clock| {
            let ably = ably::protocols(engine, *clock, &setup);
            realtime_pubsub::beside(ably, engine, *clock, topics.apps.clone(), topics.outgoing.backends())
        },
    )?;
    gateway.also_measure(topics.outgoing.measure());
    let dev = dev.as_ref();
    let told = signals()?;
    announce(args, dev, address, plain.is_none(), metrics_at, gateway.clock().now().wall);
    let ended = until_told(args, &gateway, &*store, &topics, certificates.as_deref(), dev, &told);
    tracing::info!("draining: clients are told to reconnect");
    gateway.drain(DRAIN_TIMEOUT);
    topics.outgoing.close(DRAIN_TIMEOUT);
    store.close();
    ended
}

fn open_store(data: &Path, unsafe_no_sync: bool) -> anyhow::Result<Arc<dyn Backend>> {
    let mut options = DiskOptions::new(data.join("log"));
    if unsafe_no_sync {
        tracing::warn!("acknowledged messages WILL be lost on a crash: the disk is not synced");
        options.sync = SyncPolicy::Never;
    }
    let path = options.path.display().to_string();
    std::panic::set_hook(Box::new(move |panic| damaged(&path, panic)));
    let opened = Disk::open(options);
    let _ = std::panic::take_hook();
    Ok(Arc::new(opened?))
}

/// Some damage makes the store's engine panic, and then again while it cleans up, which ends the process
/// at once: what is wrong has to be said here, in the first panic, or it is never said.
fn damaged(path: &str, panic: &std::panic::PanicHookInfo<'_>) {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| {
        let what = panic.payload_as_str().unwrap_or("for no known reason");
        #[allow(clippy::print_stderr)]
        {
            eprintln!("fanfare: {path} is damaged, its engine panicked: {}", what.replace('\n', " "));
        }
    });
}

/// What Realtime Pub/Sub knows of apps, and sends out for them, besides the engine's directory.
struct Topics {
    apps: Arc<Apps>,
    outgoing: Outgoing,
}

fn fill(directory: &Directory, topics: &Topics, config: &Config, dev: Option<&DevApp>) -> anyhow::Result<()> {
    let mut apps = config.apps()?;
    let mut settings = Vec::new();
    let mut backends = Vec::new();
    for (app, its_settings, its_backends) in config.realtime_pubsub(&topics.outgoing)? {
        settings.push((app.clone(), its_settings));
        backends.push((app, its_backends));
    }
    if let Some(dev) = dev {
        apps.push(dev.app(config.limits())?);
        settings.push(dev.realtime_pubsub(&config.limits())?);
    }
    topics.outgoing.replace(backends)?;
    topics.apps.replace(settings);
    directory.replace(apps.into_iter().map(Arc::new));
    Ok(())
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = || {
        let socket = TcpListener::bind(address)?;
        rustix::net::listen(&socket, ACCEPT_QUEUE)?;
        std::io::Result::Ok(socket)
    };
    bound().with_context(|| format!("cannot listen on {address}"))
}

/// Files that the process may have open.
fn files_max() -> u64 {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The listeners, and the first plain one's address.
fn listeners(
    config: &Config,
    certificates: Option<&Arc<Certificates>>,
) -> anyhow::Result<(Vec<Listener>, Option<SocketAddr>)> {
    let mut plain = config.server.listen.clone();
    if plain.is_empty() && config.server.tls_listen.is_empty() {
        plain.push(LISTEN_DEFAULT.parse()?);
    }
    let mut listeners = Vec::new();
    for address in plain {
        listeners.push(Listener { socket: bind(address)?, tls: None });
    }
    let first_plain = listeners.first().map(|l| l.socket.local_addr()).transpose()?;
    for address in &config.server.tls_listen {
        let tls = certificates.map(Certificates::source);
        listeners.push(Listener { socket: bind(*address)?, tls });
    }
    Ok((listeners, first_plain))
}

/// Waits for a signal, drops old records meanwhile, and watches the store.
fn until_told(
    args: &ServeArgs,
    gateway: &Gateway,
    store: &dyn Backend,
    topics: &Topics,
    certificates: Option<&Certificates>,
    dev: Option<&DevApp>,
    told: &Receiver<Told>,
) -> anyhow::Result<()> {
    let mut expired_at = gateway.clock().now().mono;
    loop {
        match told.recv_timeout(WATCH_INTERVAL) {
            Ok(Told::Stop) => return Ok(()),
            Ok(Told::Reload) => reload(args, gateway, topics, certificates, dev),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("signals cannot be received"),
        }
        // A disk that failed once is not asked again: what it holds is known only after a new start.
        if let Some(fault) = store.fault() {
            bail!("the store has failed, and nothing more is acknowledged: {fault}");
        }
        let now = gateway.clock().now();
        if now.mono.saturating_sub(expired_at) >= EXPIRE_INTERVAL {
            expired_at = now.mono;
            if let Err(failure) = store.expire(now.wall) {
                tracing::error!(%failure, "old records could not be dropped");
            }
        }
    }
}

enum Told {
    Stop,
    Reload,
}

/// From here on a signal is an order, and no longer the process's end: to be called before anyone is told
/// that the server is there.
fn signals() -> anyhow::Result<Receiver<Told>> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hup = signal(SignalKind::hangup())?;
    drop(entered);
    let (tell, told) = channel();
    let listen = async move {
        loop {
            let order = tokio::select! {
                _ = term.recv() => Told::Stop,
                _ = int.recv() => Told::Stop,
                _ = hup.recv() => Told::Reload,
            };
            if tell.send(order).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(listen))?;
    Ok(told)
}

/// A configuration that is wrong changes nothing.
fn reload(
    args: &ServeArgs,
    gateway: &Gateway,
    topics: &Topics,
    certificates: Option<&Certificates>,
    dev: Option<&DevApp>,
) {
    let loaded = Config::load(args).and_then(|config| {
        let countries = config.countries()?;
        fill(gateway.engine().directory(), topics, &config, dev)?;
        Ok(countries)
    });
    match loaded {
        Ok(countries) => {
            gateway.replace_countries(countries);
            gateway.engine().reconfigured();
        }
        Err(failure) => tracing::error!("the configuration was not reloaded: {failure:#}"),
    }
    match certificates.map_or(Ok(()), Certificates::reload) {
        Ok(()) => tracing::info!("reloaded"),
        Err(failure) => tracing::error!("the certificates were not reloaded: {failure:#}"),
    }
}

/// Keys are in memory: they must not be in a core file.
fn no_core_dumps() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let none = Rlimit { current: Some(0), maximum: getrlimit(Resource::Core).maximum };
    if let Err(failure) = setrlimit(Resource::Core, none) {
        tracing::warn!(%failure, "core dumps could not be turned off");
    }
    // Every connection is a file: take what the system allows.
    let files = getrlimit(Resource::Nofile);
    if let Err(failure) = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }) {
        tracing::warn!(%failure, "the limit on open files could not be raised");
    }
}

fn announce(
    args: &ServeArgs,
    dev: Option<&DevApp>,
    address: SocketAddr,
    tls: bool,
    metrics: Option<SocketAddr>,
    now: Timestamp,
) {
    let url = format!("{}://{address}", if tls { "https" } else { "http" });
    let key = dev.map(DevApp::key);
    if args.json {
        let line = json!({
            "url": url,
            "host": address.ip().to_string(),
            "port": address.port(),
            "tls": tls,
            "appId": dev.map(|d| &d.app_id),
            "key": key,
            "clientToken": dev.map(|d| d.token(Bearer::Client, now)),
            "adminToken": dev.map(|d| d.token(Bearer::Admin, now)),
            "clientKey": dev.map(|d| d.signing_key(Bearer::Client)),
            "adminKey": dev.map(|d| d.signing_key(Bearer::Admin)),
            "metricsUrl": metrics.map(|at| format!("http://{at}/metrics")),
        });
        return say(&line.to_string());
    }
    say(&format!("Fanfare listens on {url}"));
    let (Some(dev), Some(key)) = (dev, key) else { return };
    // As it was started: it may not be on the reader's path.
    let program = std::env::args().next().unwrap_or_else(|| "fanfare".to_owned());
    say(&format!(
        "\n  app  {}\n  key  {key}\n\nTry it, in another terminal:\n\n  \
         export FANFARE_URL={url} FANFARE_KEY={key}\n  \
         {program} subscribe greetings --rewind 1 &\n  {program} publish greetings hello\n\n\
         Or with an Ably SDK (npm install ably):\n\n  \
         const ably = new Ably.Realtime({{ key: '{key}',\n    endpoint: '{}', port: {}, tls: {tls} }});\n  \
         const channel = ably.channels.get('greetings');\n  \
         await channel.subscribe((message) => console.log(message.data));\n  \
         await channel.publish('greeting', 'hello');\n\n\
         Or with a Realtime Pub/Sub client (npm install realtime-pubsub-client), whose urlProvider gives:\n\n  \
         {}://{address}/apps/{}?access_token=CLIENT_TOKEN\n\n  \
         client token  {}\n  admin token   {}\n\n\
         Development mode: keys work without TLS and anyone may make test apps. Not for production.",
        dev.app_id,
        address.ip(),
        address.port(),
        if tls { "wss" } else { "ws" },
        dev.app_id,
        dev.token(Bearer::Client, now),
        dev.token(Bearer::Admin, now),
    ));
}
