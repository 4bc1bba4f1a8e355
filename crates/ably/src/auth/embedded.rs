//! Tokens inside tokens: an app's own JWT that carries one of ours (or a JWT for us) as `x-ably-token`, in
//! its header or, when it is not encrypted, in its claims.
//!
//! The outer token has no authority: whoever holds it can take the inner one out and use that. So only the
//! inner one is verified, and of the outer one nothing is used but its expiry, which can only shorten the
//! inner one's. Its signature is the app's own affair; its key need not be known to us.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare_model::Timestamp;
use fanfare_model::error::{self, ErrorInfo};
use secrecy::SecretString;

use super::CLOCK_LEEWAY;
use super::jwt::{self, Header};

pub(super) struct Outer {
    pub(super) token: SecretString,
    expires: Option<Timestamp>,
}

/// The token that `literal` carries, if it does.
pub(super) fn inside(literal: &str) -> Result<Option<Outer>, ErrorInfo> {
    const SIGNED: usize = 3;
    const ENCRYPTED: usize = 5;
    let parts: Vec<&str> = literal.splitn(ENCRYPTED + 1, '.').collect();
    if !literal.starts_with(jwt::PREFIX) || ![SIGNED, ENCRYPTED].contains(&parts.len()) {
        return Ok(None);
    }
    let header = Header::parse(parts[0])?;
    if parts.len() == ENCRYPTED {
        return match header.ably_token {
            Some(token) => Ok(Some(Outer { token: token.into(), expires: None })),
            None => Err(error::invalid_jwt("it is encrypted, and carries no x-ably-token in its header")),
        };
    }
    let claims = URL_SAFE_NO_PAD.decode(parts[1]).ok().and_then(|json| jwt::Claims::parse(&json).ok());
    let (expires, claimed) = claims.map_or((None, None), |c| (c.expires, c.ably_token));
    let Some(token) = header.ably_token.or(claimed) else { return Ok(None) };
    if header.alg.eq_ignore_ascii_case("none") {
        return Err(error::invalid_jwt("it is not signed"));
    }
    Ok(Some(Outer { token: token.into(), expires }))
}

impl Outer {
    /// When the token expires, given when the inner one does.
    pub(super) fn shorten(&self, inner: Timestamp, now: Timestamp) -> Result<Timestamp, ErrorInfo> {
        let Some(outer) = self.expires else { return Ok(inner) };
        if outer <= now {
            return Err(error::token_expired("the token that carries it expired"));
        }
        // A second or two are normal: the inner token was issued before the outer one, for the same time.
        if outer > inner + CLOCK_LEEWAY {
            return Err(error::invalid_jwt("it expires later than the token that it carries"));
        }
        Ok(outer.min(inner))
    }
}
