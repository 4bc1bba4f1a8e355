//! What workers tell each other. Mail from one worker to another arrives in the order of posting,
//! which is what puts an attachment's answer in its place between two deliveries.

use std::any::Any;
use std::sync::Arc;

use fanfare_model::{
    AppId, ChannelKey, ClientId, ConnectionId, Epoch, ErrorInfo, PresenceEvent, Record, Stamp,
};
use fanfare_store::StoreError;
use parking_lot::Mutex;

use crate::handle::{ChannelStatus, Identified};
use crate::ids::{AttachmentId, SessionRef, WorkerId};
use crate::owner::{Fetched, Occupancy, Published};
use crate::session::{Audience, Continuity, Draft, Roles, Since, Token};
use crate::shared::WakeWorker;
use crate::watch::Narrator;

/// Answers someone who is not a session: an HTTP request, a task of the server's.
pub type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// Who asked, and so who is answered.
pub(crate) enum Origin {
    Session {
        from: SessionRef,
        token: Token,
    },
    Reply(Reply<Result<Published, ErrorInfo>>),
    /// The server itself: nobody waits.
    Nobody,
}

pub(crate) enum Mail {
    // To a channel's owner.
    Publish {
        channel: ChannelKey,
        draft: Box<Draft>,
        origin: Origin,
    },
    Presence {
        channel: ChannelKey,
        events: Vec<PresenceEvent>,
        origin: Origin,
    },
    Leave {
        channel: ChannelKey,
        connection: ConnectionId,
    },
    Attach(Box<AttachMail>),
    /// The records that a rewind needed from the store, newest last; then the attach goes on.
    AttachFetched {
        attach: Box<AttachMail>,
        fetched: Result<Fetched, StoreError>,
    },
    Detach {
        channel: ChannelKey,
        from: WorkerId,
        roles: Roles,
        audience: Audience,
    },
    Members {
        channel: ChannelKey,
        to: MembersTo,
    },
    Status {
        channel: ChannelKey,
        reply: Reply<ChannelStatus>,
    },
    Tail {
        channel: ChannelKey,
        reply: Reply<TailSnapshot>,
    },
    Loaded {
        channel: ChannelKey,
        loaded: Result<Loaded, StoreError>,
    },
    /// What became of a turn's appends.
    Appended(Vec<(ChannelKey, Result<(), StoreError>)>),
    /// The channel's contents, or one client's part of them, are to go.
    Erase {
        app: AppId,
        channel: Option<ChannelKey>,
        client: Option<ClientId>,
        reply: Reply<u64>,
    },

    // To a worker with subscribers or sessions.
    Deliver {
        channel: ChannelKey,
        epoch: Epoch,
        records: Vec<Arc<Record>>,
    },
    OccupancyChanged {
        channel: ChannelKey,
        occupancy: Occupancy,
    },
    Attached(Box<AttachedMail>),
    Answered {
        to: SessionRef,
        token: Token,
        result: Result<Published, ErrorInfo>,
    },
    MembersAre {
        to: SessionRef,
        attachment: AttachmentId,
        members: Vec<Arc<PresenceEvent>>,
    },
    Claim {
        from: SessionRef,
        connection: ConnectionId,
        request: Box<dyn Any + Send>,
    },
    Claimed {
        to: SessionRef,
        connection: ConnectionId,
        state: Option<Box<dyn Any + Send>>,
        present_on: Vec<ChannelKey>,
    },
    Identify {
        app: AppId,
        connection: ConnectionId,
        secret: Box<str>,
        reply: Reply<Option<Identified>>,
    },
    Notice {
        app: AppId,
        notice: Arc<dyn Any + Send + Sync>,
    },
    Reconfigured,
    Drain,
    /// Hand over what was counted.
    Telemetry {
        reply: Reply<()>,
    },
    /// What happens in the channel's app is told there, or not any more.
    Watch {
        channel: ChannelKey,
        narrator: Option<Arc<dyn Narrator>>,
    },
    /// All channels of this owner in the app whose name begins so.
    Channels {
        app: AppId,
        prefix: Box<str>,
        reply: Reply<Vec<ChannelStatus>>,
    },
}

pub(crate) enum MembersTo {
    Session { to: SessionRef, attachment: AttachmentId },
    Reply(Reply<Vec<Arc<PresenceEvent>>>),
}

pub(crate) struct AttachMail {
    pub(crate) from: SessionRef,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) attachment: AttachmentId,
    /// Tells this request from an earlier one for the same attachment.
    pub(crate) nonce: u32,
    pub(crate) channel: ChannelKey,
    pub(crate) audience: Audience,
    pub(crate) roles: Roles,
    /// What the attachment counted as before, when it is attached already.
    pub(crate) before: Option<(Roles, Audience)>,
    pub(crate) since: Since,
    pub(crate) narrator: Option<Arc<dyn Narrator>>,
}

pub(crate) struct AttachedMail {
    pub(crate) to: SessionRef,
    pub(crate) attachment: AttachmentId,
    pub(crate) nonce: u32,
    pub(crate) channel: ChannelKey,
    pub(crate) result: Result<AttachedAt, Refused>,
}

pub(crate) struct Refused {
    pub(crate) error: ErrorInfo,
    /// The owner counts the attachment as it was asked for, although it is refused.
    pub(crate) counted: bool,
}

/// What an attachment is given before anything live.
#[derive(Default)]
pub(crate) struct Backlog {
    pub(crate) records: Vec<Arc<Record>>,
    /// Messages at the start of the first record that are left out.
    pub(crate) skip: usize,
}

pub(crate) struct AttachedAt {
    pub(crate) epoch: Epoch,
    pub(crate) position: Stamp,
    /// Where the client said it was, when everything since then follows in the backlog.
    pub(crate) resumed_from: Option<Stamp>,
    pub(crate) continuity: Continuity,
    pub(crate) backlog: Backlog,
    pub(crate) members: Vec<Arc<PresenceEvent>>,
    pub(crate) occupancy: Occupancy,
}

/// The tail as history needs it.
pub(crate) struct TailSnapshot {
    pub(crate) epoch: Epoch,
    pub(crate) records: Vec<Arc<Record>>,
    /// The newest committed stamp.
    pub(crate) position: Stamp,
}

/// What the store holds of a durable channel, when its owner first needs it.
pub(crate) struct Loaded {
    pub(crate) head: Option<Stamp>,
    /// Messages and presence of the tail's time, oldest first.
    pub(crate) recent: Vec<Arc<Record>>,
}

/// A worker's mailbox. Its size is bounded by what its senders may have in flight (a session's
/// publishes, one request of an HTTP call) and, for deliveries, by the owners' turns.
pub(crate) struct Mailbox {
    queue: Mutex<Vec<Mail>>,
    wake: WakeWorker,
}

impl Mailbox {
    pub(crate) fn new(wake: WakeWorker) -> Self {
        Self { queue: Mutex::new(Vec::new()), wake }
    }

    pub(crate) fn push(&self, mail: Mail) {
        let was_empty = {
            let mut queue = self.queue.lock();
            queue.push(mail);
            queue.len() == 1
        };
        if was_empty {
            (self.wake)();
        }
    }

    /// Swaps the mail out; `into` must be empty and gives its memory to the mailbox.
    pub(crate) fn take(&self, into: &mut Vec<Mail>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut *self.queue.lock(), into);
    }
}
