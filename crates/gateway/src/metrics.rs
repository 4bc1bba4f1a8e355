//! Prometheus metrics, on a port of their own. No label ever names a channel, a client, a key or an
//! address. The names are a promise: docs/metrics.md lists them.

use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::header;
use axum::routing::get;
use fanfare_engine::{Counters, Engine};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tower::ServiceExt;

use crate::Setup;
use crate::admission::Refused;
use crate::core::Core;

/// What `prometheus-client` writes.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long accepting waits after a failure.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

static TRANSPORTS: AtomicU64 = AtomicU64::new(0);
static REFUSED: [AtomicU64; Refused::ALL.len()] = [const { AtomicU64::new(0) }; Refused::ALL.len()];
static ACCEPT_FAILURES: AtomicU64 = AtomicU64::new(0);

pub(crate) fn transport_opened() {
    TRANSPORTS.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn transport_closed() {
    TRANSPORTS.fetch_sub(1, Ordering::Relaxed);
}

pub(crate) fn transports_open() -> u64 {
    TRANSPORTS.load(Ordering::Relaxed)
}

pub(crate) fn refused(reason: Refused) {
    REFUSED[reason as usize].fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn accept_failed() {
    ACCEPT_FAILURES.fetch_add(1, Ordering::Relaxed);
}

pub(crate) async fn serve(core: Rc<Core>, listener: std::net::TcpListener) {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(House { engine: core.setup.engine.clone() }));
    let registry = std::sync::Arc::new(registry);
    let setup = core.setup.clone();
    let answer = move || async move {
        let mut out = String::new();
        match render(&mut out, &registry, &setup) {
            Ok(()) => Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], out)),
            Err(fmt::Error) => Err(axum::http::StatusCode::INTERNAL_SERVER_ERROR),
        }
    };
    let router = Router::new().route("/metrics", get(answer));
    let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    let listener = match listener {
        Ok(listener) => listener,
        Err(failure) => return tracing::error!(%failure, "the metrics listener could not start"),
    };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let router = router.clone();
        let service = service_fn(move |request| router.clone().oneshot(request));
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(hyper_util::rt::TokioTimer::new());
        http.header_read_timeout(core.setup.limits.handshake_timeout);
        tokio::task::spawn_local(http.serve_connection(TokioIo::new(stream), service));
    }
}

fn render(out: &mut String, registry: &Registry, setup: &Setup) -> fmt::Result {
    text::encode_registry(out, registry)?;
    if let Some(rows) = setup.more_metrics.get() {
        rows(out);
    }
    text::encode_eof(out)
}

type Row = (&'static str, &'static str, fn(&Counters) -> &AtomicU64);

/// The encoder adds `_total` to these names.
const COUNTERS: &[Row] = &[
    ("fanfare_publishes", "Publishes committed", |c| &c.published),
    ("fanfare_published_bytes", "User bytes of committed publishes", |c| &c.published_bytes),
    ("fanfare_deliveries", "Records queued to subscribers", |c| &c.delivered),
    ("fanfare_deliveries_dropped", "Deliveries refused by a full outbox", |c| &c.dropped),
    ("fanfare_gaps", "Attachments that fell behind and were told", |c| &c.gaps),
    ("fanfare_sessions_opened", "Sessions opened", |c| &c.sessions_opened),
    ("fanfare_sessions_ended", "Sessions ended", |c| &c.sessions_ended),
    ("fanfare_store_failures", "Requests that the store refused", |c| &c.store_failures),
];

/// What is counted elsewhere, read when somebody asks.
struct House {
    engine: Engine,
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House").finish_non_exhaustive()
    }
}

impl Collector for House {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, counter) in COUNTERS {
            let value = ConstCounter::new(counter(self.engine.counters()).load(Ordering::Relaxed));
            value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)?;
        }
        let failures = ConstCounter::new(ACCEPT_FAILURES.load(Ordering::Relaxed));
        let help = "Failures to accept, as for want of files";
        let kind = failures.metric_type();
        failures.encode(encoder.encode_descriptor("fanfare_accept_failures", help, None, kind)?)?;
        let help = "Connections for which there was no room";
        let mut family = encoder.encode_descriptor("fanfare_connections_refused", help, None, kind)?;
        for reason in Refused::ALL {
            let value = ConstCounter::new(REFUSED[reason as usize].load(Ordering::Relaxed));
            value.encode(family.encode_family(&[("reason", reason.name())])?)?;
        }
        for (name, help, value) in [
            (
                "fanfare_channels",
                "Channels in memory",
                self.engine.counters().channels.load(Ordering::Relaxed),
            ),
            ("fanfare_transports", "Open WebSocket connections", transports_open()),
        ] {
            let value = ConstGauge::new(value);
            value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)?;
        }
        Ok(())
    }
}
