//! Every rule of the receiving side, both sides of each limit, each in one read and byte by byte.

mod support;

use fanfare_ws::{
    CloseCode, Decoder, Deflater, Event, MAX_EMPTY_FRAGMENTS, Opcode, Role, Scratch, WindowBits, WsError,
    close_frame, write_frame, write_masked_frame, write_masked_frame_deflated,
};
use support::{
    BINARY, CLOSE, CONT, FIN, KEY, Outcome, Owned, PING, PONG, RSV1, TEXT, announce, config, decode, frame,
    key,
};

const LIMIT: usize = 1_000;

fn text(text: &str) -> Owned {
    Owned::Text(text.to_owned())
}

fn binary(bytes: &[u8]) -> Owned {
    Owned::Binary(bytes.to_vec())
}

/// The same outcome in whatever pieces the bytes come.
#[track_caller]
fn server(deflate: bool, frames: &[Vec<u8>]) -> Outcome {
    let config = config(Role::Server, LIMIT, deflate);
    let wire = frames.concat();
    let whole = decode(&config, &wire, &[]);
    for pieces in [&[1][..], &[2, 3], &[7, 1], &[64, 5]] {
        assert_eq!(decode(&config, &wire, pieces), whole, "pieces of {pieces:?}");
    }
    whole
}

#[track_caller]
fn refused(frames: &[Vec<u8>], error: WsError) {
    assert_eq!(server(false, frames), (vec![], Err(error)));
}

#[track_caller]
fn taken(frames: &[Vec<u8>], events: &[Owned]) {
    assert_eq!(server(false, frames), (events.to_vec(), Ok(())));
}

#[test]
fn an_idle_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 24, "{}", size_of::<Decoder>());
}

#[test]
fn whole_frames() {
    taken(&[frame(FIN | TEXT, b"")], &[text("")]);
    taken(&[frame(FIN | TEXT, "κόσμε".as_bytes())], &[text("κόσμε")]);
    taken(&[frame(FIN | BINARY, &[0xff; 200])], &[binary(&[0xff; 200])]);
    taken(
        &[frame(FIN | PING, b"p"), frame(FIN | PONG, b"")],
        &[Owned::Ping(b"p".to_vec()), Owned::Pong(vec![])],
    );
}

#[test]
fn reserved_bits() {
    for rsv in [0x10, 0x20, 0x40, 0x70] {
        for opcode in [TEXT, BINARY, PING, CLOSE] {
            refused(&[frame(FIN | rsv | opcode, b"")], WsError::ReservedBits);
        }
    }
    for rsv in [0x10, 0x20] {
        assert_eq!(server(true, &[frame(FIN | rsv | TEXT, b"")]).1, Err(WsError::ReservedBits));
    }
    for opcode in [PING, PONG, CLOSE, CONT] {
        let first = FIN | RSV1 | opcode;
        assert_eq!(server(true, &[frame(first, b"")]).1, Err(WsError::ReservedBits));
    }
    let on_continuation = [frame(RSV1 | TEXT, b"\xf2"), frame(FIN | RSV1 | CONT, b"\x48")];
    assert_eq!(server(true, &on_continuation).1, Err(WsError::ReservedBits));
}

#[test]
fn reserved_opcodes() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        refused(&[frame(FIN | opcode, b"")], WsError::UnknownOpcode(opcode));
        refused(&[frame(opcode, b"")], WsError::UnknownOpcode(opcode));
    }
}

#[test]
fn masks_by_role() {
    let mut clear = Vec::new();
    write_frame(&mut clear, Opcode::Text, b"hi");
    let masked = frame(FIN | TEXT, b"hi");
    let client = config(Role::Client, LIMIT, false);
    assert_eq!(decode(&client, &clear, &[]), (vec![text("hi")], Ok(())));
    assert_eq!(decode(&client, &clear, &[1]), (vec![text("hi")], Ok(())));
    assert_eq!(decode(&client, &masked, &[]), (vec![], Err(WsError::Masked)));
    refused(&[clear], WsError::Unmasked);
    taken(&[masked], &[text("hi")]);
}

