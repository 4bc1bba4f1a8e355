//! What the suites share: frames built by hand, right and wrong, and owned copies of events.

#![allow(dead_code)] // Each suite uses its own part.

use fanfare_ws::{CloseCode, Config, Decoder, DeflateParams, Event, MaskKey, Role, Scratch, WsError};

pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) const CONT: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<CloseCode>, String),
}

impl From<Event<'_>> for Owned {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.to_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Event::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Event::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Event::Close { code, reason } => Self::Close(code, reason.to_owned()),
        }
    }
}

pub(crate) type Outcome = (Vec<Owned>, Result<(), WsError>);

pub(crate) fn config(role: Role, max_message_bytes: usize, deflate: bool) -> Config {
    Config { max_message_bytes, role, deflate: deflate.then_some(DeflateParams::DEFAULT) }
}

/// A frame with any first byte, masked for a server, in the shortest length form.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = announce(first, payload.len() as u64);
    out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ KEY[i % 4]));
    out
}

/// Only the header of such a frame.
pub(crate) fn announce(first: u8, len: u64) -> Vec<u8> {
    let mut out = vec![first];
    match len {
        0..=125 => out.push(0x80 | len as u8),
        126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend(len.to_be_bytes());
        }
    }
    out.extend(KEY);
    out
}

pub(crate) fn key() -> MaskKey {
    MaskKey(KEY)
}

/// Decodes `wire` in pieces of the given lengths (repeated; 0 = all the rest), checking the decoder's own
/// promises after each.
pub(crate) fn decode(config: &Config, wire: &[u8], pieces: &[usize]) -> Outcome {
    let mut decoder = Decoder::new(config);
    let mut scratch = Scratch::new();
    let mut events = Vec::new();
    let mut rest = wire;
    let mut sizes = pieces.iter().cycle();
    while !rest.is_empty() {
        let size = match sizes.next() {
            None | Some(0) => rest.len(),
            Some(&size) => size.min(rest.len()),
        };
        let mut piece = rest[..size].to_vec();
        rest = &rest[size..];
        let mut input = &mut piece[..];
        loop {
            let outcome = decoder.next(&mut input, &mut scratch);
            match outcome {
                Ok(Some(event)) => events.push(event.into()),
                Ok(None) => break,
                Err(error) => {
                    assert!(decoder.is_idle(), "a failed decoder keeps nothing");
                    let mut more = frame(FIN | TEXT, b"late");
                    let late = decoder.next(&mut &mut more[..], &mut scratch);
                    assert_eq!(late, Ok(None), "a failed decoder yields nothing");
                    return (events, Err(error));
                }
            }
        }
        assert!(input.is_empty(), "all input is consumed");
        assert!(decoder.retained_bytes() <= decoder.max_retained_bytes());
        assert!(!decoder.is_idle() || decoder.retained_bytes() == 0);
    }
    (events, Ok(()))
}
