use super::*;
use crate::deflate::WindowBits;

const KEY: MaskKey = MaskKey([0x37, 0xfa, 0x21, 0x3d]);

#[test]
fn frames_of_the_rfc() {
    let mut out = Vec::new();
    write_frame(&mut out, Opcode::Text, b"Hello");
    assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    out.clear();
    write_masked_frame(&mut out, Opcode::Text, b"Hello", KEY);
    assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    out.clear();
    write_masked_frame(&mut out, Opcode::Pong, b"Hello", KEY);
    assert_eq!(out, [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
}

#[test]
fn headers_on_both_sides_of_each_length_form() {
    let table: [(usize, &[u8]); 7] = [
        (0, &[0x82, 0]),
        (125, &[0x82, 125]),
        (126, &[0x82, 126, 0, 126]),
        (256, &[0x82, 126, 1, 0]),
        (65_535, &[0x82, 126, 0xff, 0xff]),
        (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        (70_000, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]),
    ];
    for (len, header) in table {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let mut written = b"before".to_vec();
        write_frame(&mut written, Opcode::Binary, &payload);
        assert!(written == [b"before", header, &payload].concat(), "{len}");

        let mut patched = b"before".to_vec();
        let mark = begin_frame(&mut patched);
        patched.extend_from_slice(&payload);
        end_frame(&mut patched, mark, Opcode::Binary);
        assert!(patched == written, "{len}");
    }
}

#[test]
fn many_frames_stand_in_one_vector_without_gaps() {
    let lengths = [0usize, 3, 125, 126, 65_536, 7, 65_535, 0];
    let (mut patched, mut written) = (Vec::new(), Vec::new());
    for len in lengths {
        let payload = vec![len as u8; len];
        let mark = begin_frame(&mut patched);
        patched.extend_from_slice(&payload);
        end_frame(&mut patched, mark, Opcode::Text);
        write_frame(&mut written, Opcode::Text, &payload);
    }
    assert!(patched == written);
}

#[test]
fn compression_replaces_the_payload_only_if_it_helps() {
    let mut deflater = Deflater::new(6, WindowBits::MAX, 64);
    let table = [
        (Opcode::Text, vec![b'a'; 63], Coding::Plain),
        (Opcode::Text, vec![b'a'; 64], Coding::Deflated),
        (Opcode::Binary, vec![b'a'; 100_000], Coding::Deflated),
        (Opcode::Ping, vec![b'a'; 125], Coding::Plain),
        (Opcode::Binary, (0..=255).collect(), Coding::Plain),
    ];
    for (opcode, payload, expected) in table {
        let mut out = b"before".to_vec();
        let mark = begin_frame(&mut out);
        out.extend_from_slice(&payload);
        let coding = end_frame_deflated(&mut out, mark, opcode, &mut deflater);
        assert_eq!(coding, expected, "{opcode:?} of {}", payload.len());
        assert!(out.starts_with(b"before"));
        assert_eq!(out[6] & 0x40 != 0, coding == Coding::Deflated);
        let mut masked = Vec::new();
        let masked_coding = write_masked_frame_deflated(&mut masked, opcode, &payload, KEY, &mut deflater);
        assert_eq!(masked_coding, expected);
        assert_eq!(masked.len(), out.len() - 6 + 4, "the mask key is the only difference in length");
    }
}

#[test]
fn close_reasons_are_cut_between_characters() {
    let table = [
        (String::new(), 0),
        ("x".repeat(123), 123),
        ("x".repeat(124), 123),
        // 41 characters of three bytes fill 123; after one byte only 40 fit.
        ("€".repeat(60), 123),
        (format!("x{}", "€".repeat(60)), 121),
        (format!("{}🎺", "x".repeat(120)), 120),
        (format!("{}🎺", "x".repeat(119)), 123),
    ];
    for (reason, kept) in table {
        let mut out = Vec::new();
        close_frame(&mut out, CloseCode::GOING_AWAY, &reason);
        assert_eq!(out[..4], [0x88, kept as u8 + 2, 0x03, 0xe9], "{reason}");
        assert_eq!(&out[4..], &reason.as_bytes()[..kept]);
        let mut masked = Vec::new();
        write_masked_close(&mut masked, CloseCode::GOING_AWAY, &reason, KEY);
        KEY.apply(&mut masked[6..]);
        assert_eq!(masked[6..], out[2..]);
    }
}
