//! `POST /messages`, and the shapes that batches are answered in.

use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{Limits, Message};
use futures_util::future::join_all;

use super::context::Context;
use super::publish::{self, Speaker};
use super::respond::{self, Answer, array_of, error_value, map_of};
use crate::wire::{self, BatchSpec, Format, Publish};

/// What became of one channel of a batch, written.
pub(super) struct Entry {
    succeeded: bool,
    written: Vec<u8>,
}

impl Entry {
    pub(super) fn new(format: Format, channel: &str, result: Result<Vec<u8>, ErrorInfo>) -> Self {
        match result {
            Ok(written) => Self { succeeded: true, written },
            Err(refusal) => {
                let channel = wire::to_format(&channel.into(), format);
                let error = wire::to_format(&error_value(&refusal), format);
                let written = map_of(format, &[("channel", &channel), ("error", &error)]);
                Self { succeeded: false, written }
            }
        }
    }
}

/// Version 3 and later: with counts.
pub(super) fn counted(format: Format, entries: &[Entry]) -> Vec<u8> {
    let successes = entries.iter().filter(|entry| entry.succeeded).count();
    let number = |n: usize| wire::to_format(&n.into(), format);
    map_of(
        format,
        &[
            ("successCount", &number(successes)),
            ("failureCount", &number(entries.len() - successes)),
            ("results", &results(format, entries)),
        ],
    )
}

/// Version 2: a plain array; when something failed, an error with the array beside it.
pub(super) fn flat(format: Format, entries: &[Entry], status: u16) -> Answer {
    let results = results(format, entries);
    if entries.iter().all(|entry| entry.succeeded) {
        return Answer { status, body: results, ..Answer::default() };
    }
    let error = error::batch_partly_failed("");
    let written = wire::to_format(&error_value(&error), format);
    let body = map_of(format, &[("error", &written), ("batchResponse", &results)]);
    Answer { status: error.status, body, error: Some(error), ..Answer::default() }
}

fn results(format: Format, entries: &[Entry]) -> Vec<u8> {
    let written: Vec<_> = entries.iter().map(|entry| entry.written.clone()).collect();
    array_of(format, &written)
}

pub(super) async fn messages(context: &mut Context) -> respond::Result {
    let speaker = Speaker::new(context, context.identity()?)?;
    let format = context.body_format()?;
    let body = context.body().await?;
    let is_array = begins_with_array(format, &body);
    let specs = wire::decode_batch(format, &body)?;
    check(&specs, &speaker.identity.app.limits)?;
    let mut answers = Vec::with_capacity(specs.len());
    for spec in specs {
        answers.push(publish_spec(context, &speaker, spec).await);
    }
    let format = context.format;
    if !context.version.has_counted_batches() {
        let entries: Vec<_> = answers.into_iter().flatten().collect();
        return Ok(flat(format, &entries, 201));
    }
    let bodies: Vec<_> = answers.iter().map(|entries| counted(format, entries)).collect();
    Ok(Answer::created(match (is_array, &bodies[..]) {
        (false, [one]) => one.clone(),
        _ => array_of(format, &bodies),
    }))
}

/// Whoever sends one spec gets one result, and whoever sends an array an array.
fn begins_with_array(format: Format, body: &[u8]) -> bool {
    match format {
        Format::Json => body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'['),
        Format::Msgpack => matches!(body.first(), Some(0x90..=0x9f | 0xdc | 0xdd)),
    }
}

/// Refuses a batch as a whole. What is wrong with one channel's part is that channel's result.
fn check(specs: &[BatchSpec], limits: &Limits) -> Result<(), ErrorInfo> {
    let channels: usize = specs.iter().map(|spec| spec.channels.len()).sum();
    if specs.is_empty() || specs.iter().any(|spec| spec.channels.is_empty()) {
        return Err(error::bad_request("an entry of a batch has channels and messages"));
    }
    if channels > limits.batch_channels_max {
        let most = limits.batch_channels_max;
        return Err(error::bad_request(format!("a batch may have {most} channels at most")));
    }
    Ok(())
}

/// On all channels at once; the first poll of each puts it into its channel's order.
async fn publish_spec(context: &Context, speaker: &Speaker, spec: BatchSpec) -> Vec<Entry> {
    let BatchSpec { channels, publish } = spec;
    let copyable = check_size(&publish, &speaker.identity.app.limits);
    let publish = &publish;
    let publishes = channels.iter().map(|name| {
        let copyable = copyable.clone();
        async move {
            let channel = speaker.channel(context, name)?;
            copyable?;
            let behalf = speaker.behalf(context, publish).await?;
            let draft = speaker.draft(&channel, publish.clone(), behalf.as_ref())?;
            let receipt = publish::commit(context, channel, draft).await?;
            Ok(wire::to_format(&receipt.to_value(), context.format))
        }
    });
    let results = join_all(publishes).await;
    channels.iter().zip(results).map(|(name, result)| Entry::new(context.format, name, result)).collect()
}

/// What the engine would refuse on every channel is not copied for every channel first.
fn check_size(publish: &Publish, limits: &Limits) -> Result<(), ErrorInfo> {
    let count = publish.messages.len();
    if count > limits.messages_per_publish_max {
        let most = limits.messages_per_publish_max;
        return Err(error::too_many_messages(format!("{count} of at most {most}")));
    }
    let size: usize = publish.messages.iter().map(Message::size).sum();
    if size > limits.message_bytes_max {
        return Err(error::message_too_large(format!(
            "{size} bytes, and the limit is {}",
            limits.message_bytes_max
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shapes() {
        for format in [Format::Json, Format::Msgpack] {
            let good = || Entry::new(format, "a", Ok(wire::to_format(&json!({"channel": "a"}), format)));
            let bad = || Entry::new(format, "b", Err(error::not_permitted("")));
            let value = |bytes: &[u8]| wire::from_format(bytes, format).unwrap();
            let counted = value(&counted(format, &[good(), bad()]));
            assert_eq!((&counted["successCount"], &counted["failureCount"]), (&json!(1), &json!(1)));
            assert_eq!(counted["results"][1]["error"]["code"], 40160);
            assert_eq!(counted["results"][1]["channel"], "b");
            let all_good = flat(format, &[good()], 201);
            assert_eq!((all_good.status, value(&all_good.body)), (201, json!([{"channel": "a"}])));
            let partly = flat(format, &[good(), bad()], 201);
            assert_eq!(partly.status, 400);
            let partly = value(&partly.body);
            assert_eq!(partly["error"]["code"], 40020);
            assert_eq!(partly["batchResponse"][0], json!({"channel": "a"}));
        }
    }

    #[test]
    fn arrays_are_told_from_objects() {
        assert!(begins_with_array(Format::Json, b" [ {} ]"));
        assert!(!begins_with_array(Format::Json, b"{}"));
        assert!(begins_with_array(Format::Msgpack, &[0x91, 0x80]));
        assert!(!begins_with_array(Format::Msgpack, &[0x80]));
        assert!(!begins_with_array(Format::Msgpack, &[]));
    }
}
