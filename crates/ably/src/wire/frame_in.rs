//! Protocol messages from clients.

use std::borrow::Cow;
use std::fmt;

use fanfare_model::error::{self, ErrorInfo};

use super::action::Action;
use super::json_in::JsonReader;
use super::message_in::{self, PresenceInput, Publish};
use super::msgpack_in::MsgpackReader;
use super::reader::{Reader, Token, utf8, wrong_type};

/// Entries of `params`; past it the frame is refused.
const PARAMS_MAX: usize = 256;

/// A protocol message that a client sent. Null and absent are the same; what only servers send is passed over.
pub struct ProtocolMessage<'a> {
    pub action: Action,
    /// See [`super::flag`].
    pub flags: u32,
    pub channel: Option<Cow<'a, str>>,
    pub channel_serial: Option<Cow<'a, str>>,
    pub msg_serial: Option<i64>,
    /// A HEARTBEAT's, to be echoed.
    pub id: Option<Cow<'a, str>>,
    pub count: Option<i64>,
    /// An error here is of the publish, not of the frame: it is for a NACK, and the connection lives.
    pub messages: Result<Publish, ErrorInfo>,
    /// As `messages`.
    pub presence: Result<Vec<PresenceInput>, ErrorInfo>,
    /// AUTH's new token. Secret.
    pub access_token: Option<Cow<'a, str>>,
    pub params: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl fmt::Debug for ProtocolMessage<'_> {
    /// Without the token, and without what users said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtocolMessage")
            .field("action", &self.action)
            .field("flags", &self.flags)
            .field("channel", &self.channel)
            .field("channel_serial", &self.channel_serial)
            .field("msg_serial", &self.msg_serial)
            .finish_non_exhaustive()
    }
}

impl ProtocolMessage<'_> {
    /// Whether there is nothing in it that a HEARTBEAT does not have, too: without its action it is one.
    fn is_bare(&self) -> bool {
        self.channel.is_none()
            && self.access_token.is_none()
            && self.messages.as_ref().is_ok_and(|publish| publish.messages.is_empty())
            && self.presence.as_ref().is_ok_and(Vec::is_empty)
    }

    /// A parameter's value.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().rfind(|(key, _)| key == name).map(|(_, value)| &**value)
    }
}

/// One text frame. The frame must be the whole of it.
pub fn decode_json(frame: &[u8]) -> Result<ProtocolMessage<'_>, ErrorInfo> {
    let text = utf8(frame).ok_or_else(|| error::bad_request("malformed JSON: it is not UTF-8"))?;
    decode(JsonReader::new(text))
}

/// One binary frame. The frame must be the whole of it.
pub fn decode_msgpack(frame: &[u8]) -> Result<ProtocolMessage<'_>, ErrorInfo> {
    decode(MsgpackReader::new(frame))
}

fn decode<'a, R: Reader<'a>>(mut from: R) -> Result<ProtocolMessage<'a>, ErrorInfo> {
    let Token::Map(mut entries) = from.token()? else {
        return Err(error::bad_request("a protocol message must be an object"));
    };
    let mut action = None;
    let mut frame = ProtocolMessage {
        action: Action::Unknown(-1),
        flags: 0,
        channel: None,
        channel_serial: None,
        msg_serial: None,
        id: None,
        count: None,
        messages: Ok(Publish::default()),
        presence: Ok(Vec::new()),
        access_token: None,
        params: Vec::new(),
    };
    while let Some(key) = from.next_key(&mut entries)? {
        match &*key {
            "action" => action = from.integer("action")?,
            // Bits past 31 have no meaning yet.
            "flags" => frame.flags = from.integer("flags")?.unwrap_or(0) as u32,
            "channel" => frame.channel = from.text("channel")?,
            "channelSerial" => frame.channel_serial = from.text("channelSerial")?,
            "msgSerial" => frame.msg_serial = from.integer("msgSerial")?,
            "id" => frame.id = from.text("id")?,
            "count" => frame.count = from.integer("count")?,
            "messages" => frame.messages = or_passed_over(&mut from, message_in::messages)?,
            "presence" => frame.presence = or_passed_over(&mut from, message_in::presence)?,
            "auth" => frame.access_token = access_token(&mut from)?,
            "params" => frame.params = params(&mut from)?,
            _ => from.skip()?,
        }
    }
    from.end()?;
    // ably-go leaves out a zero, and a HEARTBEAT is zero.
    frame.action = Action::from_number(action.unwrap_or(0));
    if action.is_none() && !frame.is_bare() {
        return Err(error::bad_request("a protocol message must have an action"));
    }
    Ok(frame)
}

/// Reads with `read`; if that refuses the value, passes over it, so that the rest of the frame (and with it what
/// a NACK must say) can still be read. Fails only if the value cannot even be passed over.
fn or_passed_over<'a, R: Reader<'a>, T>(
    from: &mut R,
    read: impl FnOnce(&mut R) -> Result<T, ErrorInfo>,
) -> Result<Result<T, ErrorInfo>, ErrorInfo> {
    let start = from.clone();
    let result = read(from);
    if result.is_err() {
        *from = start;
        from.pass_over()?;
    }
    Ok(result)
}

fn access_token<'a, R: Reader<'a>>(from: &mut R) -> Result<Option<Cow<'a, str>>, ErrorInfo> {
    let Some(mut entries) = from.map("auth")? else { return Ok(None) };
    let mut token = None;
    while let Some(key) = from.next_key(&mut entries)? {
        match &*key {
            "accessToken" => token = from.text("auth.accessToken")?,
            _ => from.skip()?,
        }
    }
    Ok(token)
}

type Params<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Values are text; of other scalars their text is taken, since `rewind: 1` is too easy to write.
fn params<'a, R: Reader<'a>>(from: &mut R) -> Result<Params<'a>, ErrorInfo> {
    let mut params = Vec::new();
    let Some(mut entries) = from.map("params")? else { return Ok(params) };
    while let Some(key) = from.next_key(&mut entries)? {
        if params.len() == PARAMS_MAX {
            return Err(error::bad_request("more than 256 params"));
        }
        let value = match from.token()? {
            Token::Null => continue,
            Token::Text(t) => t,
            Token::Bool(b) => Cow::Borrowed(if b { "true" } else { "false" }),
            Token::Int(n) => Cow::Owned(n.to_string()),
            Token::Uint(n) => Cow::Owned(n.to_string()),
            Token::Float(f) => Cow::Owned(f.to_string()),
            _ => return Err(wrong_type("a value in params", "a string")),
        };
        params.push((key, value));
    }
    Ok(params)
}
