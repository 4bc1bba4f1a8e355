//! Identifiers. Each is a newtype, so that no two kinds can be mistaken for each other, and an
//! `Arc<str>` inside, because ids are copied onto every record and attachment.

use std::fmt;
use std::sync::Arc;

use crate::error::{self, ErrorInfo};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), &self.0)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id! {
    /// An app: the unit of isolation. Letters, digits, `-` and `_`, 1 to 64 of them, because it is
    /// part of keys (`appId.keyId:secret`), URLs and storage keys.
    AppId
}
id! {
    /// The part of an API key's name after the dot.
    KeyId
}
id! {
    /// A connection as clients see it; stable over resumes. Public, unlike the connection key.
    ConnectionId
}
id! {
    /// Who a client says it is. Never empty and never `*`: the wildcard is a permission, not a name.
    ClientId
}

/// Longest client id, in bytes. Long enough for any e-mail address or URL used as one.
const CLIENT_ID_BYTES_MAX: usize = 1024;
const TOKEN_ID_BYTES_MAX: usize = 64;

fn plain_token(s: &str) -> bool {
    !s.is_empty()
        && s.len() <= TOKEN_ID_BYTES_MAX
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl AppId {
    pub fn parse(s: &str) -> Result<Self, ErrorInfo> {
        plain_token(s).then(|| Self(s.into())).ok_or_else(|| error::invalid_credential("the app id"))
    }
}

impl KeyId {
    pub fn parse(s: &str) -> Result<Self, ErrorInfo> {
        plain_token(s).then(|| Self(s.into())).ok_or_else(|| error::invalid_credential("the key id"))
    }
}

impl ConnectionId {
    /// From our own random source, or back from storage: no rules to check.
    pub fn new(s: &str) -> Self {
        Self(s.into())
    }
}

impl ClientId {
    pub fn parse(s: &str) -> Result<Self, ErrorInfo> {
        if s.is_empty() || s == "*" {
            return Err(error::invalid_client_id("a clientId may be neither empty nor '*'"));
        }
        if s.len() > CLIENT_ID_BYTES_MAX {
            return Err(error::invalid_client_id("a clientId may have 1024 bytes at most"));
        }
        Ok(Self(s.into()))
    }
}
