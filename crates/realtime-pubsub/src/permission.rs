//! What a token allows: `realtime:publisher:write:topic:<pattern>` and its siblings.

use crate::pattern;

const PUBLISH: &str = "realtime:publisher:write:topic:";
const SUBSCRIBE: &str = "realtime:subscriber:read:topic:";
const CONNECTIONS: &str = "realtime:admin:manage:connections";
const SUBSCRIBERS: &str = "realtime:admin:manage:subscribers";
const APPLICATION: &str = "realtime:admin:manage:application";
/// What all of them begin with; a scope may name other things, which are none of ours.
const OURS: &str = "realtime:";

/// One thing that may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    Publish(&'a str),
    /// Asked only for topics that are secure.
    Subscribe(&'a str),
    ManageConnections,
    ManageSubscribers,
    ManageApplication,
}

impl Action<'_> {
    /// The permission that would allow it, for the words of a refusal.
    pub fn needs(&self) -> String {
        match self {
            Self::Publish(topic) => format!("{PUBLISH}{topic}"),
            Self::Subscribe(topic) => format!("{SUBSCRIBE}{topic}"),
            Self::ManageConnections => CONNECTIONS.to_owned(),
            Self::ManageSubscribers => SUBSCRIBERS.to_owned(),
            Self::ManageApplication => APPLICATION.to_owned(),
        }
    }
}

/// A token's permissions, as they were at the handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    granted: Vec<Permission>,
    /// As the token wrote them, those that are ours.
    shown: Vec<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Permission {
    Publish(Box<str>),
    Subscribe(Box<str>),
    ManageConnections,
    ManageSubscribers,
    ManageApplication,
}

impl Permission {
    fn parse(text: &str) -> Option<Self> {
        if let Some(pattern) = text.strip_prefix(PUBLISH) {
            return Some(Self::Publish(pattern.into()));
        }
        if let Some(pattern) = text.strip_prefix(SUBSCRIBE) {
            return Some(Self::Subscribe(pattern.into()));
        }
        match text {
            CONNECTIONS => Some(Self::ManageConnections),
            SUBSCRIBERS => Some(Self::ManageSubscribers),
            APPLICATION => Some(Self::ManageApplication),
            _ => None,
        }
    }

    fn allows(&self, action: Action<'_>) -> bool {
        match (self, action) {
            (Self::Publish(pattern), Action::Publish(topic))
            | (Self::Subscribe(pattern), Action::Subscribe(topic)) => pattern::matches(pattern, topic),
            (Self::ManageConnections, Action::ManageConnections)
            | (Self::ManageSubscribers, Action::ManageSubscribers)
            | (Self::ManageApplication, Action::ManageApplication) => true,
            _ => false,
        }
    }
}

impl Permissions {
    /// From the values of a token. What is not understood allows nothing.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut permissions = Self::default();
        for value in values.into_iter().filter(|value| value.starts_with(OURS)) {
            permissions.granted.extend(Permission::parse(value));
            permissions.shown.push(value.into());
        }
        permissions
    }

    pub fn allow(&self, action: Action<'_>) -> bool {
        self.granted.iter().any(|granted| granted.allows(action))
    }

    /// As a JSON array, for those who are told who a client is.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.shown).unwrap_or_else(|_| "[]".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Permissions x actions.
    #[test]
    fn table() {
        let actions = [
            Action::Publish("news"),
            Action::Publish("secure/a:b"),
            Action::Publish("priv/0a"),
            Action::Subscribe("secure/inbound"),
            Action::Subscribe("secure/a:b"),
            Action::ManageConnections,
            Action::ManageSubscribers,
            Action::ManageApplication,
        ];
        let rows: &[(&str, [bool; 8])] = &[
            ("realtime:publisher:write:topic:*", [true, true, true, false, false, false, false, false]),
            ("realtime:publisher:write:topic:news", [true, false, false, false, false, false, false, false]),
            (
                "realtime:publisher:write:topic:secure/a:b",
                [false, true, false, false, false, false, false, false],
            ),
            (
                "realtime:publisher:write:topic:priv/*",
                [false, false, true, false, false, false, false, false],
            ),
            ("realtime:publisher:write:topic:", [false; 8]),
            ("realtime:publisher:write:topic", [false; 8]),
            ("realtime:subscriber:read:topic:*", [false, false, false, true, true, false, false, false]),
            (
                "realtime:subscriber:read:topic:secure/inbound",
                [false, false, false, true, false, false, false, false],
            ),
            ("realtime:admin:manage:connections", [false, false, false, false, false, true, false, false]),
            ("realtime:admin:manage:subscribers", [false, false, false, false, false, false, true, false]),
            ("realtime:admin:manage:application", [false, false, false, false, false, false, false, true]),
            ("realtime:admin:manage:*", [false; 8]),
            ("realtime:*", [false; 8]),
            ("*", [false; 8]),
            ("Realtime:publisher:write:topic:*", [false; 8]),
            (" realtime:publisher:write:topic:*", [false; 8]),
            ("openid", [false; 8]),
        ];
        for (permission, expected) in rows {
            let permissions = Permissions::parse([*permission]);
            let got = actions.map(|action| permissions.allow(action));
            assert_eq!(got, *expected, "{permission}");
        }
        let both = Permissions::parse([
            "realtime:publisher:write:topic:a",
            "realtime:subscriber:read:topic:secure/b",
        ]);
        assert!(both.allow(Action::Publish("a")) && both.allow(Action::Subscribe("secure/b")));
        assert!(!both.allow(Action::Publish("secure/b")));
    }

    #[test]
    fn what_would_be_needed_is_enough() {
        for action in [Action::Publish("a/b"), Action::Subscribe("secure/x"), Action::ManageApplication] {
            assert!(Permissions::parse([action.needs().as_str()]).allow(action));
        }
    }

    #[test]
    fn only_ours_are_shown() {
        let permissions = Permissions::parse(["openid", "realtime:publisher:write:topic:\"x\""]);
        assert_eq!(permissions.to_json(), r#"["realtime:publisher:write:topic:\"x\""]"#);
    }
}
