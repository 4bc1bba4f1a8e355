//! Transcripts: what a client says, and what becomes of it. `World` has one app with keys `full`, `narrow` and
//! `revocable`; `Client` is a session without an engine, whose commands are read as text.

mod acks;
mod channels;
mod claims;
mod connect;
mod identity;
mod presence;
mod publish;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare_engine::{
    Attached, AttachmentId, Command, Continuity, Directory, Event, Outputs, Published, Session, Since,
    WorkerId,
};
use fanfare_model::{
    App, AppId, Capability, ClientId, ConnectionId, Data, Epoch, ErrorInfo, Key, KeyId, Limits, MemberKey,
    Now, PresenceAction, PresenceEvent, Record, Rule, Rules, Stamp, Timestamp,
};
use serde_json::{Value, json};

use super::*;
use crate::auth::{AppLookup, AuthHeaders, Authenticator, BasicOverPlain};

const SECRET: &str = "the-secret-of-all-keys";
pub(super) const T: i64 = 1_800_000_000_000;

struct Apps(Arc<Directory>);

impl AppLookup for Apps {
    fn app(&self, id: &AppId) -> Option<Arc<App>> {
        self.0.app(id)
    }
}

pub(super) struct World {
    pub(super) directory: Arc<Directory>,
    pub(super) host: Arc<Host>,
}

