//! What the engine says of attachments: begun, interrupted, occupied.

use std::sync::Arc;

use fanfare_engine::{Attached, AttachmentId, Command, Continuity, Delivery, Occupancy, Outputs};
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{PresenceEvent, Serial};

use super::channels::Channel;
use super::encoder::ChannelEncoder;
use super::{AblySession, send};
use crate::wire::{self, Format, flag};

/// Members in one SYNC.
const SYNC_PAGE: usize = 100;

impl AblySession {
    pub(super) fn attached(&mut self, attached: &Attached, out: &mut Outputs) {
        let (format, number) = (self.format, self.next_number());
        let Some(channel) = self.attachment(attached.attachment) else { return };
        channel.attached = true;
        channel.pending = false;
        let unbroken = std::mem::take(&mut channel.unbroken);
        let kept = attached.continuity == Continuity::Kept || unbroken;
        let error = match attached.continuity {
            Continuity::Fresh | Continuity::Kept => None,
            Continuity::Lost => Some(error::continuity_lost("")),
            Continuity::Truncated => Some(error::backlog_truncated("")),
        };
        let mut flags = channel.modes;
        for (bit, applies) in [
            (flag::RESUMED, kept),
            (flag::HAS_BACKLOG, !attached.backlog.is_empty()),
            (flag::HAS_PRESENCE, !attached.members.is_empty()),
        ] {
            flags |= if applies { bit } else { 0 };
        }
        // A client that resumes is told its own place: were it told the end, and dropped before the backlog
        // arrived, it would come back without it.
        let stamp = attached.resumed_from.unwrap_or(attached.position);
        let serial = Serial { stamp, epoch: attached.epoch.clone() };
        say_attached(channel, &serial, flags, error.as_ref(), format, out);
        if !attached.members.is_empty() {
            sync(channel, &attached.members, number, format, out);
        }
        let encoder = ChannelEncoder::new(format, channel.name.clone());
        for (index, record) in attached.backlog.iter().enumerate() {
            let delivery = Delivery { epoch: &attached.epoch, record, frame: 0 };
            let skip = if index == 0 { attached.skip } else { 0 };
            let mut frame = Vec::new();
            encoder.encode_from(delivery, skip, &mut frame);
            if !frame.is_empty() {
                send(format, out, |buf, _| *buf = frame);
            }
        }
        // The credential may have changed since the client asked.
        self.judge_channel(attached.attachment, out);
    }

    /// Deliveries were dropped. The client is to look after what it missed, and its view of who is present as well.
    pub(super) fn gap(&mut self, attachment: AttachmentId, serial: &Serial, out: &mut Outputs) {
        let format = self.format;
        let Some(channel) = self.attachment(attachment).filter(|c| c.attached) else { return };
        let hears_presence = channel.modes & flag::PRESENCE_SUBSCRIBE != 0;
        let flags = channel.modes | if hears_presence { flag::HAS_PRESENCE } else { 0 };
        let why = error::continuity_lost("the client did not keep up");
        say_attached(channel, serial, flags, Some(&why), format, out);
        if hears_presence {
            out.push(Command::Members(attachment));
        }
    }

    pub(super) fn sync_wanted(&mut self, requested: &str, out: &mut Outputs) {
        let channel = self.channel(requested).filter(|c| c.attached);
        if let Some(channel) = channel.filter(|c| c.modes & flag::PRESENCE_SUBSCRIBE != 0) {
            out.push(Command::Members(channel.attachment));
        }
    }

    pub(super) fn members(
        &mut self,
        attachment: AttachmentId,
        members: &[Arc<PresenceEvent>],
        out: &mut Outputs,
    ) {
        let (format, number) = (self.format, self.next_number());
        if let Some(channel) = self.attachment(attachment).filter(|c| c.attached) {
            sync(channel, members, number, format, out);
        }
    }

    pub(super) fn occupancy(
        &mut self,
        attachment: AttachmentId,
        occupancy: &Occupancy,
        serial: Option<&Serial>,
        out: &mut Outputs,
    ) {
        let (format, number) = (self.format, self.next_number());
        let Some(channel) = self.attachment(attachment).filter(|c| c.attached) else { return };
        let metrics = channel.metrics.of(occupancy);
        if metrics.is_empty() {
            return;
        }
        let serial = serial.map(Serial::to_string);
        let id = format!("occupancy-{}-{number}:0", out.now.wall.0);
        let message = wire::Occupancy {
            channel: &channel.name,
            channel_serial: serial.as_deref(),
            id: &id,
            timestamp: out.now.wall,
            metrics: &metrics,
        };
        send(format, out, |buf, format| wire::occupancy(buf, format, &message));
    }
}

fn say_attached(
    channel: &Channel,
    serial: &Serial,
    flags: u32,
    error: Option<&ErrorInfo>,
    format: Format,
    out: &mut Outputs,
) {
    let params: Vec<_> = channel.params.iter().map(|(name, value)| (*name, &**value)).collect();
    let serial = serial.to_string();
    let attached =
        wire::Attached { channel: &channel.name, channel_serial: &serial, flags, params: &params, error };
    send(format, out, |buf, format| wire::attached(buf, format, &attached));
}

/// Everyone, in pages; also when there is nobody, so that the client knows.
fn sync(channel: &Channel, members: &[Arc<PresenceEvent>], number: u32, format: Format, out: &mut Outputs) {
    let id = format!("{}-{number}", out.now.wall.0);
    let mut at = 0;
    loop {
        let end = members.len().min(at + SYNC_PAGE);
        let cursor = if end < members.len() { end.to_string() } else { String::new() };
        let page = members[at..end].iter().map(|m| &**m);
        send(format, out, |buf, format| {
            wire::sync(buf, format, &channel.name, Some(&format!("{id}:{cursor}")), page);
        });
        if end == members.len() {
            return;
        }
        at = end;
    }
}
