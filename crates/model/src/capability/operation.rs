//! Operations and sets of them.

use std::ops::{BitAnd, BitOr, BitOrAssign};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    Subscribe,
    Publish,
    Presence,
    History,
    Stats,
    ChannelMetadata,
    PushSubscribe,
    PushAdmin,
    AnnotationPublish,
    AnnotationSubscribe,
    ObjectPublish,
    ObjectSubscribe,
    MessageUpdateOwn,
    MessageUpdateAny,
    MessageDeleteOwn,
    MessageDeleteAny,
    PrivilegedHeaders,
}

use Operation::*;

/// Sorted by name: the order of canonical JSON.
const NAMES: [(&str, Operation); 17] = [
    ("annotation-publish", AnnotationPublish),
    ("annotation-subscribe", AnnotationSubscribe),
    ("channel-metadata", ChannelMetadata),
    ("history", History),
    ("message-delete-any", MessageDeleteAny),
    ("message-delete-own", MessageDeleteOwn),
    ("message-update-any", MessageUpdateAny),
    ("message-update-own", MessageUpdateOwn),
    ("object-publish", ObjectPublish),
    ("object-subscribe", ObjectSubscribe),
    ("presence", Presence),
    ("privileged-headers", PrivilegedHeaders),
    ("publish", Publish),
    ("push-admin", PushAdmin),
    ("push-subscribe", PushSubscribe),
    ("stats", Stats),
    ("subscribe", Subscribe),
];

/// All operations, those that a later version adds included.
const WILDCARD: &str = "*";

impl Operation {
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|&(_, operation)| operation)
    }

    pub fn as_str(self) -> &'static str {
        NAMES.iter().find(|&&(_, o)| o == self).map_or("", |&(name, _)| name)
    }

    fn bit(self) -> u32 {
        1 << (self as u32)
    }
}

/// A set of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Operations(u32);

impl Operations {
    pub const NONE: Self = Self(0);
    /// `*`. Not the same as a list of all: `*` grants what is invented tomorrow, a list does not.
    pub const ALL: Self = Self(u32::MAX);

    /// A list as it stands in a capability.
    pub(super) fn parse(names: &[String]) -> Result<Self, String> {
        match names {
            [] => return Err("the list of operations is empty".to_owned()),
            [only] if only == WILDCARD => return Ok(Self::ALL),
            _ if names.iter().any(|n| n == WILDCARD) => {
                return Err("'*' stands alone or not at all".to_owned());
            }
            _ => {}
        }
        let mut set = Self::NONE;
        for name in names {
            let known = NAMES.binary_search_by(|(n, _)| (*n).cmp(name.as_str()));
            let at = known.map_err(|_| format!("unknown operation \"{name}\""))?;
            set |= NAMES[at].1.into();
        }
        Ok(set)
    }

    pub fn contains(self, operation: Operation) -> bool {
        self.0 & operation.bit() != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Sorted; `*` for all.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = self == Self::ALL;
        let listed = NAMES.iter().filter(move |(_, o)| !all && self.contains(*o)).map(|&(name, _)| name);
        all.then_some(WILDCARD).into_iter().chain(listed)
    }
}

impl From<Operation> for Operations {
    fn from(operation: Operation) -> Self {
        Self(operation.bit())
    }
}

impl BitOr for Operations {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Operations {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Operations {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}
