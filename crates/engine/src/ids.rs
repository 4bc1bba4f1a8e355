//! Who is who inside one process.

/// A core's worker. Also the owner of the channels that hash to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u16);

/// A session on its worker. The generation tells a reused slot from the session that had it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// A session anywhere in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionRef {
    pub worker: WorkerId,
    pub session: SessionId,
}

/// An attachment of a session; the session chooses the number, unique among its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttachmentId(pub u32);
