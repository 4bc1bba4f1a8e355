//! ATTACH and DETACH.

use std::borrow::Cow;
use std::rc::Rc;

use fanfare_engine::{Attach, AttachmentId, Command, Outputs, Since};
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{ChannelKey, ChannelName};

use super::AblySession;
use super::encoder::ChannelEncoder;
use super::names::parse_name;
use super::settings::{self, Metrics, Settings};
use crate::auth::ClientIdRule;
use crate::metadata::narrator;
use crate::wire::{self, ProtocolMessage, flag};

/// A channel that the client attached to, or is about to.
pub(super) struct Channel {
    /// As the client wrote it: that is how it is named on the wire.
    pub(super) name: Rc<str>,
    pub(super) key: ChannelKey,
    pub(super) attachment: AttachmentId,
    /// Asked for, whether granted or not: a later token may grant more.
    pub(super) wanted: u32,
    pub(super) modes: u32,
    pub(super) params: Box<[(&'static str, Box<str>)]>,
    pub(super) metrics: Metrics,
    pub(super) echo: bool,
    pub(super) attached: bool,
    /// The engine was asked and has not answered yet.
    pub(super) pending: bool,
    /// The engine was asked by us, not by the client, and nothing is missed meanwhile.
    pub(super) unbroken: bool,
}

impl Channel {
    fn request(&self, format: wire::Format, since: Since) -> Command {
        Command::Attach(Box::new(Attach {
            attachment: self.attachment,
            channel: self.key.clone(),
            encoder: Rc::new(ChannelEncoder::new(format, self.name.clone())),
            audience: settings::audience(self.modes, self.echo, self.metrics),
            roles: settings::roles(self.modes),
            since,
            narrator: narrator(&self.key.name).filter(|_| self.modes & flag::SUBSCRIBE != 0),
        }))
    }
}

/// An ATTACH that may be.
struct Plan {
    name: ChannelName,
    modes: u32,
    settings: Settings,
}

impl AblySession {
    pub(super) fn channel(&self, requested: &str) -> Option<&Channel> {
        self.channels.iter().find(|c| *c.name == *requested)
    }

    pub(super) fn attachment(&mut self, attachment: AttachmentId) -> Option<&mut Channel> {
        self.channels.iter_mut().find(|c| c.attachment == attachment)
    }

    pub(super) fn attach(&mut self, frame: &ProtocolMessage<'_>, out: &mut Outputs) {
        let requested = frame.channel.as_deref().unwrap_or("");
        match self.plan(frame, requested) {
            Ok(plan) => self.carry_out(plan, frame, requested, out),
            Err(refusal) => self.fail_channel(requested, &refusal, out),
        }
    }

    fn plan(&self, frame: &ProtocolMessage<'_>, requested: &str) -> Result<Plan, ErrorInfo> {
        let (name, qualifier) = parse_name(requested)?;
        let qualified: Vec<(Cow<'_, str>, Cow<'_, str>)> =
            form_urlencoded::parse(qualifier.as_bytes()).collect();
        let params = qualified.iter().chain(&frame.params).map(|(k, v)| (&**k, &**v));
        let settings = Settings::parse(frame.flags, params)?;
        let most = self.limits().channels_per_connection_max;
        if self.channels.len() >= most && self.channel(requested).is_none() {
            return Err(error::too_many_channels(format!("the limit is {most}")));
        }
        self.check_rule(&name)?;
        let modes = settings.wanted & settings::permitted(&self.identity.capability, &name);
        if modes == 0 {
            return Err(error::not_permitted("nothing of what was asked for on this channel"));
        }
        Ok(Plan { name, modes, settings })
    }

    /// Whether the channel's rule lets this connection use it at all.
    pub(super) fn check_rule(&self, name: &ChannelName) -> Result<(), ErrorInfo> {
        if self.identity.app.rules.of(name).tls_only && !self.secure {
            return Err(error::tls_required("the channel's namespace"));
        }
        if self.needs_identity(name) && self.identity.client == ClientIdRule::Anonymous {
            return Err(error::needs_identified(""));
        }
        Ok(())
    }

    /// Whether the channel is for identified clients only.
    pub(super) fn needs_identity(&self, name: &ChannelName) -> bool {
        self.identity.app.rules.of(name).identified
    }

    fn carry_out(&mut self, plan: Plan, frame: &ProtocolMessage<'_>, requested: &str, out: &mut Outputs) {
        let at = self.channels.iter().position(|c| *c.name == *requested);
        let Plan { name, modes, settings } = plan;
        let since = match frame.channel_serial.as_deref().filter(|serial| !serial.is_empty()) {
            Some(serial) => serial.parse().map_or(Since::Unknown, Since::Serial),
            None => match settings.rewind {
                Some(rewind) if starts_fresh(frame.flags, at.map(|at| &self.channels[at])) => {
                    Since::Rewind(rewind)
                }
                _ => Since::Now,
            },
        };
        let attachment = match at {
            Some(at) => self.channels[at].attachment,
            None => AttachmentId(self.next_number()),
        };
        let channel = Channel {
            name: at.map_or_else(|| requested.into(), |at| self.channels[at].name.clone()),
            key: ChannelKey { app: self.app.clone(), name },
            attachment,
            wanted: settings.wanted,
            modes,
            params: settings.granted_params(modes),
            metrics: settings.metrics,
            echo: self.echo && !settings.no_echo,
            attached: at.is_some_and(|at| self.channels[at].attached),
            pending: true,
            unbroken: false,
        };
        out.push(channel.request(self.format, since));
        match at {
            Some(at) => self.channels[at] = channel,
            None => {
                // One at a time: most connections have a few, and each byte counts a million times.
                self.channels.reserve_exact(1);
                self.channels.push(channel);
            }
        }
    }

    pub(super) fn detach(&mut self, requested: &str, out: &mut Outputs) {
        self.forget_channel(requested, out);
        self.send(out, |buf, format| wire::detached(buf, format, requested, None));
    }

    /// Ends the channel for the client.
    pub(super) fn fail_channel(&mut self, requested: &str, why: &ErrorInfo, out: &mut Outputs) {
        self.forget_channel(requested, out);
        self.send(out, |buf, format| wire::error(buf, format, Some(requested), why));
    }

    fn forget_channel(&mut self, requested: &str, out: &mut Outputs) {
        let Some(at) = self.channels.iter().position(|c| *c.name == *requested) else { return };
        let gone = self.channels.swap_remove(at);
        out.push(Command::Detach(gone.attachment));
        // Under another name the channel may still be attached, and its members are the connection's.
        if self.channels.iter().all(|c| c.key != gone.key) {
            out.push(Command::Leave { channel: gone.key });
        }
    }

    pub(super) fn attach_refused(&mut self, attachment: AttachmentId, why: &ErrorInfo, out: &mut Outputs) {
        if let Some(name) = self.attachment(attachment).map(|c| c.name.clone()) {
            self.fail_channel(&name, why, out);
        }
    }

    /// Holds what the identity now allows against each attachment.
    pub(super) fn judge_channels(&mut self, out: &mut Outputs) {
        let all: Vec<_> = self.channels.iter().map(|c| c.attachment).collect();
        all.into_iter().for_each(|attachment| self.judge_channel(attachment, out));
    }

    /// What the engine has not answered yet is judged when it has: asking again would undo what the client asked for.
    pub(super) fn judge_channel(&mut self, attachment: AttachmentId, out: &mut Outputs) {
        let Some(at) = self.channels.iter().position(|c| c.attachment == attachment) else { return };
        let channel = &mut self.channels[at];
        let modes = channel.wanted & settings::permitted(&self.identity.capability, &channel.key.name);
        if modes == 0 {
            let name = channel.name.clone();
            let why = error::not_permitted("the new credential does not allow the channel");
            return self.fail_channel(&name, &why, out);
        }
        // A client counts on the modes that it was told; what it may not do is refused when it tries to.
        let heard = |modes| settings::audience(modes, channel.echo, channel.metrics);
        if heard(modes) != heard(channel.modes) && !channel.pending {
            channel.modes = modes;
            channel.pending = true;
            channel.unbroken = true;
            out.push(channel.request(self.format, Since::Now));
        }
    }
}

/// Whether a rewind is due: not when the client was there before.
fn starts_fresh(flags: u32, known: Option<&Channel>) -> bool {
    flags & flag::ATTACH_RESUME == 0 && known.is_none_or(|channel| !channel.attached)
}
