//! The frames that the server says itself.

use fanfare_model::AnonymisedAddress;
use serde_json::json;
use serde_json::value::RawValue;

use crate::topic;

/// The first frame of every connection. The address is the client's network: nothing here knows
/// more of it.
pub(crate) fn welcome(connection: &str, app: &str, address: AnonymisedAddress) -> Vec<u8> {
    let frame = json!({
        "topic": topic::MAIN,
        "messageType": topic::WELCOME,
        "data": { "connection": { "id": connection, "appId": app, "remoteAddress": address.to_string() } },
    });
    frame.to_string().into_bytes()
}

/// What the client sent under this id was accepted.
pub(crate) fn ack(id: &RawValue) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + id.get().len());
    out.extend_from_slice(br#"{"topic":"priv/acks","messageType":"ack","data":{"data":"#);
    out.extend_from_slice(id.get().as_bytes());
    out.extend_from_slice(b"}}");
    out
}
