//! Who is asking, and what may they do.
//!
//! Everything here is synchronous and pure but for two bounded caches (nonces and revocations): the apps,
//! the time and the transport are arguments. A credential becomes an [`Identity`], from which the app, the
//! capability and the client id are read; nothing about who is asking is ever taken from the request.
//!
//! Invariants: a secret is never in a `Debug` output or an error; every comparison with a secret, or with
//! what is made from one, takes the same time wherever the first difference is; an unknown app or key
//! costs the same work as a known one.

mod basic;
mod claims;
mod credentials;
mod durable;
mod embedded;
mod identity;
mod jwt;
mod nonce;
mod opaque;
mod random;
mod revocation;
mod revocations;
mod secret;
#[cfg(test)]
mod tests;
mod token_request;

use std::sync::Arc;
use std::time::Duration;

use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{App, AppId, Key, KeyName, Now, Timestamp};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};

pub use claims::ChannelClaims;
pub use credentials::{AuthHeaders, Credentials};
pub use durable::{NONCES, REVOCATIONS, Restored};
pub use identity::{
    ClientIdRule, Identity, Method, Token, TokenId, TokenKind, resolve_client_id, resolve_message_client_id,
};
pub use nonce::NonceCache;
pub use revocation::{Revocation, RevocationOutcome, Target};
pub use revocations::Revocations;
pub use token_request::{TokenDetails, TokenRequest};

use credentials::Presented;

/// Longest credential. A token carries its capability, which is at most half of this.
pub const CREDENTIAL_BYTES_MAX: usize = 16 * 1024;
/// How far an issuer's clock may be ahead, for the times at which a token starts to be valid. The end of
/// its life has no leeway: nothing is accepted after it.
pub const CLOCK_LEEWAY: Duration = Duration::from_secs(60);
/// Longest life of a token that can be revoked; so long must a revocation be remembered.
pub const REVOCABLE_TTL_MAX: Duration = Duration::from_secs(3600);

/// The apps as they are now.
pub trait AppLookup {
    fn app(&self, id: &AppId) -> Option<Arc<App>>;
}

/// What the request came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// TLS, to us or to a proxy that we trust.
    pub secure: bool,
    pub basic_over_plain: BasicOverPlain,
}

/// Whether a key may be sent where anyone on the path can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BasicOverPlain {
    /// For development, and where TLS ends before an untold proxy.
    Allowed,
    Refused,
}

/// Turns credentials into identities, issues tokens and revokes them. One for the whole server.
#[derive(Debug)]
pub struct Authenticator {
    nonces: Mutex<NonceCache>,
    revocations: Revocations,
}

impl Authenticator {
    /// `started` is when this server began to remember nonces: token requests that are older are refused,
    /// because a server that has been restarted cannot know whether they have been used.
    pub fn new(started: Timestamp) -> Self {
        Self { nonces: Mutex::new(NonceCache::new(started)), revocations: Revocations::default() }
    }

    /// What has been revoked: for checks of live connections.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    pub fn authenticate(
        &self,
        apps: &dyn AppLookup,
        credentials: &Credentials,
        transport: Transport,
        now: Now,
    ) -> Result<Identity, ErrorInfo> {
        let asserted = credentials.client_id();
        let identity = match &credentials.presented {
            Presented::Nothing => return Err(error::invalid_credentials("no authentication information")),
            Presented::Key(key) => basic::authenticate(apps, key, asserted, transport)?,
            Presented::Token(literal) => {
                let (issuer, token) = read_token(apps, literal.expose_secret(), now.wall)?;
                if issuer.app.tls_only && !transport.secure {
                    return Err(error::tls_required(""));
                }
                Identity::of_token(issuer, token, asserted)?
            }
        };
        match self.revocations.applying(&identity, now.wall) {
            Some(_) => Err(error::token_revoked("")),
            None => Ok(identity),
        }
    }

    /// The same credential against the app as it is now, for a live connection whose app, key or rules have
    /// changed. Refuses what a new connection with that credential would be refused for.
    pub fn refresh(
        &self,
        identity: &Identity,
        apps: &dyn AppLookup,
        now: Now,
    ) -> Result<Identity, ErrorInfo> {
        let issuer = match find(apps, &identity.key) {
            Found::Issuer(issuer) => issuer.usable()?,
            Found::NoApp => return Err(error::not_found("the app was deleted")),
            Found::NoKey => return Err(error::key_revoked("the key was deleted")),
        };
        if secret::Print::of(&issuer.key.secret) != identity.print {
            return Err(error::key_revoked("the key has a new secret"));
        }
        if identity.expires().is_some_and(|at| at <= now.wall) {
            return Err(error::token_expired(""));
        }
        if self.revocations.applying(identity, now.wall).is_some() {
            return Err(error::token_revoked(""));
        }
        identity.with_issuer(issuer)
    }
}

/// Verifies a token of any kind, and says whose it is.
fn read_token(apps: &dyn AppLookup, literal: &str, now: Timestamp) -> Result<(Issuer, Token), ErrorInfo> {
    if literal.len() > CREDENTIAL_BYTES_MAX {
        return Err(error::invalid_credential(format!(
            "a token may have {CREDENTIAL_BYTES_MAX} bytes at most"
        )));
    }
    match embedded::inside(literal)? {
        None => read_bare_token(apps, literal, now),
        Some(outer) => {
            if embedded::inside(outer.token.expose_secret())?.is_some() {
                return Err(error::invalid_jwt("an embedded token may not embed another"));
            }
            let (issuer, mut token) = read_bare_token(apps, outer.token.expose_secret(), now)?;
            token.expires = outer.shorten(token.expires, now)?;
            Ok((issuer, token))
        }
    }
}

fn read_bare_token(
    apps: &dyn AppLookup,
    literal: &str,
    now: Timestamp,
) -> Result<(Issuer, Token), ErrorInfo> {
    if jwt::looks_like_one(literal) {
        jwt::read(apps, literal, now)
    } else {
        opaque::read(apps, literal, now)
    }
}

/// An app and the key of it that a credential was made with.
struct Issuer {
    app: Arc<App>,
    key: Arc<Key>,
}

impl Issuer {
    fn name(&self) -> KeyName {
        KeyName { app: self.app.id.clone(), key: self.key.id.clone() }
    }

    /// Asked only after the credential was found genuine: a stranger learns nothing of an app's state.
    fn usable(self) -> Result<Self, ErrorInfo> {
        if !self.app.enabled {
            return Err(error::app_disabled(""));
        }
        if !self.key.enabled {
            return Err(error::key_revoked(""));
        }
        Ok(self)
    }

    fn token_ttl_max(&self) -> Duration {
        let limit = self.app.limits.token_ttl_max;
        if self.key.revocable_tokens { limit.min(REVOCABLE_TTL_MAX) } else { limit }
    }
}

enum Found {
    Issuer(Issuer),
    NoApp,
    NoKey,
}

fn find(apps: &dyn AppLookup, name: &KeyName) -> Found {
    let Some(app) = apps.app(&name.app) else { return Found::NoApp };
    match app.keys.get(&name.key).cloned() {
        Some(key) => Found::Issuer(Issuer { app, key }),
        None => Found::NoKey,
    }
}

/// The secret of no key: what a credential of an unknown key is checked against, for the sake of time.
fn nobody() -> SecretString {
    SecretString::from("nobody's secret, of the usual length of one")
}
