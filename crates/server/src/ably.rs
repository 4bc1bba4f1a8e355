//! Ably's protocol, put behind the gateway.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::rand;
use axum::Extension;
use fanfare_ably::auth::{
    AppLookup, AuthHeaders, Authenticator, BasicOverPlain, NONCES, REVOCATIONS, Restored,
};
use fanfare_ably::rest::{self, RestState};
use fanfare_ably::session::{AblySession, Host, OpenRequest};
use fanfare_engine::Engine;
use fanfare_gateway::{Accept, Accepted, Clock, Protocols, RefusalAnswer, Refused, UpgradeRequest};
use fanfare_model::{App, AppId, Limits, Now, error};
use fanfare_store::Backend;

pub(crate) struct Setup {
    /// Where test provisioning sends clients, and whether they need TLS there. `None`: there is none.
    pub(crate) sandbox_at: Option<(SocketAddr, bool)>,
    pub(crate) keys_without_tls: bool,
    pub(crate) server_id: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) auth: Arc<Authenticator>,
}

/// What an earlier process revoked, and the nonces that it saw.
pub(crate) fn restore(store: &dyn Backend, now: Now) -> anyhow::Result<Arc<Authenticator>> {
    let (revocations, nonces) = (store.entries(REVOCATIONS)?, store.entries(NONCES)?);
    let restored = Authenticator::restore(&revocations, &nonces, now)?;
    let Restored { authenticator, revocations, revocations_lost, nonces_lost } = restored;
    if revocations_lost > 0 {
        tracing::error!(
            revocations_lost,
            "stored revocations are damaged: tokens that they concerned are accepted until they expire; \
             revoke them again"
        );
    }
    if nonces_lost > 0 {
        tracing::error!(
            nonces_lost,
            "stored nonces are damaged: token requests signed before now are refused"
        );
    }
    tracing::debug!(revocations, "restored");
    Ok(Arc::new(authenticator))
}

/// What one is told for whom there is no room, as Ably says it.
pub(crate) fn refusal(reason: Refused) -> RefusalAnswer {
    let refusal = match reason {
        Refused::AddressConnections => error::too_many_connections("close some, or ask the operator"),
        Refused::AddressHandshakes => error::too_many_connections("at once; please retry"),
        Refused::ServerFull => error::unavailable("the server has all the connections that it can take"),
    };
    let (status, headers, body) = rest::refusal(&refusal);
    RefusalAnswer { status, headers, body }
}

struct Apps(Engine);

impl AppLookup for Apps {
    fn app(&self, id: &AppId) -> Option<Arc<App>> {
        self.0.directory().app(id)
    }
}

struct AblyOverWebSocket(Arc<Host>);

impl Accept for AblyOverWebSocket {
    /// Refusals are said after the upgrade, where SDKs can read them.
    fn accept(&self, request: &UpgradeRequest<'_>) -> Accepted {
        let header = |name: &str| request.headers.get(name).and_then(|v| v.to_str().ok());
        let headers =
            AuthHeaders { authorization: header("authorization"), client_id: header("x-ably-clientid") };
        let open = OpenRequest {
            query: request.query,
            headers,
            secure: request.secure,
            country: request.country,
            worker: request.worker,
            now: request.now,
        };
        Accepted::Session(AblySession::accept(&self.0, &open))
    }
}

pub(crate) fn protocols(engine: &Engine, clock: Clock, setup: &Setup) -> Protocols {
    let basic_over_plain =
        if setup.keys_without_tls { BasicOverPlain::Allowed } else { BasicOverPlain::Refused };
    let auth = setup.auth.clone();
    let host = Arc::new(Host {
        authenticator: auth.clone(),
        apps: Arc::new(Apps(engine.clone())),
        basic_over_plain,
        server_id: (*setup.server_id).into(),
        site_code: Some("local-1".into()),
        random: Box::new(fill_random),
    });
    let now: Arc<dyn Fn() -> Now + Send + Sync> = Arc::new(move || clock.now());
    let sandbox = setup.sandbox_at.map(|(at, tls)| {
        let address = rest::Address { endpoint: at.ip().to_string(), port: at.port(), tls };
        Arc::new(rest::LocalSandbox::new(engine.clone(), now.clone(), address, setup.limits.clone()))
            as Arc<dyn rest::Sandbox>
    });
    let router = rest::router(RestState {
        engine: engine.clone(),
        auth,
        clock: now,
        basic_over_plain,
        server_id: setup.server_id.clone(),
        sandbox,
    });
    Protocols {
        websocket: Arc::new(AblyOverWebSocket(host)),
        http: router.clone().layer(Extension(rest::Transport { secure: false })),
        http_secure: router.layer(Extension(rest::Transport { secure: true })),
    }
}

/// A secret that could be guessed must never be made: without randomness the process ends.
#[allow(clippy::expect_used)]
pub(crate) fn fill_random(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the system's source of randomness works");
}
