//! A worker's own subscribers: committed records come in, and go out to every attachment here.
//! Subscribers of one encoding class stand together; each record is encoded once for each class.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use fanfare_model::{BodyKind, ChannelKey, ConnectionId, Epoch, Record, Serial, Stamp};
use slab::Slab;

use crate::encode::{ClassKey, Delivery, Encoder, Framing, Outbox, Pushed};
use crate::ids::{AttachmentId, SessionId};
use crate::map::Map;
use crate::owner::hears;
use crate::session::Audience;
use crate::telemetry::{Amount, Meter, Meters};

/// First guess at an encoded record; the buffer grows where it is wrong.
const RECORD_BYTES_GUESS: usize = 512;

#[derive(Default)]
pub(crate) struct Hub {
    channels: Slab<LocalChannel>,
    by_key: Map<ChannelKey, u32>,
    /// Channels with records that are not fanned out yet.
    staged: Vec<u32>,
    /// End offsets of the encoded records of a batch; kept for its memory.
    ends: Vec<usize>,
    pub(crate) delivered: u64,
    pub(crate) dropped: u64,
    pub(crate) meters: Meters,
}

struct LocalChannel {
    key: ChannelKey,
    epoch: Epoch,
    /// Everything up to here was fanned out, or was before anyone here listened.
    position: Stamp,
    groups: Vec<Group>,
    staged: Vec<Arc<Record>>,
    meter: Rc<Meter>,
    /// Attachments in all groups; the channel goes with the last one.
    count: u32,
}

/// One encoding class.
struct Group {
    class: ClassKey,
    encoder: Rc<dyn Encoder>,
    framing: Rc<dyn Framing>,
    subscribers: Vec<Subscriber>,
}

pub(crate) struct Subscriber {
    pub(crate) session: SessionId,
    pub(crate) attachment: AttachmentId,
    pub(crate) audience: Audience,
    /// Deliveries are being dropped, because the outbox was full; it will be told when it drains.
    pub(crate) lagging: bool,
    pub(crate) connection: ConnectionId,
    pub(crate) outbox: Rc<dyn Outbox>,
}

/// Where a subscriber stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) channel: u32,
    pub(crate) group: u32,
    pub(crate) index: u32,
}

/// What the worker must do after a fan-out.
#[derive(Default)]
pub(crate) struct FannedOut {
    pub(crate) to_flush: Vec<Rc<dyn Outbox>>,
    pub(crate) fell_behind: Vec<(SessionId, AttachmentId)>,
}

impl Hub {
    /// Adds a subscriber that has had everything up to `position`.
    pub(crate) fn add(
        &mut self,
        key: &ChannelKey,
        epoch: Epoch,
        position: Stamp,
        (encoder, framing): (Rc<dyn Encoder>, Rc<dyn Framing>),
        subscriber: Subscriber,
    ) -> Place {
        let channel = match self.by_key.get(key) {
            Some(id) => *id,
            None => {
                let channel = LocalChannel {
                    key: key.clone(),
                    epoch: epoch.clone(),
                    position,
                    groups: Vec::new(),
                    staged: Vec::new(),
                    meter: self.meters.of(&key.app),
                    count: 0,
                };
                let id = self.channels.insert(channel) as u32;
                self.by_key.insert(key.clone(), id);
                id
            }
        };
        let local = &mut self.channels[channel as usize];
        local.epoch = epoch;
        local.position = local.position.max(position);
        local.count += 1;
        let class = encoder.class();
        let same = |g: &Group| g.class == class && g.framing.class() == framing.class();
        let group = match local.groups.iter().position(same) {
            Some(group) => group,
            None => {
                local.groups.push(Group { class, encoder, framing, subscribers: Vec::new() });
                local.groups.len() - 1
            }
        };
        let subscribers = &mut local.groups[group].subscribers;
        subscribers.push(subscriber);
        Place { channel, group: group as u32, index: subscribers.len() as u32 - 1 }
    }

    /// Takes a subscriber out. The last of its group moves into its place: its session is told by
    /// the caller, who gets that subscriber's names.
    pub(crate) fn remove(&mut self, place: Place) -> Option<(SessionId, AttachmentId)> {
        let channel = &mut self.channels[place.channel as usize];
        let subscribers = &mut channel.groups[place.group as usize].subscribers;
        subscribers.swap_remove(place.index as usize);
        let moved = subscribers.get(place.index as usize).map(|s| (s.session, s.attachment));
        if subscribers.is_empty() {
            subscribers.shrink_to_fit();
        }
        channel.count -= 1;
        if channel.count == 0 {
            let key = self.channels.remove(place.channel as usize).key;
            self.by_key.remove(&key);
            self.staged.retain(|id| *id != place.channel);
        }
        moved
    }

    pub(crate) fn subscriber(&mut self, place: Place) -> &mut Subscriber {
        &mut self.channels[place.channel as usize].groups[place.group as usize].subscribers
            [place.index as usize]
    }

    /// Where the channel's fan-out stands, as the place after which live deliveries follow.
    pub(crate) fn position(&self, place: Place) -> (Epoch, Stamp) {
        let channel = &self.channels[place.channel as usize];
        (channel.epoch.clone(), channel.position)
    }

