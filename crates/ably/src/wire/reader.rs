//! What decoding asks of a format: a cursor that hands out one token at a time. Everything above it is
//! written once, so that JSON and msgpack cannot come to mean different things.

use std::borrow::Cow;

use fanfare_model::RawValue;
use fanfare_model::error::{self, ErrorInfo};

/// Containers within containers, counted from the outermost of one raw value. Deeper is refused.
pub const DEPTH_MAX: usize = 64;

/// One scalar, or the opening of a container.
pub(super) enum Token<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// Only what does not fit `Int`.
    Uint(u64),
    Float(f64),
    Text(Cow<'a, str>),
    Binary(&'a [u8]),
    /// Msgpack's typed bytes; the type is of no use to anyone here.
    Ext(&'a [u8]),
    Array(Entries),
    Map(Entries),
}

/// How far a container has been read.
pub(super) struct Entries {
    /// Msgpack says the number in advance.
    pub(super) left: u64,
    /// JSON has a comma before every entry but the first.
    pub(super) first: bool,
}

pub(super) trait Reader<'a>: Clone {
    fn token(&mut self) -> Result<Token<'a>, ErrorInfo>;
    /// The next key of a map that `token` opened; `None` closes it.
    fn next_key(&mut self, map: &mut Entries) -> Result<Option<Cow<'a, str>>, ErrorInfo>;
    /// Whether the array that `token` opened has another item; `false` closes it.
    fn next_item(&mut self, array: &mut Entries) -> Result<bool, ErrorInfo>;
    /// Passes over one whole value and checks it: well formed, not too deep, and such that it can be said in
    /// the other format. Takes no memory and no recursion.
    fn skip(&mut self) -> Result<(), ErrorInfo>;
    /// Passes over one value without a look at what is in it, however deep: for what has been refused already.
    fn pass_over(&mut self) -> Result<(), ErrorInfo>;
    /// The bytes between `start`, an earlier state of this reader, and here.
    fn since(&self, start: &Self) -> RawValue;
    /// Those bytes as JSON text.
    fn json_since(&self, start: &Self) -> String;
    /// Refuses what follows the value.
    fn end(&mut self) -> Result<(), ErrorInfo>;

    /// One value, checked, as it is.
    fn raw(&mut self) -> Result<RawValue, ErrorInfo> {
        let start = self.clone();
        self.skip()?;
        Ok(self.since(&start))
    }

    /// A string; null is `None`.
    fn text(&mut self, field: &'static str) -> Result<Option<Cow<'a, str>>, ErrorInfo> {
        match self.token()? {
            Token::Null => Ok(None),
            Token::Text(t) => Ok(Some(t)),
            _ => Err(wrong_type(field, "a string")),
        }
    }

    /// An integer; null is `None`. SDKs send integers as floats (JavaScript's msgpack) and, in what went through
    /// a query string, as text.
    fn integer(&mut self, field: &'static str) -> Result<Option<i64>, ErrorInfo> {
        // The widest range of integers that floats hold exactly, and then some; `as` below saturates.
        const LIMIT: f64 = 9.3e18;
        let number = match self.token()? {
            Token::Null => return Ok(None),
            Token::Int(n) => Some(n),
            Token::Float(f) if f.fract() == 0.0 && f.abs() < LIMIT => Some(f as i64),
            Token::Text(t) => t.trim().parse().ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| wrong_type(field, "an integer"))
    }

    /// Opens a map; null is `None`.
    fn map(&mut self, field: &'static str) -> Result<Option<Entries>, ErrorInfo> {
        match self.token()? {
            Token::Null => Ok(None),
            Token::Map(m) => Ok(Some(m)),
            _ => Err(wrong_type(field, "an object")),
        }
    }
}

pub(super) fn wrong_type(field: &'static str, wanted: &'static str) -> ErrorInfo {
    error::bad_request(format!("{field} must be {wanted}"))
}

pub(super) fn too_deep() -> ErrorInfo {
    error::bad_request("more than 64 levels of nesting")
}

/// `std` is faster on what is short, and the checked chunks of simdutf8 on what is long.
pub(super) fn utf8(bytes: &[u8]) -> Option<&str> {
    const SHORT: usize = 64;
    if bytes.len() < SHORT { std::str::from_utf8(bytes).ok() } else { simdutf8::basic::from_utf8(bytes).ok() }
}
