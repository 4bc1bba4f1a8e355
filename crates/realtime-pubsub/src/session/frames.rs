//! What clients say.

use fanfare_engine::Outputs;
use fanfare_model::ChannelName;

use super::TopicSession;
use crate::close::{self, Close};
use crate::permission::Action;
use crate::topic;
use crate::wire::{Frame, Malformed};

impl TopicSession {
    pub(super) fn received(&mut self, frame: Result<Frame<'_>, Malformed>, out: &mut Outputs) {
        let done = match frame {
            Err(why) => Err(close::malformed(why)),
            Ok(Frame::Subscribe(topic)) => self.subscribe(&topic, out),
            Ok(Frame::Unsubscribe(topic)) => self.unsubscribe(&topic, out),
            Ok(Frame::Publish { topic, said }) => self.publish(&topic, &said, out),
            Ok(Frame::Message(said)) => self.send_inbound(&said, out),
        };
        if let Err(why) = done {
            self.close(why, out);
        }
    }

    fn subscribe(&mut self, name: &str, out: &mut Outputs) -> Result<(), Close> {
        let topic = topic::parse(name).map_err(close::bad_topic)?;
        if topic::is_private(name) {
            return if self.owns(name) { Ok(()) } else { Err(close::PRIVATE_FORBIDDEN) };
        }
        if topic::is_secure(name) && !self.permissions.allow(Action::Subscribe(name)) {
            return Err(close::SUBSCRIBING_FORBIDDEN);
        }
        self.check_rule(&topic)?;
        if self.topics.iter().any(|known| known.topic == topic) {
            return Ok(());
        }
        let counted = self.topics.iter().filter(|known| !known.implicit).count();
        if counted >= self.app.limits.channels_per_connection_max {
            return Err(close::TOO_MANY_TOPICS);
        }
        self.attach(topic, false, out);
        Ok(())
    }

    fn unsubscribe(&mut self, name: &str, out: &mut Outputs) -> Result<(), Close> {
        let topic = topic::parse(name).map_err(close::bad_topic)?;
        if !topic::is_private(name)
            && let Some(index) = self.topics.iter().position(|known| known.topic == topic)
        {
            self.detach(index, out);
        }
        Ok(())
    }

    /// What the channel's rule asks of everyone, whatever the protocol.
    pub(super) fn check_rule(&self, topic: &ChannelName) -> Result<(), Close> {
        let rule = self.app.rules.of(topic);
        if rule.tls_only && !self.secure {
            return Err(close::NEEDS_TLS);
        }
        if rule.identified && self.subject.is_none() {
            return Err(close::NEEDS_SUBJECT);
        }
        Ok(())
    }
}
