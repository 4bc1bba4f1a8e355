//! Frames from clients.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::object::Object;
use crate::topic::BROADCAST;

/// What a client said.
#[derive(Debug)]
pub enum Frame<'a> {
    Subscribe(Cow<'a, str>),
    Unsubscribe(Cow<'a, str>),
    Publish {
        topic: Cow<'a, str>,
        said: Said<'a>,
    },
    /// To the app's back end.
    Message(Said<'a>),
}

/// A message on its way in.
#[derive(Debug)]
pub struct Said<'a> {
    pub message_type: Cow<'a, str>,
    pub compress: bool,
    /// `None`: there was none, or it was null.
    pub payload: Option<&'a RawValue>,
    /// The client's own, echoed as it is: a string, as clients write it, or any other JSON value.
    pub id: Option<&'a RawValue>,
}

/// Why a frame means nothing, in the words of a close reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not JSON, or not in UTF-8.
    NotJson,
    /// JSON, and not one of the protocol's frames.
    NotAFrame(&'static str),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<Object<Body<'a>>>,
}

#[derive(Default, Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    topic: Option<Text<'a>>,
    #[serde(borrow, default, rename = "messageType")]
    message_type: Option<Text<'a>>,
    compress: Option<bool>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// A string, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

const WRONG: &str = "a frame is {\"type\":\"publish\",\"data\":{...}} with fields of their types";

pub fn decode(text: &str) -> Result<Frame<'_>, Malformed> {
    let Object(envelope) =
        serde_json::from_str::<Object<Envelope<'_>>>(text).map_err(|failure| match failure.classify() {
            serde_json::error::Category::Data => Malformed::NotAFrame(WRONG),
            _ => Malformed::NotJson,
        })?;
    let Body { topic, message_type, compress, payload, id } =
        envelope.data.map(|Object(body)| body).unwrap_or_default();
    let topic =
        || topic.map(|Text(topic)| topic).ok_or(Malformed::NotAFrame("the frame's data names no topic"));
    let said = |message_type: Option<Text<'_>>| Said {
        message_type: match message_type {
            Some(Text(named)) if !named.is_empty() => Cow::Owned(named.into_owned()),
            _ => Cow::Borrowed(BROADCAST),
        },
        compress: compress.unwrap_or(false),
        payload: payload.filter(|payload| payload.get() != "null"),
        id: id.filter(|id| id.get() != "null"),
    };
    match &*envelope.kind {
        "subscribe" => Ok(Frame::Subscribe(topic()?)),
        "unsubscribe" => Ok(Frame::Unsubscribe(topic()?)),
        "publish" => Ok(Frame::Publish { said: said(message_type), topic: topic()? }),
        "message" => Ok(Frame::Message(said(message_type))),
        _ => Err(Malformed::NotAFrame("a frame's type is subscribe, unsubscribe, publish or message")),
    }
}
