//! From a handshake to a session, or to an HTTP answer that says why not.

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare_engine::Session;
use fanfare_model::{AnonymisedAddress, App, AppId, ChannelName, CountryCode, Now};
use serde_json::value::RawValue;

use super::TopicSession;
use crate::apps::Apps;
use crate::inbound::Inbound;
use crate::refusal::Refusal;
use crate::seats::Seats;
use crate::token::{self, Fetched, Unverified};
use crate::{topic, wire};

/// Fills a buffer with random bytes.
pub type Random = Box<dyn Fn(&mut [u8]) + Send + Sync>;

/// The apps as all protocols know them.
pub trait AppLookup: Send + Sync {
    fn app(&self, id: &AppId) -> Option<Arc<App>>;
}

impl AppLookup for fanfare_engine::Engine {
    fn app(&self, id: &AppId) -> Option<Arc<App>> {
        self.directory().app(id)
    }
}

/// What all sessions of a server share.
pub struct Host {
    pub apps: Arc<dyn AppLookup>,
    pub settings: Arc<Apps>,
    pub inbound: Arc<dyn Inbound>,
    pub seats: Seats,
    pub random: Random,
}

/// A WebSocket handshake.
pub struct OpenRequest<'a> {
    pub path: &'a str,
    pub query: &'a str,
    /// Over TLS.
    pub secure: bool,
    pub address: AnonymisedAddress,
    pub country: Option<CountryCode>,
    pub now: Now,
}

/// What becomes of it.
pub enum Opened {
    Session(Box<dyn Session>),
    Refused(Refusal),
    /// To be asked again when keys have been fetched.
    Wait(Fetched),
}

const PATH: &str = "/apps/";

impl Host {
    /// Whether a handshake on this path is for this protocol.
    pub fn speaks(path: &str) -> bool {
        path.starts_with(PATH)
    }

    pub fn open(self: &Arc<Self>, request: &OpenRequest<'_>) -> Opened {
        match self.try_open(request) {
            Ok(session) => Opened::Session(Box::new(session)),
            Err(Unopened::Refused(refusal)) => Opened::Refused(refusal),
            Err(Unopened::Wait(fetch)) => Opened::Wait(fetch),
        }
    }

    pub(super) fn try_open(self: &Arc<Self>, request: &OpenRequest<'_>) -> Result<TopicSession, Unopened> {
        let id = request.path.strip_prefix(PATH).and_then(|id| AppId::parse(id).ok());
        let id = id.ok_or_else(Refusal::unknown_app)?;
        let (Some(app), Some(settings)) = (self.apps.app(&id), self.settings.app(&id)) else {
            return Err(Refusal::unknown_app().into());
        };
        if !app.enabled {
            return Err(Refusal::forbidden("the app is suspended").into());
        }
        if app.tls_only && !request.secure {
            return Err(Refusal::forbidden("the app requires TLS: use wss://").into());
        }
        let mut query = form_urlencoded::parse(request.query.as_bytes());
        let token = query.find(|(name, _)| name == "access_token").map(|(_, value)| value);
        let missing = || Refusal::unauthorized("the query has no access_token with a JWT");
        let token = token.filter(|token| !token.is_empty()).ok_or_else(missing)?;
        let grant = match token::verify(&settings.client_key, &token, request.now.wall) {
            Ok(grant) => grant,
            Err(Unverified::Refused(why)) => return Err(Refusal::unauthorized(why).into()),
            Err(Unverified::Wait(waiting)) => return Err(Unopened::Wait(waiting.0)),
        };
        let (most, rates) = (settings.connections_per_subject_max, settings.handshakes);
        self.seats.come(&id, rates.app, request.now.mono)?;
        let sit = |subject: &str| self.seats.sit(&id, subject, most, rates.subject, request.now.mono);
        let seat = grant.subject.as_ref().map(|subject| sit(subject.as_str())).transpose()?;
        let mut random = [0; 8];
        (self.random)(&mut random);
        let connection = topic::connection_id(random);
        let permissions_json = RawValue::from_string(grant.permissions.to_json())
            .map_err(|_| Refusal::unauthorized("the token's permissions cannot be written as JSON"))?;
        Ok(TopicSession {
            host: self.clone(),
            welcome: Some(wire::welcome(connection.as_str(), id.as_str(), request.address)),
            app,
            settings,
            connection,
            subject: grant.subject,
            permissions: grant.permissions,
            permissions_json,
            topics: Vec::new(),
            acks: VecDeque::new(),
            sequence: 0,
            secure: request.secure,
            country: request.country,
            _seat: seat,
        })
    }
}

pub(super) enum Unopened {
    Refused(Refusal),
    Wait(Fetched),
}

impl From<Refusal> for Unopened {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl TopicSession {
    /// What every connection hears without asking.
    pub(super) fn implicit_topics(&self) -> Vec<ChannelName> {
        let mut names = vec![topic::MAIN.to_owned(), topic::private(self.connection.as_str())];
        names.extend(self.subject.as_ref().map(|subject| topic::private(subject.as_str())));
        names.iter().filter_map(|name| topic::parse(name).ok()).collect()
    }

    /// Whether the private topic is this connection's own.
    pub(super) fn owns(&self, name: &str) -> bool {
        name == topic::ACKS
            || name == topic::private(self.connection.as_str())
            || self.subject.as_ref().is_some_and(|subject| name == topic::private(subject.as_str()))
    }
}
