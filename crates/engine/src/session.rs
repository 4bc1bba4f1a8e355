//! A protocol's session as the engine sees it: a synchronous state machine. Frames and events go in,
//! commands come out; the worker carries them out after the call returns, in order.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fanfare_model::{
    AppId, ChannelKey, ClientId, ConnectionId, CountryCode, Epoch, ErrorInfo, Message, Now, PresenceEvent,
    Record, Serial, Stamp,
};

use crate::encode::Encoder;
use crate::ids::{AttachmentId, WorkerId};
use crate::owner::{Occupancy, Published};
use crate::watch::Narrator;

/// Names a request of the session's own, so that it knows the answer when it comes.
pub type Token = u64;

/// Names a claim (of a connection's state by its successor) on the worker that holds the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimId(pub(crate) u64);

pub trait Session {
    /// The transport is open.
    fn on_open(&mut self, out: &mut Outputs);

    /// One whole message from the client.
    fn on_text(&mut self, text: &str, out: &mut Outputs);
    fn on_binary(&mut self, bytes: &[u8], out: &mut Outputs);

    /// Something that this session asked for, or that concerns it, happened.
    fn on_event(&mut self, event: Event, out: &mut Outputs);

    /// The time that [`Outputs::wake_at`] asked for has come.
    fn on_timer(&mut self, out: &mut Outputs);

    /// Everything that this turn brought was said; asked for by [`Outputs::want_flush`].
    fn on_flush(&mut self, out: &mut Outputs);

    /// The transport is gone without a goodbye. The session lives on until it ends itself.
    fn on_transport_lost(&mut self, out: &mut Outputs);

    fn app(&self) -> &AppId;

    /// Under which the connection is known to others, once it has an id.
    fn connection_id(&self) -> Option<&ConnectionId>;

    /// Where the client is, if that is known. Asked once, when the connection is identified.
    fn country(&self) -> Option<CountryCode> {
        None
    }

    /// Who the client is, if its credential says so.
    fn client_id(&self) -> Option<&ClientId> {
        None
    }

    /// Whether `secret` proves that the asker holds this connection, and as whom it may publish.
    fn prove(&self, secret: &str) -> Option<fanfare_model::ClientIdRule>;
}

/// What a session wants done, in order.
pub enum Command {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Attach(Box<Attach>),
    Detach(AttachmentId),
    Publish {
        channel: ChannelKey,
        draft: Box<Draft>,
        token: Token,
    },
    Presence {
        channel: ChannelKey,
        events: Vec<PresenceEvent>,
        token: Token,
    },
    /// This connection's members leave the channel, by the server's word.
    Leave {
        channel: ChannelKey,
    },
    /// The same, on every channel.
    LeaveAll,
    /// Who is on the attachment's channel now: answered by [`Event::Members`].
    Members(AttachmentId),
    /// The state of an earlier connection: answered by [`Event::Claimed`].
    Claim {
        worker: WorkerId,
        connection: ConnectionId,
        claim: Box<dyn Any + Send>,
    },
    /// The answer to an [`Event::ClaimRequested`]; `Some` ends this session.
    Answer {
        claim: ClaimId,
        state: Option<Box<dyn Any + Send>>,
    },
    /// The connection's id was chosen, or taken over from an earlier session.
    Identify(ConnectionId),
    /// Messages of the client's went to the app's backends and to no channel: for telemetry.
    Inbound {
        messages: u64,
        bytes: u64,
    },
    WakeAt(Duration),
    WantFlush,
    /// Close the transport; the session goes on without one.
    Close {
        code: u16,
        reason: &'static str,
    },
    /// The session is over: its attachments and members go, and it is dropped.
    End,
}

/// Where a session puts its commands. Reused between calls.
pub struct Outputs {
    pub now: Now,
    pub(crate) commands: Vec<Command>,
}

