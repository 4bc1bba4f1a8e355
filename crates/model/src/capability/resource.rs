//! Resources: channel names with wildcards.

use std::borrow::Cow;
use std::iter;

/// Longest resource, in bytes: a channel name's length and a qualifier's.
const RESOURCE_BYTES_MAX: usize = 2_100;
const WILDCARD: &str = "*";

/// `[qualifier]name`. The name's segments are divided by `:`. A segment `*` stands for exactly one
/// segment, and as the last for one or more; any other text is literal (`foo*` too). The qualifier `*`
/// stands for any and for none; a resource without one means only channels without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// As in the capability.
    text: Box<str>,
    /// Where the name starts in it. Zero when there is no qualifier.
    name_at: usize,
}

impl Resource {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > RESOURCE_BYTES_MAX {
            return Err(format!("a resource has more than {RESOURCE_BYTES_MAX} bytes"));
        }
        let Some(bracketed) = text.strip_prefix('[') else {
            return match text {
                "" => Err("a resource is empty".to_owned()),
                _ => Ok(Self { text: text.into(), name_at: 0 }),
            };
        };
        let Some((qualifier, name)) = bracketed.split_once(']') else {
            return Err(format!("resource \"{text}\" lacks a closing bracket"));
        };
        // A qualifier with parameters names no kind of channel. Passed over in silence, `[filter=x]a` could
        // be read as a narrower grant than it would be.
        let word =
            |q: &str| !q.is_empty() && q.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !(qualifier == WILDCARD || word(qualifier)) {
            return Err(format!("resource \"{text}\" has an invalid qualifier"));
        }
        if name.is_empty() {
            return Err(format!("resource \"{text}\" has no name after its qualifier"));
        }
        Ok(Self { text: text.into(), name_at: text.len() - name.len() })
    }

    pub(super) fn everywhere() -> Self {
        Self { text: "[*]*".into(), name_at: 3 }
    }

    pub(super) fn channels() -> Self {
        Self { text: WILDCARD.into(), name_at: 0 }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A plain name: no qualifier, no wildcard. It matches itself and nothing else.
    pub(super) fn is_exact(&self) -> bool {
        self.name_at == 0 && self.text.split(':').all(|segment| segment != WILDCARD)
    }

    fn qualifier(&self) -> Option<&str> {
        (self.name_at > 0).then(|| &self.text[1..self.name_at - 1])
    }

    fn name(&self) -> &str {
        &self.text[self.name_at..]
    }

    /// Whether the channel is one of those that this resource means.
    pub fn matches_channel(&self, channel: &str) -> bool {
        self.matches(&Target::of(channel))
    }

    pub(super) fn matches(&self, target: &Target<'_>) -> bool {
        let qualifier = self.qualifier();
        if qualifier != Some(WILDCARD) && qualifier != target.qualifier {
            return false;
        }
        let mut pattern = self.name().split(':').peekable();
        let mut segments = target.name.split(':');
        loop {
            match (pattern.next(), segments.next()) {
                (None, None) => return true,
                (Some(WILDCARD), Some(_)) if pattern.peek().is_none() => return true,
                (Some(wanted), Some(segment)) if wanted == WILDCARD || wanted == segment => {}
                _ => return false,
            }
        }
    }

    /// The resource that means the channels which both mean.
    pub(super) fn intersect(&self, other: &Self) -> Option<Self> {
        let qualifier = match (self.qualifier(), other.qualifier()) {
            (Some(WILDCARD), q) | (q, Some(WILDCARD)) => q,
            (a, b) if a == b => a,
            _ => return None,
        };
        let name = intersect_names(self.name(), other.name())?;
        Some(match qualifier {
            None => Self { name_at: 0, text: name.into() },
            Some(q) => Self { name_at: q.len() + 2, text: format!("[{q}]{name}").into() },
        })
    }
}

/// Walks both names together. Where both have a segment the narrower one is kept; a final `*` takes the
/// rest of the other name as it stands, because it means one or more segments, whatever they are.
fn intersect_names<'a>(a: &'a str, b: &'a str) -> Option<Cow<'a, str>> {
    if a == b || b == WILDCARD {
        return Some(a.into());
    }
    if a == WILDCARD {
        return Some(b.into());
    }
    let mut segments: Vec<&str> = Vec::new();
    let (mut left, mut right) = (a.split(':').peekable(), b.split(':').peekable());
    loop {
        let (x, y) = match (left.next(), right.next()) {
            (None, None) => return Some(segments.join(":").into()),
            (Some(x), Some(y)) => (x, y),
            _ => return None,
        };
        if x == WILDCARD && left.peek().is_none() {
            segments.extend(iter::once(y).chain(right));
            return Some(segments.join(":").into());
        }
        if y == WILDCARD && right.peek().is_none() {
            segments.extend(iter::once(x).chain(left));
            return Some(segments.join(":").into());
        }
        segments.push(match (x, y) {
            (WILDCARD, other) | (other, WILDCARD) => other,
            (x, y) if x == y => x,
            _ => return None,
        });
    }
}

/// The channel that is asked about. Everything in it is literal.
pub(super) struct Target<'a> {
    qualifier: Option<&'a str>,
    name: &'a str,
}

impl<'a> Target<'a> {
    /// `[filter=x]a` has the qualifier `filter`. A bracket that does not close, or parameters alone
    /// (`[?rewind=1]a`, which channel names never keep), make a qualifier that only `[*]` grants.
    pub(super) fn of(channel: &'a str) -> Self {
        let Some(bracketed) = channel.strip_prefix('[') else {
            return Self { qualifier: None, name: channel };
        };
        match bracketed.split_once(']') {
            Some((q, name)) => Self { qualifier: Some(&q[..q.find(['=', '?']).unwrap_or(q.len())]), name },
            None => Self { qualifier: Some(""), name: channel },
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        self.qualifier.is_none()
    }
}
