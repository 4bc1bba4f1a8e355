//! `POST /keys/{key}/requestToken` and `/revokeTokens`.

use std::sync::Arc;

use fanfare_model::error::ErrorInfo;
use fanfare_store::Entry;

use super::ask::ask;
use super::context::Context;
use super::respond::{self, Answer, error_value};
use crate::auth::Revocation;
use crate::wire;

pub(super) async fn request(context: &mut Context, key: &str) -> respond::Result {
    // A body that is signed needs no credentials, and those beside it do not count.
    let body = context.body_value().await?;
    let credentials = context.credentials()?;
    let server = &context.server;
    let (transport, now) = (context.transport, context.now);
    let token = server.state.auth.request_token(&**server, key, &body, &credentials, transport, now)?;
    keep(context, token.spent.clone()).await?;
    Ok(Answer::created(wire::to_format(&token.to_value(), context.format)))
}

/// Answered when all of it is durable.
async fn keep(context: &Context, entries: impl IntoIterator<Item = Entry>) -> Result<(), ErrorInfo> {
    let engine = context.engine();
    // All are on their way before the first is waited for: they share a sync.
    let kept: Vec<_> = entries.into_iter().map(|e| ask(move |reply| engine.keep(e, reply))).collect();
    futures_util::future::join_all(kept).await.into_iter().try_for_each(|kept| kept?)
}

/// Live sessions of the app are told, by a notice that is a `Vec<Revocation>`.
pub(super) async fn revoke(context: &mut Context, key: &str) -> respond::Result {
    let identity = context.identity()?;
    let body = context.body_value().await?;
    let server = &context.server;
    let outcome = server.state.auth.revoke_tokens(&**server, key, &body, &identity, context.now)?;
    // What sessions look for: all that one request revoked.
    let revocations: Vec<Revocation> = outcome.revocations().cloned().collect();
    let entries: Vec<_> = revocations.iter().map(Revocation::to_entry).collect();
    // At once, whether it can be stored or not: what is to be cut off must not wait for a disk.
    context.engine().notice(&identity.app.id, Arc::new(revocations));
    keep(context, entries).await?;
    Ok(Answer::created(wire::to_format(&outcome.to_value(error_value), context.format)))
}
