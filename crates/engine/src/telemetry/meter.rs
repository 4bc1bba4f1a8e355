//! What one worker counts, without a lock and without an allocation: fields that only it touches.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use fanfare_model::{AppId, Body, ChannelKey, Record};

use crate::mail::Origin;

/// Records, the messages in them, and the users' bytes of those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) records: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Amount {
    /// Presence is a record, and no message.
    pub(crate) fn of(record: &Record) -> Self {
        match &record.body {
            Body::Messages(messages) => {
                Self { records: 1, messages: messages.len() as u64, bytes: record.size() as u64 }
            }
            _ => Self { records: 1, ..Self::default() },
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

/// What a channel's owner counted since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) by_connections: u64,
    pub(crate) by_requests: u64,
    pub(crate) bytes: u64,
    pub(crate) subscribers_peak: u32,
}

impl Traffic {
    pub(crate) fn published(&mut self, record: &Record, origin: &Origin) {
        let amount = Amount::of(record);
        self.bytes += amount.bytes;
        match origin {
            Origin::Session { .. } => self.by_connections += amount.messages,
            Origin::Reply(_) | Origin::Nobody => self.by_requests += amount.messages,
        }
    }

    pub(crate) fn subscribed(&mut self, subscribers: u32) {
        self.subscribers_peak = self.subscribers_peak.max(subscribers);
    }

    pub(crate) fn messages(&self) -> u64 {
        self.by_connections + self.by_requests
    }

    /// Takes out what there is, if anything; `subscribers` are those of now.
    pub(crate) fn take(&mut self, subscribers: u32) -> Option<Self> {
        if *self == Self::default() {
            return None;
        }
        self.subscribed(subscribers);
        Some(std::mem::take(self))
    }
}

/// One worker's counts of one app that belong to no channel's owner.
#[derive(Default)]
pub(crate) struct Meter {
    inbound: Cell<Amount>,
    delivered: Cell<Amount>,
}

impl Meter {
    pub(crate) fn inbound(&self, messages: u64, bytes: u64) {
        add(&self.inbound, Amount { records: 0, messages, bytes });
    }

    pub(crate) fn delivered(&self, amount: Amount) {
        add(&self.delivered, amount);
    }
}

fn add(counter: &Cell<Amount>, amount: Amount) {
    let mut sum = counter.get();
    sum.add(amount);
    counter.set(sum);
}

#[derive(Default)]
pub(crate) struct Meters {
    apps: HashMap<AppId, Rc<Meter>>,
}

impl Meters {
    pub(crate) fn of(&mut self, app: &AppId) -> Rc<Meter> {
        match self.apps.get(app) {
            Some(meter) => meter.clone(),
            None => self.apps.entry(app.clone()).or_default().clone(),
        }
    }

    /// Takes out what was counted: inbound and delivered. An app that nobody here uses is let go.
    pub(super) fn take(&mut self) -> Vec<(AppId, Amount, Amount)> {
        let mut taken = Vec::new();
        self.apps.retain(|app, meter| {
            let (inbound, delivered) = (meter.inbound.take(), meter.delivered.take());
            if (inbound, delivered) != (Amount::default(), Amount::default()) {
                taken.push((app.clone(), inbound, delivered));
            }
            Rc::strong_count(meter) > 1
        });
        taken
    }
}

/// A channel's counts on their way to the app's.
pub(crate) type ChannelTraffic = Vec<(ChannelKey, Traffic)>;
