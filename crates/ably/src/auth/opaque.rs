//! The tokens that we issue: `appId.<base64url>`.
//!
//! Self-contained, so that each node can read them and none has to remember them. After the app id comes
//!
//! ```text
//! version 1 byte | length 1 byte | key id | salt 16 bytes | sealed claims
//! ```
//!
//! The claims are sealed with AES-256-GCM under a key of their own, which HKDF makes from the issuing
//! key's secret, the token's random salt and the key's name. A key that seals once needs no nonce, and
//! salts of 128 bits do not meet, so no number of tokens wears the secret out. The key's name is bound
//! by the derivation: a token cut and pasted under another name does not open.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{AppId, Capability, KeyId, KeyName, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use super::identity::{ClientIdRule, Token, TokenId, TokenKind};
use super::{AppLookup, ChannelClaims, Found, Issuer, find, nobody, random};

const VERSION: u8 = 1;
const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
const CONTEXT: &[u8] = b"fanfare opaque token 1";

/// What a token of ours carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) issued: Timestamp,
    pub(super) ttl: Duration,
    /// Canonical JSON. `None`: all that the key may do, whatever that is when the token is used.
    pub(super) capability: Option<String>,
    pub(super) client: ClientIdRule,
    pub(super) revocation_key: Option<String>,
}

pub(super) fn issue(key: &KeyName, secret: &SecretString, claims: &Claims) -> SecretString {
    let salt = random::bytes::<SALT_BYTES>();
    let mut sealed = encode(claims);
    let cipher = cipher(key, secret, &salt);
    cipher
        .seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed)
        .expect("claims are far from the limit");
    let id = key.key.as_str();
    let mut bytes = vec![VERSION, u8::try_from(id.len()).expect("a key id is short")];
    bytes.extend([id.as_bytes(), &salt, &sealed].concat());
    SecretString::from(format!("{}.{}", key.app, URL_SAFE_NO_PAD.encode(bytes)))
}

/// Refusals, from the outside in. No app's id in it, an unknown app's, or garbage behind it: a new token
/// from the same source would be no better, so the codes are not ones at which clients get one. A key that
/// is gone, or a seal that does not open (the key has another secret now): a new one may well be good.
pub(super) fn read(
    apps: &dyn AppLookup,
    literal: &str,
    now: Timestamp,
) -> Result<(Issuer, Token), ErrorInfo> {
    let unusable = || error::invalid_credentials("the token is not one of ours");
    let (app, rest) = literal.split_once('.').ok_or_else(unusable)?;
    let app = AppId::parse(app).map_err(|_| unusable())?;
    let bytes = URL_SAFE_NO_PAD.decode(rest).unwrap_or_default();
    let Some(envelope) = Envelope::parse(&bytes) else {
        return Err(match apps.app(&app) {
            Some(_) => error::invalid_credential("the token is garbled"),
            None => no_app(),
        });
    };
    let name = KeyName { app, key: envelope.key.clone() };
    let issuer = match find(apps, &name) {
        Found::Issuer(issuer) => issuer,
        missing => {
            let _ = std::hint::black_box(envelope.open(&name, &nobody()));
            return Err(match missing {
                Found::NoApp => no_app(),
                _ => error::token_unrecognised(""),
            });
        }
    };
    let claims = envelope.open(&name, &issuer.key.secret).ok_or_else(|| error::token_unrecognised(""))?;
    let issuer = issuer.usable()?;
    // The limit may have shrunk since (the key's tokens may have become revocable), and holds for all.
    let expires = claims.issued + claims.ttl.min(issuer.token_ttl_max());
    if expires <= now {
        return Err(error::token_expired(""));
    }
    let token = Token {
        kind: TokenKind::Opaque,
        id: TokenId::of(literal),
        issued: claims.issued,
        expires,
        client: claims.client,
        capability: claims.capability.map(|json| Capability::parse(&json).map(Arc::new)).transpose()?,
        revocation_key: claims.revocation_key.map(Into::into),
        claims: ChannelClaims::default(),
    };
    Ok((issuer, token))
}

fn no_app() -> ErrorInfo {
    error::not_found("no app with the id in the token")
}

struct Envelope<'a> {
    key: KeyId,
    salt: &'a [u8],
    sealed: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.take(1)? != [VERSION] {
            return None;
        }
        let length = usize::from(reader.take(1)?[0]);
        let key = KeyId::parse(std::str::from_utf8(reader.take(length)?).ok()?).ok()?;
        let salt = reader.take(SALT_BYTES)?;
        (reader.0.len() >= TAG_BYTES).then_some(Self { key, salt, sealed: reader.0 })
    }

    fn open(&self, name: &KeyName, secret: &SecretString) -> Option<Claims> {
        let mut bytes = self.sealed.to_vec();
        decode(cipher(name, secret, self.salt).open_in_place(nonce(), Aad::empty(), &mut bytes).ok()?)
    }
}

/// The token's own key: it seals this one token.
fn cipher(name: &KeyName, secret: &SecretString, salt: &[u8]) -> LessSafeKey {
    let derived = Salt::new(HKDF_SHA256, salt).extract(secret.expose_secret().as_bytes());
    let name = name.to_string();
    let info = [CONTEXT, name.as_bytes()];
    let key = derived.expand(&info, &AES_256_GCM).expect("32 bytes are within HKDF's reach");
    LessSafeKey::new(UnboundKey::from(key))
}

/// Constant, because the key is not.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

const CLIENT_NONE: u8 = 0;
const CLIENT_ANY: u8 = 1;
const CLIENT_ONLY: u8 = 2;

fn encode(claims: &Claims) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(claims.issued.0.to_be_bytes());
    out.extend(u32::try_from(claims.ttl.as_millis()).unwrap_or(u32::MAX).to_be_bytes());
    match &claims.client {
        ClientIdRule::Anonymous => out.push(CLIENT_NONE),
        ClientIdRule::Any => out.push(CLIENT_ANY),
        ClientIdRule::Only(client) => {
            out.push(CLIENT_ONLY);
            push_text(&mut out, client.as_str());
        }
    }
    // An absent text is an empty one: neither a capability nor a revocation key is ever empty.
    push_text(&mut out, claims.capability.as_deref().unwrap_or(""));
    push_text(&mut out, claims.revocation_key.as_deref().unwrap_or(""));
    out
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).expect("texts in tokens are checked before").to_be_bytes());
    out.extend(text.as_bytes());
}

fn decode(bytes: &[u8]) -> Option<Claims> {
    let mut reader = Reader(bytes);
    let issued = Timestamp(i64::from_be_bytes(reader.take(8)?.try_into().ok()?));
    let ttl = Duration::from_millis(u32::from_be_bytes(reader.take(4)?.try_into().ok()?).into());
    let client = match reader.take(1)?[0] {
        CLIENT_NONE => ClientIdRule::Anonymous,
        CLIENT_ANY => ClientIdRule::Any,
        CLIENT_ONLY => ClientIdRule::of_token(Some(&reader.text()?)).ok()?,
        _ => return None,
    };
    let mut optional = || reader.text().map(|text| Some(text).filter(|t| !t.is_empty()));
    let claims = Claims { issued, ttl, client, capability: optional()?, revocation_key: optional()? };
    reader.0.is_empty().then_some(claims)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn text(&mut self) -> Option<String> {
        let length = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        String::from_utf8(self.take(length.into())?.to_vec()).ok()
    }
}
