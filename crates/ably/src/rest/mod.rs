//! Ably's REST protocol, over the engine.
//!
//! One request comes in as a [`context::Context`] and goes out as a [`respond::Answer`]; what lies between is one
//! function for each endpoint ([`routes`]). Requests are routed here and not by a framework, so that every refusal
//! (an unknown path, a wrong method, a broken escape) has a code and the caller's own format.
//!
//! Invariants: the app comes from the credential, never from the request; a body is read only as far as its limit,
//! and only for a caller who may send one; nothing is answered 201 before the engine has committed it.

mod ask;
mod batch;
mod channels;
mod context;
mod history;
mod ids;
mod paging;
mod presence;
mod publish;
mod respond;
mod routes;
mod sandbox;
mod tokens;
mod uri;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use fanfare_engine::Engine;
use fanfare_model::{App, AppId, Now};
use parking_lot::Mutex;

use crate::auth::{AppLookup, Authenticator, BasicOverPlain};
use crate::wire::Shape;

pub use respond::refusal;
pub use sandbox::{Address, LocalSandbox, Sandbox, SandboxFuture};

/// The largest request body: a batch of the most that one may hold.
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What the request came over. The gateway puts it into the request's extensions; without it the request counts
/// as insecure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// TLS, to us or to a proxy that we trust.
    pub secure: bool,
}

pub struct RestState {
    pub engine: Engine,
    pub auth: Arc<Authenticator>,
    pub clock: Arc<dyn Fn() -> Now + Send + Sync>,
    pub basic_over_plain: BasicOverPlain,
    /// Named in `X-Ably-Serverid`.
    pub server_id: Arc<str>,
    /// Provisioning for tests; in production there is none, and its paths do not exist.
    pub sandbox: Option<Arc<dyn Sandbox>>,
}

/// What all requests share.
struct Server {
    state: RestState,
    /// Apps whose channels are being enumerated: one at a time each, for that asks all workers.
    enumerating: Mutex<HashSet<AppId>>,
}

impl AppLookup for Server {
    fn app(&self, id: &AppId) -> Option<Arc<App>> {
        self.state.engine.directory().app(id)
    }
}

pub fn router(state: RestState) -> Router {
    let server = Arc::new(Server { state, enumerating: Mutex::default() });
    Router::new().fallback(serve).with_state(server)
}

async fn serve(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if parts.method == Method::OPTIONS {
        return respond::preflight();
    }
    let (style, refused) = respond::Style::of(&parts);
    let context = refused.and_then(|()| context::Context::new(server.clone(), parts, body, style.format));
    let answer = match context {
        Ok(context) => shaped(context).await,
        Err(refusal) => Err(refusal),
    };
    style.render(answer, &server.state.server_id)
}

/// What was asked for, and of that what the caller wants to see.
async fn shaped(context: context::Context) -> respond::Result {
    let format = context.format;
    let shape = match context.method {
        Method::GET => context.query.shape()?,
        _ => Shape::default(),
    };
    let mut answer = routes::answer(context).await?;
    if !shape.is_plain() && answer.error.is_none() && !answer.body.is_empty() {
        answer.body = shape.apply(format, &answer.body)?;
    }
    Ok(answer)
}
