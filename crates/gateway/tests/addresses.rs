//! Real sockets: what protocols and logs get to see of a client's address.

#[path = "support/mmdb.rs"]
mod mmdb;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use fanfare_engine::{Command, Directory, Event, Outputs, Session};
use fanfare_gateway::{
    Accept, Accepted, Clock, Countries, Gateway, GatewayConfig, Listener, Protocols, RefusalAnswer,
    TransportLimits, TrustedProxies, UpgradeRequest,
};
use fanfare_model::{AnonymisedAddress, AppId, ClientIdRule, ConnectionId, Epoch};
use fanfare_store::Memory;
use parking_lot::Mutex;

/// Everything on a request that could tell an address, as text.
type Seen = Arc<Mutex<Vec<String>>>;

struct Doorman(Seen);

impl Accept for Doorman {
    fn accept(&self, request: &UpgradeRequest<'_>) -> Accepted {
        let country = request.country.map(|c| c.to_string()).unwrap_or_default();
        self.0.lock().push(format!("{} {country} {:?}", request.address, request.headers));
        Accepted::Session(Box::new(Guest(AppId::parse("app").unwrap())))
    }
}

struct Guest(AppId);

impl Session for Guest {
    fn on_open(&mut self, out: &mut Outputs) {
        out.push(Command::Close { code: 1000, reason: "" });
        out.push(Command::End);
    }
    fn on_text(&mut self, _: &str, _: &mut Outputs) {}
    fn on_binary(&mut self, _: &[u8], _: &mut Outputs) {}
    fn on_event(&mut self, _: Event, _: &mut Outputs) {}
    fn on_timer(&mut self, _: &mut Outputs) {}
    fn on_flush(&mut self, _: &mut Outputs) {}
    fn on_transport_lost(&mut self, _: &mut Outputs) {}
    fn app(&self) -> &AppId {
        &self.0
    }
    fn connection_id(&self) -> Option<&ConnectionId> {
        None
    }
    fn prove(&self, _: &str) -> Option<ClientIdRule> {
        None
    }
}

fn countries(v4: &str) -> Option<Countries> {
    let database = mmdb::database(&[(v4, 25, "PT"), ("203.0.113.128", 25, "NZ"), ("2001:db8:7::", 48, "IT")]);
    Some(Countries::from_bytes(database).unwrap())
}

fn start(listen: &str, seen: &Seen, proxies: &[&str], countries: Option<Countries>) -> Gateway {
    start_with(listen, seen, proxies, countries, None)
}

