//! What a worker keeps of each session, beside the session itself.

use std::any::Any;
use std::rc::Rc;
use std::time::Duration;

use fanfare_model::{AppId, ChannelKey, ConnectionId, ErrorInfo, Serial};

use super::Worker;
use crate::encode::{Encoder, Framing, Outbox};
use crate::handle::Identified;
use crate::hub::{Place, Subscriber};
use crate::ids::{AttachmentId, SessionId, SessionRef};
use crate::mail::{AttachedAt, AttachedMail, Mail, Refused};
use crate::owner::Published;
use crate::session::{Attached, Audience, ClaimId, Event, Roles, Session, Token};
use crate::shared;
use crate::watch::{ConnectionSeen, Lifecycle};

pub(super) struct Entry {
    pub(super) session: Box<dyn Session>,
    /// `None` while the session has no transport.
    pub(super) outbox: Option<Rc<dyn Outbox>>,
    pub(super) framing: Rc<dyn Framing>,
    /// Under which the worker knows the session.
    pub(super) identified: Option<ConnectionId>,
    /// It was given an earlier session's state: its connection is no new one.
    pub(super) inherited: bool,
    pub(super) generation: u32,
    pub(super) attachments: Vec<Attachment>,
    /// Channels where this connection has, or had, members.
    pub(super) present_on: Vec<ChannelKey>,
    /// Counted as an open connection of its app.
    pub(super) counted: bool,
    /// Publishes and presence requests that are not answered yet.
    pub(super) in_flight: usize,
    pub(super) in_flight_max: usize,
    pub(super) paused: bool,
    pub(super) wants_flush: bool,
    pub(super) wake_at: Option<Duration>,
    pub(super) next_nonce: u32,
    /// Successors that wait for this session's state.
    pub(super) claims: Vec<(ClaimId, SessionRef)>,
}

pub(super) struct Attachment {
    pub(super) id: AttachmentId,
    pub(super) channel: ChannelKey,
    /// What it counts as at the owner.
    pub(super) roles: Roles,
    pub(super) audience: Audience,
    /// In the hub, once attached.
    pub(super) place: Option<Place>,
    /// What is asked for and not answered yet.
    pub(super) asked: Option<Asked>,
}

pub(super) struct Asked {
    pub(super) nonce: u32,
    pub(super) encoder: Rc<dyn Encoder>,
    pub(super) roles: Roles,
    pub(super) audience: Audience,
}

impl Entry {
    pub(super) fn new(
        session: Box<dyn Session>,
        outbox: Rc<dyn Outbox>,
        framing: Rc<dyn Framing>,
        generation: u32,
        in_flight_max: usize,
    ) -> Self {
        Self {
            session,
            outbox: Some(outbox),
            framing,
            identified: None,
            inherited: false,
            generation,
            attachments: Vec::new(),
            present_on: Vec::new(),
            counted: false,
            in_flight: 0,
            in_flight_max,
            paused: false,
            wants_flush: false,
            wake_at: None,
            next_nonce: 0,
            claims: Vec::new(),
        }
    }

    fn attachment(&mut self, id: AttachmentId) -> Option<&mut Attachment> {
        self.attachments.iter_mut().find(|a| a.id == id)
    }
}

impl Worker {
    /// The owner answered an attach. From here on the attachment is live: nothing committed after the
    /// answer's position has been fanned out here yet, because mail keeps its order.
    pub(super) fn attached(&mut self, mail: AttachedMail) {
        let id = mail.to.session;
        let current = self
            .entry(id)
            .and_then(|e| e.attachment(mail.attachment))
            .is_some_and(|a| a.asked.as_ref().is_some_and(|asked| asked.nonce == mail.nonce));
        if !current {
            // Detached, asked again or ended meanwhile: whoever did that told the owner.
            return;
        }
        match mail.result {
            Ok(at) => self.go_live(id, mail.attachment, &mail.channel, at),
            Err(refused) => self.attach_refused(id, mail.attachment, refused),
        }
    }

