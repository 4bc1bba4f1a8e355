//! Channel names.

use std::fmt;
use std::sync::Arc;

use crate::AppId;
use crate::error::{self, ErrorInfo};

/// A channel's canonical name within its app. Case-sensitive. Protocol qualifiers that only carry
/// parameters (`[?rewind=1]name`) are taken off before; `[meta]…` names a channel of its own.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

/// Longest name in bytes.
const CHANNEL_NAME_BYTES_MAX: usize = 2048;
const META: &str = "[meta]";

impl ChannelName {
    pub fn parse(s: &str) -> Result<Self, ErrorInfo> {
        let body = s.strip_prefix(META).unwrap_or(s);
        let reason = match body.chars().next() {
            None => "it is empty",
            Some(':' | ',') => "it starts with ':' or ','",
            Some('[') => "it starts with an unknown qualifier in brackets",
            Some(c) if c.is_whitespace() => "it starts with whitespace",
            _ if s.len() > CHANNEL_NAME_BYTES_MAX => "it has more than 2048 bytes",
            _ if s.contains(['\n', '\r', '\0']) => "it has a line break or a NUL in it",
            _ => return Ok(Self(s.into())),
        };
        Err(error::invalid_channel_name(reason))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What rules are chosen by: the part before the first colon, or the whole name.
    pub fn namespace(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// A channel that the server itself writes to, and clients only read.
    pub fn is_meta(&self) -> bool {
        self.0.starts_with(META)
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelName({})", self.0)
    }
}

/// A channel in the whole server. The app comes from the credential, never from the request: that is
/// what keeps apps apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelKey {
    pub app: AppId,
    pub name: ChannelName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "a:b", "a,b", "[meta]log", "ü", "a[b]", " x".trim(), "{}\"'", &"x".repeat(2048)] {
            assert!(ChannelName::parse(good).is_ok(), "{good:?}");
        }
        for bad in ["", ":a", ",a", " a", "[x]a", "[meta]", "a\nb", &"x".repeat(2049)] {
            assert_eq!(ChannelName::parse(bad).unwrap_err().code, 40010, "{bad:?}");
        }
        assert_eq!(ChannelName::parse("a:b:c").unwrap().namespace(), "a");
        assert_eq!(ChannelName::parse("abc").unwrap().namespace(), "abc");
    }
}
