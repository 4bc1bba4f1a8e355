//! What clients publish: messages and presence, from either format.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{ClientId, Data, Message, PresenceAction, RawValue};

use super::action::{MessageAction, presence};
use super::claim::{USER_CLAIM, with_user_claim};
use super::reader::{Reader, Token};

/// Items of one frame or body, whatever a plan allows: it keeps what decoding takes in proportion to what came
/// (`{}` is two bytes, and a message a hundred and more). A plan's own limit is lower and is the session's to check.
pub const ITEMS_MAX: usize = 10_000;
/// Fields of one message that we do not know. Room for a protocol's next years, not for a store of data.
pub const UNKNOWN_FIELDS_MAX: usize = 32;

/// One publish: the messages of one frame or request, accepted or refused together.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Publish {
    pub messages: Vec<Message>,
    /// Names the connection on whose behalf a REST client publishes. Secret.
    pub connection_key: Option<Box<str>>,
    /// That of the first message whose action is not `Create`. Such a publish changes earlier messages.
    pub mutation: Option<MessageAction>,
}

impl std::fmt::Debug for Publish {
    /// Without the key: whoever has it can take the connection over.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publish")
            .field("messages", &self.messages)
            .field("mutation", &self.mutation)
            .finish_non_exhaustive()
    }
}

/// One presence event as a client says it; the session knows the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceInput {
    pub action: PresenceAction,
    /// Sent again with the first one's id when a client enters again after a resume.
    pub id: Option<Box<str>>,
    /// `None` means the connection's own.
    pub client_id: Option<ClientId>,
    pub data: Data,
    pub encoding: Option<Box<str>>,
    pub extras: Option<RawValue>,
}

/// `data` as it came; what it is can only be told when `encoding` is known, which may come later.
#[derive(Default)]
enum Payload<'a> {
    #[default]
    None,
    Text(Cow<'a, str>),
    Binary(&'a [u8]),
    /// A JSON object or array, as text.
    Structure(String),
}

/// What messages and presence have in common.
#[derive(Default)]
struct Common<'a> {
    id: Option<Box<str>>,
    client_id: Option<ClientId>,
    payload: Payload<'a>,
    encoding: Option<Cow<'a, str>>,
    extras: Option<RawValue>,
}

fn boxed(text: Option<Cow<'_, str>>) -> Option<Box<str>> {
    text.map(|t| t.into_owned().into_boxed_str())
}

/// A field that must be text, and has an error of its own if it is not.
fn text_or<'a, R: Reader<'a>>(
    from: &mut R,
    refusal: impl FnOnce() -> ErrorInfo,
) -> Result<Option<Cow<'a, str>>, ErrorInfo> {
    match from.token()? {
        Token::Null => Ok(None),
        Token::Text(t) => Ok(Some(t)),
        _ => Err(refusal()),
    }
}

impl<'a> Common<'a> {
    /// Takes the field if it is one of these. `false` leaves the value unread.
    fn field<R: Reader<'a>>(&mut self, key: &str, from: &mut R) -> Result<bool, ErrorInfo> {
        match key {
            "id" => self.id = boxed(from.text("a message's id")?),
            "clientId" => {
                let text = text_or(from, || error::invalid_client_id("a clientId must be a string"))?;
                self.client_id = text.map(|t| ClientId::parse(&t)).transpose()?;
            }
            "data" => self.payload = payload(from)?,
            "encoding" => {
                self.encoding = text_or(from, || error::invalid_data("encoding must be a string"))?;
            }
            "extras" => self.extras = extras(from)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn data(self) -> Result<(Data, Option<Box<str>>), ErrorInfo> {
        let encoding = self.encoding.filter(|e| !e.is_empty());
        match self.payload {
            Payload::None => Ok((Data::None, boxed(encoding))),
            Payload::Binary(bytes) => Ok((Data::Binary(Bytes::copy_from_slice(bytes)), boxed(encoding))),
            Payload::Structure(text) => Ok((Data::Text(text.into()), Some(with_json(encoding)))),
            Payload::Text(text) => match encoding.as_deref().and_then(without_base64) {
                Some(rest) => {
                    let bytes = from_base64(&text)?;
                    Ok((Data::Binary(bytes.into()), (!rest.is_empty()).then(|| rest.into())))
                }
                None => Ok((Data::Text(text.into_owned().into()), boxed(encoding))),
            },
        }
    }
}

fn payload<'a, R: Reader<'a>>(from: &mut R) -> Result<Payload<'a>, ErrorInfo> {
    let start = from.clone();
    match from.token()? {
        Token::Null => Ok(Payload::None),
        Token::Text(text) => Ok(Payload::Text(text)),
        Token::Binary(bytes) => Ok(Payload::Binary(bytes)),
        Token::Array(_) | Token::Map(_) => {
            *from = start.clone();
            from.skip()?;
            Ok(Payload::Structure(from.json_since(&start)))
        }
        Token::Bool(_) | Token::Int(_) | Token::Uint(_) | Token::Float(_) | Token::Ext(_) => {
            Err(error::invalid_data("data must be a string, bytes, an object or an array"))
        }
    }
}

