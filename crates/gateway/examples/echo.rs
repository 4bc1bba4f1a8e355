//! The gateway with a protocol that says back what it hears, for conformance suites: what is tested is
//! this crate's sockets, handshake and framing, and no protocol's.
//!
//! `cargo run --release -p fanfare-gateway --example echo -- 9001`

use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;

use fanfare_engine::{Command, Directory, Event, Outputs, Session};
use fanfare_gateway::{
    Accept, Accepted, Clock, Gateway, GatewayConfig, Listener, Protocols, RefusalAnswer, Refused,
    TransportLimits, TrustedProxies, UpgradeRequest,
};
use fanfare_model::{AppId, ClientIdRule, ConnectionId, Epoch};
use fanfare_store::Memory;

/// Autobahn's largest message is 16 MiB.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

struct Echo {
    app: AppId,
}

impl Session for Echo {
    fn on_open(&mut self, _: &mut Outputs) {}

    fn on_text(&mut self, text: &str, out: &mut Outputs) {
        out.push(Command::Text(text.as_bytes().to_vec()));
    }

    fn on_binary(&mut self, bytes: &[u8], out: &mut Outputs) {
        out.push(Command::Binary(bytes.to_vec()));
    }

    fn on_event(&mut self, _: Event, _: &mut Outputs) {}

    fn on_timer(&mut self, _: &mut Outputs) {}

    fn on_flush(&mut self, _: &mut Outputs) {}

    fn on_transport_lost(&mut self, out: &mut Outputs) {
        out.push(Command::End);
    }

    fn app(&self) -> &AppId {
        &self.app
    }

    fn connection_id(&self) -> Option<&ConnectionId> {
        None
    }

    fn prove(&self, _: &str) -> Option<ClientIdRule> {
        None
    }
}

struct Echoes {
    app: AppId,
}

impl Accept for Echoes {
    fn accept(&self, _: &UpgradeRequest<'_>) -> Accepted {
        Accepted::Session(Box::new(Echo { app: self.app.clone() }))
    }
}

fn refusal(_: Refused) -> RefusalAnswer {
    RefusalAnswer { status: 503, headers: Vec::new(), body: String::new() }
}

fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("usage: echo PORT")?.parse()?;
    let epoch = || Epoch::parse("echo").ok_or("letters are an epoch");
    let app = AppId::parse("echo")?;
    let limits = TransportLimits {
        frame_bytes_max: MESSAGE_BYTES_MAX,
        outbox_bytes_max: 2 * MESSAGE_BYTES_MAX,
        ..TransportLimits::default()
    };
    let gateway = Gateway::start(
        GatewayConfig {
            workers: 1,
            listeners: vec![Listener { socket: TcpListener::bind(("127.0.0.1", port))?, tls: None }],
            metrics: None,
            directory: Arc::new(Directory::default()),
            store: Arc::new(Memory::new(epoch()?)),
            memory_epoch: epoch()?,
            compression: true,
            limits,
            trusted_proxies: TrustedProxies::default(),
            countries: None,
            clock: Clock::start(),
            refusals: refusal,
        },
        |_, _| Protocols {
            websocket: Arc::new(Echoes { app }),
            http: axum::Router::new(),
            http_secure: axum::Router::new(),
        },
    )?;
    eprintln!("echo on {:?}", gateway.addresses());
    loop {
        std::thread::park();
    }
}
