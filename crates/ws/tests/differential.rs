//! Against tungstenite, an implementation that shares no code with ours (it has no compression).

mod support;

use std::io::{self, Cursor, Read, Write};

use fanfare_ws::{Role, WsError};
use proptest::prelude::*;
use support::{Owned, config, decode, frame};
use tungstenite::protocol::{self, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

const LIMIT: usize = 2_000;

/// A peer that has said all that it will say, and does not listen.
struct Recorded(Cursor<Vec<u8>>);

impl Read for Recorded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    /// All bytes were good, as far as they went.
    Clean,
    Refused,
}

fn ours(wire: &[u8]) -> (Vec<Owned>, End) {
    let (events, result) = decode(&config(Role::Server, LIMIT, false), wire, &[]);
    let end = match result {
        Ok(()) => End::Clean,
        Err(_) => End::Refused,
    };
    (events, end)
}

fn theirs(wire: &[u8]) -> (Vec<Owned>, End) {
    let limits = WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT));
    let recorded = Recorded(Cursor::new(wire.to_vec()));
    let mut socket = WebSocket::from_raw_socket(recorded, protocol::Role::Server, Some(limits));
    let mut events = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => events.push(Owned::Text(text.as_str().to_owned())),
            Ok(Message::Binary(bytes)) => events.push(Owned::Binary(bytes.to_vec())),
            Ok(Message::Ping(bytes)) => events.push(Owned::Ping(bytes.to_vec())),
            Ok(Message::Pong(bytes)) => events.push(Owned::Pong(bytes.to_vec())),
            // Codes are compared in the tables: tungstenite rewrites bad ones instead of refusing them.
            Ok(Message::Close(_)) => return (events, End::Clean),
            Ok(Message::Frame(_)) => unreachable!("only read when asked for"),
            Err(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
                return (events, End::Clean);
            }
            Err(Error::ConnectionClosed | Error::Io(_)) => return (events, End::Clean),
            Err(_) => return (events, End::Refused),
        }
    }
}

/// One frame, more or less right.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop_oneof![Just(0x81u8), Just(0x82), Just(0x89), Just(0x8a), Just(0x01), Just(0x02)],
        4 => prop_oneof![Just(0x00u8), Just(0x80)],
        1 => any::<u8>().prop_filter("closes are compared in the tables", |first| first & 0x0f != 8),
    ];
    let payload = prop_oneof![
        6 => any::<String>().prop_map(String::into_bytes),
        2 => proptest::collection::vec(any::<u8>(), 0..140),
        1 => proptest::collection::vec(Just(b'x'), 900..2_100),
    ];
    (first, payload, 0..20u8).prop_map(|(first, payload, unmasked)| {
        let mut bytes = frame(first, &payload);
        if unmasked == 0 {
            bytes[1] &= 0x7f;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_events_and_the_same_verdict(frames in proptest::collection::vec(any_frame(), 1..8)) {
        let wire = frames.concat();
        prop_assert_eq!(ours(&wire), theirs(&wire));
    }
}

/// Where the two differ on purpose, each with its reason, so that the property above may leave it out.
#[test]
fn known_differences() {
    // RFC 6455, 5.2: "the minimal number of bytes MUST be used". tungstenite takes longer forms.
    let long_form = [&[0x82, 0xfe, 0, 1], &support::KEY[..], &[9 ^ support::KEY[0]]].concat();
    let outcome = decode(&config(Role::Server, LIMIT, false), &long_form, &[]);
    assert_eq!(outcome, (vec![], Err(WsError::NonMinimalLength)));
    assert_eq!(theirs(&long_form), (vec![Owned::Binary(vec![9])], End::Clean));
}
