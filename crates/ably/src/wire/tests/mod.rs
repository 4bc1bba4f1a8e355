//! Tables first, then properties.

mod inbound;
mod outbound;
mod properties;

use super::*;

pub(super) const BOTH: [Format; 2] = [Format::Json, Format::Msgpack];

/// The same value in either format, from JSON.
pub(super) fn bytes(json: &str, format: Format) -> Vec<u8> {
    match format {
        Format::Json => json.as_bytes().to_vec(),
        Format::Msgpack => to_format(&serde_json::from_str(json).unwrap(), format),
    }
}

/// What was written, as a tree.
pub(super) fn tree(format: Format, out: &[u8]) -> serde_json::Value {
    if format == Format::Json {
        // Not by our own reader: the writer must please others.
        return serde_json::from_slice(out).unwrap();
    }
    from_format(out, format).unwrap()
}
