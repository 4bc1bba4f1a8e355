//! Which endpoint answers.

use axum::http::Method;
use fanfare_model::Operation;
use fanfare_model::error;
use serde_json::json;

use super::context::Context;
use super::respond::{self, Answer};
use super::{batch, channels, history, presence, publish, sandbox, tokens};
use crate::wire;

pub(super) async fn answer(mut context: Context) -> respond::Result {
    let path = std::mem::take(&mut context.path);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let method = match context.method.clone() {
        // The server sends no body to it.
        Method::HEAD => Method::GET,
        method => method,
    };
    let context = &mut context;
    match (&path[..], method.as_str()) {
        (["time"], "GET") => Ok(Answer::ok(wire::to_format(&json!([context.now.wall.0]), context.format))),
        (["channels"], "GET") => channels::list(context).await,
        (["channels", channel], "GET") => channels::status(context, channel).await,
        (["channels", channel, "messages"], "POST") => publish::messages(context, channel).await,
        (["channels", channel, "messages"], "GET") => history::messages(context, channel, "messages").await,
        (["channels", channel, "history"], "GET") => history::messages(context, channel, "history").await,
        (["channels", channel, "presence"], "GET") => presence::members(context, channel).await,
        (["channels", channel, "presence", "history"], "GET") => history::presence(context, channel).await,
        (["messages"], "POST") => batch::messages(context).await,
        (["presence"], "GET") => presence::batch(context).await,
        (["keys", key, "requestToken"], "POST") => tokens::request(context, key).await,
        (["keys", key, "revokeTokens"], "POST") => tokens::revoke(context, key).await,
        (["stats"], "GET") => stats(context),
        (["stats"], "POST") if context.server.state.sandbox.is_some() => sandbox::stats(context),
        (["apps"], "POST") if context.server.state.sandbox.is_some() => sandbox::create(context).await,
        (["apps", app], "DELETE") if context.server.state.sandbox.is_some() => {
            sandbox::delete(context, app).await
        }
        (path, _) => Ok(unanswered(context, path)),
    }
}

/// No statistics are kept yet; SDKs ask for them to see whether a credential is good.
fn stats(context: &Context) -> respond::Result {
    let identity = context.identity()?;
    if !identity.capability.allows("*", Operation::Stats) {
        return Err(error::not_permitted("statistics need stats on *"));
    }
    Ok(Answer::ok(wire::to_format(&json!([]), context.format)))
}

fn unanswered(context: &Context, path: &[&str]) -> Answer {
    let sandbox = context.server.state.sandbox.is_some();
    match methods(path, sandbox) {
        None => Answer::refused(context.format, error::not_found("no such path")),
        Some(allow) => {
            let refusal = error::method_not_allowed(format!("this path has {allow}"));
            Answer { allow: Some(allow), ..Answer::refused(context.format, refusal) }
        }
    }
}

/// What a path that exists can do. `requestToken` is not among them: an SDK's test wants its GET not found.
fn methods(path: &[&str], sandbox: bool) -> Option<&'static str> {
    Some(match path {
        ["time" | "channels" | "presence"] | ["channels", _] => "GET",
        ["channels", _, "messages"] => "GET, POST",
        ["channels", _, "history" | "presence"] | ["channels", _, "presence", "history"] => "GET",
        ["messages"] | ["keys", _, "revokeTokens"] => "POST",
        ["stats"] if sandbox => "GET, POST",
        ["stats"] => "GET",
        ["apps"] if sandbox => "POST",
        ["apps", _] if sandbox => "DELETE",
        _ => return None,
    })
}
