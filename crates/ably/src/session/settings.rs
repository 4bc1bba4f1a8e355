//! What a client wants of an attachment: modes and params.

use std::time::Duration;

use fanfare_engine::{Audience, Occupancy, Rewind, Roles};
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{Capability, ChannelName, Operation};

use crate::wire::flag;

const MODES: [(&str, u32); 8] = [
    ("presence", flag::PRESENCE),
    ("publish", flag::PUBLISH),
    ("subscribe", flag::SUBSCRIBE),
    ("presence_subscribe", flag::PRESENCE_SUBSCRIBE),
    ("annotation_publish", flag::ANNOTATION_PUBLISH),
    ("annotation_subscribe", flag::ANNOTATION_SUBSCRIBE),
    ("object_subscribe", flag::OBJECT_SUBSCRIBE),
    ("object_publish", flag::OBJECT_PUBLISH),
];

type Metric = (&'static str, fn(&Occupancy) -> u32);

const METRICS: [Metric; 6] = [
    ("connections", |o| o.connections),
    ("publishers", |o| o.publishers),
    ("subscribers", |o| o.subscribers),
    ("presenceConnections", |o| o.presence_connections),
    ("presenceMembers", |o| o.presence_members),
    ("presenceSubscribers", |o| o.presence_subscribers),
];

/// The metrics of occupancy that an attachment hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Metrics {
    #[default]
    None,
    All,
    /// One, by its place in the table.
    One(u8),
}

impl Metrics {
    fn parse(text: &str) -> Option<Self> {
        let Some(category) = text.strip_prefix("metrics.") else {
            return (text == "metrics").then_some(Self::All);
        };
        METRICS.iter().position(|(name, _)| *name == category).map(|at| Self::One(at as u8))
    }

    pub(super) fn of(self, occupancy: &Occupancy) -> Vec<(&'static str, u64)> {
        let asked = METRICS.iter().enumerate().filter(|(at, _)| match self {
            Self::None => false,
            Self::All => true,
            Self::One(one) => usize::from(one) == *at,
        });
        asked.map(|(_, (name, value))| (*name, value(occupancy).into())).collect()
    }
}

/// What was asked for, understood and valid.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// Bits of the modes that were asked for, before the capability is held against them.
    pub(super) wanted: u32,
    /// The modes were a param, and so are echoed as one.
    pub(super) modes_in_params: bool,
    /// To be echoed, as given.
    pub(super) params: Vec<(&'static str, Box<str>)>,
    pub(super) rewind: Option<Rewind>,
    pub(super) metrics: Metrics,
    pub(super) no_echo: bool,
}

impl Settings {
    /// From ATTACH's flags and from params, later ones before earlier ones. What is not known, or has no meaning, is
    /// left out; but a rewind that is not understood is refused, since the client would miss what it counts on.
    pub(super) fn parse<'a>(
        flags: u32,
        params: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ErrorInfo> {
        let mut settings = Self { wanted: flags & flag::MODES, ..Self::default() };
        let (mut rewind, mut limit) = (None, None);
        for (name, value) in params {
            match name {
                "rewind" => {
                    rewind = Some(value);
                    settings.echo("rewind", value);
                }
                "rewindLimit" => {
                    let most = value.parse::<usize>();
                    limit = Some(most.map_err(|_| error::bad_request("rewindLimit must be a number"))?);
                    settings.echo("rewindLimit", value);
                }
                // Not done yet. Whole messages are right, too, and SDKs want to hear that it was understood.
                "delta" if value == "vcdiff" => settings.echo("delta", value),
                "echo" if matches!(value, "true" | "false") => {
                    settings.no_echo = value == "false";
                    settings.echo("echo", value);
                }
                "occupancy" => {
                    if let Some(metrics) = Metrics::parse(value) {
                        settings.metrics = metrics;
                        settings.echo("occupancy", value);
                    }
                }
                "modes" => settings.modes(value)?,
                _ => {}
            }
        }
        settings.rewind = rewind.map(|text| parse_rewind(text, limit)).transpose()?.flatten();
        if settings.wanted == 0 {
            settings.wanted = flag::MODES_DEFAULT;
        }
        Ok(settings)
    }

