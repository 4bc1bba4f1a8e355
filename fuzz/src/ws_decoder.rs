//! The WebSocket decoder on arbitrary bytes.

use fanfare_ws::{Config, Decoder, DeflateParams, Event, Role, Scratch, WsError};

/// The bytes that choose a configuration, before the bytes of the stream.
pub const PREFIX_BYTES: usize = 4;

/// Reads a configuration from the first four bytes (flags, limit, two piece lengths) and decodes the rest as one
/// read and in pieces.
///
/// # Panics
/// When the two disagree, or the decoder keeps more than it promises.
pub fn ws_decoder(data: &[u8]) {
    let Some((&[flags, limit, first, second], stream)) = data.split_first_chunk::<PREFIX_BYTES>() else {
        return;
    };
    let config = Config {
        max_message_bytes: usize::from(limit) * if flags & 4 != 0 { 1 } else { 512 },
        role: if flags & 1 != 0 { Role::Client } else { Role::Server },
        deflate: (flags & 2 != 0).then_some(DeflateParams::DEFAULT),
    };
    let whole = run(&config, stream, &[usize::MAX]);
    let pieced = run(&config, stream, &[usize::from(first) + 1, usize::from(second) + 1]);
    assert_eq!(whole, pieced, "the outcome depends on how the stream was cut");
}

/// Events as text (sizes and contents both count), and the error that ended the stream.
fn run(config: &Config, stream: &[u8], pieces: &[usize]) -> (Vec<String>, Option<WsError>) {
    let mut decoder = Decoder::new(config);
    let mut scratch = Scratch::new();
    let mut events = Vec::new();
    let mut rest = stream;
    for &size in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        loop {
            match decoder.next(&mut input, &mut scratch) {
                Ok(Some(event)) => {
                    check_size(config, &event);
                    events.push(format!("{event:?}"));
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.retained_bytes(), 0, "a failed decoder keeps memory");
                    return (events, Some(error));
                }
            }
        }
        assert!(input.is_empty(), "input is left over");
        assert!(decoder.retained_bytes() <= decoder.max_retained_bytes(), "the decoder keeps too much");
    }
    (events, None)
}

fn check_size(config: &Config, event: &Event<'_>) {
    let (size, most) = match event {
        Event::Text(text) => (text.len(), config.max_message_bytes),
        Event::Binary(bytes) => (bytes.len(), config.max_message_bytes),
        Event::Ping(bytes) | Event::Pong(bytes) => (bytes.len(), fanfare_ws::MAX_CONTROL_BYTES),
        Event::Close { reason, .. } => (reason.len(), fanfare_ws::MAX_CONTROL_BYTES - 2),
    };
    assert!(size <= most, "an event of {size} bytes passed a limit of {most}");
}