/// What a session learns.
pub enum Event {
    Attached(Box<Attached>),
    AttachRefused {
        attachment: AttachmentId,
        error: ErrorInfo,
    },
    /// The answer to a publish or a presence request.
    Published {
        token: Token,
        result: Result<Published, ErrorInfo>,
    },
    /// Deliveries to this attachment were dropped up to here; live ones follow again.
    Gap {
        attachment: AttachmentId,
        serial: Serial,
    },
    Occupancy {
        attachment: AttachmentId,
        occupancy: Occupancy,
        /// How far the attachment has been given what was delivered; `None` while deliveries are dropped.
        serial: Option<Serial>,
    },
    Members {
        attachment: AttachmentId,
        members: Vec<Arc<PresenceEvent>>,
    },
    /// A successor asks for this connection's state. Answer with [`Command::Answer`], at once or when
    /// what is in flight has been answered.
    ClaimRequested {
        claim: ClaimId,
        request: Box<dyn Any + Send>,
    },
    Claimed(Option<Box<dyn Any + Send>>),
    /// Something that the adapter told all sessions of the app (a revocation, say).
    Notice(Arc<dyn Any + Send + Sync>),
    /// The app's configuration changed.
    Reconfigured,
    /// The server is going away; say goodbye so that the client comes back.
    Drain,
}

/// What one publish wants recorded.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The record's id. With `idempotent`, a second publish of the same id is answered with the
    /// first one's result and not delivered.
    pub id: Box<str>,
    pub idempotent: bool,
    pub connection_id: Option<ConnectionId>,
    pub messages: Vec<Message>,
    /// Bytes of the messages that limits do not count: the protocol says them, and limits them itself.
    pub uncounted: usize,
    pub ephemeral: bool,
}

/// A request to attach, or to attach again with other settings.
pub struct Attach {
    pub attachment: AttachmentId,
    pub channel: ChannelKey,
    pub encoder: Rc<dyn Encoder>,
    pub audience: Audience,
    pub roles: Roles,
    pub since: Since,
    /// What it says of the app's life is published on the channel while this attachment, or another that
    /// watches, is there.
    pub narrator: Option<Arc<dyn Narrator>>,
}

/// Where deliveries begin.
#[derive(Clone, Debug)]
pub enum Since {
    Now,
    /// After this serial, if everything since is still there.
    Serial(Serial),
    /// The client named a serial that cannot be one of ours.
    Unknown,
    Rewind(Rewind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewind {
    /// The last so many messages. Past the app's limit only the newest are given, and it is told.
    Count(usize),
    /// The messages of the last so much time, the newest `limit` of them; as above.
    Time { age: Duration, limit: usize },
}

/// What an attachment hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    pub messages: bool,
    /// Everyone's presence. The connection's own presence events are always delivered.
    pub presence: bool,
    /// Also what this connection published itself.
    pub echo: bool,
    /// Occupancy, whenever it changes.
    pub occupancy: bool,
    /// It watches the app's life. Set by the worker, for who brings a narrator.
    pub watches: bool,
}

/// What an attachment counts as in the channel's occupancy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    pub publisher: bool,
    pub subscriber: bool,
    pub presence: bool,
    pub presence_subscriber: bool,
}

/// How an attachment began.
pub struct Attached {
    pub attachment: AttachmentId,
    pub epoch: Epoch,
    /// Live deliveries are those after this one.
    pub position: Stamp,
    /// The place that the client named, when everything since then is in the backlog or live.
    pub resumed_from: Option<Stamp>,
    pub continuity: Continuity,
    /// To be delivered before anything live, oldest first: already filtered for the audience.
    pub backlog: Vec<Arc<Record>>,
    /// Messages at the start of the first record that are not wanted: a rewind may begin inside an
    /// array that was published as one.
    pub skip: usize,
    /// Everyone present, when the audience hears presence.
    pub members: Vec<Arc<PresenceEvent>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// Nothing was asked for.
    Fresh,
    /// Everything after the given serial is in the backlog.
    Kept,
    /// Something may be missing.
    Lost,
    /// A rewind that was cut at the limit.
    Truncated,
}

impl Outputs {
    pub(crate) fn new() -> Self {
        Self { now: Now::default(), commands: Vec::new() }
    }

    /// For tests of a session: empty outputs at a given time.
    pub fn at(now: Now) -> Self {
        Self { now, commands: Vec::new() }
    }

    /// For tests of a session: what it wanted done.
    pub fn take(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    pub fn push(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// Asks for [`Session::on_timer`] at this time; replaces an earlier wish.
    pub fn wake_at(&mut self, mono: Duration) {
        self.commands.push(Command::WakeAt(mono));
    }

    /// Asks for [`Session::on_flush`] at the end of the turn.
    pub fn want_flush(&mut self) {
        self.commands.push(Command::WantFlush);
    }
}
