//! The numbers that the telemetry endpoints answer with. They are counted elsewhere; here is their shape.

use fanfare_model::AppId;
use serde_json::Value;

/// Days that may be asked for at most.
pub const DAYS_MAX: u32 = 31;
/// Topics in one answer.
pub const TOPICS_MAX: usize = 100;

/// Answers in the shapes of `docs/realtime-pubsub.md`, without the app's id and the period, which are added.
pub trait Telemetry: Send + Sync {
    /// `{from, to, connections, messages, bytes, buckets}`
    fn aggregates(&self, app: &AppId, days: u32) -> Value;
    /// `{from, to, countries:[{country, connections}]}`
    fn countries(&self, app: &AppId, days: u32) -> Value;
    /// `{from, to, topics:[{topic, messages, bytes, subscribersPeak}]}`, most messages first.
    fn top_topics(&self, app: &AppId, days: u32, limit: usize) -> Value;
}
