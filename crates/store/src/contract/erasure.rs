//! The contract's cases of erasure: what is asked for goes, and everything else stays as it was.

use std::time::Duration;

use fanfare_model::{AppId, Body, BodyKind, ChannelKey};

use super::{DAY, Subject, append, append_with, holds, key, messages, presence, read_all, text};
use crate::{Backend, Erased, Keep, Scope};

fn fill(b: &dyn Backend, channels: &[ChannelKey]) {
    for channel in channels {
        append(b, channel, vec![text(1), presence(2, "ann"), messages(3, &["ann", "bob"])]);
        append_with(b, channel, text(4), Keep::All, Duration::from_secs(90 * 24 * 3600));
    }
}

/// Reopens too, where that is possible: what is gone must not come back from a journal.
fn gone_but(subject: &mut dyn Subject, gone: &[&ChannelKey], kept: &[&ChannelKey]) {
    for _ in 0..2 {
        let b = subject.backend();
        for channel in gone {
            holds(&*b, channel, &[]);
            assert_eq!(read_all(&*b, channel, BodyKind::Presence), []);
            assert_eq!(b.head(channel).expect("a head"), None);
        }
        for channel in kept {
            holds(&*b, channel, &[text(1), messages(3, &["ann", "bob"]), text(4)]);
            assert_eq!(read_all(&*b, channel, BodyKind::Presence), [presence(2, "ann")]);
        }
        drop(b);
        if !subject.reopen() {
            return;
        }
    }
}

pub(super) fn app(subject: &mut dyn Subject) {
    let channels = [key("a", "x"), key("a", "y"), key("ab", "x"), key("a-", "x")];
    fill(&*subject.backend(), &channels);
    let erased = subject.backend().erase(&Scope::App(AppId::parse("a").expect("good"))).expect("erased");
    assert_eq!(erased, Erased { records: 8, messages: 10 });
    let [x, y, others @ ..] = &channels;
    gone_but(subject, &[x, y], &others.iter().collect::<Vec<_>>());
}

pub(super) fn channel(subject: &mut dyn Subject) {
    let channels = [key("a", "x"), key("a", "xy"), key("a", "x:y"), key("b", "x")];
    fill(&*subject.backend(), &channels);
    let erased = subject.backend().erase(&Scope::Channel(channels[0].clone())).expect("erased");
    assert_eq!(erased, Erased { records: 4, messages: 5 });
    let [x, others @ ..] = &channels;
    gone_but(subject, &[x], &others.iter().collect::<Vec<_>>());
    append(&*subject.backend(), x, vec![text(9)]);
    holds(&*subject.backend(), x, &[text(9)]);
}

pub(super) fn client(subject: &mut dyn Subject) {
    let b = subject.backend();
    let (channel, other_app) = (key("a", "x"), key("b", "x"));
    fill(&*b, std::slice::from_ref(&other_app));
    let mixed = messages(3, &["ann", "bob", "ann", "cy"]);
    append(&*b, &channel, vec![text(1), presence(2, "ann"), mixed.clone(), presence(4, "bob")]);
    append(&*b, &channel, vec![messages(5, &["annie"])]);
    let scope = Scope::Client { app: channel.app.clone(), client: super::client("ann") };
    assert_eq!(b.erase(&scope).expect("erased"), Erased { records: 2, messages: 4 });
    drop(b);
    for _ in 0..2 {
        let b = subject.backend();
        let left = read_all(&*b, &channel, BodyKind::Messages);
        assert_eq!(left.len(), 2);
        assert_eq!((&left[0].id, left[0].stamp), (&mixed.id, mixed.stamp));
        let (Body::Messages(before), Body::Messages(now)) = (&mixed.body, &left[0].body) else { panic!() };
        assert_eq!(now.len(), 2);
        for (now, place) in now.iter().zip([1, 3]) {
            assert_eq!(now.data, before[place].data);
            assert_eq!(now.id.as_deref(), Some(&*format!("c:3:{place}")), "its id was its place");
        }
        assert_eq!(left[1], messages(5, &["annie"]), "byte for byte");
        assert_eq!(read_all(&*b, &channel, BodyKind::Presence), [presence(4, "bob")]);
        assert_eq!(b.erase(&scope).expect("erased again"), Erased::default());
        drop(b);
        gone_but(subject, &[], &[&other_app]);
    }
}

/// What a last message had hidden does not come back with its erasure.
pub(super) fn client_last(subject: &mut dyn Subject) {
    let b = subject.backend();
    let (channel, other) = (key("a", "x"), key("a", "y"));
    append(&*b, &channel, vec![messages(1, &["bob"]), messages(2, &["ann"])]);
    append_with(&*b, &channel, messages(3, &["ann"]), Keep::Last, DAY);
    append_with(&*b, &other, messages(3, &["bob"]), Keep::Last, DAY);
    let scope = Scope::Client { app: channel.app.clone(), client: super::client("ann") };
    assert_eq!(b.erase(&scope).expect("erased"), Erased { records: 1, messages: 1 });
    holds(&*b, &channel, &[]);
    holds(&*b, &other, &[messages(3, &["bob"])]);
    append_with(&*b, &channel, messages(4, &["bob"]), Keep::Last, DAY);
    holds(&*b, &channel, &[messages(4, &["bob"])]);
}
