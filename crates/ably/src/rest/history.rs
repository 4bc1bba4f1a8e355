//! `GET …/messages`, `…/history` and `…/presence/history`.

use fanfare_engine::History;
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{
    App, Body, BodyKind, ChannelName, Durability, Operation, Record, Serial, Stamp, Timestamp,
};
use fanfare_store::{Direction, Query};

use super::ask::ask;
use super::context::Context;
use super::paging::{self, Page, Place};
use super::respond::{self, Answer};
use crate::wire::{self, PresenceView, StoredMessage};

/// Parameters that a link passes on as they came.
const KEPT: &[&str] = &["start", "end", "fromSerial", "from_serial", "format"];

pub(super) async fn messages(context: &Context, channel: &str, segment: &'static str) -> respond::Result {
    read(context, channel, segment, BodyKind::Messages).await
}

pub(super) async fn presence(context: &Context, channel: &str) -> respond::Result {
    read(context, channel, "history", BodyKind::Presence).await
}

async fn read(context: &Context, channel: &str, segment: &'static str, kind: BodyKind) -> respond::Result {
    let (app, channel) = context.readable(channel, Operation::History)?;
    let range = Range::parse(context, &app, &channel.name)?;
    // One more for the record that the page before ended in.
    let query =
        Query { kind, from: range.from, to: range.to, direction: range.direction, limit: range.limit + 1 };
    let history = ask(|reply| context.engine().history(channel, query, reply)).await??;
    if range.until.as_ref().is_some_and(|until| until.epoch != history.epoch) {
        return Err(error::attach_point_not_found("the channel began anew since"));
    }
    let (items, next) = range.select(&history);
    let body = match kind {
        BodyKind::Presence => {
            let events = items.iter().filter_map(|(record, index)| match &record.body {
                Body::Presence(events) => events.get(*index),
                _ => None,
            });
            wire::presence_body(context.format, PresenceView::Events, events)
        }
        _ => {
            let stored =
                items.iter().map(|&(record, index)| StoredMessage { record, epoch: &history.epoch, index });
            wire::messages_body(context.format, stored)
        }
    };
    let direction = match range.direction {
        Direction::Forwards => "forwards",
        Direction::Backwards => "backwards",
    };
    let mut page = Page {
        segment,
        params: vec![("limit", range.limit.to_string()), ("direction", direction.into())],
        cursor: context.query.text("cursor"),
        next: next.map(Place::to_text),
    };
    page.keep(&context.query, KEPT);
    Ok(Answer { links: page.links(), ..Answer::ok(body) })
}

/// What is asked for, page and all.
struct Range {
    from: Stamp,
    to: Stamp,
    direction: Direction,
    limit: usize,
    /// The last item of the page before.
    after: Option<Place>,
    /// An attachment's beginning, up to which the history goes.
    until: Option<Serial>,
}

impl Range {
    fn parse(context: &Context, app: &App, channel: &ChannelName) -> Result<Self, ErrorInfo> {
        let query = &context.query;
        let time = |name: &str| Ok(query.integer(name)?.map(|ms| Timestamp(ms.max(0))));
        let (start, end): (Option<_>, Option<_>) = (time("start")?, time("end")?);
        if let (Some(start), Some(end)) = (start, end)
            && start > end
        {
            return Err(error::invalid_parameter("start is later than end"));
        }
        let direction = match query.text("direction") {
            None | Some("backwards") => Direction::Backwards,
            Some("forwards") => Direction::Forwards,
            Some(_) => return Err(error::invalid_parameter("direction is forwards or backwards")),
        };
        // SDKs disagree about the name.
        let until = query.text("fromSerial").or_else(|| query.text("from_serial"));
        let until = until.map(|text| {
            text.parse::<Serial>().map_err(|_| error::invalid_parameter("fromSerial is not a serial"))
        });
        let until = until.transpose()?;
        let mut range = Self {
            from: start.map_or(Stamp::default(), Stamp::at).max(oldest(context, app, channel)),
            to: end.map_or(Stamp(u64::MAX), last_of),
            direction,
            limit: paging::limit(query, &app.limits)?,
            after: query.text("cursor").map(Place::parse).transpose()?,
            until,
        };
        if let Some(until) = &range.until {
            // Of a channel that stores all, any point of its log will do.
            let stores_all = app.rules.of(channel).durability == Durability::Persist;
            let tail_since = Stamp::at(context.now.wall.saturating_sub(app.limits.tail_age_max));
            if !stores_all && until.stamp < tail_since {
                return Err(error::attach_point_not_found("it is older than what the channel keeps"));
            }
            range.to = range.to.min(until.stamp);
        }
        match (range.after, range.direction) {
            (Some(after), Direction::Forwards) => range.from = range.from.max(after.stamp),
            (Some(after), Direction::Backwards) => range.to = range.to.min(after.stamp),
            (None, _) => {}
        }
        Ok(range)
    }