pub(super) fn app(edit: impl FnOnce(&mut App)) -> App {
    let key = |id: &str, capability: &str| {
        let id = KeyId::parse(id).unwrap();
        let capability = Arc::new(Capability::parse(capability).unwrap());
        let key = Key {
            id: id.clone(),
            secret: SECRET.into(),
            capability,
            revocable_tokens: id.as_str() == "revocable",
            enabled: true,
        };
        (id, Arc::new(key))
    };
    let keys = [
        key("full", r#"{"[*]*":["*"]}"#),
        key("revocable", r#"{"*":["*"]}"#),
        key("narrow", r#"{"read":["subscribe"],"write":["publish"],"hist":["history"]}"#),
    ];
    let mut rules = Rules::default();
    rules.namespaces.insert("known".into(), Rule { identified: true, ..Rule::default() });
    rules.namespaces.insert("safe".into(), Rule { tls_only: true, ..Rule::default() });
    let mut app = App {
        id: AppId::parse("app").unwrap(),
        enabled: true,
        tls_only: false,
        keys: keys.into(),
        rules,
        limits: Limits { channels_per_connection_max: 3, ..Limits::default() },
    };
    edit(&mut app);
    app
}

impl World {
    pub(super) fn new() -> Self {
        let directory = Arc::new(Directory::new([app(|_| {})]));
        let next = AtomicU8::new(1);
        let host = Host {
            authenticator: Arc::new(Authenticator::new(Timestamp(T))),
            apps: Arc::new(Apps(directory.clone())),
            basic_over_plain: BasicOverPlain::Allowed,
            server_id: "server".into(),
            site_code: Some("site".into()),
            random: Box::new(move |bytes| bytes.fill(next.fetch_add(1, Ordering::Relaxed))),
        };
        Self { directory, host: Arc::new(host) }
    }

    pub(super) fn accept(&self, query: &str, now: Now, worker: u16) -> Box<dyn Session> {
        let request = OpenRequest {
            query,
            headers: AuthHeaders::default(),
            secure: false,
            country: None,
            worker: WorkerId(worker),
            now,
        };
        AblySession::accept(&self.host, &request)
    }

    /// Opened, with all that it said at first still to be read.
    pub(super) fn open(&self, query: &str) -> Client {
        let session = self.accept(query, now(), 3);
        let mut client = Client { session, out: Outputs::at(now()), wake: None };
        client.session.on_open(&mut client.out);
        client
    }

    /// Connected with the key `full` and these parameters beside it; CONNECTED is read.
    pub(super) fn client(&self, more: &str) -> Client {
        let mut client = self.open(&format!("{FULL}{more}"));
        client.heard();
        client
    }
}

pub(super) const FULL: &str = "v=5&key=app.full:the-secret-of-all-keys";

pub(super) fn now() -> Now {
    Now { wall: Timestamp(T), mono: Duration::from_secs(100) }
}

/// A JWT of a key, issued now, for so many seconds.
pub(super) fn token(key: &str, ttl: i64, more: Value) -> String {
    let mut claims = json!({"iat": T / 1000, "exp": T / 1000 + ttl});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": format!("app.{key}")});
    let body = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(mac))
}

pub(super) struct Client {
    pub(super) session: Box<dyn Session>,
    pub(super) out: Outputs,
    pub(super) wake: Option<Duration>,
}

impl Client {
    pub(super) fn says(&mut self, frame: Value) -> Vec<Value> {
        self.session.on_text(&frame.to_string(), &mut self.out);
        self.heard()
    }

    pub(super) fn told(&mut self, event: Event) -> Vec<Value> {
        self.session.on_event(event, &mut self.out);
        self.heard()
    }

    pub(super) fn flushed(&mut self) -> Vec<Value> {
        self.session.on_flush(&mut self.out);
        self.heard()
    }

    pub(super) fn later(&mut self, by: Duration) {
        self.out.now.mono += by;
        self.out.now.wall = self.out.now.wall + by;
    }

    /// What happens on the timer, if it is due within this time.
    pub(super) fn waits(&mut self, by: Duration) -> Vec<Value> {
        self.later(by);
        let mut all = Vec::new();
        while let Some(at) = self.wake.filter(|at| *at <= self.out.now.mono) {
            self.wake = None;
            assert!(at <= self.out.now.mono);
            self.session.on_timer(&mut self.out);
            all.extend(self.heard());
        }
        all
    }

    /// Attached, as if the engine had said so.
    pub(super) fn attaches(&mut self, channel: &str, more: Value) -> Vec<Value> {
        let mut frame = json!({"action": 10, "channel": channel});
        frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let asked = self.says(frame);
        let id = asked.iter().find_map(|c| c["attach"].as_u64()).unwrap_or_else(|| panic!("{asked:?}"));
        self.told(Event::Attached(Box::new(attached(id as u32))))
    }

    pub(super) fn published(&mut self, serial: u64, count: u32) -> Vec<Value> {
        let published = Published { epoch: epoch(), stamp: Stamp(T as u64 * 1000 + serial), count };
        self.told(Event::Published { token: serial, result: Ok(published) })
    }

    /// Frames as they are; commands as small objects.
    pub(super) fn heard(&mut self) -> Vec<Value> {
        let commands = self.out.take();
        commands.into_iter().filter_map(|command| self.read(command)).collect()
    }

    fn read(&mut self, command: Command) -> Option<Value> {
        Some(match command {
            Command::Text(text) => serde_json::from_slice(&text).unwrap(),
            Command::Binary(bytes) => crate::wire::from_format(&bytes, crate::wire::Format::Msgpack).unwrap(),
            Command::Attach(a) => json!({
                "attach": a.attachment.0,
                "channel": a.channel.name.as_str(),
                "since": match a.since {
                    Since::Now => "now".to_owned(),
                    Since::Unknown => "unknown".to_owned(),
                    Since::Serial(serial) => serial.to_string(),
                    Since::Rewind(rewind) => format!("{rewind:?}"),
                },
                "hears": [a.audience.messages, a.audience.presence, a.audience.echo, a.audience.occupancy],
            }),
            Command::Detach(id) => json!({"detach": id.0}),
            Command::Publish { channel, draft, token } => json!({
                "publish": channel.name.as_str(),
                "id": draft.id,
                "idempotent": draft.idempotent,
                "ephemeral": draft.ephemeral,
                "token": token,
                "clients": draft.messages.iter().map(|m| m.client_id.as_ref().map(|c| c.as_str())).collect::<Vec<_>>(),
            }),
            Command::Presence { channel, events, token } => json!({
                "presence": channel.name.as_str(),
                "token": token,
                "events": events.iter().map(|e| format!("{:?} {} {}", e.action, e.member.client_id, e.id)).collect::<Vec<_>>(),
            }),
            Command::Leave { channel } => json!({"leave": channel.name.as_str()}),
            Command::LeaveAll => json!("leave all"),
            Command::Members(id) => json!({"members": id.0}),
            Command::Claim { worker, connection, .. } => {
                json!({"claim": connection.as_str(), "worker": worker.0})
            }
            Command::Answer { state, .. } => json!({"answer": state.is_some()}),
            Command::Identify(id) => json!({"identify": id.as_str()}),
            Command::WakeAt(at) => {
                self.wake = Some(at);
                return None;
            }
            Command::WantFlush => json!("flush"),
            Command::Close { code, .. } => json!({"close": code}),
            Command::Inbound { messages, bytes } => json!({"inbound": [messages, bytes]}),
            Command::End => json!("end"),
        })
    }
}

pub(super) fn epoch() -> Epoch {
    Epoch::parse("epoch").unwrap()
}

pub(super) fn attached(id: u32) -> Attached {
    Attached {
        attachment: AttachmentId(id),
        epoch: epoch(),
        position: Stamp(T as u64 * 1000),
        continuity: Continuity::Fresh,
        backlog: Vec::new(),
        skip: 0,
        resumed_from: None,
        members: Vec::new(),
    }
}

pub(super) fn member(client: &str, n: usize) -> PresenceEvent {
    PresenceEvent {
        action: PresenceAction::Enter,
        id: format!("other:{n}:0").into(),
        member: MemberKey {
            connection_id: ConnectionId::new("other"),
            client_id: ClientId::parse(&format!("{client}{n}")).unwrap(),
        },
        data: Data::None,
        encoding: None,
        extras: None,
        timestamp: Timestamp(T),
    }
}

pub(super) fn record(text: &str) -> Arc<Record> {
    let message = fanfare_model::Message { data: Data::Text(text.into()), ..Default::default() };
    Arc::new(Record {
        stamp: Stamp(T as u64 * 1000 - 5),
        timestamp: Timestamp(T),
        id: "record".into(),
        connection_id: None,
        body: fanfare_model::Body::Messages(vec![message]),
        ephemeral: false,
    })
}

/// The codes of the errors in these frames, with what kind of frame each is.
pub(super) fn errors(frames: &[Value]) -> Vec<(i64, i64)> {
    let code = |f: &Value| Some((f["action"].as_i64()?, f["error"]["code"].as_i64()?));
    frames.iter().filter_map(code).collect()
}

pub(super) fn refused(code: u32) -> ErrorInfo {
    ErrorInfo::new(code, 400, "no")
}
