//! Paths and queries, decoded strictly: what is not UTF-8 or a broken escape is refused, never guessed at.

use crate::wire::Shape;
use fanfare_model::error::{self, ErrorInfo};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but what no parser of links or URLs takes for its own.
const LITERAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, LITERAL).to_string()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Literal,
    Space,
}

fn decode(text: &str, plus: Plus) -> Result<String, ErrorInfo> {
    let refused = || error::bad_request("the URL has a broken escape");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(refused);
                (digit()? * 16 + digit()?) as u8
            }
            b'+' if plus == Plus::Space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| error::bad_request("the URL is not UTF-8"))
}

/// The parts between slashes. An escaped slash is part of a part; one slash at the end is nothing.
pub(super) fn segments(path: &str) -> Result<Vec<String>, ErrorInfo> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').map(|segment| decode(segment, Plus::Literal)).collect()
}

/// Decoded parameters, in order. Of two with one name the first counts.
#[derive(Debug, Default)]
pub(super) struct Query(pub(super) Vec<(String, String)>);

impl Query {
    /// Also a form's body.
    pub(super) fn parse(text: &str) -> Result<Self, ErrorInfo> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name, Plus::Space)?, decode(value, Plus::Space)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The same, but an empty value is as none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ErrorInfo> {
        match self.text(name) {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(error::invalid_parameter(format!("{name} is true or false"))),
        }
    }

    /// How the answer is to be cut and folded.
    pub(super) fn shape(&self) -> Result<Shape, ErrorInfo> {
        let flatten = self.flag("flatten")?.unwrap_or(false);
        Shape::new(self.text("fields"), self.text("select"), flatten)
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, ErrorInfo> {
        let refused = |_| error::invalid_parameter(format!("{name} is an integer"));
        self.text(name).map(|text| text.trim().parse().map_err(refused)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let rows: &[(&str, &[&str])] = &[
            ("/time", &["time"]),
            ("/time/", &["time"]),
            ("/", &[""]),
            ("/channels/a%2Fb%3Ac/messages", &["channels", "a/b:c", "messages"]),
            ("/channels/%C3%BC+%20x", &["channels", "ü+ x"]),
            ("/channels//messages", &["channels", "", "messages"]),
        ];
        for (path, wanted) in rows {
            assert_eq!(segments(path).unwrap(), *wanted, "{path}");
        }
        for bad in ["/%", "/%2", "/%zz", "/%ff", "/a/%C3"] {
            assert_eq!(segments(bad).unwrap_err().code, 40000, "{bad}");
        }
    }

    #[test]
    fn queries() {
        let query = Query::parse("a=1&b=x+y%2Cz&&c&a=2&d=abc").unwrap();
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.get("b"), Some("x y,z"));
        assert_eq!((query.get("c"), query.text("c")), (Some(""), None));
        assert_eq!(query.integer("a").unwrap(), Some(1));
        assert_eq!(query.integer("d").unwrap_err().code, 40003);
        assert_eq!(query.flag("a").unwrap(), Some(true));
        assert_eq!(query.flag("d").unwrap_err().code, 40003);
        assert!(Query::parse("a=%ff").is_err());
        assert_eq!(encode("a,b c/ü>;\"~"), "a%2Cb%20c%2F%C3%BC%3E%3B%22~");
    }
}
