//! What a client is told when something is refused. The code numbers are Ably's; each constructor is
//! one row of the registry, so a code always has the same status and the same words.

use std::borrow::Cow;
use std::fmt;

/// A refusal: what was wrong and, where it helps, what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorInfo {
    pub code: u32,
    /// HTTP status.
    pub status: u16,
    pub message: Cow<'static, str>,
}

impl ErrorInfo {
    pub fn new(code: u32, status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, status, message: message.into() }
    }

    /// Whether the client's remedy is a new token (40140 to 40149).
    pub fn is_token_error(&self) -> bool {
        (40140..40150).contains(&self.code)
    }
}

impl fmt::Display for ErrorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {}, status {})", self.message, self.code, self.status)
    }
}

impl std::error::Error for ErrorInfo {}

macro_rules! registry {
    ($( $(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $default:literal; )*) => {
        $(
            $(#[$doc])*
            #[doc = concat!("\n\nCode ", $code, ", status ", $status, ": ", $default)]
            pub fn $name(detail: impl Into<Cow<'static, str>>) -> ErrorInfo {
                let detail = detail.into();
                let message =
                    if detail.is_empty() { Cow::Borrowed($default) } else { format!("{}: {detail}", $default).into() };
                ErrorInfo { code: $code, status: $status, message }
            }
        )*
        /// The registry as data: code, status, words. The docs page is made from it.
        pub const REGISTRY: &[(u32, u16, &str)] = &[$(($code, $status, $default)),*];
    };
}

registry! {
    bad_request = 40000, 400, "bad request";
    invalid_parameter = 40003, 400, "invalid parameter value";
    invalid_credential = 40005, 400, "invalid credential";
    invalid_connection_key = 40006, 400, "invalid connectionKey";
    message_too_large = 40009, 400, "maximum message length exceeded";
    invalid_channel_name = 40010, 400, "invalid channel name";
    invalid_client_id = 40012, 400, "invalid clientId";
    invalid_data = 40013, 400, "invalid message data or encoding";
    unsupported_version = 40017, 400, "unsupported protocol version";
    batch_partly_failed = 40020, 400, "batched response includes errors";
    invalid_message_ids = 40031, 400, "invalid message ids";
    invalid_extras = 40032, 400, "invalid extras";
    too_many_messages = 40034, 400, "too many messages in one publish";
    forced_nack = 40099, 400, "refused because the request asked for it";
    unauthorized = 40100, 401, "unauthorized";
    invalid_credentials = 40101, 401, "invalid credentials";
    incompatible_credentials = 40102, 401, "incompatible credentials";
    basic_needs_tls = 40103, 401, "a key may only be used over TLS";
    timestamp_not_current = 40104, 401, "timestamp not current";
    nonce_replayed = 40105, 401, "nonce value replayed";
    unauthorized_no_auth = 40106, 401, "no authentication information";
    key_revoked = 40131, 401, "key revoked or disabled";
    key_mismatch = 40133, 401, "a request for a key may only be made with that key";
    token_unrecognised = 40143, 401, "token unrecognised";
    token_error = 40140, 401, "token error";
    token_revoked = 40141, 401, "token revoked";
    token_expired = 40142, 401, "token expired";
    invalid_jwt = 40144, 401, "invalid JWT";
    not_permitted = 40160, 401, "operation not permitted with the provided capability";
    needs_identified = 40161, 401, "operation requires an identified client";
    needs_basic = 40162, 401, "operation requires key authentication";
    not_revocable = 40163, 401, "the key does not allow its tokens to be revoked";
    mode_missing = 40165, 401, "operation needs a channel mode that was not granted";
    forbidden = 40300, 403, "forbidden";
    app_disabled = 40301, 403, "app disabled";
    tls_required = 40311, 403, "the app or namespace requires TLS";
    not_found = 40400, 404, "not found";
    /// An app that is there, with a key that is not. The status is 401 though 40400 has 404 elsewhere:
    /// SDKs' tests ask for both of a request with such a key.
    unknown_key = 40400, 401, "no key with that id";
    method_not_allowed = 40500, 405, "method not allowed";
    /// The message is refused, the connection goes on.
    publish_rate_exceeded = 42911, 429, "publish rate exceeded";
    enumeration_in_progress = 42912, 429, "only one channel enumeration at a time";
    /// Said before anything of the request was read.
    too_many_connections = 42922, 429, "too many connections from this address";
    internal = 50000, 500, "internal error";
    unavailable = 50003, 503, "the service is temporarily unavailable";
    connection_failed = 80000, 400, "connection failed";
    connection_dropped = 80003, 500, "connection dropped, please reconnect";
    unable_to_recover = 80008, 400, "unable to recover connection";
    superseded = 80016, 400, "superseded by a new transport";
    connection_closed = 80017, 400, "connection closed";
    malformed_connection_key = 80018, 400, "invalid connection key";
    invalid_channel_state = 90001, 400, "invalid channel state";
    /// Continuity is lost; the client stays attached.
    continuity_lost = 90003, 404, "unable to recover channel: messages are missing";
    backlog_truncated = 90004, 404, "unable to recover channel: message limit exceeded";
    attach_point_not_found = 90008, 400, "unable to get channel history: attach point not found";
    too_many_channels = 90010, 400, "maximum number of channels per connection exceeded";
    presence_needs_client_id = 91000, 400, "presence needs a clientId";
    presence_not_attached = 91001, 400, "presence needs an attached channel";
    too_many_members = 91003, 400, "maximum number of presence members exceeded";
}