#[test]
fn control_frames() {
    taken(&[frame(FIN | PING, &[7; 125])], &[Owned::Ping(vec![7; 125])]);
    for opcode in [PING, PONG, CLOSE] {
        refused(&[frame(FIN | opcode, &[7; 126])], WsError::LongControl);
        refused(&[announce(FIN | opcode, 1 << 40)], WsError::LongControl);
        refused(&[frame(opcode, b"")], WsError::FragmentedControl);
    }
}

#[test]
fn lengths_must_be_minimal() {
    let with_length = |form: &[u8]| [&[FIN | BINARY], form, &KEY].concat();
    let refusals: [(&[u8], WsError); 7] = [
        (&[0xfe, 0, 0], WsError::NonMinimalLength),
        (&[0xfe, 0, 125], WsError::NonMinimalLength),
        (&[0xff, 0, 0, 0, 0, 0, 0, 0, 1], WsError::NonMinimalLength),
        (&[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], WsError::NonMinimalLength),
        (&[0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], WsError::LengthOverflow),
        (&[0xff; 9], WsError::LengthOverflow),
        (&[0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], WsError::TooBig { limit: LIMIT }),
    ];
    for (form, error) in refusals {
        refused(&[with_length(form)], error);
    }
    taken(&[frame(FIN | BINARY, &[1; 126])], &[binary(&[1; 126])]);
    let config = config(Role::Server, 70_000, false);
    for len in [65_535, 65_536] {
        let outcome = decode(&config, &frame(FIN | BINARY, &vec![1; len]), &[]);
        assert_eq!(outcome, (vec![binary(&vec![1; len])], Ok(())));
    }
}

#[test]
fn fragments() {
    taken(&[frame(TEXT, b"a"), frame(CONT, b"b"), frame(FIN | CONT, b"c")], &[text("abc")]);
    taken(&[frame(TEXT, b""), frame(CONT, b""), frame(FIN | CONT, b"")], &[text("")]);
    taken(
        &[frame(BINARY, b"a"), frame(FIN | PING, b"p"), frame(FIN | CONT, b"c"), frame(FIN | TEXT, b"t")],
        &[Owned::Ping(b"p".to_vec()), binary(b"ac"), text("t")],
    );
    refused(&[frame(FIN | CONT, b"x")], WsError::StrayContinuation);
    refused(&[frame(CONT, b"x")], WsError::StrayContinuation);
    refused(&[frame(TEXT, b"a"), frame(FIN | TEXT, b"b")], WsError::InterleavedMessage);
    refused(&[frame(TEXT, b"a"), frame(BINARY, b"b")], WsError::InterleavedMessage);
    let after_the_end = [frame(TEXT, b"a"), frame(FIN | CONT, b"b"), frame(FIN | CONT, b"c")];
    assert_eq!(server(false, &after_the_end), (vec![text("ab")], Err(WsError::StrayContinuation)));
}

#[test]
fn a_control_frame_split_inside_a_split_message_keeps_both() {
    let frames = [frame(TEXT, "é".repeat(50).as_bytes()), frame(FIN | PING, &[1; 125])];
    let rest = [frame(CONT, &[0xc3]), frame(FIN | CONT, &[0xa9])];
    taken(&[frames.concat(), rest.concat()], &[Owned::Ping(vec![1; 125]), text(&"é".repeat(51))]);
}

#[test]
fn the_limit_on_both_sides() {
    let too_big = WsError::TooBig { limit: LIMIT };
    taken(&[frame(FIN | BINARY, &[1; LIMIT])], &[binary(&[1; LIMIT])]);
    refused(&[frame(FIN | BINARY, &[1; LIMIT + 1])], too_big);
    taken(&[frame(BINARY, &[1; LIMIT - 1]), frame(FIN | CONT, b"\x01")], &[binary(&[1; LIMIT])]);
    refused(&[frame(BINARY, &[1; LIMIT - 1]), frame(FIN | CONT, b"\x01\x01")], too_big);
    refused(&[frame(BINARY, &[1; LIMIT]), frame(CONT, b"\x01")], too_big);
    taken(&[frame(BINARY, &[1; LIMIT]), frame(FIN | CONT, b"")], &[binary(&[1; LIMIT])]);
}

