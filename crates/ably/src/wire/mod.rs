//! Ably's wire: JSON and msgpack to neutral nouns, and back.
//!
//! Pure functions: never I/O, never a clock, never a session's state. What is read and written is said once, over
//! two small traits ([`reader`] and [`emit`]) that each format implements, so the formats cannot come to mean different
//! things. Nothing is reserved for a length that a client claims, nothing recurses further than 64 levels, and
//! every error is an `ErrorInfo` that the client can be told.

mod action;
mod claim;
mod emit;
mod frame_in;
mod frame_out;
mod json_in;
mod json_out;
mod message_in;
mod msgpack_in;
mod msgpack_out;
mod reader;
mod record_out;
mod rest_in;
mod rest_out;
mod shape;
mod text;
mod transcode;
mod value;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
#[cfg(test)]
mod tests;

use fanfare_model::ErrorInfo;

pub use action::{Action, MessageAction, flag};
pub use claim::with_user_claim;
pub use frame_in::{ProtocolMessage, decode_json, decode_msgpack};
pub use frame_out::{
    Attached, Connected, ConnectionDetails, Occupancy, Receipt, ack, attached, auth, closed, connected,
    detached, disconnected, error, heartbeat, nack, occupancy,
};
pub use message_in::{ITEMS_MAX, PresenceInput, Publish, UNKNOWN_FIELDS_MAX};
pub use reader::DEPTH_MAX;
pub use record_out::{RecordEncoder, sync};
pub use rest_in::{BatchSpec, decode_batch, decode_presence, decode_publish, is_ephemeral};
pub use rest_out::{PresenceView, StoredMessage, error_body, messages_body, presence_body};
pub use shape::Shape;
pub use value::{VALUES_MAX, from_format, to_format};

/// The writer of `$format`, as the type `$E` in `$body`.
macro_rules! in_format {
    ($format:expr, $E:ident => $body:expr) => {
        match $format {
            $crate::wire::Format::Json => {
                type $E = $crate::wire::json_out::Json;
                $body
            }
            $crate::wire::Format::Msgpack => {
                type $E = $crate::wire::msgpack_out::Msgpack;
                $body
            }
        }
    };
}
use in_format;

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    Json,
    Msgpack,
}

impl Format {
    /// Exactly this: ably-js compares it to the letter.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Msgpack => "application/x-msgpack",
        }
    }
}

/// One frame in the connection's format.
pub fn decode(format: Format, frame: &[u8]) -> Result<ProtocolMessage<'_>, ErrorInfo> {
    match format {
        Format::Json => decode_json(frame),
        Format::Msgpack => decode_msgpack(frame),
    }
}
