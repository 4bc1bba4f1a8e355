//! The telemetry endpoints: what the engine has counted, in the protocol's words.

use std::time::Duration;

use fanfare_engine::{Counts, DAYS_KEPT, Telemetry};
use serde_json::{Value, json};

use super::Answer;
use super::context::{Context, ask};
use crate::permission::Action;
use crate::refusal::Refusal;

const DAY: Duration = Duration::from_secs(86_400);
/// Days that may be asked for: as many as are kept.
const DAYS_MAX: u64 = DAYS_KEPT.as_secs() / DAY.as_secs();
/// Topics in one answer.
const TOPICS_MAX: usize = 100;
/// Networks in one answer.
const PUBLISHERS_MAX: usize = 100;
/// Of connections from nobody knows where.
const UNKNOWN_COUNTRY: &str = "ZZ";

pub(super) async fn aggregates(context: &Context, days: &str) -> Result<Answer, Refusal> {
    let told = asked(context, days).await?;
    let buckets = told.buckets.iter().map(|bucket| {
        let mut fields = counts(&bucket.counts);
        fields["timestamp"] = json!(bucket.start.0);
        fields
    });
    let buckets: Vec<Value> = buckets.collect();
    let mut body = counts(&told.total);
    body["connections"]["now"] = json!(told.connections_now);
    body["bucketSeconds"] = json!(told.resolution.as_secs());
    body["buckets"] = json!(buckets);
    let publishers = told.publishers.iter().take(PUBLISHERS_MAX).map(|publisher| {
        json!({
            "network": publisher.network,
            "messages": publisher.messages,
            "bytes": publisher.bytes,
        })
    });
    body["publishers"] = publishers.collect();
    Ok(of_app(context, body, (told.from.0, told.to.0)))
}

pub(super) async fn countries(context: &Context, days: &str) -> Result<Answer, Refusal> {
    let told = asked(context, days).await?;
    let row = |(country, connections): &(Option<fanfare_model::CountryCode>, u64)| {
        let country = country.as_ref().map_or(UNKNOWN_COUNTRY, |code| code.as_str());
        json!({ "country": country, "connections": connections })
    };
    let rows: Vec<Value> = told.countries.iter().map(row).collect();
    Ok(of_app(context, json!({ "countries": rows }), (told.from.0, told.to.0)))
}

pub(super) async fn top_topics(context: &Context, days: &str) -> Result<Answer, Refusal> {
    let told = asked(context, days).await?;
    let mut query = form_urlencoded::parse(context.query.as_bytes());
    let limit = match query.find(|(name, _)| name == "limit") {
        None => TOPICS_MAX,
        Some((_, text)) => {
            let limit = text.parse().ok().filter(|limit| (1..=TOPICS_MAX).contains(limit));
            limit.ok_or_else(|| Refusal::bad_request(format!("limit is a number from 1 to {TOPICS_MAX}")))?
        }
    };
    let rows = told.topics.iter().take(limit).map(|topic| {
        json!({
            "topic": topic.name,
            "messages": topic.messages,
            "bytes": topic.bytes,
            "subscribersPeak": topic.subscribers_peak,
        })
    });
    let rows: Vec<Value> = rows.collect();
    Ok(of_app(context, json!({ "topics": rows }), (told.topics_from.0, told.to.0)))
}

/// What the bearer asks for, if they may.
async fn asked(context: &Context, days: &str) -> Result<Telemetry, Refusal> {
    context.permitted(Action::ManageApplication).await?;
    if context.header("x-app-id") != Some(context.app.id.as_str()) {
        return Err(Refusal::bad_request("the header X-App-Id must name the app of the path"));
    }
    let days = days.parse().ok().filter(|days| (1..=DAYS_MAX).contains(days));
    let wrong = || format!("the path ends with the days to look back, 1 to {DAYS_MAX}");
    let days: u64 = days.ok_or_else(|| Refusal::bad_request(wrong()))?;
    let until = (context.state.clock)().wall;
    let since = until.saturating_sub(Duration::from_secs(days * DAY.as_secs()));
    ask(|reply| context.state.engine.telemetry(context.app.id.clone(), since, until, reply)).await
}

fn counts(counts: &Counts) -> Value {
    json!({
        "connections": {
            "opened": counts.connections_opened,
            "closed": counts.connections_closed,
            "peak": counts.connections_peak,
        },
        "messages": {
            "publishedWs": counts.published_by_connections,
            "publishedHttp": counts.published_by_requests,
            "inbound": counts.inbound,
            "delivered": counts.delivered,
        },
        "bytes": { "in": counts.bytes_in, "out": counts.bytes_out },
    })
}

fn of_app(context: &Context, mut body: Value, (from, to): (i64, i64)) -> Answer {
    body["appId"] = json!(context.app.id.as_str());
    body["from"] = json!(from);
    body["to"] = json!(to);
    Answer::json(200, &body)
}