    fn go_live(&mut self, id: SessionId, attachment: AttachmentId, channel: &ChannelKey, at: AttachedAt) {
        self.hub.fan_out_channel(channel, &mut self.fanned_out);
        let Some(entry) = self.sessions.get_mut(id.slot as usize) else { return };
        let (Some(outbox), Some(connection)) = (entry.outbox.clone(), entry.session.connection_id().cloned())
        else {
            return;
        };
        let framing = entry.framing.clone();
        let Some(attached) = entry.attachment(attachment) else { return };
        let Some(asked) = attached.asked.take() else { return };
        (attached.roles, attached.audience) = (asked.roles, asked.audience);
        let (old_place, audience) = (attached.place.take(), asked.audience);
        if let Some(place) = old_place {
            self.unplace(place);
        }
        let subscriber = Subscriber { session: id, attachment, audience, lagging: false, connection, outbox };
        let place =
            self.hub.add(channel, at.epoch.clone(), at.position, (asked.encoder, framing), subscriber);
        if let Some(attached) = self.entry(id).and_then(|e| e.attachment(attachment)) {
            attached.place = Some(place);
        }
        let serial = Serial { stamp: at.position, epoch: at.epoch.clone() };
        let event = Attached {
            attachment,
            epoch: at.epoch,
            position: at.position,
            resumed_from: at.resumed_from,
            continuity: at.continuity,
            backlog: at.backlog.records,
            skip: at.backlog.skip,
            members: at.members,
        };
        self.events.push_back((id, Event::Attached(Box::new(event))));
        if audience.occupancy {
            let occupancy = at.occupancy;
            self.events.push_back((id, Event::Occupancy { attachment, occupancy, serial: Some(serial) }));
        }
    }

    /// Who was attached before stays so, and counts as the owner counts it now.
    fn attach_refused(&mut self, id: SessionId, attachment: AttachmentId, refused: Refused) {
        let Some(known) = self.entry(id).and_then(|e| e.attachment(attachment)) else { return };
        let asked = known.asked.take();
        if let Some(asked) = asked.filter(|_| refused.counted) {
            (known.roles, known.audience) = (asked.roles, asked.audience);
        }
        if known.place.is_none() {
            if refused.counted {
                self.detach(id, attachment);
            } else if let Some(entry) = self.entry(id) {
                entry.attachments.retain(|a| a.id != attachment);
            }
        }
        self.events.push_back((id, Event::AttachRefused { attachment, error: refused.error }));
    }

    /// Takes a subscriber out of the hub and tells the one that moved into its place.
    fn unplace(&mut self, place: Place) {
        if let Some((session, attachment)) = self.hub.remove(place)
            && let Some(moved) = self.entry(session).and_then(|e| e.attachment(attachment))
        {
            moved.place = Some(place);
        }
    }

    pub(super) fn detach(&mut self, id: SessionId, attachment: AttachmentId) {
        let Some(entry) = self.entry(id) else { return };
        let Some(at) = entry.attachments.iter().position(|a| a.id == attachment) else { return };
        let gone = entry.attachments.swap_remove(at);
        self.forget(gone);
    }

    pub(super) fn detach_all(&mut self, id: SessionId) {
        // One by one: taking one out of the hub may move another of them.
        while let Some(gone) = self.entry(id).and_then(|entry| entry.attachments.pop()) {
            self.forget(gone);
        }
    }

    /// The owner counts what was last asked for; mail keeps its order, so it counts it out after it
    /// has counted it in.
    fn forget(&mut self, gone: Attachment) {
        if let Some(place) = gone.place {
            self.hub.fan_out_channel(&gone.channel, &mut self.fanned_out);
            self.unplace(place);
        }
        let (roles, audience) = gone.asked.map_or((gone.roles, gone.audience), |a| (a.roles, a.audience));
        let mail = Mail::Detach { channel: gone.channel.clone(), from: self.me, roles, audience };
        self.post_owner(&gone.channel, mail);
    }

    /// A connection counts for its app from when it has an id to the end of its transport.
    pub(super) fn count_in(&mut self, id: SessionId) {
        let (telemeter, now) = (&self.shared.telemeter, self.now.wall);
        if let Some(entry) = self.sessions.get_mut(id.slot as usize)
            && entry.outbox.is_some()
            && !std::mem::replace(&mut entry.counted, true)
        {
            telemeter.opened(entry.session.app(), entry.session.country(), now);
        }
    }

    pub(super) fn count_out(&mut self, id: SessionId) {
        let (telemeter, now) = (&self.shared.telemeter, self.now.wall);
        if let Some(entry) = self.sessions.get_mut(id.slot as usize)
            && std::mem::take(&mut entry.counted)
        {
            telemeter.closed(entry.session.app(), now);
        }
    }

    pub(super) fn post_owner(&mut self, channel: &ChannelKey, mail: Mail) {
        let owner = self.shared.owner_of(channel);
        if owner == self.me {
            self.owner.receive(mail);
        } else {
            self.shared.post(owner, mail);
        }
    }

    pub(super) fn answered(&mut self, id: SessionId, token: Token, result: Result<Published, ErrorInfo>) {
        let Some(entry) = self.entry(id) else { return };
        entry.in_flight = entry.in_flight.saturating_sub(1);
        if entry.paused && entry.in_flight <= entry.in_flight_max / 2 {
            entry.paused = false;
            if let Some(outbox) = &entry.outbox {
                outbox.resume_reading();
            }
        }
        self.events.push_back((id, Event::Published { token, result }));
    }

