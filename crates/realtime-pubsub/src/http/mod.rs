//! The HTTP API for back ends: publish, unsubscribe, terminate, telemetry.
//!
//! Requests are routed here and not by a framework, so that every refusal is JSON and says what would be right.
//!
//! Invariants: a request's token is signed with the admin key of the app in its path, and of no other; a body is read
//! only for a caller who may send one, and only as far as its limit.

mod admin;
mod context;
mod publish;
mod telemetry;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use axum::routing::any;
use fanfare_engine::Engine;
use fanfare_model::Now;

use crate::apps::Apps;
use crate::refusal::Refusal;
use crate::session::Random;
use context::Context;

/// The largest request body.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

pub struct ApiState {
    pub engine: Engine,
    pub settings: Arc<Apps>,
    pub clock: Arc<dyn Fn() -> Now + Send + Sync>,
    pub random: Random,
}

#[derive(Clone)]
struct Api {
    state: Arc<ApiState>,
    /// Requests come over TLS.
    secure: bool,
}

/// The routes for a plain listener or for one with TLS.
pub fn router(state: Arc<ApiState>, secure: bool) -> Router {
    Router::new()
        .route("/api/{*rest}", any(serve))
        .route("/telemetry/{*rest}", any(serve))
        .with_state(Api { state, secure })
}

/// An answer that is yes.
struct Answer {
    status: u16,
    body: Option<String>,
}

impl Answer {
    fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { status, body: Some(body.to_string()) }
    }

    fn no_content() -> Self {
        Self { status: 204, body: None }
    }
}

const METHODS: &str = "GET, POST, DELETE, OPTIONS";
/// `*` would not cover `Authorization`.
const HEADERS: &str = "Authorization, Content-Type, X-App-Id";
/// How long a browser remembers a preflight's answer, in seconds.
const PREFLIGHT_AGE: &str = "3600";

async fn serve(State(api): State<Api>, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        let mut response = render(Ok(Answer::no_content()));
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_AGE));
        return response;
    }
    render(answer(api, request).await)
}

async fn answer(api: Api, request: Request) -> Result<Answer, Refusal> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let path: Vec<&str> = path.split('/').skip(1).collect();
    let method = parts.method.clone();
    let context = |app: &str| Context::new(api, &parts, app);
    match (&path[..], &method) {
        (["api", "topics", app, "publish"], &Method::POST) => publish::publish(&context(app)?, body).await,
        (["api", "topics", app, "unsubscribe"], &Method::POST) => {
            admin::unsubscribe(&context(app)?, body).await
        }
        (["api", "connections", app], &Method::DELETE) => admin::terminate_all(&context(app)?).await,
        (["api", "connections", app, connection], &Method::DELETE) => {
            admin::terminate(&context(app)?, connection).await
        }
        (["telemetry", "aggregates", app, days], &Method::GET) => {
            telemetry::aggregates(&context(app)?, days).await
        }
        (["telemetry", "heatmap", "connections", "countries", app, days], &Method::GET) => {
            telemetry::countries(&context(app)?, days).await
        }
        (["telemetry", "top-topics", app, days], &Method::GET) => {
            telemetry::top_topics(&context(app)?, days).await
        }
        (path, _) => Err(unanswered(path)),
    }
}

fn unanswered(path: &[&str]) -> Refusal {
    let allowed = match path {
        ["api", "topics", _, "publish" | "unsubscribe"] => "POST",
        ["api", "connections", _] | ["api", "connections", _, _] => "DELETE",
        ["telemetry", "aggregates" | "top-topics", _, _] => "GET",
        ["telemetry", "heatmap", "connections", "countries", _, _] => "GET",
        _ => {
            return Refusal::not_found(
                "there is no such path: see /api/topics/{app}/publish and docs/realtime-pubsub.md",
            );
        }
    };
    Refusal::new(405, "method_not_allowed", format!("this path has {allowed}"))
}

fn render(answer: Result<Answer, Refusal>) -> Response {
    let (status, body, refusal) = match answer {
        Ok(answer) => (answer.status, answer.body, None),
        Err(refusal) => (refusal.status, Some(refusal.body()), Some(refusal)),
    };
    let mut response = Response::builder()
        .status(status)
        .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")
        .header(header::CACHE_CONTROL, "no-store");
    if body.is_some() {
        response = response.header(header::CONTENT_TYPE, "application/json");
    }
    if let Some(refusal) = refusal {
        if let Some(wait) = refusal.retry_after {
            response = response.header(header::RETRY_AFTER, wait.as_secs().max(1));
        }
        if let Some(allowed) = refusal.message.strip_prefix("this path has ").filter(|_| status == 405) {
            response = response.header(header::ALLOW, allowed);
        }
        if status == 401 {
            response = response.header(header::WWW_AUTHENTICATE, "Bearer");
        }
    }
    response.body(body.map_or_else(Body::empty, Body::from)).unwrap_or_default()
}
