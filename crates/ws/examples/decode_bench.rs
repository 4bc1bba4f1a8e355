//! Frames a second on one core, from and to memory: the codec alone, no sockets.
//!
//! `cargo run --release -p fanfare-ws --example decode_bench`

use std::hint::black_box;
use std::time::{Duration, Instant};

use fanfare_ws::{
    Config, Decoder, DeflateParams, Deflater, Event, MaskKey, Opcode, Role, Scratch, WindowBits, begin_frame,
    end_frame, end_frame_deflated, write_masked_frame, write_masked_frame_deflated,
};

const BUFFER_BYTES: usize = 64 * 1024;
const RUN_FOR: Duration = Duration::from_secs(1);

fn main() {
    for len in [20, 200, 2_000] {
        decode("decode, plain text", len, None);
    }
    decode("decode, deflated text", 200, Some(DeflateParams::DEFAULT));
    decode("decode, deflated text", 2_000, Some(DeflateParams::DEFAULT));
    for len in [20, 200, 2_000] {
        encode(len);
    }
    for level in [1, 6] {
        for window in [9, 15] {
            deflate(2_000, level, window);
        }
    }
}

fn report(what: &str, len: usize, frames: u64, elapsed: Duration) {
    let rate = frames as f64 / elapsed.as_secs_f64();
    eprintln!(
        "{what}, {len} bytes: {:.2} M frames/s, {:.0} ns, {:.2} GB/s",
        rate / 1e6,
        1e9 / rate,
        rate * len as f64 / 1e9
    );
}

/// Like text of a chat: compressible, and different from place to place.
fn payload(len: usize) -> Vec<u8> {
    let words =
        ["{\"name\":\"message\",", "\"data\":\"hello there\",", "\"id\":\"", "aQx9:", "42\"},", "news "];
    let mut state = 7usize;
    let mut out = Vec::new();
    while out.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend_from_slice(words[(state >> 33) % words.len()].as_bytes());
    }
    out.truncate(len);
    out
}

/// The stream is cut into reads of 64 KiB, so each read but the last ends in the middle of a frame. Copying the
/// bytes into the buffer again stands for the socket's read, and is counted.
fn decode(what: &str, len: usize, deflate: Option<DeflateParams>) {
    let mut wire = Vec::new();
    let mut deflater = Deflater::new(6, WindowBits::MAX, 0);
    let payload = payload(len);
    let mut frames_in_wire = 0u64;
    while wire.len() < 16 * BUFFER_BYTES {
        let key = MaskKey((frames_in_wire as u32).wrapping_mul(2_654_435_761).to_le_bytes());
        match deflate {
            None => write_masked_frame(&mut wire, Opcode::Text, &payload, key),
            Some(_) => {
                write_masked_frame_deflated(&mut wire, Opcode::Text, &payload, key, &mut deflater);
            }
        }
        frames_in_wire += 1;
    }
    let mut decoder = Decoder::new(&Config { max_message_bytes: 65_536, role: Role::Server, deflate });
    let mut scratch = Scratch::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let start = Instant::now();
    let (mut frames, mut bytes) = (0u64, 0usize);
    while start.elapsed() < RUN_FOR {
        for read in wire.chunks(BUFFER_BYTES) {
            let mut input = &mut buffer[..read.len()];
            input.copy_from_slice(read);
            while let Some(event) = decoder.next(&mut input, &mut scratch).expect("a valid stream") {
                let Event::Text(text) = event else { unreachable!("only text was written") };
                bytes += black_box(text).len();
                frames += 1;
            }
        }
    }
    assert_eq!(bytes as u64, frames * len as u64);
    report(what, len, frames, start.elapsed());
}

fn encode(len: usize) {
    let payload = payload(len);
    let mut out = Vec::with_capacity(2 * BUFFER_BYTES);
    let start = Instant::now();
    let mut frames = 0u64;
    while start.elapsed() < RUN_FOR {
        out.clear();
        while out.len() < BUFFER_BYTES {
            let mark = begin_frame(&mut out);
            out.extend_from_slice(&payload);
            end_frame(&mut out, mark, Opcode::Text);
            frames += 1;
        }
        black_box(&out);
    }
    report("encode, plain", len, frames, start.elapsed());
}

fn deflate(len: usize, level: u32, window: u8) {
    let payload = payload(len);
    let window = WindowBits::new(window).expect("a window that zlib can write");
    let mut deflater = Deflater::new(level, window, 0);
    let mut out = Vec::new();
    let start = Instant::now();
    let mut frames = 0u64;
    while start.elapsed() < RUN_FOR {
        out.clear();
        let mark = begin_frame(&mut out);
        out.extend_from_slice(&payload);
        end_frame_deflated(&mut out, mark, Opcode::Text, &mut deflater);
        black_box(&out);
        frames += 1;
    }
    let what = format!("deflate at level {level}, window {}, to {}", window.get(), out.len());
    report(&what, len, frames, start.elapsed());
}