    pub(super) fn claim(
        &mut self,
        from: SessionRef,
        connection: &ConnectionId,
        request: Box<dyn Any + Send>,
    ) {
        let holder = self.connections.get(connection).copied().filter(|id| self.reference(*id) != from);
        self.next_claim += 1;
        let claim = ClaimId(self.next_claim);
        match holder.and_then(|id| self.entry(id).map(|entry| (id, entry))) {
            Some((id, entry)) => {
                entry.claims.push((claim, from));
                self.events.push_back((id, Event::ClaimRequested { claim, request }));
            }
            None => self.answer_claim(from, connection.clone(), None, Vec::new()),
        }
    }

    /// The holder's answer: with a state, the holder is over and its members are its successor's.
    pub(super) fn claim_answer(&mut self, id: SessionId, claim: ClaimId, state: Option<Box<dyn Any + Send>>) {
        let Some(entry) = self.entry(id) else { return };
        let Some(at) = entry.claims.iter().position(|(c, _)| *c == claim) else { return };
        let (_, from) = entry.claims.swap_remove(at);
        let Some(connection) = entry.session.connection_id().cloned() else { return };
        let present_on = if state.is_some() { std::mem::take(&mut entry.present_on) } else { Vec::new() };
        let over = state.is_some();
        self.answer_claim(from, connection, state, present_on);
        if over {
            // The connection lives on in its successor.
            if let Some(entry) = self.entry(id) {
                entry.identified = None;
            }
            self.end(id);
        }
    }

    fn answer_claim(
        &mut self,
        to: SessionRef,
        connection: ConnectionId,
        state: Option<Box<dyn Any + Send>>,
        present_on: Vec<ChannelKey>,
    ) {
        let mail = Mail::Claimed { to, connection, state, present_on };
        if to.worker == self.me {
            self.owner.local.push(mail);
        } else {
            self.shared.post(to.worker, mail);
        }
    }

    pub(super) fn claimed(
        &mut self,
        to: SessionRef,
        connection: ConnectionId,
        state: Option<Box<dyn Any + Send>>,
        present_on: Vec<ChannelKey>,
    ) {
        match self.entry(to.session) {
            Some(entry) => {
                entry.inherited = state.is_some();
                entry.present_on.extend(present_on);
                self.events.push_back((to.session, Event::Claimed(state)));
            }
            // The successor ended before it had its inheritance: the members are nobody's.
            None => self.leave(present_on, &connection),
        }
    }

    pub(super) fn leave(&mut self, channels: Vec<ChannelKey>, connection: &ConnectionId) {
        for channel in channels {
            let mail = Mail::Leave { channel: channel.clone(), connection: connection.clone() };
            self.post_owner(&channel, mail);
        }
    }

    pub(super) fn identify(
        &mut self,
        app: &AppId,
        connection: &ConnectionId,
        secret: &str,
    ) -> Option<Identified> {
        let id = *self.connections.get(connection)?;
        let entry = self.entry(id).filter(|entry| entry.session.app() == app)?;
        let clients = entry.session.prove(secret)?;
        Some(Identified { connection: connection.clone(), clients })
    }

    pub(super) fn connection_opened(&mut self, id: SessionId) {
        if !self.owner.is_watched() {
            return;
        }
        let Some(entry) = self.sessions.get(id.slot as usize) else { return };
        if let Some(seen) = seen(&*entry.session) {
            let app = entry.session.app().clone();
            self.owner.narrate(&app, &Lifecycle::ConnectionOpened(seen));
        }
    }

    fn connection_closed(&mut self, session: &dyn Session) {
        if let Some(seen) = seen(session) {
            self.owner.narrate(session.app(), &Lifecycle::ConnectionClosed(seen));
        }
    }

    /// The session is over: everything that is its own goes.
    pub(super) fn end(&mut self, id: SessionId) {
        if self.entry(id).is_none() {
            return;
        }
        self.detach_all(id);
        self.count_out(id);
        let entry = self.sessions.remove(id.slot as usize);
        shared::add(&self.shared.counters.sessions_ended, 1);
        if entry.identified.is_some() && self.owner.is_watched() {
            self.connection_closed(&*entry.session);
        }
        if let Some(connection) = entry.session.connection_id() {
            if self.connections.get(connection) == Some(&id) {
                self.connections.remove(connection);
            }
            self.leave(entry.present_on, connection);
            for (_, from) in entry.claims {
                self.answer_claim(from, connection.clone(), None, Vec::new());
            }
        }
    }
}

fn seen(session: &dyn Session) -> Option<ConnectionSeen> {
    let connection = session.connection_id()?.clone();
    Some(ConnectionSeen { connection, client: session.client_id().cloned() })
}
