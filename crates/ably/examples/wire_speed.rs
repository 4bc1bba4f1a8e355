//! Nanoseconds for a message of 128 bytes through the codec: `cargo run --release -p fanfare-ably --example wire_speed`.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use fanfare_ably::wire::{Format, RecordEncoder, decode, to_format};
use fanfare_model::{Body, ConnectionId, Data, Epoch, Message, RawValue, Record, Stamp, Timestamp};

/// The best of several rounds: what the code costs when the machine has nothing else to do.
fn measure(what: &str, bytes: usize, mut f: impl FnMut()) {
    const RUNS: u32 = 100_000;
    const ROUNDS: u32 = 12;
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        (0..RUNS).for_each(|_| f());
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(RUNS));
    }
    println!("{what:<44} {best:>8.0} ns {bytes:>7} bytes {:>9.0}/s", 1e9 / best);
}

fn record(message: Message) -> Record {
    Record {
        stamp: Stamp(1_726_585_978_590_001),
        timestamp: Timestamp(1_726_585_978_590),
        id: "aBcDeFgHiJ:12345".into(),
        connection_id: Some(ConnectionId::new("aBcDeFgHiJ")),
        body: Body::Messages(vec![message]),
        ephemeral: false,
    }
}

fn main() {
    let plain = "x".repeat(128);
    let quoted = r#"{"k":"value"}"#.repeat(10);
    let long = "x".repeat(64 * 1024);
    for (kind, data, encoding) in [
        ("128 bytes of text", &plain, None),
        ("128 of JSON text", &quoted, Some("json")),
        ("64 KiB", &long, None),
    ] {
        let mut message = serde_json::json!({"name": "event", "data": data});
        if let Some(encoding) = encoding {
            message["encoding"] = encoding.into();
        }
        let frame = serde_json::json!({"action": 15, "channel": "a:channel", "msgSerial": 12345, "messages": [message]});
        for format in [Format::Json, Format::Msgpack] {
            let frame = to_format(&frame, format);
            measure(&format!("decode {kind} {format:?}"), frame.len(), || {
                black_box(decode(format, black_box(&frame)).expect("a good frame"));
            });
            let message =
                decode(format, &frame).expect("a good frame").messages.expect("good").messages.remove(0);
            let encoder = RecordEncoder::new(format, "a:channel", Epoch::parse("abcdefghij").expect("good"));
            let record = record(message);
            let mut out = Vec::new();
            encoder.encode(&record, &mut out);
            measure(&format!("encode {kind} {format:?}"), out.len(), || {
                out.clear();
                encoder.encode(black_box(&record), black_box(&mut out));
            });
        }
    }
    let binary = record(Message { data: Data::Binary(Bytes::from(vec![7; 128])), ..Message::default() });
    let extras = RawValue::Json(r#"{"headers":{"a":"b","n":5,"list":[1,2.5,null]}}"#.into());
    let extras =
        record(Message { data: Data::Text(plain.into()), extras: Some(extras), ..Message::default() });
    for (kind, record) in [("128 binary", binary), ("128 text, JSON extras", extras)] {
        for format in [Format::Json, Format::Msgpack] {
            let encoder = RecordEncoder::new(format, "a:channel", Epoch::parse("abcdefghij").expect("good"));
            let mut out = Vec::new();
            encoder.encode(&record, &mut out);
            measure(&format!("encode {kind} {format:?}"), out.len(), || {
                out.clear();
                encoder.encode(black_box(&record), black_box(&mut out));
            });
        }
    }
}
