//! Realtime Pub/Sub, put behind the gateway beside Ably's protocol.

use std::sync::Arc;

use fanfare_engine::Engine;
use fanfare_gateway::{Accept, Accepted, Clock, Protocols, UpgradeRequest};
use fanfare_realtime_pubsub::http::{ApiState, router};
use fanfare_realtime_pubsub::inbound::Inbound;
use fanfare_realtime_pubsub::topic;
use fanfare_realtime_pubsub::{Apps, Host, OpenRequest, Opened, Refusal, Seats};

use crate::ably::fill_random;

/// Which protocol a handshake is for, its path says.
struct ByPath {
    topics: Arc<Host>,
    others: Arc<dyn Accept>,
}

impl Accept for ByPath {
    fn accept(&self, request: &UpgradeRequest<'_>) -> Accepted {
        if !Host::speaks(request.path) {
            return self.others.accept(request);
        }
        let open = OpenRequest {
            path: request.path,
            query: request.query,
            secure: request.secure,
            address: request.address,
            country: request.country,
            now: request.now,
        };
        match self.topics.open(&open) {
            Opened::Session(session) => Accepted::Session(session),
            Opened::Refused(refusal) => Accepted::Refused(Box::new(answer(&refusal))),
            Opened::Wait(fetch) => Accepted::Later(fetch),
        }
    }
}

fn answer(refusal: &Refusal) -> http::Response<String> {
    let mut answer = http::Response::builder()
        .status(refusal.status)
        .header(http::header::CONTENT_TYPE, "application/json");
    if let Some(wait) = refusal.retry_after {
        answer = answer.header(http::header::RETRY_AFTER, wait.as_secs().max(1));
    }
    answer.body(refusal.body()).unwrap_or_default()
}

pub(crate) fn beside(
    others: Protocols,
    engine: &Engine,
    clock: Clock,
    apps: Arc<Apps>,
    inbound: Arc<dyn Inbound>,
) -> Protocols {
    engine.fold_topics(Arc::new(|channel| topic::folded(channel.name.as_str())));
    let host = Arc::new(Host {
        apps: Arc::new(engine.clone()),
        settings: apps.clone(),
        inbound,
        seats: Seats::default(),
        random: Box::new(fill_random),
    });
    let api = Arc::new(ApiState {
        engine: engine.clone(),
        settings: apps,
        clock: Arc::new(move || clock.now()),
        random: Box::new(fill_random),
    });
    Protocols {
        websocket: Arc::new(ByPath { topics: host, others: others.websocket }),
        http: router(api.clone(), false).fallback_service(others.http),
        http_secure: router(api, true).fallback_service(others.http_secure),
    }
}
