//! What must hold of what was heard, acknowledged and kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::harness::Said;
use crate::session::Continuity;

/// What was acknowledged and refused, over all clients.
pub(super) struct Known {
    /// Of each channel: stamp to payload and the first publisher's connections.
    acknowledged: [BTreeMap<u64, (String, BTreeSet<String>)>; 4],
    refused: BTreeSet<String>,
}

impl Known {
    pub(super) fn of<'a>(
        logs: &[Vec<Said>],
        tokens: impl Iterator<Item = &'a HashMap<u64, (usize, String, String)>>,
    ) -> Self {
        let mut known = Self { acknowledged: Default::default(), refused: BTreeSet::new() };
        for (log, tokens) in logs.iter().zip(tokens) {
            for said in log {
                let Said::Published { token, result } = said else { continue };
                let Some((ch, payload, connection)) = tokens.get(token) else { continue };
                let Ok(published) = result else {
                    known.refused.insert(payload.clone());
                    continue;
                };
                let entry = known.acknowledged[*ch].entry(published.stamp.0);
                let at = entry.or_insert_with(|| (payload.clone(), BTreeSet::new()));
                assert_eq!(at.0, *payload, "two publishes at one stamp");
                at.1.insert(connection.clone());
            }
        }
        known
    }

    fn is_only_refused(&self, payload: &str) -> bool {
        let acknowledged = self.acknowledged.iter().flat_map(BTreeMap::values).any(|(p, _)| p == payload);
        !acknowledged && self.refused.contains(payload)
    }
}

/// One client's deliveries on one channel, read from the start.
struct Reader<'a> {
    ch: usize,
    echo: bool,
    known: &'a Known,
    /// While attached: everything after `sure` up to the last delivery must have been heard.
    sure: Option<u64>,
    last: u64,
    heard: BTreeMap<u64, String>,
    /// The connections under which it listened: echo may leave out what they published.
    own: BTreeSet<String>,
    members: Option<BTreeMap<String, String>>,
}

pub(super) fn deliveries(log: &[Said], ch: usize, echo: bool, known: &Known, members: &[String]) {
    let (own, heard) = (BTreeSet::new(), BTreeMap::new());
    let mut reader = Reader { ch, echo, known, sure: None, last: 0, heard, own, members: None };
    let mut live = false;
    for said in log {
        match said {
            Said::Frame { label, stamp, payload } if *label == ch.to_string() => {
                assert!(live, "{payload} was delivered before the attach was answered, or after the detach");
                reader.hear(*stamp, payload);
                reader.follow_members(payload);
            }
            Said::Attached(began) if began.attachment as usize == ch => {
                live = true;
                reader.own.insert(began.connection.clone());
                if began.continuity != Continuity::Kept {
                    reader.close(reader.last);
                    (reader.sure, reader.last) = (Some(began.serial.stamp.0), began.serial.stamp.0);
                    assert!(began.backlog.is_empty());
                }
                for (stamp, payload) in &began.backlog {
                    reader.hear(*stamp, payload);
                }
                let position = began.serial.stamp.0;
                assert!(reader.last <= position, "the backlog ends before what is live");
                reader.last = position;
                let split = |m: &String| m.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
                reader.members = Some(began.members.iter().filter_map(split).collect());
            }
            Said::Gap { attachment, serial } if *attachment as usize == ch => {
                assert!(live);
                assert!(serial.stamp.0 > reader.last, "a gap with nothing in it");
                reader.close(reader.last);
                (reader.sure, reader.last) = (Some(serial.stamp.0), serial.stamp.0);
                reader.members = None;
            }
            Said::Silence { attachment } if attachment.is_none_or(|a| a as usize == ch) => {
                // What is sure stays so: a resume that keeps continuity goes on from here.
                live = false;
                reader.members = None;
            }
            _ => {}
        }
    }
    reader.close(if live { u64::MAX } else { reader.last });
    if let Some(seen) = reader.members.filter(|_| live) {
        let seen: Vec<String> = seen.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(seen, members, "who the subscriber thinks is there");
    }
}

impl Reader<'_> {
    fn hear(&mut self, stamp: u64, payload: &str) {
        assert!(stamp > self.last, "{payload} at {stamp} after {}", self.last);
        self.last = stamp;
        if payload.starts_with(['+', '~', '-']) {
            return;
        }
        assert!(payload.starts_with(&format!("m{}x", self.ch)), "{payload} is another channel's");
        assert!(!self.known.is_only_refused(payload), "{payload} was refused");
        if let Some((known, _)) = self.known.acknowledged[self.ch].get(&stamp) {
            assert_eq!(known, payload);
        }
        self.heard.insert(stamp, payload.to_owned());
    }

    fn follow_members(&mut self, payload: &str) {
        let Some(members) = &mut self.members else { return };
        for event in payload.split(',') {
            let Some((key, data)) = event.get(1..).and_then(|e| e.split_once('=')) else { continue };
            match event.as_bytes()[0] {
                b'-' => drop(members.remove(key)),
                b'+' | b'~' => drop(members.insert(key.to_owned(), data.to_owned())),
                _ => {}
            }
        }
    }

    /// Everything acknowledged after `sure` and up to `until` was heard.
    fn close(&mut self, until: u64) {
        let Some(sure) = self.sure.take().filter(|sure| *sure < until) else { return };
        for (stamp, (payload, by)) in self.known.acknowledged[self.ch].range(sure + 1..=until) {
            let own = !self.echo && by.iter().any(|c| self.own.contains(c));
            let heard = self.heard.contains_key(stamp);
            assert!(heard || own, "{payload} at {stamp} is missing in {sure}..={until}");
        }
    }
}

/// What is kept is in order, and has everything acknowledged up to the tail's limits.
pub(super) fn history(kept: &[(u64, String)], ch: usize, known: &Known, whole: bool) {
    assert!(kept.windows(2).all(|two| two[0].0 < two[1].0), "{kept:?}");
    let kept: BTreeMap<u64, &String> = kept.iter().map(|(stamp, payload)| (*stamp, payload)).collect();
    let first = if whole { 0 } else { kept.keys().next().copied().unwrap_or(u64::MAX) };
    for (stamp, (payload, _)) in known.acknowledged[ch].range(first..) {
        assert_eq!(kept.get(stamp), Some(&payload), "an acknowledged publish is not kept");
    }
    for payload in kept.values() {
        assert!(!known.is_only_refused(payload), "{payload} was refused and is kept");
    }
}
