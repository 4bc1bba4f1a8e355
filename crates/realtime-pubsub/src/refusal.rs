//! An HTTP answer that is no: to a handshake, or to a request.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::json;

/// What was wrong and, where it helps, what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: Cow<'static, str>,
    /// When it is worth to ask again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    pub(crate) fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(401, "unauthorized", message)
    }

    pub(crate) fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(403, "forbidden", message)
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "bad_request", message)
    }

    pub(crate) fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(404, "not_found", message)
    }

    pub(crate) fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(413, "too_large", message)
    }

    pub(crate) fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self { retry_after: Some(Duration::from_secs(1)), ..Self::new(503, "unavailable", message) }
    }

    pub(crate) fn unknown_app() -> Self {
        Self::not_found("there is no app with this id that speaks Realtime Pub/Sub")
    }

    pub(crate) fn too_many(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(429, "too_many_requests", message) }
    }

    pub fn body(&self) -> String {
        json!({ "error": { "code": self.code, "message": self.message } }).to_string()
    }
}