#[test]
fn oversize_is_refused_by_its_header_alone() {
    let too_big = WsError::TooBig { limit: LIMIT };
    refused(&[announce(FIN | TEXT, LIMIT as u64 + 1)], too_big);
    refused(&[announce(TEXT, 1 << 30)], too_big);
    refused(&[frame(TEXT, b"a"), announce(FIN | CONT, LIMIT as u64)], too_big);
}

#[test]
fn what_is_announced_is_not_allocated_before_it_comes() {
    let mut decoder = Decoder::new(&config(Role::Server, 16 << 20, false));
    let mut wire = [announce(FIN | BINARY, 16 << 20), vec![0; 10]].concat();
    assert_eq!(decoder.next(&mut &mut wire[..], &mut Scratch::new()), Ok(None));
    assert!(!decoder.is_idle());
    assert!(decoder.retained_bytes() < 1_024, "{}", decoder.retained_bytes());
}

#[test]
fn empty_fragments_are_bounded() {
    let most = MAX_EMPTY_FRAGMENTS as usize;
    let open = frame(TEXT, b"");
    let more = frame(CONT, b"");
    let last = frame(FIN | CONT, b"");
    taken(&[open.clone(), more.repeat(most - 1), last.clone()], &[text("")]);
    refused(&[open, more.repeat(most)], WsError::TooManyEmptyFragments);
    // The bound is for each message, and fragments with payload do not count.
    let message = [frame(TEXT, b"a"), frame(CONT, b"b").repeat(200), more.repeat(most), last].concat();
    let expected = text(&format!("a{}", "b".repeat(200)));
    taken(&[message.clone(), message], &[expected.clone(), expected]);
}

#[test]
fn text_must_be_utf8() {
    let bad: [&[u8]; 8] = [
        b"\xff",
        b"\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"abc\xce",
    ];
    for bytes in bad {
        refused(&[frame(FIN | TEXT, bytes)], WsError::InvalidUtf8);
        refused(&[frame(TEXT, bytes), frame(FIN | CONT, b"z")], WsError::InvalidUtf8);
        taken(&[frame(FIN | BINARY, bytes)], &[binary(bytes)]);
    }
    let bytes = "κ€🎺".as_bytes();
    for split in 0..=bytes.len() {
        let frames = [frame(TEXT, &bytes[..split]), frame(FIN | CONT, &bytes[split..])];
        taken(&frames, &[text("κ€🎺")]);
    }
}

#[test]
fn bad_text_fails_before_the_frame_is_whole() {
    let unfinished_frame = [announce(FIN | TEXT, 500), vec![0xff ^ KEY[0]]].concat();
    refused(&[unfinished_frame], WsError::InvalidUtf8);
    refused(&[frame(TEXT, b"\xe2\x82"), frame(CONT, b"x")], WsError::InvalidUtf8);
}

#[test]
fn close_frames() {
    let close = |code, reason: &str| Owned::Close(code, reason.to_owned());
    taken(&[frame(FIN | CLOSE, b"")], &[close(None, "")]);
    taken(&[frame(FIN | CLOSE, b"\x03\xe8bye")], &[close(Some(CloseCode::NORMAL), "bye")]);
    let longest = [&b"\x03\xe8"[..], &[b'x'; 123]].concat();
    taken(&[frame(FIN | CLOSE, &longest)], &[close(Some(CloseCode::NORMAL), &"x".repeat(123))]);
    refused(&[frame(FIN | CLOSE, b"\x03")], WsError::ShortClose);
    refused(&[frame(FIN | CLOSE, b"\x03\xe8\xff")], WsError::InvalidUtf8);
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        refused(&[frame(FIN | CLOSE, &code.to_be_bytes())], WsError::BadCloseCode(code));
    }
    // Nothing after it counts, valid or not.
    taken(&[frame(FIN | CLOSE, b""), frame(FIN | TEXT, b"late"), vec![0xff; 40]], &[close(None, "")]);
    // In the middle of a message it ends the message, too.
    taken(&[frame(TEXT, b"a"), frame(FIN | CLOSE, b""), frame(FIN | CONT, b"b")], &[close(None, "")]);
}

