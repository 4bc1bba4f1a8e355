//! `GET /channels/{ch}` and `GET /channels`.

use fanfare_engine::ChannelStatus;
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{AppId, Operation};
use serde_json::Value;

use super::Server;
use super::ask::ask;
use super::context::Context;
use super::paging::{self, Page};
use super::respond::{self, Answer};
use crate::metadata::channel_details;
use crate::wire;

pub(super) async fn status(context: &Context, channel: &str) -> respond::Result {
    let (_, channel) = context.readable(channel, Operation::ChannelMetadata)?;
    let status = ask(|reply| context.engine().status(channel, reply)).await?;
    Ok(Answer::ok(wire::to_format(&details(&status), context.format)))
}

/// Who asks about a channel makes it active, as far as anyone can tell.
fn details(status: &ChannelStatus) -> Value {
    channel_details(status, true)
}

/// How channels are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Name,
    Details,
}

pub(super) async fn list(context: &Context) -> respond::Result {
    let identity = context.identity()?;
    if !identity.capability.allows("*", Operation::ChannelMetadata) {
        return Err(error::not_permitted("listing channels needs channel-metadata on *"));
    }
    let by = match context.query.text("by") {
        Some("id") => By::Name,
        Some("value") => By::Details,
        None if context.version.has_counted_batches() => By::Name,
        None => By::Details,
        Some(_) => return Err(error::invalid_parameter("by is id or value")),
    };
    let limit = paging::limit(&context.query, &identity.app.limits)?;
    let (prefix, cursor) = (context.query.text("prefix").unwrap_or_default(), context.query.text("cursor"));
    let app = identity.app.id.clone();
    let turn = Turn::take(&context.server, &app)?;
    let mut channels = ask(|reply| context.engine().channels(app.clone(), prefix, reply)).await?;
    drop(turn);
    channels.retain(|c| !c.name.is_meta() && cursor.is_none_or(|cursor| c.name.as_str() > cursor));
    channels.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let more = channels.len() > limit;
    channels.truncate(limit);
    let next = channels.last().filter(|_| more).map(|last| last.name.to_string());
    let items = channels.iter().map(|channel| match by {
        By::Name => channel.name.as_str().into(),
        By::Details => details(channel),
    });
    let body = wire::to_format(&Value::Array(items.collect()), context.format);
    let mut page = Page { segment: "channels", params: vec![("limit", limit.to_string())], cursor, next };
    page.keep(&context.query, &["prefix", "by", "format"]);
    Ok(Answer { links: page.links(), ..Answer::ok(body) })
}

/// The right to enumerate an app's channels; given back when dropped.
struct Turn<'a> {
    server: &'a Server,
    app: &'a AppId,
}

impl<'a> Turn<'a> {
    fn take(server: &'a Server, app: &'a AppId) -> Result<Self, ErrorInfo> {
        match server.enumerating.lock().insert(app.clone()) {
            true => Ok(Self { server, app }),
            false => Err(error::enumeration_in_progress("")),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.server.enumerating.lock().remove(self.app);
    }
}
