//! Bodies of REST requests.

use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{Message, RawValue};

use super::Format;
use super::json_in::JsonReader;
use super::message_in::{self, PresenceInput, Publish};
use super::msgpack_in::MsgpackReader;
use super::reader::{Reader, Token, utf8};

/// Entries of one batch request, and channels of one entry; a plan's own limits are lower.
const BATCH_MAX: usize = 10_000;

/// What one entry of a batch request publishes, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchSpec {
    pub channels: Vec<Box<str>>,
    pub publish: Publish,
}

/// Calls `$read` with a reader of `$bytes`, and refuses what follows the value.
macro_rules! whole {
    ($format:expr, $bytes:expr, $read:expr) => {
        match $format {
            Format::Json => {
                let text =
                    utf8($bytes).ok_or_else(|| error::bad_request("malformed JSON: it is not UTF-8"))?;
                let mut from = JsonReader::new(text);
                let value = $read(&mut from)?;
                from.end()?;
                Ok(value)
            }
            Format::Msgpack => {
                let mut from = MsgpackReader::new($bytes);
                let value = $read(&mut from)?;
                from.end()?;
                Ok(value)
            }
        }
    };
}

/// A message, or an array of messages.
pub fn decode_publish(format: Format, body: &[u8]) -> Result<Publish, ErrorInfo> {
    whole!(format, body, message_in::message_or_messages)
}

/// An array of presence messages.
pub fn decode_presence(format: Format, body: &[u8]) -> Result<Vec<PresenceInput>, ErrorInfo> {
    whole!(format, body, message_in::presence)
}

/// A batch spec, or an array of them.
pub fn decode_batch(format: Format, body: &[u8]) -> Result<Vec<BatchSpec>, ErrorInfo> {
    whole!(format, body, batch)
}

/// Whether a message asks, by `extras.ephemeral`, to be delivered and not kept.
pub fn is_ephemeral(message: &Message) -> bool {
    match &message.extras {
        None => false,
        Some(RawValue::Json(text)) => message_in::is_ephemeral(JsonReader::new(text)),
        Some(RawValue::Msgpack(bytes)) => message_in::is_ephemeral(MsgpackReader::new(bytes)),
    }
}

fn batch<'a, R: Reader<'a>>(from: &mut R) -> Result<Vec<BatchSpec>, ErrorInfo> {
    let start = from.clone();
    let mut items = match from.token()? {
        Token::Array(items) => items,
        Token::Map(_) => {
            *from = start;
            return Ok(vec![batch_spec(from)?]);
        }
        _ => return Err(error::bad_request("a batch must be an object or an array of objects")),
    };
    let mut specs = Vec::new();
    // Counted over all entries: each may have the most, but not all of them.
    let mut messages = 0;
    while from.next_item(&mut items)? {
        if specs.len() == BATCH_MAX {
            return Err(error::bad_request("more than 10000 entries in a batch"));
        }
        let spec = batch_spec(from)?;
        messages += spec.publish.messages.len();
        if messages > message_in::ITEMS_MAX {
            return Err(error::too_many_messages("more than 10000"));
        }
        specs.push(spec);
    }
    Ok(specs)
}

fn batch_spec<'a, R: Reader<'a>>(from: &mut R) -> Result<BatchSpec, ErrorInfo> {
    let Token::Map(mut entries) = from.token()? else {
        return Err(error::bad_request("an entry of a batch must be an object"));
    };
    let mut spec = BatchSpec::default();
    while let Some(key) = from.next_key(&mut entries)? {
        match &*key {
            "channels" => spec.channels = channels(from)?,
            "messages" => spec.publish = message_in::message_or_messages(from)?,
            _ => from.skip()?,
        }
    }
    if spec.publish.messages.is_empty() {
        return Err(error::bad_request("an entry of a batch needs messages"));
    }
    Ok(spec)
}

/// One name, or an array of names. Whether they are good names is said per channel, later.
fn channels<'a, R: Reader<'a>>(from: &mut R) -> Result<Vec<Box<str>>, ErrorInfo> {
    let mut items = match from.token()? {
        Token::Null => return Ok(Vec::new()),
        Token::Text(name) => return Ok(vec![name.into_owned().into()]),
        Token::Array(items) => items,
        _ => return Err(error::bad_request("channels must be a string or an array of strings")),
    };
    let mut names = Vec::new();
    while from.next_item(&mut items)? {
        if names.len() == BATCH_MAX {
            return Err(error::bad_request("more than 10000 channels in a batch"));
        }
        match from.text("a channel's name")? {
            Some(name) => names.push(name.into_owned().into()),
            None => return Err(error::bad_request("a channel's name must be a string")),
        }
    }
    Ok(names)
}
