//! Answers, in the caller's format and wrapping.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use fanfare_model::error::{self, ErrorInfo};
use serde_json::{Value, json};

use super::uri::Query;
use crate::wire::{self, Format};

const CALLBACK_BYTES_MAX: usize = 128;
const EXPOSED: &str =
    "Link, Transfer-Encoding, Content-Length, X-Ably-Errorcode, X-Ably-Errormessage, X-Ably-Serverid";
const ALLOWED_METHODS: &str = "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS";
/// `*` would not cover `Authorization`.
const ALLOWED_HEADERS: &str = "Accept, Authorization, Content-Type, Ably-Agent, X-Ably-Version, X-Ably-Lib, \
    X-Ably-ClientId, X-Ably-Cipher, X-Ably-MessageId, X-Ably-MessageName, X-Ably-MessageEncoding, \
    X-Ably-ConnectionKey, X-Ably-DeviceToken, X-Ably-DeviceSecret, X-Requested-With";
/// How long a browser remembers a preflight's answer, in seconds.
const PREFLIGHT_AGE: &str = "3600";

pub(super) type Result = std::result::Result<Answer, ErrorInfo>;

/// One answer before it is wrapped: the body is in the caller's format already.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// Values of `Link` headers.
    pub(super) links: Vec<String>,
    /// Told in headers, too. The body says it in its own way.
    pub(super) error: Option<ErrorInfo>,
    /// Methods that the path has.
    pub(super) allow: Option<&'static str>,
}

impl Answer {
    pub(super) fn ok(body: Vec<u8>) -> Self {
        Self { status: 200, body, ..Self::default() }
    }

    pub(super) fn created(body: Vec<u8>) -> Self {
        Self { status: 201, body, ..Self::default() }
    }

    pub(super) fn no_content() -> Self {
        Self { status: 204, ..Self::default() }
    }

    pub(super) fn refused(format: Format, error: ErrorInfo) -> Self {
        let body = wire::error_body(format, &error);
        Self { status: error.status, body, error: Some(error), ..Self::default() }
    }
}

/// A whole answer for a request that nobody looked at: status, headers and body, in JSON.
pub fn refusal(error: &ErrorInfo) -> (u16, Vec<(&'static str, String)>, String) {
    let body = json!({ "error": error_value(error) }).to_string();
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-ably-errorcode", error.code.to_string()),
        ("x-ably-errormessage", error.message.to_string()),
        ("access-control-allow-origin", "*".to_owned()),
        ("access-control-expose-headers", EXPOSED.to_owned()),
    ];
    (error.status, headers, body)
}

/// What frames write as `error`, as a value.
pub(super) fn error_value(error: &ErrorInfo) -> Value {
    json!({
        "message": error.message,
        "code": error.code,
        "statusCode": error.status,
        "href": format!("https://help.ably.io/error/{}", error.code),
    })
}

/// A map of values that are written already.
pub(super) fn map_of(format: Format, entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.iter().map(|(k, v)| k.len() + v.len() + 8).sum());
    match format {
        Format::Json => out.push(b'{'),
        Format::Msgpack => array_or_map_len(&mut out, 0x80, 0xde, entries.len()),
    }
    for (i, (key, value)) in entries.iter().enumerate() {
        if format == Format::Json && i > 0 {
            out.push(b',');
        }
        out.extend(wire::to_format(&Value::from(*key), format));
        if format == Format::Json {
            out.push(b':');
        }
        out.extend_from_slice(value);
    }
    if format == Format::Json {
        out.push(b'}');
    }
    out
}

/// An array of values that are written already.
pub(super) fn array_of(format: Format, items: &[Vec<u8>]) -> Vec<u8> {
    match format {
        Format::Json => [&b"["[..], &items.join(&b','), b"]"].concat(),
        Format::Msgpack => {
            let mut out = Vec::new();
            array_or_map_len(&mut out, 0x90, 0xdc, items.len());
            out.extend(items.concat());
            out
        }
    }
}

