//! `POST /keys/{key}/requestToken` and `/revokeTokens`.

use std::sync::Arc;

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
    Ok(Answer::created(wire::to_format(&token.to_value(), context.format)))
}

/// Live sessions of the app are told, by a notice that is a `Vec<Revocation>`.
pub(super) async fn revoke(context: &mut Context, key: &str) -> respond::Result {
    let identity = context.identity()?;
    let body = context.body_value().await?;
    let server = &context.server;
    let outcome = server.state.auth.revoke_tokens(&**server, key, &body, &identity, context.now)?;
    // What sessions look for: all that one request revoked.
    let revocations: Vec<Revocation> = outcome.revocations().cloned().collect();
    context.engine().notice(&identity.app.id, Arc::new(revocations));
    Ok(Answer::created(wire::to_format(&outcome.to_value(error_value), context.format)))
}
