//! Attaching: where an attachment begins, and what it is given first.

use std::sync::Arc;

use fanfare_model::{BodyKind, Record, Stamp, error};
use fanfare_store::{Direction, Query, StoreError};

use super::Owner;
use super::channel::Channel;
use crate::mail::{AttachMail, AttachedAt, AttachedMail, Backlog, Mail, Refused};
use crate::session::{Continuity, Since};

/// A read that a rewind needs. The seam to the tail closes in memory: the tail holds everything that
/// is committed while the store is read.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) from: Stamp,
    pub(super) to: Stamp,
    pub(super) limit: usize,
}

/// What the read gave, oldest first: of everything up to `through`, what was asked for.
pub(crate) struct Fetched {
    pub(super) records: Vec<Arc<Record>>,
    pub(super) through: Stamp,
}

impl Owner {
    pub(super) fn attach(&mut self, attach: Box<AttachMail>) {
        let Some(attach) = self.when_loaded(attach) else { return };
        let now = self.now;
        // Counted before anything is fetched, so that a detach that comes meanwhile counts out what
        // was counted in.
        self.count_in(&attach);
        let Some(channel) = self.channels.get_mut(&attach.channel) else { return };
        match channel.backlog(&attach.since, attach.audience, attach.connection.as_ref(), now) {
            Ok((continuity, backlog)) => self.attached(attach, continuity, backlog),
            Err(fetch) => self.fetch(attach, &fetch),
        }
    }

    fn count_in(&mut self, attach: &AttachMail) {
        let now = self.now;
        let Some(channel) = self.channels.get_mut(&attach.channel) else { return };
        channel.used_at = now.mono;
        match attach.before {
            Some((roles, audience)) => channel.count(roles, audience, -1),
            None => channel.add_interest(attach.from.worker),
        }
        channel.count(attach.roles, attach.audience, 1);
        self.watchers_changed(&attach.channel, attach.narrator.as_ref());
        self.activity_changed(&attach.channel);
    }

    /// Makes the channel if need be; keeps the mail when the store has not answered yet.
    fn when_loaded(&mut self, attach: Box<AttachMail>) -> Option<Box<AttachMail>> {
        let key = attach.channel.clone();
        match self.channel(&key) {
            None => {
                self.refuse(&attach, error::not_found("the app does not exist any more"));
                None
            }
            Some(Channel { waiting: Some(waiting), .. }) => {
                waiting.push(Mail::Attach(attach));
                None
            }
            Some(_) => Some(attach),
        }
    }

    fn fetch(&self, attach: Box<AttachMail>, fetch: &Fetch) {
        let shared = self.shared.clone();
        let me = self.me;
        let through = fetch.to;
        let query = Query {
            kind: BodyKind::Messages,
            from: fetch.from,
            to: fetch.to,
            direction: Direction::Backwards,
            limit: fetch.limit,
        };
        (self.shared.blocking)(Box::new(move || {
            let fetched = shared.store.read(&attach.channel, &query).map(|mut records| {
                records.reverse();
                Fetched { records, through }
            });
            shared.post(me, Mail::AttachFetched { attach, fetched });
        }));
    }

    pub(super) fn attach_fetched(&mut self, attach: Box<AttachMail>, fetched: Result<Fetched, StoreError>) {
        let now = self.now;
        let Since::Rewind(rewind) = attach.since else { return };
        match (fetched, self.channels.get(&attach.channel)) {
            (Ok(fetched), Some(channel)) => {
                let hearer = (attach.audience, attach.connection.as_ref());
                let (continuity, backlog) = channel.rewound(rewind, Some(&fetched), hearer, now);
                self.attached(attach, continuity, backlog);
            }
            // The channel was forgotten meanwhile: begin again.
            (Ok(_), None) => self.attach(attach),
            (Err(failure), _) => {
                let refusal = self.unavailable(&failure);
                // Counted in, and its worker counts it out: only there is it known whether that was
                // done already, by a detach that came meanwhile.
                self.answer_attach(&attach, Err(Refused { error: refusal, counted: true }));
            }
        }
    }

    fn attached(&mut self, attach: Box<AttachMail>, continuity: Continuity, backlog: Backlog) {
        let Some(channel) = self.channels.get(&attach.channel) else { return };
        let members = if attach.audience.presence { channel.members.all() } else { Vec::new() };
        let at = AttachedAt {
            epoch: channel.epoch.clone(),
            position: channel.committed,
            resumed_from: match &attach.since {
                Since::Serial(serial) if continuity == Continuity::Kept => Some(serial.stamp),
                _ => None,
            },
            continuity,
            backlog,
            members,
            occupancy: channel.occupancy,
        };
        self.occupancy_changed(&attach.channel);
        self.answer_attach(&attach, Ok(at));
    }

    pub(super) fn refuse(&mut self, attach: &AttachMail, error: fanfare_model::ErrorInfo) {
        self.answer_attach(attach, Err(Refused { error, counted: false }));
    }

    /// The channel could not be loaded. The attachment is counted in all the same: a detach may be on its way
    /// already, and would count out another's.
    pub(super) fn refuse_counted(&mut self, attach: &AttachMail, error: fanfare_model::ErrorInfo) {
        self.count_in(attach);
        self.answer_attach(attach, Err(Refused { error, counted: true }));
    }

    fn answer_attach(&mut self, attach: &AttachMail, result: Result<AttachedAt, Refused>) {
        let mail = AttachedMail {
            to: attach.from,
            attachment: attach.attachment,
            nonce: attach.nonce,
            channel: attach.channel.clone(),
            result,
        };
        self.post(attach.from.worker, Mail::Attached(Box::new(mail)));
    }
}
