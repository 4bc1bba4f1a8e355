//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692), as a codec that does no I/O.
//!
//! Place: the gateway owns sockets and buffers and calls this crate; nothing below the gateway
//! knows that a WebSocket exists. A test or a client of our own uses the same code in the other role.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`handshake`] | the accept key, and which compression offer we take |
//! | [`Decoder`] | bytes received, in any pieces, to whole messages and control frames |
//! | [`encode`](begin_frame) | frames appended to a `Vec<u8>` that the caller sends to one or to thousands |
//! | [`Scratch`], [`Deflater`] | the zlib states and buffers; one of each for a core, lent to each call |
//!
//! Invariants:
//! - never a socket, a clock, a task or a source of randomness: mask keys and nonces are arguments;
//! - never `unsafe`, never a panic on bytes from the network;
//! - an idle [`Decoder`] never holds heap memory, and one in the middle of a message never holds more than
//!   the message limit (plus the allowance that [`Decoder::retained_bytes`] documents);
//! - a frame that announces more than the limit is refused before a byte of it is kept, and inflating
//!   never writes more than the limit;
//! - a connection never has a zlib state: no context is taken over, in either direction, so a compressed
//!   frame is the same bytes for every receiver of the same [`WindowBits`];
//! - a decoder that has failed or seen a close frame never yields anything more.
//!
//! What the caller must still do: answer pings, echo close frames, limit the *rate* of control frames
//! (that needs a clock), and never compress a frame that mixes a secret with what a client may choose.
//!
//! ```
//! use fanfare_ws::{Config, Decoder, Event, MaskKey, Opcode, Role, Scratch, write_masked_frame};
//!
//! let mut wire = Vec::new();
//! write_masked_frame(&mut wire, Opcode::Text, b"hello", MaskKey([1, 2, 3, 4]));
//!
//! let mut decoder = Decoder::new(&Config { max_message_bytes: 65_536, role: Role::Server, deflate: None });
//! let mut scratch = Scratch::new(); // one for each core
//! let mut input = &mut wire[..];
//! while let Some(event) = decoder.next(&mut input, &mut scratch)? {
//!     assert_eq!(event, Event::Text("hello"));
//! }
//! # Ok::<(), fanfare_ws::WsError>(())
//! ```

mod close;
mod decoder;
mod deflate;
mod encode;
mod error;
pub mod handshake;
mod header;
mod mask;
mod partial;

pub use close::CloseCode;
pub use decoder::{Config, Decoder, Event, Role};
pub use deflate::{Deflater, SCRATCH_KEEP_BYTES, Scratch, WindowBits};
pub use encode::{
    Coding, FrameMark, Opcode, begin_frame, close_frame, end_frame, end_frame_deflated, write_frame,
    write_masked_close, write_masked_frame, write_masked_frame_deflated,
};
pub use error::WsError;
pub use handshake::DeflateParams;
pub use header::MAX_CONTROL_BYTES;
pub use mask::MaskKey;
pub use partial::MAX_EMPTY_FRAGMENTS;
