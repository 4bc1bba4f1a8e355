//! Prometheus metrics, on a port of their own. No label ever names a channel, a client or a key.

use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::routing::get;
use fanfare_engine::Counters;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tower::ServiceExt;

use crate::Setup;
use crate::core::Core;

static TRANSPORTS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn transport_opened() {
    TRANSPORTS.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn transport_closed() {
    TRANSPORTS.fetch_sub(1, Ordering::Relaxed);
}

pub(crate) fn transports_open() -> u64 {
    TRANSPORTS.load(Ordering::Relaxed)
}

pub(crate) async fn serve(core: Rc<Core>, listener: std::net::TcpListener) {
    let setup = core.setup.clone();
    let router = Router::new().route("/metrics", get(move || async move { render(&setup) }));
    let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    let listener = match listener {
        Ok(listener) => listener,
        Err(failure) => return tracing::error!(%failure, "the metrics listener could not start"),
    };
    while let Ok((stream, _)) = listener.accept().await {
        let router = router.clone();
        let service = service_fn(move |request| router.clone().oneshot(request));
        tokio::task::spawn_local(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}

type Row = (&'static str, &'static str, &'static str, fn(&Counters) -> &AtomicU64);

const ROWS: &[Row] = &[
    ("fanfare_publishes_total", "counter", "Publishes committed.", |c| &c.published),
    ("fanfare_published_bytes_total", "counter", "User bytes of committed publishes.", |c| {
        &c.published_bytes
    }),
    ("fanfare_deliveries_total", "counter", "Records queued to subscribers.", |c| &c.delivered),
    ("fanfare_deliveries_dropped_total", "counter", "Deliveries refused by a full outbox.", |c| &c.dropped),
    ("fanfare_gaps_total", "counter", "Attachments that fell behind and were told.", |c| &c.gaps),
    ("fanfare_sessions_opened_total", "counter", "Sessions opened.", |c| &c.sessions_opened),
    ("fanfare_sessions_ended_total", "counter", "Sessions ended.", |c| &c.sessions_ended),
    ("fanfare_channels", "gauge", "Channels in memory.", |c| &c.channels),
    ("fanfare_store_failures_total", "counter", "Requests that the store refused.", |c| &c.store_failures),
];

fn render(setup: &Setup) -> String {
    let mut out = String::new();
    let mut row = |name: &str, kind: &str, help: &str, value: u64| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    for (name, kind, help, counter) in ROWS {
        row(name, kind, help, counter(setup.engine.counters()).load(Ordering::Relaxed));
    }
    row("fanfare_transports", "gauge", "Open WebSocket connections.", transports_open());
    if let Some(rows) = setup.more_metrics.get() {
        rows(&mut out);
    }
    out
}
