//! The protocol-neutral heart: channels and their owners, sessions, presence, ordering, fan-out,
//! recovery.
//!
//! Place in the house: adapters (Ably, …) implement [`Session`] and [`Encoder`] and speak to it in
//! [`Command`]s and [`Event`]s; the gateway implements [`Outbox`] and [`Framing`] and drives one
//! [`Worker`] on each core; the store keeps what must outlive the process.
//!
//! ```text
//!   session --Command--> worker --Mail--> the channel's owner (a worker too)
//!      ^                                     | orders, stores, commits
//!      |                                     v
//!    Event <--- hub (each worker) <--Mail-- records, once for each worker with subscribers
//!                 | encodes once for each class
//!                 v
//!               outboxes
//! ```
//!
//! Invariants: everything here is synchronous and takes time as an argument; a channel has one
//! owner, so its order needs no lock; nothing is acknowledged before the store says so; nothing is
//! allocated for each subscriber in the fan-out; a delivery that is dropped is always announced.
//! Never a WebSocket, HTTP, JSON-envelope or MessagePack type.

#![forbid(unsafe_code)]

mod directory;
mod encode;
mod handle;
mod hub;
mod ids;
mod mail;
mod map;
mod owner;
mod session;
mod shared;
mod telemetry;
mod watch;
mod worker;

pub use directory::Directory;
pub use encode::{ClassKey, Content, Delivery, Encoder, FrameKind, Framing, Outbox, Pushed};
pub use handle::{ChannelStatus, Engine, History, Identified};
pub use ids::{AttachmentId, SessionId, SessionRef, WorkerId};
pub use mail::Reply;
pub use owner::{Occupancy, Published};
pub use session::{
    Attach, Attached, Audience, ClaimId, Command, Continuity, Draft, Event, Outputs, Rewind, Roles, Session,
    Since, Token,
};
pub use shared::{Blocking, Counters, EngineConfig, WakeWorker};
pub use telemetry::{
    Bucket, Counts, DAYS_KEPT, FoldTopic, HOURS_KEPT, MINUTES_KEPT, Publisher, Telemetry, Topic,
};
pub use watch::{ConnectionSeen, Lifecycle, Narrator};
pub use worker::{Flow, Worker, WorkerSeed};