/// Msgpack's three ways to say how many entries a container has.
fn array_or_map_len(out: &mut Vec<u8>, short: u8, long: u8, len: usize) {
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..=15), _) => out.push(short | len),
        (_, Ok(len)) => {
            out.push(long);
            out.extend(len.to_be_bytes());
        }
        _ => {
            out.push(long + 1);
            // Never more than a request can name.
            out.extend((len as u32).to_be_bytes());
        }
    }
}

/// How the caller wants to be answered.
#[derive(Debug)]
pub(super) struct Style {
    pub(super) format: Format,
    wrapping: Wrapping,
}

/// For callers that cannot see a status or headers.
#[derive(Debug, PartialEq, Eq)]
enum Wrapping {
    Plain,
    Envelope,
    Callback { name: String, envelope: bool },
}

impl Style {
    /// Also says how to refuse a request whose wishes are refused.
    pub(super) fn of(parts: &Parts) -> (Self, std::result::Result<(), ErrorInfo>) {
        let named =
            parts.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).and_then(accepted);
        let query = match Query::parse(parts.uri.query().unwrap_or_default()) {
            Ok(query) => query,
            Err(refusal) => {
                let style = Self { format: named.unwrap_or(Format::Json), wrapping: Wrapping::Plain };
                return (style, Err(refusal));
            }
        };
        let asked = || match query.get("format") {
            Some("msgpack") => Format::Msgpack,
            _ => Format::Json,
        };
        let format = named.unwrap_or_else(asked);
        let (envelope, format) = match query.text("envelope") {
            None => (false, format),
            Some("msgpack") => (true, Format::Msgpack),
            Some(_) => (true, Format::Json),
        };
        let Some(name) = query.text("callback") else {
            let wrapping = if envelope { Wrapping::Envelope } else { Wrapping::Plain };
            return (Self { format, wrapping }, Ok(()));
        };
        if !is_callback(name) {
            let refusal = error::invalid_parameter("callback is the name of a function");
            return (Self { format, wrapping: Wrapping::Plain }, Err(refusal));
        }
        let wrapping = Wrapping::Callback { name: name.to_owned(), envelope };
        (Self { format: Format::Json, wrapping }, Ok(()))
    }

    pub(super) fn render(self, answer: Result, server_id: &str) -> Response {
        let answer = answer.unwrap_or_else(|refusal| Answer::refused(self.format, refusal));
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &str| {
            headers.append(HeaderName::from_static(name), header_value(value));
        };
        put("access-control-allow-origin", "*");
        put("access-control-expose-headers", EXPOSED);
        put("x-content-type-options", "nosniff");
        // What is answered depends on who asks and how.
        put("cache-control", "no-store");
        put("x-ably-serverid", server_id);
        answer.links.iter().for_each(|link| put("link", link));
        if let Some(error) = &answer.error {
            put("x-ably-errorcode", &error.code.to_string());
            put("x-ably-errormessage", &error.message);
        }
        if let Some(allow) = answer.allow {
            put("allow", allow);
        }
        let (status, content_type, body) = self.wrap(answer);
        if !body.is_empty() {
            put("content-type", content_type);
        }
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = headers;
        response
    }

    fn wrap(&self, answer: Answer) -> (u16, &'static str, Vec<u8>) {
        match &self.wrapping {
            Wrapping::Plain => (answer.status, self.format.content_type(), answer.body),
            Wrapping::Envelope => (200, self.format.content_type(), envelope(self.format, &answer)),
            Wrapping::Callback { name, envelope: wanted } => {
                let body = match wanted {
                    true => envelope(self.format, &answer),
                    false if answer.body.is_empty() => b"null".to_vec(),
                    false => answer.body,
                };
                // The comment keeps the answer from being taken for another kind of file by its first bytes.
                let script = [b"/**/", name.as_bytes(), b"(", &body, b");"].concat();
                (200, "application/javascript", script)
            }
        }
    }
}

