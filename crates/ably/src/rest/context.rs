//! A request, as the endpoints see it.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, header, request::Parts};
use fanfare_engine::Engine;
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{App, ChannelKey, Now, Operation};
use parking_lot::Mutex;
use serde_json::Value;

use super::uri::{Query, segments};
use super::{BODY_BYTES_MAX, Server, Transport};
use crate::auth::{self, AuthHeaders, ClientIdRule, Credentials, Identity};
use crate::session::parse_name;
use crate::wire::{self, Format};

/// Ably's protocol version, by which some answers have another shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32);

impl Version {
    const OLDEST: u32 = 1;
    /// Of callers who name none (curl): the shapes that Ably documents for them.
    const DEFAULT: Self = Self(2);
    /// From here on batches have counts and results, and channels are listed by name.
    const COUNTED_BATCHES: Self = Self(3);

    /// A whole number or, for early versions, one with a fraction.
    fn parse(text: &str) -> Result<Self, ErrorInfo> {
        let refused = || error::unsupported_version("this server speaks 1 to 6");
        let (major, minor) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
        let digits = |t: &str| !t.is_empty() && t.len() <= 9 && t.bytes().all(|b| b.is_ascii_digit());
        if !digits(major) || !digits(minor) {
            return Err(refused());
        }
        match major.parse() {
            Ok(major) if major >= Self::OLDEST => Ok(Self(major)),
            _ => Err(refused()),
        }
    }

    pub(super) fn has_counted_batches(self) -> bool {
        self >= Self::COUNTED_BATCHES
    }
}

pub(super) struct Context {
    pub(super) server: Arc<Server>,
    pub(super) method: Method,
    pub(super) path: Vec<String>,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    /// Of the answer.
    pub(super) format: Format,
    pub(super) version: Version,
    pub(super) now: Now,
    pub(super) transport: auth::Transport,
    /// Never locked: it lends `Sync` to what is only `Send`.
    body: Mutex<Body>,
}

impl Context {
    pub(super) fn new(
        server: Arc<Server>,
        parts: Parts,
        body: Body,
        format: Format,
    ) -> Result<Self, ErrorInfo> {
        let query = Query::parse(parts.uri.query().unwrap_or_default())?;
        let version = match (header_text(&parts.headers, "x-ably-version")?, query.text("v")) {
            (Some(text), _) | (None, Some(text)) => Version::parse(text)?,
            (None, None) => Version::DEFAULT,
        };
        let secure = parts.extensions.get::<Transport>().is_some_and(|transport| transport.secure);
        Ok(Self {
            path: segments(parts.uri.path())?,
            method: parts.method,
            query,
            headers: parts.headers,
            format,
            version,
            now: (server.state.clock)(),
            transport: auth::Transport { secure, basic_over_plain: server.state.basic_over_plain },
            server,
            body: Mutex::new(body),
        })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.server.state.engine
    }

    pub(super) fn header(&self, name: &str) -> Result<Option<&str>, ErrorInfo> {
        header_text(&self.headers, name)
    }

    pub(super) fn credentials(&self) -> Result<Credentials, ErrorInfo> {
        let headers = AuthHeaders {
            authorization: self.header("authorization")?,
            client_id: self.header("x-ably-clientid")?,
        };
        // Here `clientId` in the query says whose presence is asked for, not who is asking.
        let query = self.query.0.iter().filter(|(name, _)| name != "clientId").map(|(n, v)| (n, v));
        Credentials::parse(headers, query)
    }

    pub(super) fn identity(&self) -> Result<Identity, ErrorInfo> {
        let Server { state, .. } = &*self.server;
        state.auth.authenticate(&*self.server, &self.credentials()?, self.transport, self.now)
    }

