//! Reading one channel: its buckets' ranges merged by stamp.

use std::sync::Arc;

use fanfare_model::{BodyKind, ChannelKey, Record, Stamp};
use fjall::{Iter, Slice};

use super::{Shared, damaged, keys};
use crate::{Direction, Head, Query, StoreError};

impl Shared {
    pub(super) fn read(&self, channel: &ChannelKey, query: &Query) -> Result<Vec<Arc<Record>>, StoreError> {
        let channel = keys::channel(channel);
        let mut found = Vec::new();
        let (mut from, to) = (query.from, query.to);
        let mut last = None;
        if query.kind == BodyKind::Messages
            && let Some((floor, record)) = self.last_of(&channel)?
        {
            // The last record stands before all that came after it, and hides all that came before.
            last = record.filter(|r| (query.from..=query.to).contains(&r.stamp)).map(Arc::new);
            from = from.max(Stamp(floor.0.saturating_add(1)));
        }
        let forwards = query.direction == Direction::Forwards;
        if forwards && query.limit > 0 {
            found.extend(last.take());
        }
        if from <= to && found.len() < query.limit {
            self.merge(&channel, Query { from, ..query.clone() }, &mut found)?;
        }
        if found.len() < query.limit {
            found.extend(last);
        }
        Ok(found)
    }

    /// The floor of the channel's messages, and the last record unless it is erased or has expired.
    fn last_of(&self, channel: &[u8]) -> Result<Option<(Stamp, Option<Record>)>, StoreError> {
        let Some(value) = self.last.get(channel).map_err(damaged)? else { return Ok(None) };
        let opened = keys::open(channel, &value)?;
        let (floor, record) = opened.last(channel)?;
        Ok(Some((floor, record.filter(|_| !self.is_expired(opened.expires_at)))))
    }

    fn merge(&self, channel: &[u8], query: Query, found: &mut Vec<Arc<Record>>) -> Result<(), StoreError> {
        let range = keys::log_range(channel, query.kind, query.from, query.to);
        let mut sources = Vec::new();
        for bucket in self.buckets.holding(query.from, query.to) {
            sources.extend(Source::open(bucket.range(range.clone()), query.direction)?);
        }
        while found.len() < query.limit {
            // A dozen sources at most, one of them nearly always: a heap would not pay.
            let next = sources.iter_mut().enumerate().reduce(|a, b| {
                let b_first = match query.direction {
                    Direction::Forwards => b.1.key < a.1.key,
                    Direction::Backwards => b.1.key > a.1.key,
                };
                if b_first { b } else { a }
            });
            let Some((i, source)) = next else { break };
            let opened = keys::open(&source.key, &source.value)?;
            if source.key[..] < range.start()[..] || source.key[..] > range.end()[..] {
                return Err(StoreError::Corrupt("a range holds a record of another channel".into()));
            }
            if !self.is_expired(opened.expires_at) {
                found.push(Arc::new(opened.record(&source.key)?));
            }
            if !source.advance()? {
                sources.swap_remove(i);
            }
        }
        Ok(())
    }

    pub(super) fn head(&self, channel: &ChannelKey) -> Result<Option<Head>, StoreError> {
        let mut last = None;
        for kind in keys::KINDS {
            let newest = Query {
                kind,
                from: Stamp(0),
                to: Stamp(u64::MAX),
                direction: Direction::Backwards,
                limit: 1,
            };
            last = last.max(self.read(channel, &newest)?.first().map(|r| r.stamp));
        }
        Ok(last.map(|last| Head { last }))
    }
}

/// One bucket's part of the range, with its next entry at hand.
struct Source {
    iter: Iter,
    direction: Direction,
    key: Slice,
    value: Slice,
}

impl Source {
    fn open(iter: Iter, direction: Direction) -> Result<Option<Self>, StoreError> {
        let empty = || Slice::from([]);
        let mut source = Self { iter, direction, key: empty(), value: empty() };
        Ok(source.advance()?.then_some(source))
    }

    fn advance(&mut self) -> Result<bool, StoreError> {
        let next = match self.direction {
            Direction::Forwards => self.iter.next(),
            Direction::Backwards => self.iter.next_back(),
        };
        let Some(next) = next else { return Ok(false) };
        (self.key, self.value) = next.into_inner().map_err(damaged)?;
        Ok(true)
    }
}