/// An object, and not one that says it is the server's: a made-up `delta` would send its receivers looking for
/// a message that never was.
fn extras<'a, R: Reader<'a>>(from: &mut R) -> Result<Option<RawValue>, ErrorInfo> {
    let start = from.clone();
    let mut entries = match from.token()? {
        Token::Null => return Ok(None),
        Token::Map(entries) => entries,
        _ => return Err(error::invalid_extras("extras must be an object")),
    };
    let mut claimed = false;
    while let Some(key) = from.next_key(&mut entries)? {
        if key == "delta" {
            return Err(error::invalid_extras("only the server sets extras.delta"));
        }
        claimed |= key == USER_CLAIM;
        from.skip()?;
    }
    let extras = Some(from.since(&start));
    // Not refused: clients send on what they were sent.
    Ok(if claimed { with_user_claim(extras, None) } else { extras })
}

/// The encoding that says that the text is JSON. Some clients send the object and say so already.
fn with_json(encoding: Option<Cow<'_, str>>) -> Box<str> {
    match encoding {
        None => "json".into(),
        Some(e) if e == "json" || e.ends_with("/json") => e.into_owned().into(),
        Some(e) => format!("{e}/json").into(),
    }
}

/// What remains of an encoding when its outermost part is base64.
fn without_base64(encoding: &str) -> Option<&str> {
    let rest = encoding.strip_suffix("base64")?;
    if rest.is_empty() { Some(rest) } else { rest.strip_suffix('/') }
}

/// With or without padding; ably-ruby breaks its lines.
fn from_base64(text: &str) -> Result<Vec<u8>, ErrorInfo> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    if let Ok(bytes) = LENIENT.decode(text) {
        return Ok(bytes);
    }
    let joined: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    LENIENT.decode(joined).map_err(|_| error::invalid_data("data is not the base64 that its encoding says"))
}

/// Fields that mean something: none of them can be an unknown one, whichever protocol a message came by.
pub(super) fn is_known(key: &str) -> bool {
    is_servers_own(key)
        || matches!(
            key,
            "id" | "name" | "data" | "encoding" | "clientId" | "extras" | "action" | "connectionKey"
        )
}

/// Fields that only the server says, or that an SDK keeps for itself (`size`, ably-js). From a client they are dropped:
/// passed on, they would be taken for ours.
fn is_servers_own(key: &str) -> bool {
    matches!(
        key,
        "serial"
            | "version"
            | "timestamp"
            | "connectionId"
            | "annotations"
            | "summary"
            | "operation"
            | "createdAt"
            | "updatedAt"
            | "size"
    )
}

fn keep_unknown<'a, R: Reader<'a>>(message: &mut Message, key: &str, from: &mut R) -> Result<(), ErrorInfo> {
    let start = from.clone();
    let null = matches!(from.token()?, Token::Null);
    *from = start;
    let value = from.raw()?;
    let known = message.unknown.iter().position(|(k, _)| **k == *key);
    match known {
        Some(i) if null => drop(message.unknown.remove(i)),
        Some(i) => message.unknown[i].1 = value,
        None if null => {}
        None if message.unknown.len() == UNKNOWN_FIELDS_MAX => {
            return Err(error::bad_request("a message has more than 32 unknown fields"));
        }
        None => message.unknown.push((key.into(), value)),
    }
    Ok(())
}

/// One message, into `publish`.
fn message<'a, R: Reader<'a>>(from: &mut R, publish: &mut Publish) -> Result<(), ErrorInfo> {
    let Token::Map(mut entries) = from.token()? else {
        return Err(error::bad_request("a message must be an object"));
    };
    let mut message = Message::default();
    let mut common = Common::default();
    while let Some(key) = from.next_key(&mut entries)? {
        if common.field(&key, from)? {
            continue;
        }
        match &*key {
            "name" => {
                let name = text_or(from, || {
                    ErrorInfo::new(40016, 400, "invalid message name: it must be a string")
                })?;
                message.name = boxed(name);
            }
            "action" => {
                let action = MessageAction::from_number(from.integer("a message's action")?.unwrap_or(0));
                if action != MessageAction::Create && publish.mutation.is_none() {
                    publish.mutation = Some(action);
                }
            }
            "connectionKey" => connection_key(from, publish)?,
            key if is_servers_own(key) => from.skip()?,
            key => keep_unknown(&mut message, key, from)?,
        }
    }
    message.id = common.id.take();
    message.client_id = common.client_id.take();
    message.extras = common.extras.take();
    (message.data, message.encoding) = common.data()?;
    // Most publishes have one message and are kept for minutes: no room for three more.
    if publish.messages.is_empty() {
        publish.messages.reserve_exact(1);
    }
    publish.messages.push(message);
    Ok(())
}

