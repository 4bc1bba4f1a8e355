//! The telemetry endpoints: who may ask, and for how long back. The counts are made elsewhere.

use serde_json::{Value, json};

use super::Answer;
use super::context::Context;
use crate::permission::Action;
use crate::refusal::Refusal;
use crate::telemetry::{DAYS_MAX, TOPICS_MAX, Telemetry};

pub(super) async fn aggregates(context: &Context, days: &str) -> Result<Answer, Refusal> {
    let (telemetry, days) = asked(context, days).await?;
    Ok(of_app(context, telemetry.aggregates(&context.app.id, days)))
}

pub(super) async fn countries(context: &Context, days: &str) -> Result<Answer, Refusal> {
    let (telemetry, days) = asked(context, days).await?;
    Ok(of_app(context, telemetry.countries(&context.app.id, days)))
}

pub(super) async fn top_topics(context: &Context, days: &str) -> Result<Answer, Refusal> {
    let (telemetry, days) = asked(context, days).await?;
    let mut query = form_urlencoded::parse(context.query.as_bytes());
    let limit = match query.find(|(name, _)| name == "limit") {
        None => TOPICS_MAX,
        Some((_, text)) => {
            let limit = text.parse().ok().filter(|limit| (1..=TOPICS_MAX).contains(limit));
            limit.ok_or_else(|| Refusal::bad_request(format!("limit is a number from 1 to {TOPICS_MAX}")))?
        }
    };
    Ok(of_app(context, telemetry.top_topics(&context.app.id, days, limit)))
}

async fn asked<'a>(context: &'a Context, days: &str) -> Result<(&'a dyn Telemetry, u32), Refusal> {
    let telemetry = context.state.telemetry.as_deref();
    let telemetry = telemetry.ok_or_else(|| Refusal::not_found("this server keeps no telemetry"))?;
    context.permitted(Action::ManageApplication).await?;
    if context.header("x-app-id") != Some(context.app.id.as_str()) {
        return Err(Refusal::bad_request("the header X-App-Id must name the app of the path"));
    }
    let days = days.parse().ok().filter(|days| (1..=DAYS_MAX).contains(days));
    let wrong = || format!("the path ends with the days to look back, 1 to {DAYS_MAX}");
    days.map(|days| (telemetry, days)).ok_or_else(|| Refusal::bad_request(wrong()))
}

fn of_app(context: &Context, mut numbers: Value) -> Answer {
    if let Value::Object(fields) = &mut numbers {
        fields.insert("appId".to_owned(), json!(context.app.id.as_str()));
    }
    Answer::json(200, &numbers)
}
