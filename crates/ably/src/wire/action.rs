//! The numbers that Ably's wire gives to actions and flags.

/// What a protocol message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Heartbeat,
    Ack,
    Nack,
    Connect,
    Connected,
    Disconnect,
    Disconnected,
    Close,
    Closed,
    Error,
    Attach,
    Attached,
    Detach,
    Detached,
    Presence,
    Message,
    Sync,
    Auth,
    Activate,
    Object,
    ObjectSync,
    Annotation,
    /// Of a version that we do not know. Both sides pass such messages over.
    Unknown(i64),
}

impl Action {
    pub fn from_number(n: i64) -> Self {
        use Action::*;
        match n {
            0 => Heartbeat,
            1 => Ack,
            2 => Nack,
            3 => Connect,
            4 => Connected,
            5 => Disconnect,
            6 => Disconnected,
            7 => Close,
            8 => Closed,
            9 => Error,
            10 => Attach,
            11 => Attached,
            12 => Detach,
            13 => Detached,
            14 => Presence,
            15 => Message,
            16 => Sync,
            17 => Auth,
            18 => Activate,
            19 => Object,
            20 => ObjectSync,
            21 => Annotation,
            n => Unknown(n),
        }
    }

    pub fn number(self) -> i64 {
        use Action::*;
        match self {
            Heartbeat => 0,
            Ack => 1,
            Nack => 2,
            Connect => 3,
            Connected => 4,
            Disconnect => 5,
            Disconnected => 6,
            Close => 7,
            Closed => 8,
            Error => 9,
            Attach => 10,
            Attached => 11,
            Detach => 12,
            Detached => 13,
            Presence => 14,
            Message => 15,
            Sync => 16,
            Auth => 17,
            Activate => 18,
            Object => 19,
            ObjectSync => 20,
            Annotation => 21,
            Unknown(n) => n,
        }
    }
}

/// What is done with a message. A client's message that is not `Create` changes another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageAction {
    Create,
    Update,
    Delete,
    /// Only the server sends these (occupancy).
    Meta,
    /// Only the server sends these (annotations).
    Summary,
    Append,
    Unknown(i64),
}

impl MessageAction {
    pub fn from_number(n: i64) -> Self {
        match n {
            0 => Self::Create,
            1 => Self::Update,
            2 => Self::Delete,
            3 => Self::Meta,
            4 => Self::Summary,
            5 => Self::Append,
            n => Self::Unknown(n),
        }
    }

    pub fn number(self) -> i64 {
        match self {
            Self::Create => 0,
            Self::Update => 1,
            Self::Delete => 2,
            Self::Meta => 3,
            Self::Summary => 4,
            Self::Append => 5,
            Self::Unknown(n) => n,
        }
    }
}

/// Presence actions on the wire. `ABSENT` (0) is only the SDKs' own.
pub(super) mod presence {
    pub(in crate::wire) const PRESENT: i64 = 1;
    pub(in crate::wire) const ENTER: i64 = 2;
    pub(in crate::wire) const LEAVE: i64 = 3;
    pub(in crate::wire) const UPDATE: i64 = 4;
}

/// Bits of `flags`.
pub mod flag {
    /// ATTACHED: a SYNC follows.
    pub const HAS_PRESENCE: u32 = 1;
    /// ATTACHED: messages from before follow.
    pub const HAS_BACKLOG: u32 = 1 << 1;
    /// ATTACHED: nothing was missed.
    pub const RESUMED: u32 = 1 << 2;
    pub const TRANSIENT: u32 = 1 << 4;
    /// ATTACH of clients before 6.1: this is not the first. Newer ones say it by `channelSerial`.
    pub const ATTACH_RESUME: u32 = 1 << 5;
    /// ATTACHED: an OBJECT_SYNC follows.
    pub const HAS_OBJECTS: u32 = 1 << 7;

    // Modes, asked for in ATTACH and granted in ATTACHED.
    pub const PRESENCE: u32 = 1 << 16;
    pub const PUBLISH: u32 = 1 << 17;
    pub const SUBSCRIBE: u32 = 1 << 18;
    pub const PRESENCE_SUBSCRIBE: u32 = 1 << 19;
    pub const ANNOTATION_PUBLISH: u32 = 1 << 21;
    pub const ANNOTATION_SUBSCRIBE: u32 = 1 << 22;
    pub const OBJECT_SUBSCRIBE: u32 = 1 << 24;
    pub const OBJECT_PUBLISH: u32 = 1 << 25;

    pub const MODES: u32 = PRESENCE
        | PUBLISH
        | SUBSCRIBE
        | PRESENCE_SUBSCRIBE
        | ANNOTATION_PUBLISH
        | ANNOTATION_SUBSCRIBE
        | OBJECT_SUBSCRIBE
        | OBJECT_PUBLISH;
    /// What an ATTACH that asks for no mode gets (ably-js asserts exactly this list).
    pub const MODES_DEFAULT: u32 = PRESENCE | PUBLISH | SUBSCRIBE | PRESENCE_SUBSCRIBE | ANNOTATION_PUBLISH;
}
