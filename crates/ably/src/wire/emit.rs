//! What encoding asks of a format. As with reading, everything above it is written once.

use fanfare_model::{Data, RawValue};

/// Appends values to a buffer. The two implementors have no state: what a container needs to be closed is in
/// its mark.
pub(super) trait Emit {
    /// An open map or array.
    type Mark;

    fn open_map(out: &mut Vec<u8>) -> Self::Mark;
    /// The mark of an open map that was copied to `at`, with `count` entries so far.
    fn copied_map(at: usize, count: u32) -> Self::Mark;
    /// A key of ours, which needs no escaping.
    fn field(out: &mut Vec<u8>, map: &mut Self::Mark, key: &'static str);
    /// Any key.
    fn key(out: &mut Vec<u8>, map: &mut Self::Mark, key: &str);
    fn close_map(out: &mut Vec<u8>, map: Self::Mark);
    fn open_array(out: &mut Vec<u8>) -> Self::Mark;
    fn item(out: &mut Vec<u8>, array: &mut Self::Mark);
    fn close_array(out: &mut Vec<u8>, array: Self::Mark);

    fn null(out: &mut Vec<u8>);
    fn boolean(out: &mut Vec<u8>, b: bool);
    fn integer(out: &mut Vec<u8>, n: i64);
    fn unsigned(out: &mut Vec<u8>, n: u64);
    fn float(out: &mut Vec<u8>, f: f64);
    fn text(out: &mut Vec<u8>, text: &str);
    /// Text that needs no escaping, in parts: serials, ids, addresses that we make ourselves.
    fn plain(out: &mut Vec<u8>, parts: &[&[u8]]);
    /// Bytes; in JSON, base64 text.
    fn binary(out: &mut Vec<u8>, bytes: &[u8]);
    /// A value in the form in which it arrived, translated if it must be.
    fn raw(out: &mut Vec<u8>, value: &RawValue);
    /// The fields `data` and `encoding`. Text that carries bytes says so at the end of its encoding.
    fn payload(out: &mut Vec<u8>, map: &mut Self::Mark, data: &Data, encoding: Option<&str>);

    fn text_field(out: &mut Vec<u8>, map: &mut Self::Mark, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            Self::field(out, map, key);
            Self::text(out, value);
        }
    }

    fn integer_field(out: &mut Vec<u8>, map: &mut Self::Mark, key: &'static str, value: i64) {
        Self::field(out, map, key);
        Self::integer(out, value);
    }
}
