//! HTTP on a socket: requests go to the router, WebSocket upgrades become connections.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use fanfare_engine::Session;
use fanfare_ws::DeflateParams;
use fanfare_ws::handshake::{accept_key, is_valid_key, negotiate_deflate};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tower::ServiceExt;

use crate::admission::Handshake;
use crate::body;
use crate::connection;
use crate::core::Core;
use crate::origin::Origin;
use crate::stream::Stream;
use crate::{Accepted, UpgradeRequest};

pub(crate) async fn serve(core: Rc<Core>, stream: Stream, peer: IpAddr, handshake: Handshake) {
    // Over with the first request's head, or with the connection.
    let handshake = Cell::new(Some(handshake));
    let secure = matches!(stream, Stream::Tls(_));
    let limit = core.setup.limits.handshake_timeout;
    let service = service_fn(move |request| {
        drop(handshake.take());
        let core = core.clone();
        async move { Ok::<_, Infallible>(answer(&core, request, peer, secure).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(failure) = served {
        tracing::debug!(%failure, "an HTTP connection ended badly");
    }
}

async fn answer(
    core: &Rc<Core>,
    mut request: Request<Incoming>,
    peer: IpAddr,
    secure: bool,
) -> Response<Body> {
    let setup = &core.setup;
    let origin = {
        let countries = setup.countries.load();
        Origin::of(peer, request.headers_mut(), &setup.trusted_proxies, countries.as_deref())
    };
    if is_upgrade(request.headers()) {
        return upgrade(core, request, origin, secure).await;
    }
    if request.method() == Method::GET && request.uri().path() == "/health" {
        return health(core);
    }
    request.extensions_mut().insert(origin.address);
    let limit = core.setup.limits.body_timeout;
    let router = if secure { &core.setup.http_secure } else { &core.setup.http };
    match router.clone().oneshot(request.map(|body| body::within(limit, body))).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn health(core: &Core) -> Response<Body> {
    let (status, body) = if core.setup.draining.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#)
    } else if core.setup.engine.store_health().is_err() {
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"unavailable","reason":"the store refuses writes"}"#)
    } else {
        (StatusCode::OK, r#"{"status":"ok"}"#)
    };
    reply(status, Some(("content-type", "application/json")), body)
}

async fn upgrade(
    core: &Rc<Core>,
    mut request: Request<Incoming>,
    origin: Origin,
    secure: bool,
) -> Response<Body> {
    let headers = request.headers();
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).map(http::HeaderValue::as_bytes);
    if version != Some(b"13") {
        let right = Some(("sec-websocket-version", "13"));
        return reply(StatusCode::UPGRADE_REQUIRED, right, "this server speaks WebSocket version 13");
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(http::HeaderValue::as_bytes).unwrap_or_default();
    if request.method() != Method::GET || !is_valid_key(key) {
        return reply(StatusCode::BAD_REQUEST, None, "not a WebSocket handshake: GET with a 16-byte key is");
    }
    let accepted = accept_key(key);
    let session = match open(core, &request, &origin, secure).await {
        Ok(session) => session,
        Err(refusal) => return refusal,
    };
    let headers = request.headers();
    let offers = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|v| v.to_str().ok());
    let deflate = negotiate_deflate(offers, core.setup.compression);
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_ACCEPT, accepted);
    if let Some(params) = &deflate {
        response = response.header(header::SEC_WEBSOCKET_EXTENSIONS, params.to_header());
    }
    let upgraded = hyper::upgrade::on(&mut request);
    drop(request);
    tokio::task::spawn_local(upgraded_connection(core.clone(), upgraded, session, deflate));
    response.body(Body::empty()).unwrap_or_default()
}

/// Asks the protocols for a session, again and again while they wait for something.
async fn open(
    core: &Rc<Core>,
    request: &Request<Incoming>,
    origin: &Origin,
    secure: bool,
) -> Result<Box<dyn Session>, Response<Body>> {
    let waited = async {
        loop {
            let worker = core.worker.borrow().id();
            let accepted = core.setup.websocket.accept(&UpgradeRequest {
                path: request.uri().path(),
                query: request.uri().query().unwrap_or_default(),
                headers: request.headers(),
                secure,
                address: origin.address,
                country: origin.country,
                worker,
                now: core.now(),
            });
            match accepted {
                Accepted::Session(session) => return Ok(session),
                Accepted::Refused(response) => return Err(response.map(Body::from)),
                Accepted::Later(done) => done.await,
            }
        }
    };
    match tokio::time::timeout(core.setup.limits.handshake_timeout, waited).await {
        Ok(opened) => opened,
        Err(_) => {
            Err(reply(StatusCode::SERVICE_UNAVAILABLE, None, "the handshake took too long, please retry"))
        }
    }
}

async fn upgraded_connection(
    core: Rc<Core>,
    upgraded: hyper::upgrade::OnUpgrade,
    session: Box<dyn Session>,
    deflate: Option<DeflateParams>,
) {
    let Ok(upgraded) = upgraded.await else { return };
    let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() else { return };
    // A task of its own, so that what HTTP needed is freed with this one.
    connection::start(&core, parts.io.into_inner(), parts.read_buf, session, deflate);
}

fn reply(
    status: StatusCode,
    extra: Option<(&'static str, &'static str)>,
    body: &'static str,
) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    if let Some((name, value)) = extra {
        response.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    response
}
