//! The fuzz target's body on stable: seeded mutation of a corpus that is built here. No coverage guides it; it is
//! the floor under `cargo fuzz`, not its replacement. `FUZZ_SECONDS` and `FUZZ_SEED` make it longer or other.

mod support;
#[allow(unreachable_pub)] // Public in the fuzz crate.
#[path = "../../../fuzz/src/ws_decoder.rs"]
mod ws_decoder;

use std::time::{Duration, Instant};

use fanfare_ws::{CloseCode, Deflater, MaskKey, Opcode, WindowBits, close_frame, write_frame};
use support::{BINARY, CLOSE, CONT, FIN, PING, RSV1, TEXT, frame};

const DEFAULT_SECONDS: u64 = 2;
const DEFAULT_SEED: u64 = 0x5eed_fa9f_a4e0_0001;
const MOST_STREAM_BYTES: usize = 8_192;

/// xorshift64*: small, seeded, good enough to choose mutations.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }
}

/// Valid streams of every feature, for servers (masked) and clients, with the prefix that fits them.
fn corpus() -> Vec<Vec<u8>> {
    let mut deflater = Deflater::new(6, WindowBits::MAX, 0);
    let mut deflated = Vec::new();
    let json = r#"{"action":15,"channel":"a","messages":[{"data":"hello hello hello"}]}"#;
    fanfare_ws::write_masked_frame_deflated(
        &mut deflated,
        Opcode::Text,
        json.as_bytes(),
        MaskKey(support::KEY),
        &mut deflater,
    );
    let mut clear = Vec::new();
    write_frame(&mut clear, Opcode::Text, json.as_bytes());
    write_frame(&mut clear, Opcode::Binary, &[0x9f; 300]);
    close_frame(&mut clear, CloseCode::GOING_AWAY, "drain");
    let server = [
        frame(FIN | TEXT, "κόσμε and more".as_bytes()),
        frame(FIN | BINARY, &[7; 126]),
        frame(FIN | BINARY, &[7; 5_000]),
        [frame(TEXT, b"\xce"), frame(FIN | PING, b"p"), frame(CONT, b"\xba"), frame(FIN | CONT, b"")]
            .concat(),
        [frame(RSV1 | TEXT, b"\xf2\x48\xcd"), frame(FIN | CONT, b"\xc9\xc9\x07\x00")].concat(),
        frame(FIN | RSV1 | BINARY, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
        deflated,
        [frame(FIN | TEXT, b"x"), frame(FIN | CLOSE, b"\x03\xe8bye")].concat(),
    ];
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for stream in server {
        seeds.push([&[0, 40, 3, 9], &stream[..]].concat());
        seeds.push([&[2, 40, 0, 0], &stream[..]].concat());
        seeds.push([&[6, 200, 60, 1], &stream.repeat(3)[..]].concat());
    }
    seeds.push([&[1, 40, 3, 9], &clear[..]].concat());
    seeds.push([&[3, 40, 200, 9], &clear[..]].concat());
    seeds
}

fn mutate(data: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    for _ in 0..=dice.below(4) {
        let at = dice.below(data.len());
        match dice.below(8) {
            0 if !data.is_empty() => data[at] ^= 1 << dice.below(8),
            1 if !data.is_empty() => data[at] = dice.roll() as u8,
            2 if !data.is_empty() => data[at] = [0, 125, 126, 127, 0x80, 0xfe, 0xff][dice.below(7)],
            3 => data.truncate(at),
            4 if !data.is_empty() => drop(data.drain(at..(at + 1 + dice.below(8)).min(data.len()))),
            5 => data.insert(at, dice.roll() as u8),
            6 => {
                let from = dice.below(other.len());
                data.extend_from_slice(&other[from..]);
            }
            _ => {
                let end = (at + dice.below(64)).min(data.len());
                let copy = data[at.min(end)..end].to_vec();
                data.extend(copy);
            }
        }
    }
    data.truncate(MOST_STREAM_BYTES);
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn fuzz_smoke() {
    let mut corpus = corpus();
    for seed in &corpus {
        ws_decoder::ws_decoder(seed);
    }
    let mut dice = Dice(setting("FUZZ_SEED", DEFAULT_SEED));
    let until = Instant::now() + Duration::from_secs(setting("FUZZ_SECONDS", DEFAULT_SECONDS));
    let mut runs = 0u64;
    while Instant::now() < until {
        let mut data = corpus[dice.below(corpus.len())].clone();
        let other = dice.below(corpus.len());
        mutate(&mut data, &corpus[other][ws_decoder::PREFIX_BYTES.min(corpus[other].len())..], &mut dice);
        let shown = data.clone();
        if let Err(panic) = std::panic::catch_unwind(|| ws_decoder::ws_decoder(&data)) {
            eprintln!("run {runs} failed on {shown:02x?}");
            std::panic::resume_unwind(panic);
        }
        // Some mutants become seeds, so that mutations add up.
        if dice.below(64) == 0 && corpus.len() < 4_096 {
            corpus.push(data);
        }
        runs += 1;
    }
    eprintln!("{runs} runs");
    assert!(runs > 0);
}
