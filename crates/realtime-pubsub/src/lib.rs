//! Realtime Pub/Sub's protocol: topics over WebSocket with JWTs, and an HTTP API for back ends.
//!
//! Place in the house: an adapter over the engine, beside Ably's. A topic is a channel of the app, so the clients of
//! both protocols talk to each other.
//!
//! Invariants: never sees a socket and never reads a clock; a token's permissions are those of the handshake;
//! frames of one connection are handled in their order; what only the server may say, no client can; a session ends
//! with a close code and a reason, because the protocol has no other way to say what was wrong.

#![forbid(unsafe_code)]

mod apps;
mod close;
pub mod http;
pub mod inbound;
mod object;
pub mod pattern;
pub mod permission;
mod refusal;
mod seats;
mod session;
pub mod token;
pub mod topic;
pub mod wire;

pub use apps::{AppSettings, Apps};
pub use refusal::Refusal;
pub use seats::{HandshakeRates, Rate, Seats};
pub use session::{AppLookup, Host, OpenRequest, Opened, Random};
