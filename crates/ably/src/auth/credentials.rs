//! Credentials as a request presents them, not verified yet.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use fanfare_model::error::{self, ErrorInfo};
use secrecy::SecretString;

use super::CREDENTIAL_BYTES_MAX;

/// Standard base64, with or without its padding: clients differ.
pub(super) const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The headers that say who is asking.
#[derive(Clone, Copy, Default)]
pub struct AuthHeaders<'a> {
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// `X-Ably-ClientId`.
    pub client_id: Option<&'a str>,
}

/// A key or a token, and the client id that the client says it has.
#[derive(Clone)]
pub struct Credentials {
    pub(super) presented: Presented,
    client_id: Option<Box<str>>,
}

#[derive(Clone)]
pub(super) enum Presented {
    Nothing,
    Key(SecretString),
    Token(SecretString),
}

impl Credentials {
    /// From a request's headers and decoded query parameters, of WebSocket, REST, SSE and comet alike. The
    /// header goes before the query, a token before a key. Parameters that say nothing of this are ignored.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(
        headers: AuthHeaders<'_>,
        query: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, ErrorInfo> {
        let (mut key, mut token, mut client_id) = (None, None, None);
        for (name, value) in query {
            let value = value.as_ref();
            let slot = match name.as_ref() {
                "key" => &mut key,
                "access_token" | "accessToken" => &mut token,
                "clientId" => {
                    client_id = Some(value.into());
                    continue;
                }
                _ => continue,
            };
            if !value.is_empty() {
                *slot = Some(checked(value)?);
            }
        }
        let presented = match headers.authorization {
            Some(header) => parse_authorization(header)?,
            None => token.map(Presented::Token).or(key.map(Presented::Key)).unwrap_or(Presented::Nothing),
        };
        if let Some(header) = headers.client_id {
            let refused = || error::invalid_client_id("X-Ably-ClientId is not base64 of UTF-8");
            let text = LENIENT.decode(header.trim()).map_err(|_| refused())?;
            client_id = Some(String::from_utf8(text).map_err(|_| refused())?.into());
        }
        Ok(Self { presented, client_id })
    }

    /// A token that came in a message (`AUTH`), with the client id that the connection asserted.
    pub fn token(literal: &str, client_id: Option<&str>) -> Result<Self, ErrorInfo> {
        Ok(Self { presented: Presented::Token(checked(literal)?), client_id: client_id.map(Into::into) })
    }

    /// `appId.keyId:secret`.
    pub fn key(key: &str, client_id: Option<&str>) -> Result<Self, ErrorInfo> {
        Ok(Self { presented: Presented::Key(checked(key)?), client_id: client_id.map(Into::into) })
    }

    pub fn is_empty(&self) -> bool {
        matches!(self.presented, Presented::Nothing)
    }

    /// What the client asserts; any text.
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }
}

impl fmt::Debug for Credentials {
    /// The kind only: a client id is personal data, and this may be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.presented {
            Presented::Nothing => "Credentials(none)",
            Presented::Key(_) => "Credentials(key)",
            Presented::Token(_) => "Credentials(token)",
        })
    }
}

fn checked(text: &str) -> Result<SecretString, ErrorInfo> {
    if text.len() > CREDENTIAL_BYTES_MAX {
        return Err(error::invalid_credential(format!("it may have {CREDENTIAL_BYTES_MAX} bytes at most")));
    }
    Ok(SecretString::from(text))
}

fn parse_authorization(header: &str) -> Result<Presented, ErrorInfo> {
    let refused = |why| Err(error::invalid_credentials(why));
    let (scheme, value) = header.trim().split_once(' ').unwrap_or((header, ""));
    let value = value.trim();
    if value.is_empty() {
        return refused("the Authorization header names no credential");
    }
    let decoded = || LENIENT.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    if scheme.eq_ignore_ascii_case("Basic") {
        return match decoded() {
            Some(key) => Ok(Presented::Key(checked(&key)?)),
            None => refused("the Authorization header is not base64 of a key"),
        };
    }
    if scheme.eq_ignore_ascii_case("Bearer") {
        // Each kind of token has a dot in it and base64 has none, so base64 is never mistaken for a token.
        let token = if value.contains('.') { None } else { decoded() };
        return Ok(Presented::Token(checked(token.as_deref().unwrap_or(value))?));
    }
    refused("the Authorization header is neither Basic nor Bearer")
}