    /// The page's items, and where the next page begins if there is one.
    fn select<'a>(&self, history: &'a History) -> (Vec<(&'a Record, usize)>, Option<Place>) {
        let mut items = Vec::new();
        for record in &history.records {
            let count = if record.ephemeral { 0 } else { items_of(record) };
            for i in 0..count {
                let index = match self.direction {
                    Direction::Forwards => i,
                    Direction::Backwards => count - 1 - i,
                };
                if !self.is_wanted(Place { stamp: record.stamp, index }) {
                    continue;
                }
                if items.len() == self.limit {
                    let last: Option<&(&Record, usize)> = items.last();
                    let next = last.map(|(record, index)| Place { stamp: record.stamp, index: *index });
                    return (items, next);
                }
                items.push((&**record, index));
            }
        }
        let read_all = history.records.last().filter(|_| history.more).map(|last| {
            let index = match self.direction {
                Direction::Forwards => usize::MAX,
                Direction::Backwards => 0,
            };
            Place { stamp: last.stamp, index }
        });
        (items, read_all)
    }

    fn is_wanted(&self, place: Place) -> bool {
        match (self.after, self.direction) {
            (None, _) => true,
            (Some(after), Direction::Forwards) => place > after,
            (Some(after), Direction::Backwards) => place < after,
        }
    }
}

fn items_of(record: &Record) -> usize {
    match &record.body {
        Body::Messages(messages) => messages.len(),
        Body::Presence(events) => events.len(),
        Body::Unknown { .. } => 0,
    }
}

/// The last stamp of a millisecond: an end is inclusive.
fn last_of(end: Timestamp) -> Stamp {
    Stamp(Stamp::at(Timestamp(end.0.saturating_add(1))).0.saturating_sub(1))
}

/// What is older may still be there until the next sweep, and is not shown.
fn oldest(context: &Context, app: &App, channel: &ChannelName) -> Stamp {
    let rule = app.rules.of(channel);
    let age = match rule.durability {
        Durability::Persist | Durability::PersistLast => rule.retention,
        Durability::None | Durability::Tail => app.limits.tail_age_max,
    };
    Stamp::at(context.now.wall.saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fanfare_model::{Epoch, Message};

    use super::*;

    fn history(sizes: &[usize], direction: Direction, from: usize, limit: usize) -> History {
        let all = sizes.iter().enumerate().map(|(i, n)| {
            Arc::new(Record {
                stamp: Stamp(i as u64),
                timestamp: Timestamp(0),
                id: "i".into(),
                connection_id: None,
                body: Body::Messages(vec![Message::default(); *n]),
                ephemeral: false,
            })
        });
        let mut records: Vec<_> = match direction {
            Direction::Forwards => all.skip(from).collect(),
            Direction::Backwards => all.take(from + 1).rev().collect(),
        };
        let more = records.len() > limit;
        records.truncate(limit);
        History { epoch: Epoch::parse("e").unwrap(), records, more }
    }

    /// Whatever the sizes of publishes and pages, all pages together are all messages, once and in order.
    #[test]
    fn pages_are_a_partition() {
        let sizes = [1, 3, 1, 5, 2, 1];
        let all: Vec<(u64, usize)> =
            sizes.iter().enumerate().flat_map(|(s, n)| (0..*n).map(move |i| (s as u64, i))).collect();
        for direction in [Direction::Forwards, Direction::Backwards] {
            let mut wanted = all.clone();
            if direction == Direction::Backwards {
                wanted.reverse();
            }
            for limit in 1..=all.len() + 1 {
                let (mut seen, mut after, mut pages) = (Vec::new(), None::<Place>, 0);
                loop {
                    let start = match (after, direction) {
                        (Some(after), _) => after.stamp.0 as usize,
                        (None, Direction::Forwards) => 0,
                        (None, Direction::Backwards) => sizes.len() - 1,
                    };
                    let (from, to, until) = (Stamp(0), Stamp(u64::MAX), None);
                    let range = Range { from, to, direction, limit, after, until };
                    let history = history(&sizes, direction, start, limit + 1);
                    let (items, next) = range.select(&history);
                    assert!(items.len() <= limit);
                    seen.extend(items.iter().map(|(record, index)| (record.stamp.0, *index)));
                    pages += 1;
                    let Some(next) = next else { break };
                    after = Some(Place::parse(&next.to_text()).unwrap());
                }
                assert_eq!(seen, wanted, "{direction:?} {limit}");
                assert_eq!(pages, all.len().div_ceil(limit), "no page is empty: {direction:?} {limit}");
            }
        }
    }

    #[test]
    fn an_end_is_inclusive() {
        assert_eq!(last_of(Timestamp(5)), Stamp(5999));
        assert_eq!(last_of(Timestamp(i64::MAX)).0 / 1000, Stamp::at(Timestamp(i64::MAX)).0 / 1000);
    }
}