fn connection_key<'a, R: Reader<'a>>(from: &mut R, publish: &mut Publish) -> Result<(), ErrorInfo> {
    let Some(key) = from.text("connectionKey")?.filter(|k| !k.is_empty()) else { return Ok(()) };
    match &publish.connection_key {
        Some(earlier) if **earlier != *key => {
            Err(error::invalid_connection_key("the messages of one publish must have the same"))
        }
        _ => {
            publish.connection_key = Some(key.into_owned().into());
            Ok(())
        }
    }
}

fn too_many() -> ErrorInfo {
    error::too_many_messages("more than 10000")
}

/// An array of messages, or null for none.
pub(super) fn messages<'a, R: Reader<'a>>(from: &mut R) -> Result<Publish, ErrorInfo> {
    let mut publish = Publish::default();
    let mut items = match from.token()? {
        Token::Null => return Ok(publish),
        Token::Array(items) => items,
        _ => return Err(error::bad_request("messages must be an array")),
    };
    while from.next_item(&mut items)? {
        if publish.messages.len() == ITEMS_MAX {
            return Err(too_many());
        }
        message(from, &mut publish)?;
    }
    Ok(publish)
}

/// One message or an array of them, as REST takes them.
pub(super) fn message_or_messages<'a, R: Reader<'a>>(from: &mut R) -> Result<Publish, ErrorInfo> {
    let start = from.clone();
    let one = matches!(from.token()?, Token::Map(_));
    *from = start;
    if !one {
        return messages(from);
    }
    let mut publish = Publish::default();
    message(from, &mut publish)?;
    Ok(publish)
}

fn presence_input<'a, R: Reader<'a>>(from: &mut R) -> Result<PresenceInput, ErrorInfo> {
    let Token::Map(mut entries) = from.token()? else {
        return Err(error::bad_request("a presence message must be an object"));
    };
    let mut common = Common::default();
    let mut action = None;
    while let Some(key) = from.next_key(&mut entries)? {
        if common.field(&key, from)? {
            continue;
        }
        match &*key {
            "action" => action = from.integer("a presence action")?,
            _ => from.skip()?,
        }
    }
    let action = match action {
        // The sandbox's fixtures have none; ably-python, too, takes a missing one for an enter.
        None | Some(presence::ENTER) => PresenceAction::Enter,
        Some(presence::LEAVE) => PresenceAction::Leave,
        Some(presence::UPDATE) => PresenceAction::Update,
        Some(_) => {
            return Err(error::bad_request("a presence action must be 2 (enter), 3 (leave) or 4 (update)"));
        }
    };
    let (id, client_id, extras) = (common.id.take(), common.client_id.take(), common.extras.take());
    let (data, encoding) = common.data()?;
    Ok(PresenceInput { action, id, client_id, data, encoding, extras })
}

/// An array of presence messages, or null for none.
pub(super) fn presence<'a, R: Reader<'a>>(from: &mut R) -> Result<Vec<PresenceInput>, ErrorInfo> {
    let mut inputs = Vec::new();
    let mut items = match from.token()? {
        Token::Null => return Ok(inputs),
        Token::Array(items) => items,
        _ => return Err(error::bad_request("presence must be an array")),
    };
    while from.next_item(&mut items)? {
        if inputs.len() == ITEMS_MAX {
            return Err(too_many());
        }
        inputs.push(presence_input(from)?);
    }
    Ok(inputs)
}

/// Whether a message asks, in its extras, to be delivered and not kept.
pub(super) fn is_ephemeral<'a, R: Reader<'a>>(mut extras: R) -> bool {
    let mut scan = || -> Result<bool, ErrorInfo> {
        let mut ephemeral = false;
        let Token::Map(mut entries) = extras.token()? else { return Ok(false) };
        while let Some(key) = extras.next_key(&mut entries)? {
            if key == "ephemeral" {
                let start = extras.clone();
                ephemeral = matches!(extras.token()?, Token::Bool(true));
                extras = start;
            }
            extras.skip()?;
        }
        Ok(ephemeral)
    };
    scan().unwrap_or(false)
}