/// Status, headers and body as one value.
fn envelope(format: Format, answer: &Answer) -> Vec<u8> {
    let write = |value: Value| wire::to_format(&value, format);
    let mut headers = serde_json::Map::new();
    if !answer.links.is_empty() {
        headers.insert("Link".into(), answer.links.join(",").into());
    }
    if let Some(error) = &answer.error {
        headers.insert("X-Ably-Errorcode".into(), error.code.to_string().into());
        headers.insert("X-Ably-Errormessage".into(), error.message.as_ref().into());
    }
    let status = write(answer.status.into());
    let headers = write(Value::Object(headers));
    let response = if answer.body.is_empty() { write(Value::Null) } else { answer.body.clone() };
    map_of(format, &[("statusCode", &status), ("headers", &headers), ("response", &response)])
}

/// The format that an `Accept` header likes best, if it names one of ours.
fn accepted(accept: &str) -> Option<Format> {
    let ranked = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let format = match parts.next()?.to_ascii_lowercase().as_str() {
            "application/json" => Format::Json,
            "application/x-msgpack" | "application/msgpack" => Format::Msgpack,
            _ => return None,
        };
        let quality =
            parts.find_map(|p| p.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok())?;
        (quality > 0.0).then_some((format, quality))
    });
    let best = ranked.fold(None, |best: Option<(Format, f32)>, next| match best {
        Some(best) if best.1 >= next.1 => Some(best),
        _ => Some(next),
    });
    best.map(|(format, _)| format)
}

/// A name or a path of names: nothing that could be more of a script.
fn is_callback(name: &str) -> bool {
    let identifier = |part: &str| {
        let plain = part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$');
        plain && part.bytes().next().is_some_and(|b| !b.is_ascii_digit())
    };
    name.len() <= CALLBACK_BYTES_MAX && name.split('.').all(identifier)
}

/// Whatever cannot stand in a header becomes a question mark.
fn header_value(text: &str) -> HeaderValue {
    let clean: String = text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
    HeaderValue::from_str(&clean).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A browser asks before it asks. The answer is the same everywhere: credentials are never cookies here.
pub(super) fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_accept() {
        let rows = [
            ("application/json", Some(Format::Json)),
            ("application/x-msgpack", Some(Format::Msgpack)),
            ("application/x-msgpack,application/json", Some(Format::Msgpack)),
            ("application/x-msgpack;q=0.5, application/json", Some(Format::Json)),
            ("application/json;q=0, application/x-msgpack;q=0.1", Some(Format::Msgpack)),
            ("text/html, */*", None),
            ("", None),
        ];
        for (accept, wanted) in rows {
            assert_eq!(accepted(accept), wanted, "{accept}");
        }
    }

    #[test]
    fn callbacks_are_names() {
        for good in ["cb", "Ably._.cb1", "$x", "_a"] {
            assert!(is_callback(good), "{good}");
        }
        for bad in ["", "1a", "a..b", "a(b)", "alert(1)//", "a b", "ü", &"x".repeat(129)] {
            assert!(!is_callback(bad), "{bad}");
        }
    }

    #[test]
    fn written_values_are_put_together() {
        let parts = |format| (wire::to_format(&json!([1]), format), wire::to_format(&json!("x"), format));
        for format in [Format::Json, Format::Msgpack] {
            let (a, b) = parts(format);
            let map = map_of(format, &[("a", &a), ("b", &b)]);
            assert_eq!(wire::from_format(&map, format).unwrap(), json!({"a": [1], "b": "x"}));
            for n in [0, 1, 15, 16, 70_000] {
                let array = array_of(format, &vec![b.clone(); n]);
                let Value::Array(items) = wire::from_format(&array, format).unwrap() else { panic!() };
                assert_eq!(items.len(), n);
            }
        }
    }

    #[test]
    fn header_values_are_clean() {
        assert_eq!(header_value("a\r\nb: ü"), "a??b: ?");
    }
}
