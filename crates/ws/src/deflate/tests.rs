use super::*;

const LIMIT: usize = 1 << 20;

/// Text that compresses, with repetitions at every distance up to 32 KiB.
fn text(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491u32;
    let mut out = Vec::with_capacity(len + 16);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let back = state as usize % 32_768;
        if state & 3 != 0 && out.len() > back + 12 {
            let from = out.len() - back - 12;
            out.extend_from_within(from..from + 12);
        } else {
            out.push(b'a' + (state >> 8) as u8 % 26);
        }
    }
    out.truncate(len);
    out
}

#[test]
fn every_level_and_window_round_trips_and_keeps_to_its_window() {
    for bits in 9..=15 {
        for level in 1..=9 {
            let mut deflater = Deflater::new(level, WindowBits::new(bits).unwrap(), 0);
            for len in [100, 600, 5_000, 70_000] {
                let plain = text(len);
                let Some(deflated) = deflater.deflate(&plain) else { continue };
                // A peer that has only the negotiated window must be able to read it.
                let mut strict = Decompress::new_with_window_bits(false, bits);
                let mut out = Vec::with_capacity(len + 1);
                let whole = [deflated, &FLUSH_TAIL[..]].concat();
                // In small pieces, so that the inflater must use its window and not the output.
                for piece in whole.chunks(7) {
                    strict.decompress_vec(piece, &mut out, FlushDecompress::Sync).unwrap();
                }
                assert!(out == plain, "level {level}, window {bits}, length {len}");
                assert!(Scratch::new().inflate(deflated, LIMIT).unwrap() == plain);
            }
        }
    }
}

/// zlib-rs panicked here, or wrote garbage, when a compression had been abandoned for want of room (level 1).
#[test]
fn payloads_that_do_not_shrink_leave_the_deflater_sound() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut noise = |len: usize, alphabet: u64| -> Vec<u8> {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 32) % alphabet) as u8
        };
        (0..len).map(|_| next()).collect()
    };
    let mut scratch = Scratch::new();
    for bits in [9, 12, 15] {
        for level in [1, 2, 6] {
            let mut deflater = Deflater::new(level, WindowBits::new(bits).unwrap(), 0);
            for round in 0..60usize {
                let len = [1, 293, 13_241, 40, 59_745, 5_000][round % 6];
                let plain = noise(len, [256, 250, 2, 105, 200][round % 5]);
                if let Some(deflated) = deflater.deflate(&plain) {
                    assert!(scratch.inflate(deflated, LIMIT) == Ok(&plain), "{bits} {level} {round}");
                }
                let complete = deflater.compress.total_in() == len as u64;
                assert!(complete, "abandoned: window {bits}, level {level}, length {len}");
            }
        }
    }
}

#[test]
fn what_does_not_shrink_stays_plain() {
    let mut deflater = Deflater::new(6, WindowBits::MAX, 100);
    assert!(deflater.deflate(&[b'a'; 99]).is_none(), "below the threshold");
    assert!(deflater.deflate(&[b'a'; 100]).is_some(), "at the threshold");
    let mut eager = Deflater::new(6, WindowBits::MAX, 0);
    assert!(eager.deflate(b"").is_none());
    assert!(eager.deflate(b"abc").is_none());
    let every_byte_once: Vec<u8> = (0..=255).collect();
    assert!(eager.deflate(&every_byte_once).is_none());
}

#[test]
fn frames_are_independent_of_what_was_compressed_before() {
    let mut used = Deflater::new(6, WindowBits::MAX, 0);
    let first = text(4_000);
    used.deflate(&first);
    let again = used.deflate(&first).unwrap().to_vec();
    assert_eq!(again, Deflater::new(6, WindowBits::MAX, 0).deflate(&first).unwrap());
}

#[test]
fn payloads_of_the_rfc() {
    let table: [(&str, &[u8], &str); 8] = [
        ("one block", &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], "Hello"),
        ("stored block", &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], "Hello"),
        ("BFINAL", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], "Hello"),
        ("BFINAL without padding", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], "Hello"),
        (
            "two blocks",
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
            "Hello",
        ),
        ("empty, as the RFC has it", &[0x00], ""),
        ("empty, as some senders have it", &[], ""),
        ("empty last block", &[0x03, 0x00], ""),
    ];
    let mut scratch = Scratch::new();
    for (name, payload, expected) in table {
        assert_eq!(scratch.inflate(payload, LIMIT), Ok(expected.as_bytes()), "{name}");
    }
}

