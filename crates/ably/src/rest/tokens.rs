//! `POST /keys/{key}/requestToken` and `/revokeTokens`.

use std::sync::Arc;

use super::context::Context;
use super::respond::{self, Answer, error_value};
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

/// Live sessions of the app are told of each revocation: a [`crate::auth::Revocation`] as a notice.
pub(super) async fn revoke(context: &mut Context, key: &str) -> respond::Result {
    let identity = context.identity()?;
    let body = context.body_value().await?;
    let server = &context.server;
    let outcome = server.state.auth.revoke_tokens(&**server, key, &body, &identity, context.now)?;
    for revocation in outcome.revocations() {
        context.engine().notice(&identity.app.id, Arc::new(revocation.clone()));
    }
    Ok(Answer::created(wire::to_format(&outcome.to_value(error_value), context.format)))
}
