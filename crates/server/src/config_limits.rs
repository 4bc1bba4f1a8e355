//! The limits as the configuration says them. docs/configuration.md lists them with their errors.

use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::bail;
use fanfare_gateway::TransportLimits;
use fanfare_model::Limits;
use serde::{Deserialize, Serialize};

/// A section in which everything may be left out; units stand in the names.
macro_rules! section {
    (
        $(#[$doc:meta])* $name:ident over $limits:ident;
        numbers { $($number:ident: $type:ty,)* }
        seconds { $($seconds:ident => $duration:ident,)* }
        others { $($other:ident: $other_type:ty,)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $name {
            $($number: Option<$type>,)*
            $($seconds: Option<u64>,)*
            $($other: Option<$other_type>,)*
        }

        impl $name {
            /// What is said here goes over `base`.
            fn plain_over(&self, base: $limits) -> $limits {
                $limits {
                    $($number: self.$number.unwrap_or(base.$number),)*
                    $($duration: self.$seconds.map_or(base.$duration, Duration::from_secs),)*
                    ..base
                }
            }
        }
    };
}

section! {
    /// Limits of every app that does not set its own.
    LimitsSection over Limits;
    numbers {
        message_bytes_max: usize,
        frame_bytes_max: usize,
        messages_per_publish_max: usize,
        channels_per_connection_max: usize,
        presence_members_max: usize,
        publishes_in_flight_max: usize,
        outbox_bytes_max: usize,
        tail_records_max: usize,
        tail_bytes_max: usize,
        rewind_messages_max: usize,
        page_max: usize,
        batch_channels_max: usize,
    }
    seconds {
        tail_age_max_seconds => tail_age_max,
        idempotency_age_max_seconds => idempotency_age_max,
        connection_state_ttl_seconds => connection_state_ttl,
        presence_grace_seconds => presence_grace,
        idle_interval_seconds => idle_interval,
        token_ttl_max_seconds => token_ttl_max,
    }
    others { messages_per_second_max: u32, }
}

impl LimitsSection {
    pub(crate) fn over(&self, base: Limits) -> Limits {
        let rate = self.messages_per_second_max.map_or(base.messages_per_second_max, NonZeroU32::new);
        Limits { messages_per_second_max: rate, ..self.plain_over(base) }
    }

    /// What is said here that only the whole server can have.
    pub(crate) fn of_the_whole_server(&self) -> Option<&'static str> {
        let frame = self.frame_bytes_max.map(|_| "frame_bytes_max");
        frame.or(self.outbox_bytes_max.map(|_| "outbox_bytes_max"))
    }
}

section! {
    /// Sockets, before anything is known of who is on them.
    TransportSection over TransportLimits;
    numbers {
        connections_per_address_max: u32,
        handshakes_per_address_max: u32,
        control_frames_max: u32,
    }
    seconds {
        handshake_timeout_seconds => handshake_timeout,
        body_timeout_seconds => body_timeout,
        ping_after_seconds => ping_after,
        dead_after_seconds => dead_after,
    }
    others { connections_max: u32, }
}

/// Files that are not connections: the store's, listeners, those who are being refused. At most a
/// quarter of all.
const FILES_RESERVED: u64 = 1_024;

impl TransportSection {
    pub(crate) fn limits(&self, app: &Limits, files_max: u64) -> TransportLimits {
        let files = files_max - FILES_RESERVED.min(files_max / 4);
        let files = u32::try_from(files).unwrap_or(u32::MAX);
        TransportLimits {
            connections_max: self.connections_max.unwrap_or(files),
            frame_bytes_max: app.frame_bytes_max,
            outbox_bytes_max: app.outbox_bytes_max,
            ..self.plain_over(TransportLimits::default())
        }
    }

    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let numbers = [
            ("connections_max", self.connections_max.map(u64::from)),
            ("connections_per_address_max", self.connections_per_address_max.map(u64::from)),
            ("handshakes_per_address_max", self.handshakes_per_address_max.map(u64::from)),
            ("control_frames_max", self.control_frames_max.map(u64::from)),
            ("handshake_timeout_seconds", self.handshake_timeout_seconds),
            ("body_timeout_seconds", self.body_timeout_seconds),
            ("ping_after_seconds", self.ping_after_seconds),
            ("dead_after_seconds", self.dead_after_seconds),
        ];
        for (name, number) in numbers {
            if number == Some(0) {
                bail!("{name} must be 1 or more: with 0 nobody could connect");
            }
        }
        let limits = self.plain_over(TransportLimits::default());
        if limits.dead_after <= limits.ping_after {
            bail!(
                "dead_after_seconds must be more than ping_after_seconds: who is asked needs time to answer"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_can_be_set_and_left_out() {
        let nothing = LimitsSection::default().over(Limits::default());
        assert_eq!(nothing, Limits::default());
        // A field of Limits that had no name here would stay as it is.
        let all: String = toml::to_string(&LimitsSection {
            message_bytes_max: Some(1),
            frame_bytes_max: Some(1),
            messages_per_publish_max: Some(1),
            channels_per_connection_max: Some(1),
            presence_members_max: Some(1),
            publishes_in_flight_max: Some(1),
            outbox_bytes_max: Some(1),
            tail_records_max: Some(1),
            tail_bytes_max: Some(1),
            rewind_messages_max: Some(1),
            page_max: Some(1),
            batch_channels_max: Some(1),
            tail_age_max_seconds: Some(1),
            idempotency_age_max_seconds: Some(1),
            connection_state_ttl_seconds: Some(1),
            presence_grace_seconds: Some(1),
            idle_interval_seconds: Some(1),
            token_ttl_max_seconds: Some(1),
            messages_per_second_max: Some(1),
        })
        .unwrap();
        let section: LimitsSection = toml::from_str(&all).unwrap();
        let second = Duration::from_secs(1);
        let ones = Limits {
            message_bytes_max: 1,
            frame_bytes_max: 1,
            messages_per_publish_max: 1,
            messages_per_second_max: NonZeroU32::new(1),
            channels_per_connection_max: 1,
            presence_members_max: 1,
            publishes_in_flight_max: 1,
            outbox_bytes_max: 1,
            tail_age_max: second,
            tail_records_max: 1,
            tail_bytes_max: 1,
            idempotency_age_max: second,
            connection_state_ttl: second,
            presence_grace: second,
            idle_interval: second,
            rewind_messages_max: 1,
            page_max: 1,
            batch_channels_max: 1,
            token_ttl_max: second,
        };
        assert_eq!(section.over(Limits::default()), ones);
        let off: LimitsSection = toml::from_str("messages_per_second_max = 0").unwrap();
        assert_eq!(off.over(ones).messages_per_second_max, None, "0 takes the server's limit off an app");
    }

    #[test]
    fn connections_leave_files_for_the_rest() {
        let section = TransportSection::default();
        for (files, connections) in [(1_048_576, 1_047_552), (4_096, 3_072), (256, 192), (u64::MAX, u32::MAX)]
        {
            assert_eq!(section.limits(&Limits::default(), files).connections_max, connections);
        }
        let few: TransportSection =
            toml::from_str("connections_max = 7\nhandshake_timeout_seconds = 3").unwrap();
        let few = few.limits(&Limits::default(), 1_048_576);
        assert_eq!((few.connections_max, few.handshake_timeout), (7, Duration::from_secs(3)));
    }

    #[test]
    fn what_would_lock_everybody_out_is_refused() {
        for text in ["connections_max = 0", "handshake_timeout_seconds = 0", "dead_after_seconds = 10"] {
            assert!(toml::from_str::<TransportSection>(text).unwrap().check().is_err(), "{text}");
        }
        assert!(toml::from_str::<TransportSection>("").unwrap().check().is_ok());
    }
}