#[test]
fn corrupt_and_truncated_payloads_are_refused() {
    let mut scratch = Scratch::new();
    let whole = Deflater::new(6, WindowBits::MAX, 0).deflate(&text(2_000)).unwrap().to_vec();
    for len in 1..whole.len() {
        assert_eq!(scratch.inflate(&whole[..len], LIMIT), Err(WsError::BadDeflate), "cut at {len}");
    }
    // A last block without its end: the zeros of the tail would complete it.
    let unended_last_block = &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07][..];
    for payload in [unended_last_block, &[0x06], &[0xff; 20], &[0x00, 0x05, 0x00, 0x00, 0x00]] {
        assert_eq!(scratch.inflate(payload, LIMIT), Err(WsError::BadDeflate), "{payload:02x?}");
    }
}

#[test]
fn a_message_cannot_refer_to_another_connections_message() {
    // The second message of a sender that takes its context over refers to the first.
    let secret = text(5_000);
    let mut sender = Compress::new(Compression::new(6), false);
    let mut messages = [Vec::with_capacity(10_000), Vec::with_capacity(10_000)];
    for message in &mut messages {
        sender.compress_vec(&secret, message, FlushCompress::Sync).unwrap();
    }
    let [first, second] = messages.map(|message| message[..message.len() - 4].to_vec());
    let mut with_context = Decompress::new(false);
    let mut out = Vec::with_capacity(20_000);
    for piece in [&first[..], &FLUSH_TAIL, &second, &FLUSH_TAIL] {
        with_context.decompress_vec(piece, &mut out, FlushDecompress::Sync).unwrap();
    }
    assert!(out == [&secret[..], &secret].concat(), "the attack works where the window is kept");

    let mut scratch = Scratch::new();
    assert!(scratch.inflate(&first, LIMIT).unwrap() == secret);
    assert_eq!(scratch.inflate(&second, LIMIT), Err(WsError::BadDeflate));
}

#[test]
fn the_limit_counts_inflated_bytes_on_both_sides() {
    let mut scratch = Scratch::new();
    let mut deflater = Deflater::new(9, WindowBits::MAX, 0);
    for (len, limit) in [(1_000usize, 1_000usize), (100_000, 100_000), (1 << 20, 1 << 20)] {
        let deflated = deflater.deflate(&vec![0; len]).unwrap().to_vec();
        assert_eq!(scratch.inflate(&deflated, limit).map(<[u8]>::len), Ok(len));
        assert_eq!(scratch.inflate(&deflated, limit - 1), Err(WsError::TooBig { limit: limit - 1 }));
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_limit() {
    let mut scratch = Scratch::new();
    let bomb = Deflater::new(9, WindowBits::MAX, 0).deflate(&vec![0; 64 << 20]).unwrap().to_vec();
    assert!(bomb.len() < 70_000);
    assert_eq!(scratch.inflate(&bomb, 65_536), Err(WsError::TooBig { limit: 65_536 }));
    assert!(scratch.message.capacity() <= 65_536 + 1, "{}", scratch.message.capacity());
}

#[test]
fn a_payload_of_last_blocks_is_bounded() {
    let mut scratch = Scratch::new();
    let empty_last_block = [0x03, 0x00];
    assert!(scratch.inflate(&empty_last_block.repeat(MAX_FINAL_BLOCKS), LIMIT).is_ok());
    let too_many = empty_last_block.repeat(MAX_FINAL_BLOCKS + 2);
    assert_eq!(scratch.inflate(&too_many, LIMIT), Err(WsError::BadDeflate));
}

#[test]
fn a_large_message_does_not_stay_in_the_scratch() {
    let mut scratch = Scratch::new();
    let deflated = Deflater::new(6, WindowBits::MAX, 0).deflate(&vec![1; 1 << 20]).unwrap().to_vec();
    scratch.inflate(&deflated, LIMIT).unwrap();
    assert!(scratch.message.capacity() > SCRATCH_KEEP_BYTES);
    scratch.trim();
    assert_eq!(scratch.message.capacity(), 0);
}

#[test]
fn window_bits_are_what_zlib_can_write() {
    for bits in 0..=u8::MAX {
        assert_eq!(WindowBits::new(bits).map(WindowBits::get), (9..=15).contains(&bits).then_some(bits));
    }
}
