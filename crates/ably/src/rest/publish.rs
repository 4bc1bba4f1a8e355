//! `POST /channels/{ch}/messages`, and what it has in common with batches.

use axum::body::Bytes;
use base64::Engine as _;
use fanfare_engine::{Draft, Identified, Published};
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{ChannelKey, ClientId, ClientIdRule, Data, Message, Operation, Serial};
use serde_json::{Value, json};

use super::ask::ask;
use super::context::Context;
use super::respond::{self, Answer};
use super::{BODY_BYTES_MAX, ids};
use crate::auth::{Identity, resolve_message_client_id};
use crate::session::{ConnectionKey, only_create, record_id};
use crate::wire::{self, Format, Publish};

/// Letters of an id that we choose; enough that two channels' worth of publishes never meet.
const ID_LETTERS: usize = 12;

pub(super) async fn messages(context: &mut Context, channel: &str) -> respond::Result {
    let identity = context.identity()?;
    let speaker = Speaker::new(context, identity)?;
    let channel = speaker.channel(context, channel)?;
    let publish = match context.query.flag("enveloped")? {
        Some(false) => raw(context).await?,
        _ => {
            let format = context.body_format()?;
            let body = context.body().await?;
            wire::decode_publish(format, &body)?
        }
    };
    let behalf = speaker.behalf(context, &publish).await?;
    let draft = speaker.draft(&channel, publish, behalf.as_ref())?;
    let receipt = commit(context, channel, draft).await?;
    Ok(Answer::created(wire::to_format(&receipt.to_value(), context.format)))
}

/// What a publisher is told.
pub(super) struct Receipt {
    channel: ChannelKey,
    message_id: Box<str>,
    published: Published,
}

impl Receipt {
    pub(super) fn to_value(&self) -> Value {
        let Published { epoch, stamp, count } = &self.published;
        let serial = Serial { stamp: *stamp, epoch: epoch.clone() };
        let serials: Vec<String> = (0..*count).map(|index| format!("{serial}:{index:03}")).collect();
        json!({ "channel": self.channel.name.as_str(), "messageId": self.message_id, "serials": serials })
    }
}

pub(super) async fn commit(
    context: &Context,
    channel: ChannelKey,
    draft: Draft,
) -> Result<Receipt, ErrorInfo> {
    let message_id = draft.id.clone();
    let published = ask(|reply| context.engine().publish(channel.clone(), draft, reply)).await??;
    Ok(Receipt { channel, message_id, published })
}

/// Who publishes, and how all of the request's messages are to be published.
pub(super) struct Speaker {
    pub(super) identity: Identity,
    ephemeral: bool,
    /// A hook for tests of SDKs: refuse what would be accepted.
    refuse: bool,
}

impl Speaker {
    pub(super) fn new(context: &Context, identity: Identity) -> Result<Self, ErrorInfo> {
        let ephemeral = context.query.flag("ephemeral")?.unwrap_or(false);
        let refuse = context.query.flag("_forceNack")?.unwrap_or(false);
        Ok(Self { identity, ephemeral, refuse })
    }

    pub(super) fn channel(&self, context: &Context, name: &str) -> Result<ChannelKey, ErrorInfo> {
        let channel = context.channel(&self.identity, name, Operation::Publish)?;
        if channel.name.is_meta() {
            return Err(error::not_permitted("only the server publishes on a metachannel"));
        }
        if self.refuse {
            return Err(error::forced_nack(""));
        }
        Ok(channel)
    }

    /// The connection that is named, if one is.
    pub(super) async fn behalf(
        &self,
        context: &Context,
        publish: &Publish,
    ) -> Result<Option<Identified>, ErrorInfo> {
        let Some(key) = publish.connection_key.as_deref() else { return Ok(None) };
        let refused = || error::invalid_connection_key("no such connection");
        let parts = ConnectionKey::parse(key).ok_or_else(refused)?;
        let engine = context.engine();
        let found = ask(|reply| {
            engine.identify(&self.identity.app.id, parts.worker, parts.connection, &parts.secret, reply)
        })
        .await?;
        found.map(Some).ok_or_else(refused)
    }

    /// What the engine is to record. Sizes and counts are the engine's to check, except where they would cost
    /// something before.
    pub(super) fn draft(
        &self,
        channel: &ChannelKey,
        publish: Publish,
        behalf: Option<&Identified>,
    ) -> Result<Draft, ErrorInfo> {
        let Publish { mut messages, mutation, .. } = publish;
        only_create(mutation)?;
        if messages.is_empty() {
            return Err(error::bad_request("there is no message to publish"));
        }
        let identified = self.identity.app.rules.of(&channel.name).identified;
        let claim = self.identity.user_claim(channel.name.as_str());
        for message in &mut messages {
            message.id = message.id.take().filter(|id| !id.is_empty());
            message.client_id = self.client_id(message.client_id.take(), behalf)?;
            if claim.is_some() {
                message.extras = wire::with_user_claim(message.extras.take(), claim);
            }
            if identified && message.client_id.is_none() {
                return Err(error::needs_identified(""));
            }
        }
        let ephemeral = messages.iter().filter(|message| wire::is_ephemeral(message)).count();
        if ephemeral > 0 && ephemeral < messages.len() && !self.ephemeral {
            return Err(error::invalid_extras("messages of one publish are all ephemeral, or none is"));
        }
        let own = record_id(&messages)?;
        Ok(Draft {
            idempotent: own.is_some(),
            id: match own {
                Some(id) => id,
                None => format!("{}:0", ids::random(ID_LETTERS)?).into(),
            },
            connection_id: behalf.map(|b| b.connection.clone()),
            messages,
            uncounted: 0,
            ephemeral: self.ephemeral || ephemeral > 0,
        })
    }