fn start_with(
    listen: &str,
    seen: &Seen,
    proxies: &[&str],
    countries: Option<Countries>,
    metrics: Option<TcpListener>,
) -> Gateway {
    let config = GatewayConfig {
        workers: 1,
        listeners: vec![Listener { socket: TcpListener::bind(listen).unwrap(), tls: None }],
        metrics,
        directory: Arc::new(Directory::default()),
        store: Arc::new(Memory::new(Epoch::parse("stored").unwrap())),
        memory_epoch: Epoch::parse("memory").unwrap(),
        compression: false,
        limits: TransportLimits::default(),
        trusted_proxies: TrustedProxies::parse(proxies).unwrap(),
        countries,
        clock: Clock::start(),
        refusals: |_| RefusalAnswer { status: 503, headers: Vec::new(), body: String::new() },
    };
    let over_http = seen.clone();
    let http = Router::new().fallback(move |request: Request| async move {
        let address = request.extensions().get::<AnonymisedAddress>().unwrap();
        over_http.lock().push(format!("{address} {:?}", request.headers()));
    });
    Gateway::start(config, |_, _| Protocols {
        websocket: Arc::new(Doorman(seen.clone())),
        http: http.clone(),
        http_secure: http,
    })
    .unwrap()
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// One plain request and one upgrade; what the protocols saw of each, in that order.
fn ask(gateway: &Gateway, seen: &Seen, from: &str, headers: &str) -> [String; 2] {
    for kind in ["Connection: close\r\n", UPGRADE] {
        let mut stream = connect(gateway.addresses()[0], from);
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET / HTTP/1.1\r\nHost: h\r\n{headers}{kind}\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
    }
    std::mem::take(&mut *seen.lock()).try_into().unwrap()
}

/// From an address of our choice: all of 127.0.0.0/8 is this machine.
fn connect(to: SocketAddr, from: &str) -> TcpStream {
    let from = SocketAddr::new(from.parse().unwrap(), 0);
    let socket = rustix::net::socket(
        if from.is_ipv4() { rustix::net::AddressFamily::INET } else { rustix::net::AddressFamily::INET6 },
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    rustix::net::bind(&socket, &from).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    socket.into()
}

#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn only_networks_and_countries_get_past_the_socket() {
    let logs = Logs::default();
    let writer = logs.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .init();
    tracing::info!("the log is read");
    let seen = Seen::default();

    // Nobody is trusted: what the client says of itself counts for nothing.
    let gateway = start("127.0.0.1:0", &seen, &[], countries("127.7.7.0"));
    let telling = "X-Forwarded-For: 203.0.113.201\r\nForwarded: for=203.0.113.201\r\nX-Real-IP: 203.0.113.201\r\n\
                   CF-Connecting-IP: 203.0.113.201\r\n";
    for saw in ask(&gateway, &seen, "127.7.7.77", telling) {
        assert!(saw.starts_with("127.7.7.0 "), "{saw}");
        assert!(!saw.contains("127.7.7.77") && !saw.contains("203.0.113"), "{saw}");
    }
    let [_, upgrade] = ask(&gateway, &seen, "127.7.7.77", "");
    assert!(upgrade.starts_with("127.7.7.0 PT "), "{upgrade}");
    gateway.replace_countries(countries("127.9.9.0"));
    let [_, upgrade] = ask(&gateway, &seen, "127.7.7.77", "");
    assert!(upgrade.starts_with("127.7.7.0  "), "unknown is no country: {upgrade}");
    // Broken requests are the ones that get logged.
    connect(gateway.addresses()[0], "127.7.7.77").write_all(b"\x16\x03\x01 nonsense\r\n\r\n").unwrap();
    gateway.drain(Duration::from_secs(1));

    // The proxy is trusted, and the country is the whole address's: its network spans two.
    let gateway = start("[::1]:0", &seen, &["::1"], countries("203.0.113.0"));
    for (client, network, country) in [
        ("203.0.113.7", "203.0.113.0", "PT"),
        ("203.0.113.201", "203.0.113.0", "NZ"),
        ("2001:db8:7:8:9::a", "2001:db8:7::", "IT"),
    ] {
        let headers = format!("X-Forwarded-For: 198.51.100.1, {client}\r\n");
        let [http, upgrade] = ask(&gateway, &seen, "::1", &headers);
        assert!(http.starts_with(&format!("{network} ")), "{http}");
        assert!(upgrade.starts_with(&format!("{network} {country} ")), "{upgrade}");
        assert!(!http.contains(client) && !upgrade.contains(client));
    }
    gateway.drain(Duration::from_secs(1));

    let logs = String::from_utf8(logs.0.lock().clone()).unwrap();
    assert!(logs.contains("the log is read"));
    for raw in ["127.7.7.77", "203.0.113.", "2001:db8:7:8", "198.51.100.1"] {
        assert!(!logs.contains(raw), "{raw} stands in a log:\n{logs}");
    }
}

#[test]
fn what_others_count_stands_beside_what_the_gateway_counts() {
    let metrics = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = metrics.local_addr().unwrap();
    let gateway = start_with("127.0.0.1:0", &Seen::default(), &[], None, Some(metrics));
    gateway.also_measure(Box::new(|out| out.push_str("other_rows_total 7\n")));
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.contains("\nfanfare_transports ") && answer.contains("\nother_rows_total 7\n"),
        "{answer}"
    );
    gateway.drain(Duration::from_secs(1));
}

#[test]
fn what_is_not_a_database_is_refused() {
    for bytes in [&b""[..], b"not a database", &mmdb::database(&[])[..30]] {
        assert!(Countries::from_bytes(bytes.to_vec()).is_err());
    }
}
