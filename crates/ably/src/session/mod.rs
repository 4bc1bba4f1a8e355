//! Ably's realtime sessions: a client's protocol messages to the engine's commands, and back.
//!
//! Each session is a state machine without I/O and without a clock. It is `Opening` until it has said
//! CONNECTED, `Claiming` while the state of an earlier transport is on its way to it, `Open`, and `Lost` once its
//! transport is gone; a successor with the connection's key then takes its state over.
//!
//! ```text
//!   Opening --resume--> Claiming --> Open --loss--> Lost --claimed, or forgotten--> Over
//!      `--------------------------->-'
//! ```
//!
//! Invariants: a message with a msgSerial that was seen is never published again; what is acknowledged is
//! acknowledged in the order of msgSerials; nothing is taken from a request that its credential should say.

mod acks;
mod attached;
mod auth;
mod channels;
mod claims;
mod connect;
mod encoder;
mod ids;
mod names;
mod presence;
mod publish;
mod rate;
mod refused;
mod settings;
#[cfg(test)]
mod tests;
mod timers;
mod token_rate;

use std::sync::Arc;
use std::time::Duration;

use fanfare_engine::{Command, Event, Outputs, Session, WorkerId};
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{AppId, ConnectionId, CountryCode, Limits};

use crate::auth::{ClientIdRule, Identity};
use crate::wire::{self, Action, Format, ProtocolMessage};
use acks::{Acks, Outcome};
use channels::Channel;
use connect::Secret;
pub use connect::{ConnectParams, ConnectionKey, Host, OpenRequest, Random, Resume};
pub(crate) use ids::{only_create, record_id};
pub use names::parse_name;
use rate::Rate;
use timers::Timers;

/// Frames that are not protocol messages; past it the connection is closed.
const BAD_FRAMES_MAX: u8 = 32;

/// WebSocket close codes.
mod close {
    pub(super) const NORMAL: u16 = 1000;
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const POLICY: u16 = 1008;
}

/// A client's connection, for as long as one transport and what follows its loss.
pub struct AblySession {
    host: Arc<Host>,
    identity: Identity,
    app: AppId,
    connection: Option<ConnectionId>,
    secret: Secret,
    phase: Phase,
    channels: Vec<Channel>,
    acks: Acks,
    timers: Timers,
    rate: Rate,
    /// Successors that wait for what is in flight. Rarely any.
    claims: Vec<fanfare_engine::ClaimId>,
    /// Of a client whose token limits how fast it publishes.
    rates: Option<Box<token_rate::Rates>>,
    idle_interval: Option<Duration>,
    remain_present_for: Option<Duration>,
    /// Numbers attachments, syncs and whatever else needs a number of its own.
    sequence: u32,
    worker: WorkerId,
    format: Format,
    echo: bool,
    heartbeats: bool,
    secure: bool,
    country: Option<CountryCode>,
    bad_frames: u8,
}

enum Phase {
    Opening(Option<Box<Resume>>),
    /// The key of the connection that is being claimed.
    Claiming(Box<ConnectionKey>),
    /// As `Claiming`, and the transport is gone already.
    Orphaned(Box<ConnectionKey>),
    Open,
    Lost,
    Over,
}

impl AblySession {
    fn new(host: &Arc<Host>, request: &OpenRequest<'_>, params: ConnectParams, identity: Identity) -> Self {
        Self {
            host: host.clone(),
            app: identity.app.id.clone(),
            identity,
            connection: None,
            secret: Secret::default(),
            phase: Phase::Opening(params.resume.map(Box::new)),
            channels: Vec::new(),
            acks: Acks::default(),
            timers: Timers::default(),
            rate: Rate::default(),
            claims: Vec::new(),
            rates: None,
            idle_interval: params.idle_interval,
            remain_present_for: params.remain_present_for,
            sequence: 0,
            worker: request.worker,
            format: params.format,
            echo: params.echo,
            heartbeats: params.heartbeats,
            secure: request.secure,
            country: request.country,
            bad_frames: 0,
        }
    }

    fn limits(&self) -> &Limits {
        &self.identity.app.limits
    }

