//! `POST /api/topics/{app}/publish`.

use std::borrow::Cow;
use std::fmt::Write as _;

use axum::body::Body;
use fanfare_engine::Draft;
use fanfare_model::{ChannelKey, ErrorInfo};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Answer;
use super::context::{Context, ask, check, read};
use crate::object::Object;
use crate::permission::Action;
use crate::refusal::Refusal;
use crate::topic::{self, BROADCAST};
use crate::wire::{self, Extras, TYPE_AND_ID_BYTES_MAX};

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    /// Any JSON value, null too; but it must be there.
    #[serde(borrow)]
    message: &'a RawValue,
    compress: Option<bool>,
    #[serde(borrow, rename = "messageType")]
    message_type: Option<Cow<'a, str>>,
}

const RIGHT: &str = r#"the body is JSON: {"topic": "...", "message": <any value>, "compress": false, "messageType": "broadcast"}"#;

pub(super) async fn publish(context: &Context, body: Body) -> Result<Answer, Refusal> {
    let grant = context.bearer().await?;
    let body = read(body).await?;
    let Object(request) =
        serde_json::from_slice::<Object<Request<'_>>>(&body).map_err(|_| Refusal::bad_request(RIGHT))?;
    let topic = topic::parse(&request.topic).map_err(Refusal::bad_request)?;
    let kind = request.message_type.as_deref().filter(|kind| !kind.is_empty()).unwrap_or(BROADCAST);
    check(&grant, Action::Publish(topic.as_str()))?;
    if topic::is_servers(topic.as_str(), kind) {
        return Err(Refusal::forbidden("only the server publishes this message type on this topic"));
    }
    let most = context.settings.payload_bytes_max;
    if request.message.get().len() > most {
        return Err(Refusal::too_large(format!("a message has {most} bytes at most")));
    }
    if kind.len() > TYPE_AND_ID_BYTES_MAX {
        return Err(Refusal::too_large(format!("a messageType has {TYPE_AND_ID_BYTES_MAX} bytes at most")));
    }
    let rule = context.app.rules.of(&topic);
    if rule.tls_only && !context.secure {
        return Err(Refusal::forbidden("this topic is for requests with TLS"));
    }
    if rule.identified && grant.subject.is_none() {
        return Err(Refusal::forbidden("this topic is for tokens with a subject (sub)"));
    }
    let id = random_id(context);
    let mut message = wire::message(kind, Some(request.message));
    message.extras = Extras { compress: request.compress.unwrap_or(false), ..Extras::default() }.to_model();
    message.client_id = grant.subject;
    let draft = Draft {
        id: id.as_str().into(),
        idempotent: false,
        connection_id: None,
        uncounted: wire::uncounted(&message),
        messages: vec![message],
        ephemeral: false,
    };
    let channel = ChannelKey { app: context.app.id.clone(), name: topic };
    let engine = &context.state.engine;
    // The owner answers in order: these are the subscribers that the message meets.
    let status = ask(|reply| engine.status(channel.clone(), reply));
    let published = ask(|reply| engine.publish(channel.clone(), draft, reply));
    let subscribers = status.await?.occupancy.subscribers;
    published.await?.map_err(refused)?;
    if let Some(network) = context.network {
        let now = (context.state.clock)().wall;
        engine.published_from(&context.app.id, network, request.message.get().len() as u64, now);
    }
    Ok(Answer::json(202, &json!({ "id": id, "subscribers": subscribers })))
}

fn random_id(context: &Context) -> String {
    let mut random = [0; 12];
    (context.state.random)(&mut random);
    random.iter().fold(String::with_capacity(random.len() * 2), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

fn refused(error: ErrorInfo) -> Refusal {
    const MESSAGE_TOO_LARGE: u32 = 40009;
    match (error.code, error.status) {
        (MESSAGE_TOO_LARGE, _) => Refusal::too_large(error.message),
        (_, 503) => Refusal::unavailable(error.message),
        (_, 404) => Refusal::not_found(error.message),
        _ => Refusal::new(500, "internal", error.message),
    }
}
