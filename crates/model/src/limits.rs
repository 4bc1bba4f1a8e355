//! Every limit has a name, a unit and a default here. An app's plan or the server's config sets them.

use std::num::NonZeroU32;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The user's bytes of one publish (all messages of an array together). 40009 past it.
    pub message_bytes_max: usize,
    /// One WebSocket message from a client, inflated. Close code 1009 past it.
    pub frame_bytes_max: usize,
    /// Messages in one publish. 40034 past it.
    pub messages_per_publish_max: usize,
    /// Messages and presence events that one connection publishes in a second, with a second's worth at
    /// once. 42911 past it. `None` is no limit.
    pub messages_per_second_max: Option<NonZeroU32>,
    /// Channels attached at once on one connection. 90010 past it.
    pub channels_per_connection_max: usize,
    /// Members on one channel. 91003 past it.
    pub presence_members_max: usize,
    /// Publishes of one connection that are not acknowledged yet; past it the server stops reading
    /// from that connection until some are.
    pub publishes_in_flight_max: usize,
    /// Bytes queued for one connection; past it deliveries to it are dropped and it is told (90003).
    pub outbox_bytes_max: usize,
    /// How long the tail keeps records for resume, rewind and history without a persistence rule.
    pub tail_age_max: Duration,
    /// Records in one channel's tail; older ones are let go first, and recovery past them is refused.
    pub tail_records_max: usize,
    /// Bytes in one channel's tail; as above.
    pub tail_bytes_max: usize,
    /// How long a publisher's message id is remembered.
    pub idempotency_age_max: Duration,
    /// How long a dropped connection's state is kept for resume.
    pub connection_state_ttl: Duration,
    /// How long members stay after their connection dropped.
    pub presence_grace: Duration,
    /// Silence from the server after which a client should doubt the connection.
    pub idle_interval: Duration,
    /// Messages that `rewind` returns at most. 90004 past it.
    pub rewind_messages_max: usize,
    /// Page size that REST lists give at most.
    pub page_max: usize,
    /// Channels in one batch request.
    pub batch_channels_max: usize,
    /// Longest life of a token.
    pub token_ttl_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 65_536,
            frame_bytes_max: 524_288,
            messages_per_publish_max: 1_000,
            messages_per_second_max: None,
            channels_per_connection_max: 200,
            presence_members_max: 200,
            publishes_in_flight_max: 1_024,
            outbox_bytes_max: 1024 * 1024,
            tail_age_max: Duration::from_secs(120),
            tail_records_max: 100_000,
            tail_bytes_max: 32 * 1024 * 1024,
            idempotency_age_max: Duration::from_secs(120),
            connection_state_ttl: Duration::from_secs(120),
            presence_grace: Duration::from_secs(15),
            idle_interval: Duration::from_secs(15),
            rewind_messages_max: 100,
            page_max: 1_000,
            batch_channels_max: 100,
            token_ttl_max: Duration::from_secs(24 * 3600),
        }
    }
}
