//! A request whose app is known, and what its bearer may do.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use fanfare_engine::Reply;
use fanfare_model::{AnonymisedAddress, App, AppId};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::oneshot;

use super::{Api, ApiState, BODY_BYTES_MAX};
use crate::apps::AppSettings;
use crate::permission::Action;
use crate::refusal::Refusal;
use crate::token::{self, Grant, Unverified};

/// How long a request waits for an issuer's keys.
const KEYS_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Context {
    pub(super) state: Arc<ApiState>,
    pub(super) secure: bool,
    pub(super) app: Arc<App>,
    pub(super) settings: Arc<AppSettings>,
    pub(super) query: String,
    /// Where the request comes from. The gateway says it of every request.
    pub(super) network: Option<AnonymisedAddress>,
    headers: HeaderMap,
}

impl Context {
    pub(super) fn new(api: Api, parts: &Parts, app: &str) -> Result<Self, Refusal> {
        let Api { state, secure } = api;
        let id = AppId::parse(app).map_err(|_| Refusal::unknown_app())?;
        let (Some(app), Some(settings)) = (state.engine.directory().app(&id), state.settings.app(&id)) else {
            return Err(Refusal::unknown_app());
        };
        if !app.enabled {
            return Err(Refusal::forbidden("the app is suspended"));
        }
        if app.tls_only && !secure {
            return Err(Refusal::forbidden("the app requires TLS: use https://"));
        }
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let network = parts.extensions.get().copied();
        Ok(Self { state, secure, app, settings, query, network, headers: parts.headers.clone() })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Who asks. What they may do is asked for each thing that they do.
    pub(super) async fn bearer(&self) -> Result<Grant, Refusal> {
        let key = self.settings.admin_key.as_ref();
        let key = key.ok_or_else(|| Refusal::forbidden("the app has no admin key, and so no HTTP API"))?;
        let value = self.header(header::AUTHORIZATION.as_str());
        let missing = || Refusal::unauthorized("the request needs the header Authorization: Bearer <JWT>");
        let (scheme, token) = value.and_then(|value| value.split_once(' ')).ok_or_else(missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(missing());
        }
        let deadline = tokio::time::Instant::now() + KEYS_TIMEOUT;
        loop {
            let now = (self.state.clock)().wall;
            match token::verify(key, token.trim(), now) {
                Ok(grant) => return Ok(grant),
                Err(Unverified::Refused(why)) => return Err(Refusal::unauthorized(why)),
                Err(Unverified::Wait(waiting)) => {
                    if tokio::time::timeout_at(deadline, waiting.0).await.is_err() {
                        return Err(Refusal::unavailable("the issuer's keys cannot be fetched now"));
                    }
                }
            }
        }
    }

    /// Who asks, if they may.
    pub(super) async fn permitted(&self, action: Action<'_>) -> Result<Grant, Refusal> {
        let grant = self.bearer().await?;
        check(&grant, action)?;
        Ok(grant)
    }
}

pub(super) fn check(grant: &Grant, action: Action<'_>) -> Result<(), Refusal> {
    if grant.permissions.allow(action) {
        return Ok(());
    }
    Err(Refusal::forbidden(format!("the token lacks the permission {}", action.needs())))
}

pub(super) async fn read(body: Body) -> Result<Bytes, Refusal> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(failure) if failure.is::<LengthLimitError>() => {
            Err(Refusal::too_large(format!("a body has {BODY_BYTES_MAX} bytes at most")))
        }
        Err(_) => Err(Refusal::bad_request("the body did not arrive whole")),
    }
}

/// Calls at once, and waits for the engine's answer. None ever means that the workers are gone.
pub(super) async fn ask<T: Send + 'static>(call: impl FnOnce(Reply<T>)) -> Result<T, Refusal> {
    let (sender, receiver) = oneshot::channel();
    call(Box::new(move |answer| {
        // Nobody waits when the request was given up meanwhile.
        let _ = sender.send(answer);
    }));
    receiver.await.map_err(|_| Refusal::unavailable("the server is going away"))
}
