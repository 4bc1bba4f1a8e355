//! What an app learns about itself: its channels' details, and the metachannels on which their lives, and those of
//! its connections, are told.

use std::sync::Arc;

use fanfare_engine::{ChannelStatus, ConnectionSeen, Lifecycle, Narrator, Occupancy};
use fanfare_model::{ChannelName, Data, Message};
use serde_json::{Value, json};

/// `ChannelDetails`, as REST answers it and lifecycle events carry it.
pub(crate) fn channel_details(status: &ChannelStatus, active: bool) -> Value {
    let Occupancy {
        connections,
        publishers,
        subscribers,
        presence_connections,
        presence_members,
        presence_subscribers,
    } = status.occupancy;
    json!({
        "channelId": status.name.as_str(),
        "status": {
            "isActive": active,
            "occupancy": { "metrics": {
                "connections": connections,
                "publishers": publishers,
                "subscribers": subscribers,
                "presenceConnections": presence_connections,
                "presenceMembers": presence_members,
                "presenceSubscribers": presence_subscribers,
                "objectPublishers": 0,
                "objectSubscribers": 0,
            } },
        },
    })
}

/// Who writes on the channel, if it is a metachannel on which something is told.
pub(crate) fn narrator(channel: &ChannelName) -> Option<Arc<dyn Narrator>> {
    match channel.as_str() {
        "[meta]channel.lifecycle" => Some(Arc::new(Channels)),
        "[meta]connection.lifecycle" => Some(Arc::new(Connections)),
        _ => None,
    }
}

struct Channels;

impl Narrator for Channels {
    fn narrate(&self, event: &Lifecycle) -> Option<Message> {
        match event {
            Lifecycle::ChannelOpened(status) => told("channel.opened", &channel_details(status, true)),
            Lifecycle::ChannelClosed(status) => told("channel.closed", &channel_details(status, false)),
            _ => None,
        }
    }
}

struct Connections;

impl Narrator for Connections {
    fn narrate(&self, event: &Lifecycle) -> Option<Message> {
        match event {
            Lifecycle::ConnectionOpened(seen) => told("connection.opened", &connection_details(seen)),
            Lifecycle::ConnectionClosed(seen) => told("connection.closed", &connection_details(seen)),
            _ => None,
        }
    }
}

fn connection_details(seen: &ConnectionSeen) -> Value {
    let mut details = json!({ "connectionId": seen.connection.as_str() });
    if let Some(client) = &seen.client {
        details["clientId"] = client.as_str().into();
    }
    details
}

fn told(name: &str, data: &Value) -> Option<Message> {
    Some(Message {
        name: Some(name.into()),
        data: Data::Text(data.to_string().into()),
        encoding: Some("json".into()),
        ..Message::default()
    })
}

#[cfg(test)]
mod tests {
    use fanfare_model::{ClientId, ConnectionId};

    use super::*;

    #[test]
    fn each_metachannel_tells_its_own_kind() {
        let name = |text: &str| ChannelName::parse(text).unwrap();
        let status = |active| ChannelStatus { name: name("a:b"), active, occupancy: Occupancy::default() };
        let seen = |client: Option<&str>| ConnectionSeen {
            connection: ConnectionId::new("c"),
            client: client.map(|c| ClientId::parse(c).unwrap()),
        };
        let events = [
            Lifecycle::ChannelOpened(status(true)),
            Lifecycle::ChannelClosed(status(false)),
            Lifecycle::ConnectionOpened(seen(None)),
            Lifecycle::ConnectionClosed(seen(Some("me"))),
        ];
        let said = |channel: &str| -> Vec<(String, Value)> {
            let narrator = narrator(&name(channel)).unwrap();
            let messages = events.iter().filter_map(|event| narrator.narrate(event));
            let read = |m: Message| {
                let Data::Text(data) = m.data else { panic!("text") };
                assert_eq!(m.encoding.as_deref(), Some("json"));
                (m.name.unwrap().into(), serde_json::from_str(&data).unwrap())
            };
            messages.map(read).collect()
        };
        let channels = said("[meta]channel.lifecycle");
        assert_eq!((&*channels[0].0, &*channels[1].0), ("channel.opened", "channel.closed"));
        assert_eq!(channels[0].1["channelId"], "a:b");
        assert_eq!(channels[0].1["status"]["isActive"], true);
        assert_eq!(channels[1].1["status"]["isActive"], false);
        assert_eq!(channels[1].1["status"]["occupancy"]["metrics"]["connections"], 0);
        let expected = [
            ("connection.opened".to_owned(), json!({ "connectionId": "c" })),
            ("connection.closed".to_owned(), json!({ "connectionId": "c", "clientId": "me" })),
        ];
        assert_eq!(said("[meta]connection.lifecycle"), expected);
        for silent in ["[meta]log", "channel.lifecycle", "a"] {
            assert!(narrator(&name(silent)).is_none(), "{silent}");
        }
    }
}