    fn client_id(
        &self,
        said: Option<ClientId>,
        behalf: Option<&Identified>,
    ) -> Result<Option<ClientId>, ErrorInfo> {
        let client = resolve_message_client_id(&self.identity, said.as_ref().map(ClientId::as_str))?;
        let refused = || error::invalid_client_id("the connection has another clientId");
        match (behalf.map(|b| &b.clients), client) {
            (None | Some(ClientIdRule::Any), client) => Ok(client),
            (Some(ClientIdRule::Only(own)), Some(client)) if client != *own => Err(refused()),
            (Some(ClientIdRule::Only(own)), _) => Ok(Some(own.clone())),
            (Some(ClientIdRule::Anonymous), Some(_)) => Err(refused()),
            (Some(ClientIdRule::Anonymous), None) => Ok(None),
        }
    }
}

/// A message whose data is the body, and whose other fields are in headers.
async fn raw(context: &mut Context) -> Result<Publish, ErrorInfo> {
    let kind = context.content_type()?;
    let body = context.body().await?;
    debug_assert!(body.len() <= BODY_BYTES_MAX);
    let header = |names: &[&str]| -> Result<Option<Box<str>>, ErrorInfo> {
        let given = names.iter().map(|name| context.header(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(given.into_iter().flatten().find(|text| !text.is_empty()).map(Into::into))
    };
    let (data, implied) = raw_data(kind.as_deref(), body)?;
    let said = header(&["x-ably-messageencoding", "x-ably-encoding"])?;
    let encoding = match (said, implied) {
        (Some(said), Some(implied)) if said.rsplit('/').next() == Some(implied) => Some(said),
        (Some(said), Some(implied)) => Some(format!("{said}/{implied}").into()),
        (said, implied) => said.or(implied.map(Into::into)),
    };
    let (data, encoding) = without_base64(data, encoding)?;
    let message = Message {
        id: header(&["x-ably-messageid", "x-ably-id"])?,
        name: header(&["x-ably-messagename", "x-ably-name"])?,
        data,
        encoding,
        ..Message::default()
    };
    let connection_key = header(&["x-ably-connectionkey"])?;
    Ok(Publish { messages: vec![message], connection_key, mutation: None })
}

/// The data, and the encoding that its type implies.
fn raw_data(kind: Option<&str>, body: Bytes) -> Result<(Data, Option<&'static str>), ErrorInfo> {
    let not_text = || error::invalid_data("the body is not UTF-8");
    match kind {
        _ if body.is_empty() => Ok((Data::None, None)),
        Some("application/json") => match wire::from_format(&body, Format::Json)? {
            Value::String(text) => Ok((Data::Text(text.into()), None)),
            Value::Object(_) | Value::Array(_) => {
                let text = std::str::from_utf8(&body).map_err(|_| not_text())?;
                Ok((Data::Text(text.trim().into()), Some("json")))
            }
            Value::Null => Ok((Data::None, None)),
            _ => Err(error::invalid_data("data is a string, an object or an array")),
        },
        Some("application/octet-stream") => Ok((Data::Binary(body), None)),
        Some(kind) if kind.starts_with("text/") => {
            Ok((Data::Text(std::str::from_utf8(&body).map_err(|_| not_text())?.into()), None))
        }
        // Types that say nothing about it.
        _ => Ok(match std::str::from_utf8(&body) {
            Ok(text) => (Data::Text(text.into()), None),
            Err(_) => (Data::Binary(body), None),
        }),
    }
}

/// Base64 is a transport's own, and not kept.
fn without_base64(data: Data, encoding: Option<Box<str>>) -> Result<(Data, Option<Box<str>>), ErrorInfo> {
    let inner = encoding.as_deref().and_then(|e| match e {
        "base64" => Some(""),
        e => e.strip_suffix("/base64"),
    });
    match (&data, inner) {
        (Data::Text(text), Some(inner)) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim());
            let bytes =
                bytes.map_err(|_| error::invalid_data("data is not the base64 that its encoding says"))?;
            Ok((Data::Binary(bytes.into()), (!inner.is_empty()).then(|| inner.into())))
        }
        _ => Ok((data, encoding)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_bodies() {
        let text = |t: &str| Data::Text(t.into());
        type Row<'a> = (Option<&'a str>, &'a [u8], Data, Option<&'a str>);
        let rows: &[Row<'_>] = &[
            (Some("application/json"), b" {\"a\":1} ", text("{\"a\":1}"), Some("json")),
            (Some("application/json"), b"\"x\"", text("x"), None),
            (Some("text/plain"), b"x", text("x"), None),
            (None, b"x", text("x"), None),
            (None, b"\xff", Data::Binary(Bytes::from_static(b"\xff")), None),
            (Some("application/octet-stream"), b"x", Data::Binary(Bytes::from_static(b"x")), None),
            (Some("text/plain"), b"", Data::None, None),
        ];
        for (kind, body, data, encoding) in rows {
            let got = raw_data(*kind, Bytes::copy_from_slice(body)).unwrap();
            assert_eq!(got, (data.clone(), *encoding), "{kind:?}");
        }
        assert!(raw_data(Some("text/plain"), Bytes::from_static(b"\xff")).is_err());
        assert!(raw_data(Some("application/json"), Bytes::from_static(b"1")).is_err());
        let (data, encoding) = without_base64(text("AAE="), Some("cipher/base64".into())).unwrap();
        assert_eq!(
            (data, encoding.as_deref()),
            (Data::Binary(Bytes::from_static(b"\0\x01")), Some("cipher"))
        );
    }
}
