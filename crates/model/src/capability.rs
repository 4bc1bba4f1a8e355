//! Capabilities: which operations on which channels.
//!
//! A capability is a map from resources (channel names with wildcards) to operations. An operation is
//! allowed when any matching resource grants it. Nothing is denied by a rule: what no resource grants
//! is refused, whatever a longer or shorter name beside it says.
//!
//! [`Capability::allows`] is asked for each attach and publish: it allocates nothing, and a credential
//! that may do everything costs one test of a bit.

mod operation;
mod resource;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};

pub use operation::{Operation, Operations};
pub use resource::Resource;

use crate::error::{self, ErrorInfo};
use resource::Target;

/// Longest text of a capability. A token carries its own in every request, so a long one is a mistake.
pub const CAPABILITY_BYTES_MAX: usize = 65_536;
/// Most resources in one capability: bounds both a refusal (which looks at all of them) and an
/// intersection (which looks at all pairs).
pub const CAPABILITY_RESOURCES_MAX: usize = 1_000;

/// What a key or token may do: resources (channel names with wildcards) and operations on each.
///
/// The parts are disjoint, and each is sorted, so equal capabilities are equal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// What `[*]*` grants: on every channel, metachannel and queue.
    everywhere: Operations,
    /// What `*` grants: on every channel without a qualifier.
    channels: Operations,
    /// Plain channel names, sorted for binary search.
    exact: Box<[(Resource, Operations)]>,
    /// The others: with a wildcard or a qualifier.
    patterns: Box<[(Resource, Operations)]>,
}

impl Capability {
    /// Parses `{"resource":["operation",…],…}`.
    ///
    /// Refuses what would be ambiguous or a mistake: an unknown operation, an empty list, `*` beside
    /// other operations, a resource twice, no resource at all.
    pub fn parse(json: &str) -> Result<Self, ErrorInfo> {
        if json.len() > CAPABILITY_BYTES_MAX {
            return Err(refused(format!("it has more than {CAPABILITY_BYTES_MAX} bytes")));
        }
        let Grants(grants) = serde_json::from_str(json).map_err(|e| refused(e.to_string()))?;
        if grants.is_empty() {
            return Err(refused("it names no resource".to_owned()));
        }
        Ok(Self::from_grants(grants))
    }

    /// Everything on every channel, metachannels and queues included: `{"[*]*":["*"]}`.
    pub fn everything() -> Self {
        Self {
            everywhere: Operations::ALL,
            channels: Operations::NONE,
            exact: Box::default(),
            patterns: Box::default(),
        }
    }

    /// Whether `operation` is allowed on the channel (or metachannel) `resource`, e.g. `a:b` or `[meta]log`.
    pub fn allows(&self, resource: &str, operation: Operation) -> bool {
        self.everywhere.contains(operation) || self.operations(resource).contains(operation)
    }

    /// All that is allowed on `resource`: for an attachment that wants to ask once.
    pub fn operations(&self, resource: &str) -> Operations {
        let target = Target::of(resource);
        let mut granted = self.everywhere;
        if target.is_plain() {
            granted |= self.channels;
            // A plain target can equal only a plain name, never a pattern's text: `a:*` is a wildcard.
            if let Ok(at) = self.exact.binary_search_by(|(r, _)| r.as_str().cmp(resource)) {
                granted |= self.exact[at].1;
            }
        }
        if granted == Operations::ALL {
            return granted;
        }
        let matching = self.patterns.iter().filter(|(r, _)| r.matches(&target));
        matching.fold(granted, |all, &(_, operations)| all | operations)
    }

    /// What both allow. `None` when that is nothing.
    ///
    /// Exact: for each resource and operation, the result allows it if and only if both do. The resources
    /// of two patterns' intersection are always one pattern, so pairs are enough.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let mut grants: BTreeMap<Resource, Operations> = BTreeMap::new();
        let all_theirs: Vec<_> = other.grants().collect();
        for (ours, our_operations) in self.grants() {
            for (theirs, their_operations) in &all_theirs {
                let operations = our_operations & *their_operations;
                if operations.is_empty() {
                    continue;
                }
                if let Some(resource) = ours.intersect(theirs) {
                    *grants.entry(resource).or_default() |= operations;
                }
            }
        }
        (!grants.is_empty()).then(|| Self::from_grants(grants))
    }

    /// Canonical JSON: resources sorted, operations sorted, no spaces.
    pub fn to_json(&self) -> String {
        let grants: BTreeMap<Resource, Operations> = self.grants().collect();
        let names: BTreeMap<&str, Vec<&str>> =
            grants.iter().map(|(r, o)| (r.as_str(), o.names().collect())).collect();
        serde_json::to_string(&names).expect("a map of strings is JSON")
    }

    fn from_grants(mut grants: BTreeMap<Resource, Operations>) -> Self {
        let everywhere = grants.remove(&Resource::everywhere()).unwrap_or_default();
        let channels = grants.remove(&Resource::channels()).unwrap_or_default();
        let (exact, patterns): (Vec<_>, Vec<_>) = grants.into_iter().partition(|(r, _)| r.is_exact());
        Self { everywhere, channels, exact: exact.into(), patterns: patterns.into() }
    }

    fn grants(&self) -> impl Iterator<Item = (Resource, Operations)> {
        let whole = [(Resource::everywhere(), self.everywhere), (Resource::channels(), self.channels)];
        let named = self.exact.iter().chain(&self.patterns).cloned();
        whole.into_iter().filter(|(_, o)| !o.is_empty()).chain(named)
    }
}

fn refused(why: String) -> ErrorInfo {
    error::bad_request(format!("invalid capability: {why}"))
}

/// The map as parsed. Its own visitor, because a JSON library's map lets the last of two equal keys win,
/// and then a reader and the server could disagree about what was granted.
struct Grants(BTreeMap<Resource, Operations>);

impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(GrantsVisitor)
    }
}

struct GrantsVisitor;

impl<'de> Visitor<'de> for GrantsVisitor {
    type Value = Grants;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of resources with a list of operations each")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Grants, A::Error> {
        let mut grants = BTreeMap::new();
        while let Some((name, operations)) = map.next_entry::<String, Vec<String>>()? {
            let resource = Resource::parse(&name).map_err(A::Error::custom)?;
            let operations = Operations::parse(&operations)
                .map_err(|why| A::Error::custom(format!("{why} (resource \"{name}\")")))?;
            if grants.insert(resource, operations).is_some() {
                return Err(A::Error::custom(format!("resource \"{name}\" is there twice")));
            }
            if grants.len() > CAPABILITY_RESOURCES_MAX {
                return Err(A::Error::custom(format!("more than {CAPABILITY_RESOURCES_MAX} resources")));
            }
        }
        Ok(Grants(grants))
    }
}
