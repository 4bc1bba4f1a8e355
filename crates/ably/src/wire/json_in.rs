//! A cursor over JSON text. It walks the structure; numbers and strings with escapes go to the parsers of
//! `std` and serde_json, which have had more eyes on them than ours.

use std::borrow::Cow;

use fanfare_model::RawValue;
use fanfare_model::error::{self, ErrorInfo};

use super::reader::{DEPTH_MAX, Entries, Reader, Token, too_deep};
use super::text::plain_run;

#[derive(Clone)]
pub(super) struct JsonReader<'a> {
    text: &'a str,
    at: usize,
}

fn malformed(why: &'static str) -> ErrorInfo {
    error::bad_request(format!("malformed JSON: {why}"))
}

impl<'a> JsonReader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// The next byte that is not white space, not yet taken.
    fn peek(&mut self) -> Result<u8, ErrorInfo> {
        loop {
            match self.byte(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(b) => return Ok(b),
                None => return Err(malformed("it ends early")),
            }
        }
    }

    fn expect(&mut self, wanted: u8, why: &'static str) -> Result<(), ErrorInfo> {
        if self.peek()? != wanted {
            return Err(malformed(why));
        }
        self.at += 1;
        Ok(())
    }

    fn literal(&mut self, word: &'static str) -> Result<(), ErrorInfo> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(malformed("an unknown word"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes over a string, at its opening quote. Says what is between the quotes, and whether it has escapes.
    /// Escapes are checked, so that every string that was passed over can be read.
    fn string(&mut self) -> Result<(&'a str, bool), ErrorInfo> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at += plain_run(&self.text.as_bytes()[at..]);
            match self.byte(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok((&self.text[start..at], escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    at += self.escape(at)?;
                }
                Some(_) => return Err(malformed("a control character in a string")),
                None => return Err(malformed("a string without an end")),
            }
        }
    }

    /// The length of the escape at `at`. Half a surrogate pair is refused: it is no character, and no other format
    /// could say it.
    fn escape(&self, at: usize) -> Result<usize, ErrorInfo> {
        match self.byte(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => return Ok(2),
            Some(b'u') => {}
            _ => return Err(malformed("an unknown escape")),
        }
        match self.hex(at + 2)? {
            0xD800..=0xDBFF => {
                let low = self.byte(at + 6) == Some(b'\\') && self.byte(at + 7) == Some(b'u');
                if low && matches!(self.hex(at + 8)?, 0xDC00..=0xDFFF) {
                    return Ok(12);
                }
                Err(malformed("half a surrogate pair"))
            }
            0xDC00..=0xDFFF => Err(malformed("half a surrogate pair")),
            _ => Ok(6),
        }
    }

    fn hex(&self, at: usize) -> Result<u32, ErrorInfo> {
        let digits = self.text.as_bytes().get(at..at + 4).ok_or_else(|| malformed("it ends early"))?;
        digits.iter().try_fold(0, |n, &d| {
            char::from(d).to_digit(16).map(|d| n * 16 + d).ok_or_else(|| malformed("an unknown escape"))
        })
    }

    fn text_here(&mut self) -> Result<Cow<'a, str>, ErrorInfo> {
        let start = self.at;
        let (inner, escaped) = self.string()?;
        if !escaped {
            return Ok(Cow::Borrowed(inner));
        }
        let text =
            serde_json::from_str(&self.text[start..self.at]).map_err(|_| malformed("an unknown escape"))?;
        Ok(Cow::Owned(text))
    }

    fn digits(&mut self) -> Result<(), ErrorInfo> {
        let start = self.at;
        while self.byte(self.at).is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if start == self.at { Err(malformed("a number without digits")) } else { Ok(()) }
    }

    /// A number, as JSON's grammar has it. Integers past 64 bits become floats; what even a float cannot hold
    /// (`1e999`) is refused, since it would come out as something else.
    fn number(&mut self) -> Result<Token<'a>, ErrorInfo> {
        let start = self.at;
        if self.byte(self.at) == Some(b'-') {
            self.at += 1;
        }
        if self.byte(self.at) == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        let mut whole = true;
        if self.byte(self.at) == Some(b'.') {
            whole = false;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(self.at), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            if matches!(self.byte(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let digits = &self.text[start..self.at];
        // `-0` is only a float: an integer has no such thing.
        if whole && digits != "-0" {
            if let Ok(n) = digits.parse() {
                return Ok(Token::Int(n));
            }
            if let Ok(n) = digits.parse() {
                return Ok(Token::Uint(n));
            }
        }
        match digits.parse::<f64>() {
            Ok(f) if f.is_finite() => Ok(Token::Float(f)),
            _ => Err(malformed("a number out of range")),
        }
    }

    /// Any scalar, passed over.
    fn skip_scalar(&mut self, first: u8) -> Result<(), ErrorInfo> {
        match first {
            b'"' => self.string().map(drop),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            _ => Err(malformed("a value was expected")),
        }
    }

    fn skip_key(&mut self) -> Result<(), ErrorInfo> {
        if self.peek()? != b'"' {
            return Err(malformed("a key was expected"));
        }
        self.string()?;
        self.expect(b':', "a colon was expected")
    }
}

impl<'a> Reader<'a> for JsonReader<'a> {
    fn token(&mut self) -> Result<Token<'a>, ErrorInfo> {
        let open = || Entries { left: 0, first: true };
        match self.peek()? {
            b'"' => Ok(Token::Text(self.text_here()?)),
            b'{' => {
                self.at += 1;
                Ok(Token::Map(open()))
            }
            b'[' => {
                self.at += 1;
                Ok(Token::Array(open()))
            }
            b't' => self.literal("true").map(|()| Token::Bool(true)),
            b'f' => self.literal("false").map(|()| Token::Bool(false)),
            b'n' => self.literal("null").map(|()| Token::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(malformed("a value was expected")),
        }
    }

    fn next_key(&mut self, map: &mut Entries) -> Result<Option<Cow<'a, str>>, ErrorInfo> {
        if self.peek()? == b'}' && map.first {
            self.at += 1;
            return Ok(None);
        }
        if !map.first {
            let separator = self.peek()?;
            self.at += 1;
            match separator {
                b'}' => return Ok(None),
                b',' => {}
                _ => return Err(malformed("a comma was expected")),
            }
        }
        map.first = false;
        if self.peek()? != b'"' {
            return Err(malformed("a key was expected"));
        }
        let key = self.text_here()?;
        self.expect(b':', "a colon was expected")?;
        Ok(Some(key))
    }

    fn next_item(&mut self, array: &mut Entries) -> Result<bool, ErrorInfo> {
        let next = self.peek()?;
        if array.first {
            array.first = false;
            if next == b']' {
                self.at += 1;
            }
            return Ok(next != b']');
        }
        self.at += 1;
        match next {
            b',' => Ok(true),
            b']' => Ok(false),
            _ => Err(malformed("a comma was expected")),
        }
    }

    fn skip(&mut self) -> Result<(), ErrorInfo> {
        // One bit for each open container, the innermost lowest: whether it is an object.
        let mut objects: u64 = 0;
        let mut depth = 0;
        loop {
            let first = self.peek()?;
            if matches!(first, b'{' | b'[') {
                if depth == DEPTH_MAX {
                    return Err(too_deep());
                }
                self.at += 1;
                let object = first == b'{';
                if self.peek()? != if object { b'}' } else { b']' } {
                    depth += 1;
                    objects = objects << 1 | u64::from(object);
                    if object {
                        self.skip_key()?;
                    }
                    continue;
                }
                self.at += 1;
            } else {
                self.skip_scalar(first)?;
            }
            // A value has ended; so may the containers around it.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let object = objects & 1 == 1;
                let next = self.peek()?;
                self.at += 1;
                match next {
                    b',' if object => {
                        self.skip_key()?;
                        break;
                    }
                    b',' => break,
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return Err(malformed("a comma was expected")),
                }
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    fn pass_over(&mut self) -> Result<(), ErrorInfo> {
        let first = self.peek()?;
        if !matches!(first, b'{' | b'[') {
            return self.skip_scalar(first);
        }
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn since(&self, start: &Self) -> RawValue {
        RawValue::Json(self.text[start.at..self.at].trim().into())
    }

    fn json_since(&self, start: &Self) -> String {
        self.text[start.at..self.at].trim().to_owned()
    }

    fn end(&mut self) -> Result<(), ErrorInfo> {
        if self.text[self.at..].trim_matches([' ', '\n', '\r', '\t']).is_empty() {
            Ok(())
        } else {
            Err(malformed("more than one value"))
        }
    }
}
