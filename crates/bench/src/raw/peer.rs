//! One connection of the baseline.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use memchr::memmem;
use rustix::event::epoll::EventFlags;

use super::{
    Break, Channel, Rooms,
    splice::{self, Inbound, PendingAck, Serial},
};
use crate::{
    frame::{self, Header},
    wire::{Format, WEBSOCKET_ACCEPT},
};

/// What may wait for a subscriber that does not read. Beyond it frames are dropped, and it is told.
const MAX_QUEUE: usize = 1 << 20;

const CONNECTION_ID_LEN: usize = 10;

pub(super) struct Peer {
    id: usize,
    stream: TcpStream,
    format: Format,
    is_upgraded: bool,
    connection: [u8; CONNECTION_ID_LEN],
    channels: Vec<usize>,
    partial: Vec<u8>,
    /// Bytes that the socket has not taken, and how many of them it has taken since.
    queue: Vec<u8>,
    sent: usize,
    /// Frames were dropped; nothing more is queued until the client has been told.
    has_gap: bool,
    is_watched: bool,
    ack: PendingAck,
}

impl Peer {
    pub(super) fn new(id: usize, stream: TcpStream) -> Self {
        let mut connection = *b"raw0000000";
        for (place, digit) in connection.iter_mut().rev().zip(format!("{id:07}").bytes().rev()) {
            *place = digit;
        }
        Self {
            id,
            stream,
            format: Format::Json,
            is_upgraded: false,
            connection,
            channels: Vec::new(),
            partial: Vec::new(),
            queue: Vec::new(),
            sent: 0,
            has_gap: false,
            is_watched: false,
            ack: PendingAck::default(),
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn channels(&self) -> &[usize] {
        &self.channels
    }

    pub(super) fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn needs_watching(&self) -> bool {
        !self.queue.is_empty() && !self.is_watched
    }

    pub(super) fn is_needlessly_watched(&self) -> bool {
        self.queue.is_empty() && self.is_watched
    }

    /// Turns watching for room on or off.
    pub(super) fn change_watch(&mut self) -> EventFlags {
        self.is_watched = !self.is_watched;
        if self.is_watched { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN }
    }

    /// One read, and all whole frames in it. False when the connection is over.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>, rooms: &mut Rooms) -> bool {
        let kept = self.partial.len();
        if kept * 2 > buffer.len() {
            buffer.resize(kept * 4, 0);
        }
        buffer[..kept].copy_from_slice(&self.partial);
        let read = match (&self.stream).read(&mut buffer[kept..]) {
            Ok(0) => return false,
            Ok(read) => read,
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        let bytes = &mut buffer[..kept + read];
        let Some(used) = self.take(bytes, rooms) else { return false };
        self.partial.clear();
        self.partial.extend_from_slice(&bytes[used..]);
        true
    }

    /// Sends frames now, or queues what does not fit. False when the connection is over.
    pub(super) fn send(&mut self, frames: &[u8]) -> bool {
        if self.has_gap {
            return true;
        }
        let mut rest = frames;
        // With bytes already waiting the socket is full: epoll says when it is not.
        while self.queue.is_empty() && !rest.is_empty() {
            match (&self.stream).write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        if self.queue.len() - self.sent + rest.len() > MAX_QUEUE {
            // What the socket took of the first frame must be completed, or framing is lost.
            if self.queue.is_empty() {
                self.queue.extend_from_slice(rest);
            }
            self.has_gap = true;
        } else {
            self.queue.extend_from_slice(rest);
        }
        true
    }

    pub(super) fn send_ack(&mut self, body: &mut Vec<u8>) -> bool {
        let mut out = Vec::new();
        self.ack.push(self.format, &mut out, body);
        self.send(&out)
    }

    /// Sends what waits; once it has gone, tells of a gap if there is one. False when the connection is over.
    pub(super) fn flush(&mut self, channels: &[Channel], serial: Serial) -> bool {
        while self.sent < self.queue.len() {
            match (&self.stream).write(&self.queue[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        // An idle connection holds no buffer.
        self.queue = Vec::new();
        self.sent = 0;
        if !std::mem::take(&mut self.has_gap) {
            return true;
        }
        let mut told = Vec::new();
        for channel in &self.channels {
            let channel = &channels[*channel];
            if !channel.sabotage.is(Break::SilentGap) {
                splice::push_attached(self.format, &channel.name, serial, true, &mut told);
            }
        }
        self.send(&told)
    }

    /// Handles the whole frames in `bytes`; gives how many bytes they were, None when the connection is over.
    fn take(&mut self, bytes: &mut [u8], rooms: &mut Rooms) -> Option<usize> {
        let mut used = 0;
        if !self.is_upgraded {
            let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Some(0) };
            used = end + 4;
            self.upgrade(&bytes[..used]);
        }
        while let Some(header) = Header::read(&bytes[used..]).ok()? {
            let whole = used + header.header_len..used + header.frame_len();
            let Some(payload) = bytes.get_mut(whole) else { break };
            frame::unmask(payload, header.mask?);
            match header.opcode {
                frame::TEXT | frame::BINARY => self.act(payload, rooms),
                frame::PING => frame::push(&mut self.queue, frame::PONG, payload),
                frame::CLOSE => return None,
                _ => {}
            }
            used += header.frame_len();
        }
        Some(used)
    }

    fn upgrade(&mut self, request: &[u8]) {
        self.is_upgraded = true;
        if memmem::find(request, b"format=msgpack").is_some() {
            self.format = Format::Msgpack;
        } else if request.starts_with(b"GET /apps/") {
            self.format = Format::RealtimePubsub;
        }
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {WEBSOCKET_ACCEPT}\r\n\r\n"
        );
        self.queue.extend_from_slice(answer.as_bytes());
        splice::push_connected(self.format, &self.connection, &mut self.queue);
    }

    /// ATTACH and MESSAGE; everything else is not for a baseline.
    fn act(&mut self, payload: &[u8], rooms: &mut Rooms) {
        let Some(inbound) = Inbound::read(self.format, payload) else { return };
        match inbound.action {
            10 => {
                let channel = rooms.attach(self.id, self.format, inbound.channel);
                self.channels.push(channel);
                splice::push_attached(self.format, inbound.channel, rooms.serial, false, &mut self.queue);
            }
            15 => {
                let msg_serial = inbound.msg_serial;
                let serial = rooms.publish(inbound, &self.connection);
                if self.ack.add(msg_serial, serial) {
                    rooms.to_ack.push(self.id);
                }
            }
            _ => {}
        }
    }
}
