//! From a request for a connection to CONNECTED.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare_engine::{Command, Outputs, Session, WorkerId};
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{ConnectionId, CountryCode, Now};

use super::refused::RefusedSession;
use super::{AblySession, Phase};
use crate::auth::{AppLookup, AuthHeaders, Authenticator, BasicOverPlain, Credentials, Identity, Transport};
use crate::wire::{self, Connected, ConnectionDetails, Format};

/// The oldest protocol version that is spoken.
const VERSION_MIN: u32 = 2;
const HEARTBEAT_MS: std::ops::RangeInclusive<u64> = 5_000..=1_800_000;
const REMAIN_PRESENT_MS_MIN: u64 = 1_000;

const CONNECTION_ID_BYTES: usize = 9;
const CONNECTION_ID_CHARS: usize = 12;
const SECRET_BYTES: usize = 16;
const SECRET_CHARS: usize = 22;
/// 36 to the power of four is more than 2 to the power of sixteen.
const WORKER_CHARS_MAX: usize = 4;

/// Fills a buffer with random bytes.
pub type Random = Box<dyn Fn(&mut [u8]) + Send + Sync>;

/// What all sessions of a server share.
pub struct Host {
    pub authenticator: Arc<Authenticator>,
    pub apps: Arc<dyn AppLookup + Send + Sync>,
    pub basic_over_plain: BasicOverPlain,
    /// Told to clients, for whoever looks for the server's side of a story.
    pub server_id: Box<str>,
    pub site_code: Option<Box<str>>,
    /// Fills with bytes that nobody can guess: connections' secrets are made of them.
    pub random: Random,
}

/// A WebSocket request, as far as sessions care.
#[derive(Clone, Copy)]
pub struct OpenRequest<'a> {
    /// What follows the `?`, still encoded.
    pub query: &'a str,
    pub headers: AuthHeaders<'a>,
    /// TLS, to us or to a proxy that we trust.
    pub secure: bool,
    pub country: Option<CountryCode>,
    /// Where the session will live.
    pub worker: WorkerId,
    pub now: Now,
}

/// What a client asks of a connection. What it says of itself is its credentials' matter.
#[derive(Debug, PartialEq, Eq)]
pub struct ConnectParams {
    pub version: Option<u32>,
    pub format: Format,
    pub echo: bool,
    pub heartbeats: bool,
    pub idle_interval: Option<Duration>,
    pub remain_present_for: Option<Duration>,
    pub resume: Option<Resume>,
}

/// An earlier connection, to be continued.
#[derive(Debug, PartialEq, Eq)]
pub enum Resume {
    Key(ConnectionKey),
    Malformed,
}

impl ConnectParams {
    /// From decoded query parameters. Those that are not known are passed over, and so are values without a meaning.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(query: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut params = Self {
            version: None,
            format: Format::Json,
            echo: true,
            heartbeats: true,
            idle_interval: None,
            remain_present_for: None,
            resume: None,
        };
        let (mut resume, mut recover) = (None, None);
        let key = |value: &str| {
            let key = ConnectionKey::parse(value).map_or(Resume::Malformed, Resume::Key);
            (!value.is_empty()).then_some(key)
        };
        for (name, value) in query {
            let value = value.as_ref();
            let millis = || value.parse::<u64>().ok();
            match name.as_ref() {
                // `1.2` is a version, too.
                "v" => params.version = value.split('.').next().and_then(|major| major.parse().ok()),
                "format" if value == "msgpack" => params.format = Format::Msgpack,
                "format" => params.format = Format::Json,
                "echo" => params.echo = value != "false",
                "heartbeats" => params.heartbeats = value != "false",
                "heartbeatInterval" => {
                    let millis = millis().map(|ms| ms.clamp(*HEARTBEAT_MS.start(), *HEARTBEAT_MS.end()));
                    params.idle_interval = millis.map(Duration::from_millis);
                }
                "remainPresentFor" => {
                    let millis = millis().map(|ms| ms.max(REMAIN_PRESENT_MS_MIN));
                    params.remain_present_for = millis.map(Duration::from_millis);
                }
                "resume" => resume = key(value),
                "recover" => recover = key(value),
                _ => {}
            }
        }
        params.resume = resume.or(recover);
        params
    }

    fn check_version(&self) -> Result<(), ErrorInfo> {
        match self.version {
            Some(version) if version >= VERSION_MIN => Ok(()),
            Some(_) => Err(error::unsupported_version("versions before 2 are not spoken any more")),
            None => Err(error::unsupported_version("the parameter v must name one, from 2 on")),
        }
    }
}

/// The secret half of a connection key, as text.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Secret([u8; SECRET_CHARS]);

impl Secret {
    fn random(host: &Host) -> Self {
        let mut bytes = [0; SECRET_BYTES];
        (host.random)(&mut bytes);
        let mut text = [0; SECRET_CHARS];
        // 16 bytes always make 22 characters.
        let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        Self(text)
    }

