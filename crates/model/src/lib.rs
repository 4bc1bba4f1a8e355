//! The nouns of Fanfare: ids, names, messages, records, positions, capabilities, errors, limits.
//!
//! Place in the house: everything may depend on this crate, and it depends on nothing of ours. To
//! parse is to validate: a value of these types is right by construction.
//!
//! Invariants: never async, never I/O, never reads a clock, never a protocol's envelope.

#![forbid(unsafe_code)]

mod address;
mod app;
pub mod capability;
mod channel;
pub mod error;
mod id;
mod limits;
mod message;
mod position;
mod presence;
mod record;
pub mod record_codec;
mod rule;
mod time;

pub use address::{AnonymisedAddress, CountryCode};
pub use app::{App, ClientIdRule, Key, KeyName};
pub use capability::{Capability, Operation};
pub use channel::{ChannelKey, ChannelName};
pub use error::ErrorInfo;
pub use id::{AppId, ClientId, ConnectionId, KeyId};
pub use limits::Limits;
pub use message::{Data, Message, RawValue};
pub use position::{Epoch, Serial, Stamp};
pub use presence::{MemberKey, PresenceAction, PresenceEvent};
pub use record::{Body, BodyKind, Record};
pub use rule::{Durability, RETENTION_DEFAULT, Rule, Rules};
pub use time::{Now, Timestamp};