    /// Everyone who wants to know the channel's occupancy.
    pub(crate) fn occupancy_watchers(
        &self,
        key: &ChannelKey,
    ) -> Vec<(SessionId, AttachmentId, Option<Serial>)> {
        let Some(id) = self.by_key.get(key) else { return Vec::new() };
        let channel = &self.channels[*id as usize];
        let serial = Serial { stamp: channel.position, epoch: channel.epoch.clone() };
        // Who lags was not given everything up to there.
        let place = |s: &Subscriber| (!s.lagging).then(|| serial.clone());
        let subscribers = channel.groups.iter().flat_map(|g| &g.subscribers);
        subscribers.filter(|s| s.audience.occupancy).map(|s| (s.session, s.attachment, place(s))).collect()
    }

    pub(crate) fn stage(&mut self, key: &ChannelKey, epoch: Epoch, records: Vec<Arc<Record>>) {
        let Some(id) = self.by_key.get(key).copied() else { return };
        let channel = &mut self.channels[id as usize];
        channel.epoch = epoch;
        if channel.staged.is_empty() {
            self.staged.push(id);
            channel.staged = records;
        } else {
            channel.staged.extend(records);
        }
    }

    /// Fans out one channel's staged records now: someone is about to join or leave it.
    pub(crate) fn fan_out_channel(&mut self, key: &ChannelKey, done: &mut FannedOut) {
        if let Some(id) = self.by_key.get(key).copied()
            && !self.channels[id as usize].staged.is_empty()
        {
            self.staged.retain(|staged| *staged != id);
            self.fan_out_one(id, done);
        }
    }

    pub(crate) fn fan_out(&mut self, done: &mut FannedOut) {
        let mut staged = std::mem::take(&mut self.staged);
        for id in staged.drain(..) {
            self.fan_out_one(id, done);
        }
        self.staged = staged;
    }

    fn fan_out_one(&mut self, id: u32, done: &mut FannedOut) {
        let channel = &mut self.channels[id as usize];
        let records = std::mem::take(&mut channel.staged);
        let Some(last) = records.last() else { return };
        channel.position = last.stamp;
        let batch = Batch::of(&records);
        let mut delivered = Amount::default();
        for group in &mut channel.groups {
            if group.subscribers.is_empty() {
                continue;
            }
            let bytes = encode(group, &channel.epoch, &records, &mut self.ends);
            for subscriber in &mut group.subscribers {
                if subscriber.lagging {
                    self.dropped += batch.amount.records;
                } else if batch.is_whole_for(subscriber.audience) {
                    deliver(subscriber, bytes.clone(), batch.amount, done, &mut delivered);
                } else {
                    let each = Each { records: &records, bytes: &bytes, ends: &self.ends };
                    each.deliver(subscriber, done, &mut delivered);
                }
            }
        }
        self.delivered += delivered.records;
        channel.meter.delivered(delivered);
    }
}

/// What a batch has in it, so that most subscribers are served without a look at its records.
struct Batch {
    amount: Amount,
    only_messages: bool,
}

impl Batch {
    fn of(records: &[Arc<Record>]) -> Self {
        let only_messages = records.iter().all(|r| r.kind() == BodyKind::Messages);
        let mut amount = Amount::default();
        records.iter().for_each(|r| amount.add(Amount::of(r)));
        Self { amount, only_messages }
    }

    fn is_whole_for(&self, audience: Audience) -> bool {
        audience.messages && audience.echo && (audience.presence || self.only_messages)
    }
}

fn encode(group: &Group, epoch: &Epoch, records: &[Arc<Record>], ends: &mut Vec<usize>) -> Bytes {
    let mut out = Vec::with_capacity(records.len() * RECORD_BYTES_GUESS);
    ends.clear();
    for record in records {
        for frame in 0..group.encoder.frames(record) {
            let delivery = Delivery { epoch, record, frame };
            let mark = group.framing.begin(&mut out);
            let payload = out.len();
            group.encoder.encode(delivery, &mut out);
            if out.len() == payload {
                out.truncate(mark);
            } else {
                let (kind, content) = group.encoder.shape(delivery);
                group.framing.end(&mut out, mark, kind, content);
            }
        }
        ends.push(out.len());
    }
    Bytes::from(out)
}

/// A batch of which a subscriber hears only a part.
struct Each<'a> {
    records: &'a [Arc<Record>],
    bytes: &'a Bytes,
    ends: &'a [usize],
}

impl Each<'_> {
    fn deliver(&self, subscriber: &mut Subscriber, done: &mut FannedOut, delivered: &mut Amount) {
        let mut start = 0;
        for (record, end) in self.records.iter().zip(self.ends) {
            let heard = hears(subscriber.audience, Some(&subscriber.connection), record);
            if heard && !subscriber.lagging {
                deliver(subscriber, self.bytes.slice(start..*end), Amount::of(record), done, delivered);
            }
            start = *end;
        }
    }
}

fn deliver(
    subscriber: &mut Subscriber,
    bytes: Bytes,
    amount: Amount,
    done: &mut FannedOut,
    delivered: &mut Amount,
) {
    if bytes.is_empty() {
        return;
    }
    match subscriber.outbox.push(bytes) {
        Pushed::First => {
            done.to_flush.push(subscriber.outbox.clone());
            delivered.add(amount);
        }
        Pushed::Queued => delivered.add(amount),
        Pushed::Full => {
            subscriber.lagging = true;
            done.fell_behind.push((subscriber.session, subscriber.attachment));
        }
    }
}
