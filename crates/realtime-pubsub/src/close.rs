//! Why connections end: the protocol's only way to say that something was wrong. Never 1000 and never 1001 unless the
//! client began, because there are clients that do not come back after those.

use fanfare_model::ErrorInfo;

use crate::wire::Malformed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    /// At most 123 bytes go into a close frame.
    pub(crate) reason: &'static str,
}

const fn close(code: u16, reason: &'static str) -> Close {
    Close { code, reason }
}

/// Clients and their tests know these words.
pub(crate) const SUBSCRIBING_FORBIDDEN: Close = close(1008, "Subscription to secure topic is forbidden!");
pub(crate) const PUBLISHING_FORBIDDEN: Close = close(1008, "Publishing to topic is forbidden!");
pub(crate) const PRIVATE_FORBIDDEN: Close = close(1008, "Subscription to private topic is forbidden!");
pub(crate) const RESERVED: Close = close(1008, "Only the server publishes this message type on this topic!");
pub(crate) const NEEDS_SUBJECT: Close =
    close(1008, "This topic is for clients with a subject (sub) in their token!");
pub(crate) const NEEDS_TLS: Close = close(1008, "This topic is for connections with TLS!");
pub(crate) const TOO_MANY_TOPICS: Close = close(1008, "Too many topics are subscribed on this connection!");
pub(crate) const APP_GONE: Close = close(1008, "The app is not available any more!");
pub(crate) const TOO_LARGE: Close = close(1009, "The payload is larger than this app allows!");
pub(crate) const TYPE_OR_ID_TOO_LARGE: Close =
    close(1009, "A messageType and an id have 1024 bytes at most!");
pub(crate) const INTERNAL: Close = close(1011, "The server failed!");
pub(crate) const RESTART: Close = close(1012, "The server restarts, please reconnect!");
pub(crate) const OVERRUN: Close =
    close(1013, "The connection is too slow: messages were dropped, please reconnect!");
pub(crate) const UNAVAILABLE: Close = close(1013, "Messages cannot be accepted now, please reconnect later!");
pub(crate) const TERMINATED: Close = close(4000, "Connection terminated by an administrator!");
const NOT_JSON: Close = close(1007, "A frame is JSON in UTF-8!");

pub(crate) fn malformed(why: Malformed) -> Close {
    match why {
        Malformed::NotJson => NOT_JSON,
        Malformed::NotAFrame(reason) => close(1003, reason),
    }
}

/// A topic's name that cannot be one.
pub(crate) fn bad_topic(reason: &'static str) -> Close {
    close(1003, reason)
}

/// The engine did not take a message.
pub(crate) fn refused(error: &ErrorInfo) -> Close {
    const MESSAGE_TOO_LARGE: u32 = 40009;
    match (error.code, error.status) {
        (MESSAGE_TOO_LARGE, _) => TOO_LARGE,
        (_, 503) => UNAVAILABLE,
        (_, 404) => APP_GONE,
        _ => INTERNAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_into_a_close_frame() {
        let all = [
            SUBSCRIBING_FORBIDDEN,
            PUBLISHING_FORBIDDEN,
            PRIVATE_FORBIDDEN,
            RESERVED,
            NEEDS_SUBJECT,
            NEEDS_TLS,
            TOO_MANY_TOPICS,
            APP_GONE,
            TOO_LARGE,
            TYPE_OR_ID_TOO_LARGE,
            INTERNAL,
            RESTART,
            OVERRUN,
            UNAVAILABLE,
            TERMINATED,
            NOT_JSON,
        ];
        let frames = ["", "{}", "[]", r#"{"type":"x"}"#, r#"{"type":"subscribe"}"#];
        let malformed = frames.map(|text| malformed(crate::wire::decode(text).unwrap_err()));
        let topics =
            ["", "a*", "[a", &"x".repeat(300)].map(|name| bad_topic(crate::topic::parse(name).unwrap_err()));
        for close in all.into_iter().chain(malformed).chain(topics) {
            assert!(!close.reason.is_empty() && close.reason.len() <= 123, "{close:?}");
        }
    }
}
