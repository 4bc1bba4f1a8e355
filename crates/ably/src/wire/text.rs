//! JSON strings, a run at a time, and numbers.

/// How many bytes from the start need nothing done to them in a JSON string: no quote, no backslash, no control
/// character. In chunks, which the compiler turns into vector compares; then byte by byte.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    const CHUNK: usize = 16;
    let special = |b: u8| (b < 0x20) | (b == b'"') | (b == b'\\');
    let mut at = 0;
    for chunk in bytes.chunks_exact(CHUNK) {
        if chunk.iter().fold(false, |any, &b| any | special(b)) {
            break;
        }
        at += CHUNK;
    }
    at + bytes[at..].iter().position(|&b| special(b)).unwrap_or(bytes.len() - at)
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends a JSON string, quotes included.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    loop {
        let run = plain_run(rest);
        out.extend_from_slice(&rest[..run]);
        let Some(&special) = rest.get(run) else { break };
        let short = match special {
            b'"' | b'\\' => special,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            _ => 0,
        };
        if short == 0 {
            let digits = [HEX[usize::from(special >> 4)], HEX[usize::from(special & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
        rest = &rest[run + 1..];
    }
    out.push(b'"');
}

/// Digits of one number, made without the formatting machinery: that costs more than the rest of a frame.
pub(super) struct Digits {
    bytes: [u8; 20],
    start: usize,
}

impl Digits {
    /// At least `width` digits, with zeros before.
    pub(super) fn new(mut n: u64, width: usize) -> Self {
        let mut bytes = [b'0'; 20];
        let mut start = bytes.len();
        while n > 0 {
            start -= 1;
            bytes[start] = b'0' + (n % 10) as u8;
            n /= 10;
        }
        start = start.min(bytes.len() - width.clamp(1, bytes.len()));
        Self { bytes, start }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

pub(super) fn push_integer(out: &mut Vec<u8>, n: i64) {
    if n < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(Digits::new(n.unsigned_abs(), 1).as_bytes());
}

/// The shortest digits that mean the same float. JSON has no word for what is not finite; like JavaScript, we
/// say null.
pub(super) fn push_float(out: &mut Vec<u8>, f: f64) {
    if serde_json::to_writer(&mut *out, &f).is_err() {
        out.extend_from_slice(b"null");
    }
}
