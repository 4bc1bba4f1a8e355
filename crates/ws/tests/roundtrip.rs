//! What is encoded comes out again, in whatever pieces the stream arrives.

mod support;

use fanfare_ws::{
    CloseCode, Deflater, MaskKey, Opcode, Role, WindowBits, begin_frame, close_frame, end_frame,
    end_frame_deflated, write_frame, write_masked_close, write_masked_frame, write_masked_frame_deflated,
};
use proptest::prelude::*;
use support::{Owned, config, decode, frame};

const LIMIT: usize = 200_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Payloads {
    Plain,
    Deflated,
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![
        6 => 0usize..300,
        2 => 60_000usize..70_000,
        1 => prop_oneof![Just(125usize), Just(126), Just(65_535), Just(65_536)],
    ];
    // Few different bytes, so that much of it compresses.
    (length, 1u8..=255, any::<u64>()).prop_map(|(len, alphabet, seed)| {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8 % alphabet
        };
        (0..len).map(|_| next()).collect()
    })
}

fn event() -> impl Strategy<Value = Owned> {
    let short = proptest::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        4 => proptest::collection::vec(any::<char>(), 0..120).prop_map(|c| Owned::Text(c.into_iter().collect())),
        4 => payload().prop_map(Owned::Binary),
        1 => short.clone().prop_map(Owned::Ping),
        1 => short.prop_map(Owned::Pong),
    ]
}

fn parts(event: &Owned) -> (Opcode, &[u8]) {
    match event {
        Owned::Text(text) => (Opcode::Text, text.as_bytes()),
        Owned::Binary(bytes) => (Opcode::Binary, bytes),
        Owned::Ping(bytes) => (Opcode::Ping, bytes),
        Owned::Pong(bytes) => (Opcode::Pong, bytes),
        Owned::Close(..) => unreachable!("closes are written apart"),
    }
}

fn from_client(events: &[Owned], payloads: Payloads, key: MaskKey) -> Vec<u8> {
    let mut deflater = Deflater::new(6, WindowBits::MAX, 0);
    let mut wire = Vec::new();
    for event in events {
        let (opcode, payload) = parts(event);
        match payloads {
            Payloads::Plain => write_masked_frame(&mut wire, opcode, payload, key),
            Payloads::Deflated => {
                write_masked_frame_deflated(&mut wire, opcode, payload, key, &mut deflater);
            }
        }
    }
    write_masked_close(&mut wire, CloseCode::NORMAL, "bye", key);
    wire
}

fn from_server(events: &[Owned], payloads: Payloads, window: WindowBits) -> Vec<u8> {
    let mut deflater = Deflater::new(1, window, 0);
    let mut wire = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let (opcode, payload) = parts(event);
        if index % 3 == 2 {
            write_frame(&mut wire, opcode, payload);
            continue;
        }
        let mark = begin_frame(&mut wire);
        wire.extend_from_slice(payload);
        match payloads {
            Payloads::Plain => end_frame(&mut wire, mark, opcode),
            Payloads::Deflated => {
                end_frame_deflated(&mut wire, mark, opcode, &mut deflater);
            }
        }
    }
    close_frame(&mut wire, CloseCode::NORMAL, "bye");
    wire
}

fn with_close(mut events: Vec<Owned>) -> Vec<Owned> {
    events.push(Owned::Close(Some(CloseCode::NORMAL), "bye".to_owned()));
    events
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![0]),
        proptest::collection::vec(1usize..40, 1..8),
        proptest::collection::vec(1usize..70_000, 1..8),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn client_to_server(
        events in proptest::collection::vec(event(), 0..8),
        deflate in prop_oneof![Just(Payloads::Plain), Just(Payloads::Deflated)],
        key: [u8; 4],
        pieces in pieces(),
    ) {
        let wire = from_client(&events, deflate, MaskKey(key));
        let config = config(Role::Server, LIMIT, deflate == Payloads::Deflated);
        prop_assert!(decode(&config, &wire, &pieces) == (with_close(events), Ok(())));
    }

    #[test]
    fn server_to_client(
        events in proptest::collection::vec(event(), 0..8),
        deflate in prop_oneof![Just(Payloads::Plain), Just(Payloads::Deflated)],
        window in 9u8..=15,
        pieces in pieces(),
    ) {
        let wire = from_server(&events, deflate, WindowBits::new(window).unwrap());
        let config = config(Role::Client, LIMIT, deflate == Payloads::Deflated);
        prop_assert!(decode(&config, &wire, &pieces) == (with_close(events), Ok(())));
    }

    #[test]
    fn fragments_come_together_with_pings_between(
        message in any::<String>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        pieces in pieces(),
    ) {
        let bytes = message.as_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut wire = Vec::new();
        let mut expected = Vec::new();
        let last = cuts.len() - 2;
        for (index, pair) in cuts.windows(2).enumerate() {
            let opcode = if index == 0 { support::TEXT } else { support::CONT };
            let fin = if index == last { support::FIN } else { 0 };
            wire.extend(frame(fin | opcode, &bytes[pair[0]..pair[1]]));
            if index < last {
                wire.extend(frame(support::FIN | support::PING, &[index as u8]));
                expected.push(Owned::Ping(vec![index as u8]));
            }
        }
        expected.push(Owned::Text(message.clone()));
        let config = config(Role::Server, LIMIT, false);
        prop_assert!(decode(&config, &wire, &pieces) == (expected, Ok(())));
    }

    /// Never a panic, never more kept than allowed (checked in `decode`), the same outcome in any pieces.
    #[test]
    fn any_bytes_in_any_pieces(
        wire in proptest::collection::vec(any::<u8>(), 0..400),
        pieces in proptest::collection::vec(1usize..20, 1..6),
        deflate: bool,
        limit in 0usize..300,
        server: bool,
    ) {
        let role = if server { Role::Server } else { Role::Client };
        let config = config(role, limit, deflate);
        prop_assert_eq!(decode(&config, &wire, &pieces), decode(&config, &wire, &[]));
    }
}