    /// The channel of the caller's app, if the caller may do this on it.
    pub(super) fn channel(
        &self,
        identity: &Identity,
        name: &str,
        operation: Operation,
    ) -> Result<ChannelKey, ErrorInfo> {
        let (name, _) = parse_name(name)?;
        if !identity.capability.allows(name.as_str(), operation) {
            return Err(error::not_permitted(format!("{} on this channel", operation.as_str())));
        }
        let rule = identity.app.rules.of(&name);
        if rule.tls_only && !self.transport.secure {
            return Err(error::tls_required(""));
        }
        if rule.identified && identity.client == ClientIdRule::Anonymous {
            return Err(error::needs_identified(""));
        }
        Ok(ChannelKey { app: identity.app.id.clone(), name })
    }

    /// As [`Self::channel`], for requests that only read.
    pub(super) fn readable(
        &self,
        name: &str,
        operation: Operation,
    ) -> Result<(Arc<App>, ChannelKey), ErrorInfo> {
        let identity = self.identity()?;
        let channel = self.channel(&identity, name, operation)?;
        Ok((identity.app, channel))
    }

    pub(super) async fn body(&mut self) -> Result<Bytes, ErrorInfo> {
        let too_large = || {
            ErrorInfo::new(40009, 413, format!("a request's body may have {BODY_BYTES_MAX} bytes at most"))
        };
        let announced = self.header("content-length")?.and_then(|length| length.parse::<u64>().ok());
        if announced.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
            return Err(too_large());
        }
        let body = std::mem::take(self.body.get_mut());
        axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|failure| {
            let causes = || std::iter::successors(Some(&failure as &dyn std::error::Error), |e| e.source());
            let is_late = |e: &std::io::Error| e.kind() == std::io::ErrorKind::TimedOut;
            if causes().any(|e| e.is::<http_body_util::LengthLimitError>()) {
                too_large()
            } else if causes().any(|e| e.downcast_ref().is_some_and(is_late)) {
                ErrorInfo::new(40000, 408, "the body took too long")
            } else {
                error::bad_request("the body could not be read")
            }
        })
    }

    /// The body's media type, without parameters.
    pub(super) fn content_type(&self) -> Result<Option<String>, ErrorInfo> {
        let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Ok(self.header(header::CONTENT_TYPE.as_str())?.map(essence).filter(|t| !t.is_empty()))
    }

    /// How the body is written. Whoever names no format that we know is taken to have sent JSON.
    pub(super) fn body_format(&self) -> Result<Format, ErrorInfo> {
        Ok(match self.content_type()?.as_deref() {
            Some("application/x-msgpack" | "application/msgpack") => Format::Msgpack,
            None if self.query.get("format") == Some("msgpack") => Format::Msgpack,
            _ => Format::Json,
        })
    }

    /// The body as a tree; no body is an empty object.
    pub(super) async fn body_value(&mut self) -> Result<Value, ErrorInfo> {
        let format = self.body_format()?;
        let is_form = self.content_type()?.as_deref() == Some("application/x-www-form-urlencoded");
        let body = self.body().await?;
        let text = std::str::from_utf8(&body).map(str::trim_start).unwrap_or_default();
        if body.is_empty() {
            return Ok(Value::Object(Default::default()));
        }
        // curl calls everything a form.
        if is_form && !text.starts_with(['{', '[']) {
            let fields = Query::parse(text)?.0.into_iter().map(|(name, value)| (name, Value::String(value)));
            return Ok(Value::Object(fields.collect()));
        }
        wire::from_format(&body, format)
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ErrorInfo> {
    let text = headers.get(name).map(|value| value.to_str());
    text.transpose().map_err(|_| error::bad_request(format!("the header {name} is not ASCII")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, counted) in [("1.2", false), ("2", false), ("3", true), (" 6 ", true), ("150", true)] {
            assert_eq!(Version::parse(text).unwrap().has_counted_batches(), counted, "{text}");
        }
        for bad in ["", "0", "0.8", "x", "-2", "2.", "2.x", "99999999999"] {
            assert_eq!(Version::parse(bad).unwrap_err().code, 40017, "{bad}");
        }
    }
}
