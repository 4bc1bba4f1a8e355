//! Orders for live connections: unsubscribe, terminate.

use axum::body::Body;
use fanfare_model::ConnectionId;
use serde::Deserialize;
use serde_json::json;

use super::Answer;
use super::context::{Context, read};
use crate::object::Object;
use crate::permission::Action;
use crate::refusal::Refusal;
use crate::session::{Order, Orders};
use crate::topic;

/// Patterns in one request.
const PATTERNS_MAX: usize = 50;

#[derive(Deserialize)]
struct Unsubscribe {
    #[serde(rename = "topicPatterns")]
    patterns: Vec<String>,
    /// Everyone's subscriptions when left out.
    subject: Option<String>,
}

const RIGHT: &str = r#"the body is JSON: {"topicPatterns": ["secure/*"], "subject": "user@example.com"}"#;

pub(super) async fn unsubscribe(context: &Context, body: Body) -> Result<Answer, Refusal> {
    context.permitted(Action::ManageSubscribers).await?;
    let body = read(body).await?;
    let Object(Unsubscribe { patterns, subject }) =
        serde_json::from_slice(&body).map_err(|_| Refusal::bad_request(RIGHT))?;
    if patterns.is_empty() || patterns.len() > PATTERNS_MAX {
        return Err(Refusal::bad_request(format!("topicPatterns has 1 to {PATTERNS_MAX} patterns")));
    }
    if patterns.iter().any(|pattern| pattern.is_empty() || pattern.len() > topic::BYTES_MAX) {
        let most = topic::BYTES_MAX;
        return Err(Refusal::bad_request(format!("each of topicPatterns has 1 to {most} bytes")));
    }
    let count = give(context, Order::Unsubscribe { patterns, subject }).await?;
    Ok(Answer::json(200, &json!({ "unsubscribed": count })))
}

pub(super) async fn terminate(context: &Context, connection: &str) -> Result<Answer, Refusal> {
    context.permitted(Action::ManageConnections).await?;
    let connection = Some(ConnectionId::new(connection));
    match give(context, Order::Terminate { connection }).await? {
        0 => Err(Refusal::not_found("the app has no connection with this id")),
        _ => Ok(Answer::no_content()),
    }
}

pub(super) async fn terminate_all(context: &Context) -> Result<Answer, Refusal> {
    context.permitted(Action::ManageConnections).await?;
    let count = give(context, Order::Terminate { connection: None }).await?;
    Ok(Answer::json(200, &json!({ "terminated": count })))
}

async fn give(context: &Context, order: Order) -> Result<usize, Refusal> {
    let carried_out = Orders::give(&context.state.engine, &context.app.id, order);
    carried_out.await.map_err(|_| Refusal::unavailable("the server is going away"))
}
