//! Claims of a JWT that say something about single channels.

use fanfare_model::capability::Resource;

/// What a token's issuer says of its bearer, by channel. The issuer signed it, so others may trust it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelClaims {
    /// `ably.channel.<resource>`: goes out with what the bearer publishes there (`extras.userClaim`).
    pub(super) user: Vec<(Resource, Box<str>)>,
    /// `ably.limits.publish.perAttachment.maxRate.<resource>`: messages a second.
    pub(super) publish_rate: Vec<(Resource, f64)>,
}

impl ChannelClaims {
    /// The claim to attach to what is published on `channel`: of the resource that says most about it.
    pub fn user_claim(&self, channel: &str) -> Option<&str> {
        most_specific(&self.user, channel).map(|claim| &**claim)
    }

    /// Messages that may be published on `channel` in a second, where the token says so.
    pub fn publish_rate(&self, channel: &str) -> Option<f64> {
        most_specific(&self.publish_rate, channel).copied()
    }
}

fn most_specific<'a, T>(claims: &'a [(Resource, T)], channel: &str) -> Option<&'a T> {
    let literal = |segment: &&str| *segment != "*" && !segment.ends_with("]*");
    let specificity = |resource: &Resource| {
        let segments = || resource.as_str().split(':');
        (segments().filter(literal).count(), segments().count())
    };
    let matching = claims.iter().filter(|(resource, _)| resource.matches_channel(channel));
    matching.max_by_key(|(resource, _)| specificity(resource)).map(|(_, value)| value)
}