    /// Counts what the client publishes against what it may.
    fn take_rate(&mut self, items: usize, now: Duration) -> Result<(), ErrorInfo> {
        let allowed = self.limits().messages_per_second_max;
        self.rate.take(items, allowed, now)
    }

    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    fn next_number(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// One frame to the client.
    fn send(&self, out: &mut Outputs, write: impl FnOnce(&mut Vec<u8>, Format)) {
        send(self.format, out, write);
    }

    fn received(&mut self, decoded: Result<ProtocolMessage<'_>, ErrorInfo>, out: &mut Outputs) {
        match decoded {
            Ok(frame) => self.frame(frame, out),
            Err(refusal) => self.bad_frame(&refusal, out),
        }
        self.rearm(out);
    }

    /// Says what was wrong. The connection lives: what the client meant can only be guessed.
    fn bad_frame(&mut self, refusal: &ErrorInfo, out: &mut Outputs) {
        if !matches!(self.phase, Phase::Open | Phase::Claiming(_)) {
            return;
        }
        self.send(out, |buf, format| wire::error(buf, format, None, refusal));
        self.bad_frames += 1;
        if self.bad_frames >= BAD_FRAMES_MAX {
            self.drop_transport(close::POLICY, "too many malformed messages", out);
        }
    }

    fn frame(&mut self, frame: ProtocolMessage<'_>, out: &mut Outputs) {
        match (&self.phase, frame.action) {
            (Phase::Opening(_) | Phase::Orphaned(_) | Phase::Lost | Phase::Over, _) => {}
            (_, Action::Heartbeat) => {
                self.send(out, |buf, format| wire::heartbeat(buf, format, frame.id.as_deref()));
            }
            (_, Action::Close) => self.close(out),
            (_, Action::Disconnect) => self.drop_transport(close::NORMAL, "", out),
            // Nothing else may be said before CONNECTED, and no SDK does.
            (Phase::Claiming(_), _) => {}
            (Phase::Open, Action::Attach) => self.attach(&frame, out),
            (Phase::Open, Action::Detach) => self.detach(frame.channel.as_deref().unwrap_or(""), out),
            (Phase::Open, Action::Message) => self.message(frame, out),
            (Phase::Open, Action::Presence) => self.presence(frame, out),
            (Phase::Open, Action::Sync) => self.sync_wanted(frame.channel.as_deref().unwrap_or(""), out),
            (Phase::Open, Action::Auth) => self.auth(frame.access_token.as_deref(), out),
            (Phase::Open, Action::Annotation) => {
                let refusal = ErrorInfo::new(93002, 400, "annotations are not supported yet");
                self.refuse_frame(&frame, refusal, out);
            }
            (Phase::Open, Action::Object) => {
                self.refuse_frame(&frame, error::bad_request("LiveObjects are not supported yet"), out);
            }
            // What only servers say, what means nothing any more, and what a later version may say.
            (Phase::Open, _) => {}
        }
    }

    /// The msgSerial of a message that is to be acknowledged and was not seen before. One that was is answered
    /// here, with what it was answered before.
    fn new_serial(&mut self, frame: &ProtocolMessage<'_>, out: &mut Outputs) -> Option<i64> {
        // Every SDK sends one, a zero too. Without it there is nothing to acknowledge by, and a repeat would not be
        // known for one.
        let Some(serial) = frame.msg_serial.filter(|serial| *serial >= 0) else {
            let what = "what is to be acknowledged needs a msgSerial, 0 or greater";
            self.bad_frame(&error::bad_request(what), out);
            return None;
        };
        if self.acks.receive(serial) {
            return Some(serial);
        }
        if self.acks.is_ready() {
            out.want_flush();
        }
        None
    }

    fn settle(&mut self, serial: i64, outcome: Outcome, out: &mut Outputs) {
        self.acks.settle(serial, outcome);
        if !self.acks.is_ready() {
            return;
        }
        if self.is_open() {
            out.want_flush();
        } else {
            // Nobody is there to be told; the successor will tell it.
            drop(self.acks.take_ready());
            self.answer_claims(out);
        }
    }

    fn refuse(&mut self, serial: i64, refusal: ErrorInfo, out: &mut Outputs) {
        self.settle(serial, Outcome::Refused(Box::new(refusal)), out);
    }

    fn refuse_frame(&mut self, frame: &ProtocolMessage<'_>, refusal: ErrorInfo, out: &mut Outputs) {
        if let Some(serial) = self.new_serial(frame, out) {
            self.refuse(serial, refusal, out);
        }
    }

    /// The client's goodbye.
    fn close(&mut self, out: &mut Outputs) {
        out.push(Command::LeaveAll);
        self.send(out, wire::closed);
        self.end(close::NORMAL, "", out);
    }

    /// Nothing is kept.
    fn end(&mut self, code: u16, reason: &'static str, out: &mut Outputs) {
        self.phase = Phase::Over;
        self.timers = Timers::default();
        out.push(Command::Close { code, reason });
        out.push(Command::End);
    }

    /// Tells the client to come back, and why.
    fn disconnect(&mut self, why: &ErrorInfo, code: u16, out: &mut Outputs) {
        self.send(out, |buf, format| wire::disconnected(buf, format, Some(why)));
        self.drop_transport(code, "", out);
    }

    /// An error that is the whole connection's. Clients fail by it, unless a new token helps.
    fn fail(&mut self, why: &ErrorInfo, out: &mut Outputs) {
        self.send(out, |buf, format| wire::error(buf, format, None, why));
        if why.is_token_error() {
            self.drop_transport(close::NORMAL, "", out);
        } else {
            out.push(Command::LeaveAll);
            self.end(close::NORMAL, "", out);
        }
    }

    /// What was gathered to be said is said first, since nothing can be said afterwards.
    fn drop_transport(&mut self, code: u16, reason: &'static str, out: &mut Outputs) {
        self.flush_acks(out);
        out.push(Command::Close { code, reason });
        self.lose(out);
    }

    /// There is no transport any more. The engine has detached everything.
    fn lose(&mut self, out: &mut Outputs) {
        match std::mem::replace(&mut self.phase, Phase::Lost) {
            Phase::Claiming(key) => self.phase = Phase::Orphaned(key),
            Phase::Orphaned(key) => self.phase = Phase::Orphaned(key),
            Phase::Opening(_) => {
                self.phase = Phase::Over;
                out.push(Command::End);
            }
            Phase::Over => self.phase = Phase::Over,
            Phase::Open | Phase::Lost => {
                self.channels = Vec::new();
                drop(self.acks.take_ready());
                let ttl = self.limits().connection_state_ttl;
                let grace = self.remain_present_for.unwrap_or(self.limits().presence_grace).min(ttl);
                self.timers.lost(out.now.mono + grace, out.now.mono + ttl);
            }
        }
    }

    fn flush_acks(&mut self, out: &mut Outputs) {
        if self.is_open() {
            let settled = self.acks.take_ready();
            acks::write(&settled, |write| send(self.format, out, write));
            self.timers.keep_results(&self.acks, out.now.mono);
        }
    }

    fn rearm(&mut self, out: &mut Outputs) {
        self.timers.rearm(out);
    }
}

fn send(format: Format, out: &mut Outputs, write: impl FnOnce(&mut Vec<u8>, Format)) {
    let mut frame = Vec::with_capacity(256);
    write(&mut frame, format);
    out.push(match format {
        Format::Json => Command::Text(frame),
        Format::Msgpack => Command::Binary(frame),
    });
}

impl Session for AblySession {
    fn on_open(&mut self, out: &mut Outputs) {
        self.open(out);
        self.rearm(out);
    }

