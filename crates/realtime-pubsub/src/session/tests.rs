//! The state machine alone: frames and events go in, commands come out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fanfare_engine::{AttachmentId, Command, Event, Outputs, Published, Session};
use fanfare_model::{
    AnonymisedAddress, App, AppId, Epoch, ErrorInfo, Limits, Now, Rules, Serial, Stamp, Timestamp, error,
};
use parking_lot::Mutex;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::TopicSession;
use super::open::{AppLookup, Host, OpenRequest, Unopened};
use crate::apps::{AppSettings, Apps};
use crate::inbound::{Inbound, InboundMessage};
use crate::seats::{HandshakeRates, Seats};
use crate::token::{Algorithm, Material, VerificationKey, sign};

const NOW: Now = Now { wall: Timestamp(1_700_000_000_000), mono: Duration::ZERO };

fn app_id() -> AppId {
    AppId::parse("app").unwrap()
}

struct OneApp;

impl AppLookup for OneApp {
    fn app(&self, id: &AppId) -> Option<Arc<App>> {
        let app = App {
            id: app_id(),
            enabled: true,
            tls_only: false,
            keys: HashMap::new(),
            rules: Rules::default(),
            limits: Limits::default(),
        };
        (*id == app_id()).then(|| Arc::new(app))
    }
}

/// Remembers what back ends were given.
#[derive(Default)]
struct Backend(Mutex<Vec<InboundMessage>>);

impl Inbound for Backend {
    fn wants(&self, _: &AppId, _: bool) -> bool {
        true
    }

    fn deliver(&self, _: &AppId, message: InboundMessage) {
        self.0.lock().push(message);
    }
}

struct World {
    host: Arc<Host>,
    backend: Arc<Backend>,
}

impl World {
    fn new() -> Self {
        let settings = Apps::default();
        let material = Material::from_text("secret").unwrap();
        settings.replace([(
            app_id(),
            AppSettings {
                client_key: VerificationKey::new(material, vec![Algorithm::Hs256], vec![]).unwrap(),
                admin_key: None,
                inbound_ack: true,
                presence: true,
                payload_bytes_max: 100,
                connections_per_subject_max: 2,
                handshakes: HandshakeRates::default(),
            },
        )]);
        let backend = Arc::new(Backend::default());
        let host = Host {
            apps: Arc::new(OneApp),
            settings: Arc::new(settings),
            inbound: backend.clone(),
            seats: Seats::default(),
            random: Box::new(|bytes| bytes.fill(0xab)),
        };
        Self { host: Arc::new(host), backend }
    }

    fn try_open(&self) -> Result<TopicSession, Unopened> {
        let claims = json!({
            "exp": 1_700_000_005, "sub": "me",
            "permissions": ["realtime:publisher:write:topic:*", "realtime:subscriber:read:topic:*"],
        });
        let query = format!("access_token={}", sign(&SecretString::from("secret"), &claims));
        self.host.try_open(&OpenRequest {
            path: "/apps/app",
            query: &query,
            secure: false,
            address: AnonymisedAddress::of("203.0.113.9".parse().unwrap()),
            country: None,
            now: NOW,
        })
    }

    /// An open session, after its first words.
    fn open(&self) -> TopicSession {
        let mut session = self.try_open().ok().unwrap();
        run(|out| session.on_open(out));
        session
    }
}

fn run(call: impl FnOnce(&mut Outputs)) -> Vec<Command> {
    let mut out = Outputs::at(NOW);
    call(&mut out);
    out.take()
}

/// Commands in short: what is said to the client, and what is asked of the engine.
fn brief(commands: &[Command]) -> Vec<String> {
    let one = |command: &Command| match command {
        Command::Text(bytes) => {
            let frame: Value = serde_json::from_slice(bytes).unwrap();
            format!("say {} {}", frame["topic"].as_str().unwrap(), frame["messageType"].as_str().unwrap())
        }
        Command::Identify(_) => "identify".to_owned(),
        Command::Attach(attach) => format!("attach {}", attach.channel.name),
        Command::Detach(_) => "detach".to_owned(),
        Command::Publish { channel, draft, token } => {
            let name = draft.messages[0].name.as_deref().unwrap_or_default();
            format!("publish {} {name} {token}", channel.name)
        }
        Command::Inbound { messages, .. } => format!("inbound {messages}"),
        Command::Close { code, .. } => format!("close {code}"),
        Command::End => "end".to_owned(),
        _ => "something else".to_owned(),
    };
    commands.iter().map(one).collect()
}

fn published() -> Result<Published, ErrorInfo> {
    Ok(Published { epoch: Epoch::parse("e").unwrap(), stamp: Stamp(1), count: 1 })
}

