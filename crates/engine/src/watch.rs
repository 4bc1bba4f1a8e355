//! The life of an app's channels and connections, told to whoever watches it.
//!
//! An attachment that brings a [`Narrator`] watches its app: what the narrator makes of each event is published
//! on the attachment's channel, in order and with the channel's own history like anything else there. Where
//! nobody watches, events are not even made.

use std::sync::Arc;

use fanfare_model::{ChannelKey, ClientId, ConnectionId, Message};

use crate::handle::ChannelStatus;

/// Something that begins or ends. Channels that the server itself writes to are not told of.
#[derive(Clone, Debug)]
pub enum Lifecycle {
    /// The channel became active: somebody attached, or something was published.
    ChannelOpened(ChannelStatus),
    /// Nobody is there any more, and there is nothing left to resume.
    ChannelClosed(ChannelStatus),
    ConnectionOpened(ConnectionSeen),
    /// It ended for good, by its client's word or because nobody came back to it in time.
    ConnectionClosed(ConnectionSeen),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSeen {
    pub connection: ConnectionId,
    pub client: Option<ClientId>,
}

/// Puts events into a protocol's words.
pub trait Narrator: Send + Sync {
    /// `None`: its listeners do not care for this kind of event.
    fn narrate(&self, event: &Lifecycle) -> Option<Message>;
}

/// The channels on which somebody watches, in all apps. Each worker has the whole list.
#[derive(Default)]
pub(crate) struct Watches {
    watches: Vec<(ChannelKey, Arc<dyn Narrator>)>,
}

impl Watches {
    pub(crate) fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    pub(crate) fn set(&mut self, channel: ChannelKey, narrator: Option<Arc<dyn Narrator>>) {
        self.watches.retain(|(known, _)| *known != channel);
        self.watches.extend(narrator.map(|narrator| (channel, narrator)));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(ChannelKey, Arc<dyn Narrator>)> {
        self.watches.iter()
    }
}