    /// A frame is read as what it is, whatever format the connection asked for its answers in.
    fn on_text(&mut self, text: &str, out: &mut Outputs) {
        self.received(wire::decode_json(text.as_bytes()), out);
    }

    fn on_binary(&mut self, bytes: &[u8], out: &mut Outputs) {
        // In msgpack this byte is the number 123, which no frame is.
        let decoded =
            if bytes.first() == Some(&b'{') { wire::decode_json(bytes) } else { wire::decode_msgpack(bytes) };
        self.received(decoded, out);
    }

    fn on_event(&mut self, event: Event, out: &mut Outputs) {
        match event {
            Event::Attached(attached) => self.attached(&attached, out),
            Event::AttachRefused { attachment, error } => self.attach_refused(attachment, &error, out),
            Event::Published { token, result } => {
                self.settle(token as i64, Outcome::from(result), out);
            }
            Event::Gap { attachment, serial } => self.gap(attachment, &serial, out),
            Event::Occupancy { attachment, occupancy, serial } => {
                self.occupancy(attachment, &occupancy, serial.as_ref(), out);
            }
            Event::Members { attachment, members } => self.members(attachment, &members, out),
            Event::ClaimRequested { claim, request } => self.claim_requested(claim, request, out),
            Event::Claimed(state) => self.claimed(state, out),
            Event::Notice(notice) => self.notice(&*notice, out),
            Event::Reconfigured => self.recheck(out),
            Event::Drain => self.drain(out),
        }
        self.rearm(out);
    }

    fn on_timer(&mut self, out: &mut Outputs) {
        self.timer(out);
        self.rearm(out);
    }

    fn on_flush(&mut self, out: &mut Outputs) {
        self.flush_acks(out);
        self.rearm(out);
    }

    fn on_transport_lost(&mut self, out: &mut Outputs) {
        self.lose(out);
        self.rearm(out);
    }

    fn app(&self) -> &AppId {
        &self.app
    }

    fn connection_id(&self) -> Option<&ConnectionId> {
        self.connection.as_ref()
    }

    fn country(&self) -> Option<CountryCode> {
        self.country
    }

    fn client_id(&self) -> Option<&fanfare_model::ClientId> {
        self.identity.client.client_id()
    }

    fn prove(&self, secret: &str) -> Option<fanfare_model::ClientIdRule> {
        use fanfare_model::ClientIdRule as Rule;
        if self.connection.is_none() || !self.secret.is(secret) {
            return None;
        }
        Some(match &self.identity.client {
            ClientIdRule::Any => Rule::Any,
            ClientIdRule::Only(client) => Rule::Only(client.clone()),
            ClientIdRule::Anonymous => Rule::Anonymous,
        })
    }
}