#[test]
fn the_welcome_is_first_and_presence_last() {
    let world = World::new();
    let mut session = world.try_open().ok().unwrap();
    let said = run(|out| session.on_open(out));
    let expected = [
        "say main welcome",
        "identify",
        "attach main",
        "attach priv/rbababababababab",
        "attach priv/me",
        "publish secure/inbound presence 0",
    ];
    assert_eq!(brief(&said), expected);
    let Command::Text(welcome) = &said[0] else { panic!("no welcome") };
    let welcome: Value = serde_json::from_slice(welcome).unwrap();
    let connection = json!({ "id": "rbababababababab", "appId": "app", "remoteAddress": "203.0.113.0" });
    assert_eq!(welcome["data"]["connection"], connection);
}

#[test]
fn every_end_announces_the_departure_once() {
    let gap = || Event::Gap {
        attachment: AttachmentId(1),
        serial: Serial { stamp: Stamp(1), epoch: Epoch::parse("e").unwrap() },
    };
    let refused = |error: ErrorInfo| Event::Published { token: 7, result: Err(error) };
    for (event, code) in [
        (gap(), 1013),
        (Event::Drain, 1012),
        (refused(error::message_too_large("")), 1009),
        (refused(error::unavailable("")), 1013),
        (refused(error::not_found("")), 1008),
        (refused(error::internal("")), 1011),
        (Event::AttachRefused { attachment: AttachmentId(1), error: error::unavailable("") }, 1013),
    ] {
        let world = World::new();
        let mut session = world.open();
        let said = brief(&run(|out| session.on_event(event, out)));
        assert_eq!(
            said,
            ["publish secure/inbound presence 0".to_owned(), format!("close {code}"), "end".to_owned()]
        );
        let told: Vec<_> = world.backend.0.lock().iter().map(|m| m.payload.to_string()).collect();
        assert_eq!(told, [r#"{"code":0,"status":"connected"}"#, r#"{"code":-1,"status":"disconnected"}"#]);
    }
    let mut session = World::new().open();
    let said = brief(&run(|out| session.on_transport_lost(out)));
    assert_eq!(said, ["publish secure/inbound presence 0", "end"]);
}

#[test]
fn presence_that_is_refused_ends_nothing() {
    let mut session = World::new().open();
    let event = Event::Published { token: 0, result: Err(error::unavailable("")) };
    assert!(run(|out| session.on_event(event, out)).is_empty());
}

#[test]
fn acknowledgements_follow_the_engine_in_any_order() {
    let mut session = World::new().open();
    let mut send = |id: &str| {
        let text = format!(r#"{{"type":"publish","data":{{"topic":"t","payload":1,"id":"{id}"}}}}"#);
        let commands = run(|out| session.on_text(&text, out));
        let [Command::Publish { token, .. }] = &commands[..] else { panic!("{:?}", brief(&commands)) };
        *token
    };
    let (first, second) = (send("a"), send("b"));
    for (token, id) in [(second, "b"), (first, "a")] {
        let event = Event::Published { token, result: published() };
        let commands = run(|out| session.on_event(event, out));
        let [Command::Text(ack)] = &commands[..] else { panic!("{:?}", brief(&commands)) };
        let ack: Value = serde_json::from_slice(ack).unwrap();
        assert_eq!(ack, json!({ "topic": "priv/acks", "messageType": "ack", "data": { "data": id } }));
    }
    let again = Event::Published { token: first, result: published() };
    assert!(run(|out| session.on_event(again, out)).is_empty(), "only once");
}

#[test]
fn a_message_goes_to_the_topic_and_to_back_ends() {
    let world = World::new();
    let mut session = world.open();
    let text = r#"{"type":"message","data":{"messageType":"order","payload":{"n":1},"id":"x"}}"#;
    let commands = run(|out| session.on_text(text, out));
    assert_eq!(brief(&commands)[1], "inbound 1");
    let Command::Publish { draft, .. } = &commands[0] else { panic!("no publish") };
    assert_eq!(draft.connection_id, Some(session.connection.clone()));
    assert_eq!(draft.messages[0].client_id.as_ref().unwrap().as_str(), "me");
    let given = world.backend.0.lock().pop().unwrap();
    assert_eq!(
        (&*given.payload, given.id.as_deref(), &*given.message_type),
        (r#"{"n":1}"#, Some(r#""x""#), "order")
    );
    assert!(!given.presence);
}

#[test]
fn seats_are_given_back() {
    let world = World::new();
    let (first, _second) = (world.open(), world.open());
    assert!(matches!(world.try_open(), Err(Unopened::Refused(refusal)) if refusal.status == 429));
    drop(first);
    assert!(world.try_open().is_ok());
}

#[test]
fn drafts_are_whole_messages() {
    let mut session = World::new().open();
    let text = r#"{"type":"publish","data":{"topic":"t","payload":"x"}}"#;
    let commands = run(|out| session.on_text(text, out));
    let Some(Command::Publish { draft, .. }) = commands.into_iter().next() else { panic!("no publish") };
    assert_eq!((draft.messages.len(), draft.messages[0].extras.as_ref()), (1, None));
    assert!(!draft.idempotent && !draft.ephemeral);
}
