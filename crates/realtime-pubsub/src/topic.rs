//! Topics: their names, and those that mean something to the protocol.

use std::borrow::Cow;

use fanfare_model::{ChannelName, ConnectionId};

/// Everyone is subscribed to it from the start; the welcome comes on it.
pub const MAIN: &str = "main";
/// Where `message` frames go, and presence.
pub const INBOUND: &str = "secure/inbound";
/// Where a client hears of what it sent. Only the server speaks there.
pub const ACKS: &str = "priv/acks";
const SECURE: &str = "secure/";
const PRIVATE: &str = "priv/";

/// Longest name, in bytes.
pub const BYTES_MAX: usize = 256;
/// Longest subject: its private topic must be a topic.
pub const SUBJECT_BYTES_MAX: usize = BYTES_MAX - PRIVATE.len();

pub const WELCOME: &str = "welcome";
pub const PRESENCE: &str = "presence";
pub const ACK: &str = "ack";
/// The type of a message without one.
pub const BROADCAST: &str = "broadcast";

/// Checks a topic's name. A topic is a channel, so what cannot name a channel cannot name a topic.
pub fn parse(name: &str) -> Result<ChannelName, &'static str> {
    if name.len() > BYTES_MAX {
        return Err("a topic has 256 bytes at most");
    }
    if name.chars().any(|c| c.is_control() || c == '*') {
        return Err("a topic has no control characters and no '*'");
    }
    if name.starts_with('[') {
        return Err("a topic does not begin with '['");
    }
    ChannelName::parse(name)
        .map_err(|_| "a topic is not empty and does not begin with ':', ',' or whitespace")
}

pub fn is_secure(topic: &str) -> bool {
    topic.starts_with(SECURE)
}

pub fn is_private(topic: &str) -> bool {
    topic.starts_with(PRIVATE)
}

/// The private topic of a connection or a subject.
pub fn private(of: &str) -> String {
    format!("{PRIVATE}{of}")
}

/// Under which name a topic is counted: private ones would say who talks with whom.
pub fn folded(topic: &str) -> Cow<'_, str> {
    Cow::Borrowed(if is_private(topic) { "priv/*" } else { topic })
}

/// Whether only the server may say this.
pub fn is_servers(topic: &str, message_type: &str) -> bool {
    matches!((topic, message_type), (ACKS, _) | (MAIN, WELCOME) | (INBOUND, PRESENCE))
}

/// Letters of a connection id, more than other protocols' ids have. A record that names such a connection was
/// therefore published by one of this protocol's sessions, and what is in it was checked.
const ID_LETTERS: usize = 16;
/// What connection ids begin with, before hexadecimal digits: subjects of that form can be refused without a loss.
const ID_FIRST: char = 'r';

pub(crate) fn connection_id(random: [u8; ID_LETTERS / 2]) -> ConnectionId {
    use std::fmt::Write as _;
    let mut id = String::with_capacity(ID_LETTERS);
    for byte in random {
        let _ = write!(id, "{byte:02x}");
    }
    id.replace_range(..1, ID_FIRST.encode_utf8(&mut [0; 4]));
    ConnectionId::new(&id)
}

/// Whether the private topic of a subject would be another's: a connection's, or that of acknowledgements. A user who
/// may choose a name could read what is meant for others.
pub(crate) fn is_taken(subject: &str) -> bool {
    let hexadecimal = |rest: &str| rest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let connection = subject.len() == ID_LETTERS && subject.strip_prefix(ID_FIRST).is_some_and(hexadecimal);
    connection || private(subject) == ACKS
}

pub(crate) fn is_ours(connection: &ConnectionId) -> bool {
    connection.as_str().len() == ID_LETTERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let longest = "x".repeat(BYTES_MAX);
        for good in ["a", "main", "secure/inbound", "a.b:c d/ü", "priv/user@example.com", &longest] {
            assert!(parse(good).is_ok(), "{good:?}");
        }
        let too_long = "x".repeat(BYTES_MAX + 1);
        for bad in
            ["", "a*", "a\nb", "a\0", "a\u{7f}", "a\u{85}", ":a", ",a", " a", "[meta]log", "[a]b", &too_long]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_only_the_server_says() {
        for (topic, kind, expected) in [
            (ACKS, ACK, true),
            (ACKS, "x", true),
            (MAIN, WELCOME, true),
            (MAIN, "x", false),
            ("x", WELCOME, false),
            (INBOUND, PRESENCE, true),
            (INBOUND, "x", false),
            ("x", PRESENCE, false),
        ] {
            assert_eq!(is_servers(topic, kind), expected, "{topic} {kind}");
        }
    }

    #[test]
    fn ids_are_told_apart() {
        let id = connection_id([0, 1, 2, 3, 4, 5, 6, 255]);
        assert_eq!(id.as_str(), "r0010203040506ff");
        assert!(is_ours(&id));
        assert!(!is_ours(&ConnectionId::new("0123456789ab")));
        assert!(is_taken(id.as_str()) && is_taken("acks"));
        for free in
            ["r0010203040506f", "r0010203040506fff", "r0010203040506fg", "00010203040506ff", "main", "r"]
        {
            assert!(!is_taken(free), "{free}");
        }
    }
}
