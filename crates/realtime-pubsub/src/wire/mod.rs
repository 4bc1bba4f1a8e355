//! The protocol's JSON: what clients say, and what they are told.

mod encoder;
mod extras;
mod frame_in;
mod frame_out;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
#[cfg(test)]
mod tests;

pub(crate) use encoder::TopicEncoder;
pub(crate) use extras::Extras;
pub use frame_in::{Frame, Malformed, Said, decode};
pub(crate) use frame_out::{ack, welcome};

use fanfare_model::{Data, Message};
use serde_json::value::RawValue;

/// A message's type and its id, together.
pub(crate) const TYPE_AND_ID_BYTES_MAX: usize = 1_024;

/// A JSON value as the data of a message: strings are text, everything else is JSON in text.
pub(crate) fn data_of(payload: Option<&RawValue>) -> (Data, Option<Box<str>>) {
    let Some(payload) = payload else { return (Data::None, None) };
    let json = payload.get();
    if json.starts_with('"')
        && let Ok(text) = serde_json::from_str::<String>(json)
    {
        return (Data::Text(text.into()), None);
    }
    match json {
        "null" => (Data::None, None),
        json => (Data::Text(json.into()), Some("json".into())),
    }
}

/// What of a message limits do not count: everything but the payload.
pub(crate) fn uncounted(message: &Message) -> usize {
    message.size() - message.data.len()
}

/// The message of a payload under a name.
pub(crate) fn message(message_type: &str, payload: Option<&RawValue>) -> Message {
    let (data, encoding) = data_of(payload);
    Message { name: Some(message_type.into()), data, encoding, ..Message::default() }
}