    fn echo(&mut self, name: &'static str, value: &str) {
        self.params.retain(|(known, _)| *known != name);
        self.params.push((name, value.into()));
    }

    /// Modes named in params go before those in flags.
    fn modes(&mut self, list: &str) -> Result<(), ErrorInfo> {
        let bit =
            |name: &str| MODES.iter().find(|(known, _)| *known == name.trim()).map_or(0, |(_, bit)| *bit);
        self.wanted = list.split(',').map(bit).fold(0, |all, bit| all | bit);
        if self.wanted == 0 {
            return Err(error::bad_request("modes names no mode of a channel"));
        }
        self.modes_in_params = true;
        self.echo("modes", list);
        Ok(())
    }

    /// What is echoed once it is known which modes were granted.
    pub(super) fn granted_params(&self, granted: u32) -> Box<[(&'static str, Box<str>)]> {
        let mut params = self.params.clone();
        if let Some((_, list)) = params.iter_mut().find(|(name, _)| self.modes_in_params && *name == "modes")
        {
            let has =
                |name: &&str| MODES.iter().any(|(known, bit)| *known == name.trim() && granted & bit != 0);
            *list = list.split(',').filter(has).collect::<Vec<_>>().join(",").into();
        }
        params.into()
    }
}

/// `N` messages, or those of `Ns` or `Nm`. How many there can be at most is the engine's to say.
fn parse_rewind(text: &str, limit: Option<usize>) -> Result<Option<Rewind>, ErrorInfo> {
    let refused =
        || error::bad_request("rewind must be a number of messages, or of seconds (15s) or minutes (2m)");
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if plain { digits.parse::<u32>().map_err(|_| refused()) } else { Err(refused()) }
    };
    let limit = limit.unwrap_or(usize::MAX);
    let seconds = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(digits), _) => u64::from(number(digits)?),
        (_, Some(digits)) => u64::from(number(digits)?) * 60,
        _ => {
            let count = (number(text)? as usize).min(limit);
            return Ok((count > 0).then_some(Rewind::Count(count)));
        }
    };
    let age = Duration::from_secs(seconds);
    Ok((limit > 0 && seconds > 0).then_some(Rewind::Time { age, limit }))
}

/// The modes that a capability allows on a channel. On a metachannel the server alone speaks.
pub(super) fn permitted(capability: &Capability, name: &ChannelName) -> u32 {
    let operations = capability.operations(name.as_str());
    let has = |operation, bits| if operations.contains(operation) { bits } else { 0 };
    let subscribe = flag::SUBSCRIBE | flag::PRESENCE_SUBSCRIBE | flag::OBJECT_SUBSCRIBE;
    let all = has(Operation::Subscribe, subscribe)
        | has(Operation::Publish, flag::PUBLISH)
        | has(Operation::Presence, flag::PRESENCE)
        | has(Operation::AnnotationPublish, flag::ANNOTATION_PUBLISH)
        | has(Operation::AnnotationSubscribe, flag::ANNOTATION_SUBSCRIBE)
        | has(Operation::ObjectSubscribe, flag::OBJECT_SUBSCRIBE)
        | has(Operation::ObjectPublish, flag::OBJECT_PUBLISH);
    if name.is_meta() { all & flag::SUBSCRIBE } else { all }
}

pub(super) fn audience(modes: u32, echo: bool, metrics: Metrics) -> Audience {
    Audience {
        messages: modes & flag::SUBSCRIBE != 0,
        presence: modes & flag::PRESENCE_SUBSCRIBE != 0,
        echo,
        occupancy: modes & flag::SUBSCRIBE != 0 && metrics != Metrics::None,
        watches: false,
    }
}

pub(super) fn roles(modes: u32) -> Roles {
    Roles {
        publisher: modes & flag::PUBLISH != 0,
        subscriber: modes & flag::SUBSCRIBE != 0,
        presence: modes & flag::PRESENCE != 0,
        presence_subscriber: modes & flag::PRESENCE_SUBSCRIBE != 0,
    }
}
