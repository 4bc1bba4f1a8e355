//! Back ends that hear what clients send to the app, beside the topic `secure/inbound`.

use fanfare_model::{AppId, ConnectionId, Timestamp};

/// What a client sent, or that it connected or disconnected. The texts in JSON were checked to be that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundMessage {
    pub connection: ConnectionId,
    pub subject: Box<str>,
    /// A JSON array of strings.
    pub permissions: Box<str>,
    pub message_type: Box<str>,
    /// Any JSON value.
    pub payload: Box<str>,
    /// The client's own, in JSON.
    pub id: Option<Box<str>>,
    pub timestamp: Timestamp,
    pub presence: bool,
}

impl InboundMessage {
    /// As back ends are given it: `{"msg":{"client":…,"payload":…,"id":…,…}}`.
    pub fn to_json(&self, app: &AppId) -> String {
        let text = |value: &str| serde_json::to_string(value).unwrap_or_else(|_| "\"\"".to_owned());
        let id = self.id.as_deref().unwrap_or("null");
        format!(
            "{{\"msg\":{{\"client\":{{\"connectionId\":{},\"subject\":{},\"permissions\":{}}},\"payload\":{},\
             \"id\":{id},\"messageType\":{},\"appId\":{},\"timestamp\":{}}}}}",
            text(self.connection.as_str()),
            text(&self.subject),
            self.permissions,
            self.payload,
            text(&self.message_type),
            text(app.as_str()),
            self.timestamp.0,
        )
    }
}

/// Takes messages at once or not at all: a slow back end is never waited for, and its queue is bounded.
pub trait Inbound: Send + Sync {
    /// Whether the app has a back end for it; without one nothing is made for it.
    fn wants(&self, app: &AppId, presence: bool) -> bool;

    fn deliver(&self, app: &AppId, message: InboundMessage);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_back_end_is_given() {
        let message = InboundMessage {
            connection: ConnectionId::new("00010203040506ff"),
            subject: "a\"b".into(),
            permissions: "[]".into(),
            message_type: "broadcast".into(),
            payload: "{\"n\":1}".into(),
            id: Some("\"x1\"".into()),
            timestamp: Timestamp(5),
            presence: false,
        };
        let json = message.to_json(&AppId::parse("shop").unwrap());
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["msg"]["client"]["subject"], "a\"b");
        assert_eq!(value["msg"]["payload"]["n"], 1);
        assert_eq!(value["msg"]["id"], "x1");
        assert_eq!(value["msg"]["appId"], "shop");
    }
}
