//! Who a verified credential makes of its bearer.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{App, Capability, ClientId, KeyName, Timestamp};

use super::Issuer;
use super::claims::ChannelClaims;
use super::secret::Print;

/// A client whose credential was verified.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The only source of the app for all that the client does.
    pub app: Arc<App>,
    /// The key that was presented, or that issued the token.
    pub key: KeyName,
    pub method: Method,
    /// For a token, what both it and its key allow.
    pub capability: Arc<Capability>,
    pub client: ClientIdRule,
    /// Of the key's secret when this was verified.
    pub(super) print: Print,
}

#[derive(Clone, Debug)]
pub enum Method {
    Basic,
    Token(Box<Token>),
}

/// What a token says of itself.
#[derive(Clone, Debug)]
pub struct Token {
    pub kind: TokenKind,
    pub id: TokenId,
    pub issued: Timestamp,
    /// The first moment at which it is not accepted.
    pub expires: Timestamp,
    /// Before an asserted client id narrowed it.
    pub client: ClientIdRule,
    /// `None`: all that its key may do, at any time.
    pub capability: Option<Arc<Capability>>,
    pub revocation_key: Option<Box<str>>,
    pub claims: ChannelClaims,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Issued by us.
    Opaque,
    /// Issued by the app's own server.
    Jwt,
}

/// Tells tokens apart without being one: a hash of the literal. Fit for logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId([u8; 16]);

impl TokenId {
    pub(super) fn of(literal: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, literal.as_bytes());
        Self(digest.as_ref()[..16].try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Which client ids the bearer may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientIdRule {
    /// Any, chosen anew for each message; none is stamped on a message that names none.
    Any,
    /// This one, stamped on all that it publishes.
    Only(ClientId),
    /// None at all.
    Anonymous,
}

impl ClientIdRule {
    /// As `connectionDetails.clientId` says it.
    pub fn as_wire(&self) -> Option<&str> {
        match self {
            Self::Any => Some("*"),
            Self::Only(client) => Some(client.as_str()),
            Self::Anonymous => None,
        }
    }

    /// The one client id that the bearer has.
    pub fn client_id(&self) -> Option<&ClientId> {
        match self {
            Self::Only(client) => Some(client),
            Self::Any | Self::Anonymous => None,
        }
    }

    /// As a token says it: nothing, `*` or a client id.
    pub(super) fn of_token(text: Option<&str>) -> Result<Self, ErrorInfo> {
        match text {
            None => Ok(Self::Anonymous),
            Some("*") => Ok(Self::Any),
            Some(id) => ClientId::parse(id).map(Self::Only),
        }
    }
}

/// What a credential allows, narrowed by the client id that the client asserts. A key allows any.
pub fn resolve_client_id(allowed: &ClientIdRule, asserted: Option<&str>) -> Result<ClientIdRule, ErrorInfo> {
    let Some(asserted) = asserted else { return Ok(allowed.clone()) };
    let asserted = ClientId::parse(asserted)?;
    match allowed {
        ClientIdRule::Any => Ok(ClientIdRule::Only(asserted)),
        ClientIdRule::Only(client) if *client == asserted => Ok(allowed.clone()),
        ClientIdRule::Only(_) => Err(error::incompatible_credentials("the token is for another clientId")),
        ClientIdRule::Anonymous => Err(error::incompatible_credentials("the token is for no clientId")),
    }
}

/// The client id of a message or member, of which the client said `explicit`.
pub fn resolve_message_client_id(
    identity: &Identity,
    explicit: Option<&str>,
) -> Result<Option<ClientId>, ErrorInfo> {
    let own = identity.client.client_id();
    let Some(explicit) = explicit else { return Ok(own.cloned()) };
    if own.is_some_and(|own| own.as_str() == explicit) {
        return Ok(own.cloned());
    }
    let explicit = ClientId::parse(explicit)?;
    match identity.client {
        ClientIdRule::Any => Ok(Some(explicit)),
        ClientIdRule::Only(_) => Err(error::invalid_client_id("the client has another clientId")),
        ClientIdRule::Anonymous => {
            Err(error::invalid_client_id("an anonymous client may not use a clientId"))
        }
    }
}

impl Identity {
    pub(super) fn of_key(issuer: Issuer, asserted: Option<&str>) -> Result<Self, ErrorInfo> {
        Ok(Self {
            client: resolve_client_id(&ClientIdRule::Any, asserted)?,
            key: issuer.name(),
            method: Method::Basic,
            capability: issuer.key.capability.clone(),
            print: Print::of(&issuer.key.secret),
            app: issuer.app,
        })
    }

    pub(super) fn of_token(issuer: Issuer, token: Token, asserted: Option<&str>) -> Result<Self, ErrorInfo> {
        Ok(Self {
            client: resolve_client_id(&token.client, asserted)?,
            key: issuer.name(),
            capability: granted(&issuer, token.capability.as_ref())?,
            print: Print::of(&issuer.key.secret),
            method: Method::Token(Box::new(token)),
            app: issuer.app,
        })
    }

    /// The same bearer, under its app and key as they are now.
    pub(super) fn with_issuer(&self, issuer: Issuer) -> Result<Self, ErrorInfo> {
        let own = self.token().and_then(|token| token.capability.as_ref());
        Ok(Self { capability: granted(&issuer, own)?, app: issuer.app, ..self.clone() })
    }

    pub fn token(&self) -> Option<&Token> {
        match &self.method {
            Method::Basic => None,
            Method::Token(token) => Some(token),
        }
    }

    /// The first moment at which nothing of this client is accepted any more.
    pub fn expires(&self) -> Option<Timestamp> {
        self.token().map(|token| token.expires)
    }

    /// What the issuer says of the client on `channel`.
    pub fn user_claim(&self, channel: &str) -> Option<&str> {
        self.token()?.claims.user_claim(channel)
    }

    /// Messages a second that the issuer lets the client publish on `channel`, if it says so.
    pub fn publish_rate(&self, channel: &str) -> Option<f64> {
        self.token()?.claims.publish_rate(channel)
    }

    /// Whether `next` may take the place of this identity on a live connection.
    pub fn check_successor(&self, next: &Identity) -> Result<(), ErrorInfo> {
        if self.app.id != next.app.id {
            return Err(error::incompatible_credentials("the new token is for another app"));
        }
        if self.client != next.client {
            return Err(error::incompatible_credentials("the new token is for another clientId"));
        }
        Ok(())
    }
}

/// What both the key, as it is now, and the token's own capability allow.
pub(super) fn granted(issuer: &Issuer, own: Option<&Arc<Capability>>) -> Result<Arc<Capability>, ErrorInfo> {
    let Some(own) = own else { return Ok(issuer.key.capability.clone()) };
    match issuer.key.capability.intersect(own) {
        Some(both) => Ok(Arc::new(both)),
        None => Err(error::not_permitted("the key allows nothing of what the token asks for")),
    }
}
