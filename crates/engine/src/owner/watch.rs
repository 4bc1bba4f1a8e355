//! Who watches the life of an app, and what they are told.

use std::sync::Arc;

use fanfare_model::{AppId, ChannelKey};

use super::Owner;
use crate::mail::{Mail, Origin};
use crate::session::Draft;
use crate::watch::{Lifecycle, Narrator};

impl Owner {
    /// After attachments were counted in or out: all workers are told when the first watcher came or the last went.
    pub(super) fn watchers_changed(&mut self, key: &ChannelKey, narrator: Option<&Arc<dyn Narrator>>) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        let watched = channel.watchers > 0;
        if watched == channel.watched || watched && narrator.is_none() {
            return;
        }
        channel.watched = watched;
        for worker in self.shared.workers() {
            let narrator = narrator.filter(|_| watched).cloned();
            self.post(worker, Mail::Watch { channel: key.clone(), narrator });
        }
    }

    pub(super) fn watch(&mut self, channel: ChannelKey, narrator: Option<Arc<dyn Narrator>>) {
        // What is open already is no news.
        for known in self.channels.values_mut().filter(|c| c.key.app == channel.app) {
            known.told_active = known.is_active();
        }
        self.watches.set(channel, narrator);
    }

    /// The channel may have become active, or ceased to be.
    pub(super) fn activity_changed(&mut self, key: &ChannelKey) {
        if self.watches.is_empty() || key.name.is_meta() {
            return;
        }
        let Some(channel) = self.channels.get_mut(key) else { return };
        let active = channel.is_active();
        if std::mem::replace(&mut channel.told_active, active) == active {
            return;
        }
        let status = self.status(key);
        let event = if active { Lifecycle::ChannelOpened(status) } else { Lifecycle::ChannelClosed(status) };
        self.narrate(&key.app, &event);
    }

    /// Channels that grew quiet by themselves.
    pub(super) fn tell_activity(&mut self) {
        if self.watches.is_empty() {
            return;
        }
        let changed = self.channels.values().filter(|c| c.told_active != c.is_active());
        let changed: Vec<_> = changed.map(|c| c.key.clone()).collect();
        for key in changed {
            self.activity_changed(&key);
        }
    }

    pub(crate) fn is_watched(&self) -> bool {
        !self.watches.is_empty()
    }

    pub(crate) fn narrate(&mut self, app: &AppId, event: &Lifecycle) {
        let told = self.watches.iter().filter(|(channel, _)| channel.app == *app);
        let told: Vec<_> =
            told.filter_map(|(channel, n)| Some((channel.clone(), n.narrate(event)?))).collect();
        for (channel, message) in told {
            self.narrated += 1;
            let draft = Draft {
                id: format!("life-{}-{}-{}", self.me.0, self.now.wall.0, self.narrated).into(),
                idempotent: false,
                connection_id: None,
                messages: vec![message],
                uncounted: 0,
                ephemeral: false,
            };
            let owner = self.shared.owner_of(&channel);
            let mail = Mail::Publish { channel, draft: Box::new(draft), origin: Origin::Nobody };
            self.post(owner, mail);
        }
    }
}