    /// Constant time.
    pub(super) fn is(&self, presented: &str) -> bool {
        constant_time::verify_slices_are_equal(&self.0, presented.as_bytes()).is_ok()
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// `<connection id>!<worker, in base 36>-<secret>`: says where the connection's state is, and proves that the bearer
/// may have it. Fit for a URL's path.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionKey {
    pub connection: ConnectionId,
    pub worker: WorkerId,
    pub secret: Box<str>,
}

impl ConnectionKey {
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |s: &str, chars| {
            s.len() == chars && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let (connection, rest) = text.split_once('!')?;
        let (worker, secret) = rest.split_once('-')?;
        let digits = worker.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        if !plain(connection, CONNECTION_ID_CHARS)
            || !plain(secret, SECRET_CHARS)
            || !digits
            || worker.len() > WORKER_CHARS_MAX
        {
            return None;
        }
        Some(Self {
            connection: ConnectionId::new(connection),
            worker: WorkerId(u16::from_str_radix(worker, 36).ok()?),
            secret: secret.into(),
        })
    }
}

impl fmt::Debug for ConnectionKey {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionKey").field("connection", &self.connection).finish_non_exhaustive()
    }
}

fn base36(worker: WorkerId) -> String {
    let mut digits = Vec::with_capacity(WORKER_CHARS_MAX);
    let mut left = u32::from(worker.0);
    loop {
        digits.push(char::from_digit(left % 36, 36).unwrap_or('0'));
        left /= 36;
        if left == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

impl AblySession {
    /// The session for a request. If it is refused, the session says so and closes: SDKs cannot read the answer to a
    /// failed upgrade, and would try again for ever.
    pub fn accept(host: &Arc<Host>, request: &OpenRequest<'_>) -> Box<dyn Session> {
        let query = || form_urlencoded::parse(request.query.as_bytes());
        let params = ConnectParams::parse(query());
        match params.check_version().and_then(|()| authenticate(host, request)) {
            Ok(identity) => Box::new(Self::new(host, request, params, identity)),
            Err(refusal) => Box::new(RefusedSession::new(params.format, refusal)),
        }
    }

    pub(super) fn open(&mut self, out: &mut Outputs) {
        self.adopt_expiry(out.now);
        match std::mem::replace(&mut self.phase, Phase::Open) {
            Phase::Opening(None) => self.begin(None, out),
            Phase::Opening(Some(resume)) => match *resume {
                Resume::Malformed => self.begin(Some(&error::malformed_connection_key("")), out),
                Resume::Key(key) => self.claim(key, out),
            },
            other => self.phase = other,
        }
    }

    /// A connection of its own; `instead` says why it is not the one that was asked for.
    pub(super) fn begin(&mut self, instead: Option<&ErrorInfo>, out: &mut Outputs) {
        let mut bytes = [0; CONNECTION_ID_BYTES];
        (self.host.random)(&mut bytes);
        let id = URL_SAFE_NO_PAD.encode(bytes);
        self.identify(ConnectionId::new(&id), instead, out);
    }

    /// The connection has an id, and the client is told. The key is new each time.
    pub(super) fn identify(&mut self, id: ConnectionId, instead: Option<&ErrorInfo>, out: &mut Outputs) {
        self.secret = Secret::random(&self.host);
        self.connection = Some(id.clone());
        out.push(Command::Identify(id));
        self.phase = Phase::Open;
        self.connected(instead, out);
        if self.heartbeats {
            self.timers.heartbeat = Some(out.now.mono + self.idle_interval());
        }
    }

    pub(super) fn idle_interval(&self) -> Duration {
        self.idle_interval.unwrap_or(self.limits().idle_interval)
    }

    pub(super) fn connected(&self, error: Option<&ErrorInfo>, out: &mut Outputs) {
        let Some(connection) = &self.connection else { return };
        let limits = self.limits();
        let key = format!("{connection}!{}-{}", base36(self.worker), self.secret.as_str());
        let connected = Connected {
            connection_id: connection.as_str(),
            details: ConnectionDetails {
                connection_key: &key,
                client_id: self.identity.client.as_wire(),
                max_message_size: limits.message_bytes_max,
                max_frame_size: limits.frame_bytes_max,
                max_inbound_rate: limits.messages_per_second_max.map(std::num::NonZeroU32::get),
                max_outbound_rate: None,
                connection_state_ttl: limits.connection_state_ttl,
                max_idle_interval: self.idle_interval(),
                server_id: &self.host.server_id,
                site_code: self.host.site_code.as_deref(),
                objects_gc_grace_period: None,
            },
            error,
        };
        self.send(out, |buf, format| wire::connected(buf, format, &connected));
    }
}

fn authenticate(host: &Host, request: &OpenRequest<'_>) -> Result<Identity, ErrorInfo> {
    let query = form_urlencoded::parse(request.query.as_bytes());
    // ably-python asserts `*` when it means to be anyone, which is what asserting nothing means.
    let query = query.filter(|(name, value)| name != "clientId" || value != "*");
    let credentials = Credentials::parse(request.headers, query)?;
    let transport = Transport { secure: request.secure, basic_over_plain: host.basic_over_plain };
    host.authenticator.authenticate(&*host.apps, &credentials, transport, request.now)
}