#[test]
fn compressed_messages() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(server(true, &[frame(FIN | RSV1 | TEXT, hello)]), (vec![text("Hello")], Ok(())));
    // Plain frames stay allowed, fragments carry RSV1 on the first only, control frames come in between.
    let frames = [
        frame(FIN | TEXT, b"plain"),
        frame(RSV1 | TEXT, &hello[..3]),
        frame(FIN | PING, b""),
        frame(CONT, b""),
        frame(FIN | CONT, &hello[3..]),
        frame(FIN | RSV1 | BINARY, hello),
    ];
    let expected = vec![text("plain"), Owned::Ping(vec![]), text("Hello"), binary(b"Hello")];
    assert_eq!(server(true, &frames), (expected, Ok(())));
    let bad_utf8 = b"\xfa\x0f\x00";
    assert_eq!(server(true, &[frame(FIN | RSV1 | TEXT, bad_utf8)]).1, Err(WsError::InvalidUtf8));
    let cut = [frame(FIN | RSV1 | TEXT, &hello[..5])];
    assert_eq!(server(true, &cut).1, Err(WsError::BadDeflate));
}

#[test]
fn inflated_size_is_limited_on_both_sides() {
    let mut deflater = Deflater::new(9, WindowBits::MAX, 0);
    let mut compressed = |len: usize| {
        let mut out = Vec::new();
        write_masked_frame_deflated(&mut out, Opcode::Binary, &vec![5; len], key(), &mut deflater);
        out
    };
    assert_eq!(server(true, &[compressed(LIMIT)]), (vec![binary(&[5; LIMIT])], Ok(())));
    let too_big = Err(WsError::TooBig { limit: LIMIT });
    assert_eq!(server(true, &[compressed(LIMIT + 1)]).1, too_big);
    assert_eq!(server(true, &[compressed(1 << 20)]).1, too_big);
}

#[test]
fn an_incompressible_message_of_the_limit_passes_in_stored_blocks() {
    let noise: Vec<u8> = (0..LIMIT as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let len = LIMIT as u16;
    let mut payload = vec![0];
    payload.extend(len.to_le_bytes());
    payload.extend((!len).to_le_bytes());
    payload.extend(&noise);
    payload.push(0);
    assert_eq!(server(true, &[frame(FIN | RSV1 | BINARY, &payload)]), (vec![binary(&noise)], Ok(())));
    // The allowance is for the wire only.
    let announced = LIMIT as u64 + LIMIT as u64 / 64 + 65;
    let outcome = server(true, &[announce(FIN | RSV1 | BINARY, announced)]);
    assert_eq!(outcome.1, Err(WsError::TooBig { limit: LIMIT }));
}

#[test]
fn events_do_not_borrow_the_decoder() {
    let mut decoder = Decoder::new(&config(Role::Server, LIMIT, false));
    let mut scratch = Scratch::new();
    let mut wire = Vec::new();
    write_masked_frame(&mut wire, Opcode::Text, b"hi", key());
    let mut input = &mut wire[..];
    let event = decoder.next(&mut input, &mut scratch).unwrap();
    assert!(decoder.is_idle());
    assert_eq!(event, Some(Event::Text("hi")));
}

#[test]
fn every_error_can_be_said_in_a_close_frame() {
    let table = [
        (WsError::ReservedBits, 1002),
        (WsError::UnknownOpcode(3), 1002),
        (WsError::Unmasked, 1002),
        (WsError::Masked, 1002),
        (WsError::FragmentedControl, 1002),
        (WsError::LongControl, 1002),
        (WsError::NonMinimalLength, 1002),
        (WsError::LengthOverflow, 1002),
        (WsError::StrayContinuation, 1002),
        (WsError::InterleavedMessage, 1002),
        (WsError::ShortClose, 1002),
        (WsError::BadCloseCode(1005), 1002),
        (WsError::InvalidUtf8, 1007),
        (WsError::BadDeflate, 1007),
        (WsError::TooBig { limit: usize::MAX }, 1009),
        (WsError::TooManyEmptyFragments, 1008),
    ];
    for (error, code) in table {
        let mut out = Vec::new();
        close_frame(&mut out, error.close_code(), &error.to_string());
        let client = config(Role::Client, 0, false);
        let expected = Owned::Close(CloseCode::new(code), error.to_string());
        assert_eq!(decode(&client, &out, &[]), (vec![expected], Ok(())));
    }
}
