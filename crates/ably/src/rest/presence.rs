//! `GET /channels/{ch}/presence` and `GET /presence`.

use std::sync::Arc;

use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{Operation, PresenceEvent};
use futures_util::future::join_all;

use super::ask::ask;
use super::batch;
use super::context::Context;
use super::paging::{self, Page};
use super::respond::{self, Answer, map_of};
use crate::auth::Identity;
use crate::wire::{self, PresenceView};

pub(super) async fn members(context: &Context, channel: &str) -> respond::Result {
    let (app, channel) = context.readable(channel, Operation::Subscribe)?;
    let limit = paging::limit(&context.query, &app.limits)?;
    let (client, connection) = (context.query.text("clientId"), context.query.text("connectionId"));
    let cursor = context.query.text("cursor");
    let mut members = ask(|reply| context.engine().members(channel, reply)).await?;
    members.retain(|member| {
        client.is_none_or(|id| member.member.client_id.as_str() == id)
            && connection.is_none_or(|id| member.member.connection_id.as_str() == id)
    });
    let next = cut(&mut members, cursor, limit);
    let shown = members.iter().map(|member| &**member);
    let body = wire::presence_body(context.format, PresenceView::Members, shown);
    let mut page = Page { segment: "presence", params: vec![("limit", limit.to_string())], cursor, next };
    page.keep(&context.query, &["clientId", "connectionId", "format"]);
    Ok(Answer { links: page.links(), ..Answer::ok(body) })
}

/// A member's place in the order of members: who comes and goes meanwhile shifts nobody else.
fn place(member: &PresenceEvent) -> String {
    format!("{}/{}", member.member.connection_id, member.member.client_id)
}

/// Leaves one page; returns the next one's cursor if there is one.
fn cut(members: &mut Vec<Arc<PresenceEvent>>, cursor: Option<&str>, limit: usize) -> Option<String> {
    let mut placed: Vec<_> = members.drain(..).map(|member| (place(&member), member)).collect();
    placed.sort_by(|a, b| a.0.cmp(&b.0));
    placed.retain(|(place, _)| cursor.is_none_or(|cursor| place.as_str() > cursor));
    let more = placed.len() > limit;
    placed.truncate(limit);
    let next = placed.last().filter(|_| more).map(|(place, _)| place.clone());
    members.extend(placed.into_iter().map(|(_, member)| member));
    next
}

/// `GET /presence?channels=a,b`
pub(super) async fn batch(context: &Context) -> respond::Result {
    let identity = context.identity()?;
    let names: Vec<&str> = match context.query.text("channels").or_else(|| context.query.text("channel")) {
        Some(names) => names.split(',').collect(),
        None => return Err(error::bad_request("channels is missing")),
    };
    let most = identity.app.limits.batch_channels_max;
    if names.len() > most {
        return Err(error::bad_request(format!("a batch may have {most} channels at most")));
    }
    let results = join_all(names.iter().map(|name| one_of_batch(context, &identity, name))).await;
    let named = names.into_iter().zip(results);
    let entries: Vec<_> =
        named.map(|(name, result)| batch::Entry::new(context.format, name, result)).collect();
    Ok(match context.version.has_counted_batches() {
        true => Answer::ok(batch::counted(context.format, &entries)),
        false => batch::flat(context.format, &entries, 200),
    })
}

async fn one_of_batch(context: &Context, identity: &Identity, name: &str) -> Result<Vec<u8>, ErrorInfo> {
    let channel = context.channel(identity, name, Operation::Subscribe)?;
    let members = ask(|reply| context.engine().members(channel, reply)).await?;
    let shown = members.iter().map(|member| &**member);
    let presence = wire::presence_body(context.format, PresenceView::Members, shown);
    let channel = wire::to_format(&name.into(), context.format);
    Ok(map_of(context.format, &[("channel", &channel), ("presence", &presence)]))
}

#[cfg(test)]
mod tests {
    use fanfare_model::{ClientId, ConnectionId, Data, MemberKey, PresenceAction, Timestamp};

    use super::*;

    #[test]
    fn pages_of_members() {
        let member = |connection: &str, client: &str| {
            Arc::new(PresenceEvent {
                action: PresenceAction::Enter,
                id: "i".into(),
                member: MemberKey {
                    connection_id: ConnectionId::new(connection),
                    client_id: ClientId::parse(client).unwrap(),
                },
                data: Data::None,
                encoding: None,
                extras: None,
                timestamp: Timestamp(0),
            })
        };
        let all =
            vec![member("b", "1"), member("a", "2"), member("a", "1"), member("b", "2"), member("c", "1")];
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut page = all.clone();
            let next = cut(&mut page, cursor.as_deref(), 2);
            seen.extend(page.iter().map(|m| place(m)));
            match next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, ["a/1", "a/2", "b/1", "b/2", "c/1"]);
        let mut exact = all[..2].to_vec();
        assert_eq!(cut(&mut exact, None, 2), None, "nothing follows a full last page");
    }
}
