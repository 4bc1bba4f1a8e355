use std::any::Any;

use super::*;
use crate::auth::{Revocation, Target};
use crate::wire::flag;

fn connected(world: &World, ttl: i64, claims: Value) -> Client {
    let mut client =
        world.open(&format!("v=5&heartbeats=false&access_token={}", token("revocable", ttl, claims)));
    client.heard();
    client
}

fn auth(token: &str) -> Value {
    json!({"action": 17, "auth": {"accessToken": token}})
}

const PROMPT: i64 = 17;

#[test]
fn tokens_end() {
    let world = World::new();
    let mut short = connected(&world, 5, json!({}));
    assert!(short.waits(Duration::from_millis(4_999)).is_empty(), "no prompt: the client means it to expire");
    let frames = short.waits(Duration::from_millis(1));
    assert_eq!(errors(&frames), [(6, 40142)]);
    assert_eq!((&frames[0]["error"]["statusCode"], &frames[1]), (&json!(401), &json!({"close": 1000})));

    let mut longer = connected(&world, 35, json!({}));
    assert!(longer.waits(Duration::from_millis(4_999)).is_empty());
    assert_eq!(longer.waits(Duration::from_millis(1)), [json!({"action": PROMPT})]);
    assert_eq!(longer.says(auth(&token("revocable", 3600, json!({}))))[0]["action"], 4);
    assert!(longer.waits(Duration::from_secs(60)).is_empty(), "the new token counts");
}

#[test]
fn a_new_token_must_be_the_same_clients() {
    let world = World::new();
    let me = json!({"x-ably-clientId": "me"});
    let mut client = connected(&world, 3600, me.clone());
    let before = client.session.connection_id().cloned();
    let update = client.says(auth(&token("full", 3600, me.clone())));
    assert_eq!((&update[0]["action"], update[0].get("error")), (&json!(4), None));
    assert_eq!(client.session.connection_id().cloned(), before);
    let frames = client.says(auth(&token("full", 3600, json!({"x-ably-clientId": "you"}))));
    assert_eq!(errors(&frames), [(9, 40102)]);
    assert_eq!(frames[1..], [json!("leave all"), json!({"close": 1000}), json!("end")]);

    let mut client = connected(&world, 3600, me);
    assert_eq!(errors(&client.says(auth("nonsense"))), [(9, 40101)]);
    let mut basic = world.client("");
    assert_eq!(basic.says(auth(&token("full", 3600, json!({}))))[0]["action"], 4);
}

#[test]
fn channels_are_judged_anew() {
    let world = World::new();
    let can = |capability: &str| json!({"x-ably-capability": capability});
    let mut client = connected(&world, 3600, can(r#"{"a":["subscribe"],"b":["publish","subscribe"]}"#));
    client.attaches("a", json!({}));
    client.attaches("b", json!({}));
    let publish = |serial: i64| json!({"action": 15, "channel": "b", "msgSerial": serial, "messages": [{}]});
    assert_eq!(client.says(publish(0))[0]["publish"], "b");
    client.published(0, 1);
    client.flushed();

    let frames = client.says(auth(&token("revocable", 3600, can(r#"{"b":["subscribe"]}"#))));
    assert_eq!(errors(&frames), [(9, 40160)]);
    assert!(frames.contains(&json!({"detach": 1})) && frames.contains(&json!({"leave": "a"})));
    assert_eq!(frames.last().unwrap()["action"], 4);
    client.says(publish(1));
    assert_eq!(errors(&client.flushed()), [(2, 40160)], "still attached, with less");

    let frames = client.says(auth(&token("revocable", 3600, can(r#"{"b":["publish"]}"#))));
    assert_eq!(frames[0]["hears"], json!([false, false, true, false]));
    let id = frames[0]["attach"].as_u64().unwrap() as u32;
    let attached = client.told(Event::Attached(Box::new(super::attached(id))));
    assert_eq!(attached[0]["flags"], flag::PUBLISH | flag::RESUMED);
    assert_eq!(client.says(publish(2))[0]["publish"], "b", "granted again");
}

#[test]
fn a_channel_on_its_way_is_judged_when_it_is_there() {
    let world = World::new();
    let can = |operations: &str| json!({"x-ably-capability": format!(r#"{{"a":[{operations}]}}"#)});
    let mut client = connected(&world, 3600, can(r#""publish","subscribe""#));
    let asked = client.says(json!({"action": 10, "channel": "a", "channelSerial": "junk"}));
    let frames = client.says(auth(&token("revocable", 3600, can(r#""publish""#))));
    assert_eq!(frames.len(), 1, "only CONNECTED: what the client asked for goes on");
    let id = asked[0]["attach"].as_u64().unwrap() as u32;
    let frames = client.told(Event::Attached(Box::new(super::attached(id))));
    assert_eq!(frames[0]["action"], 11);
    assert_eq!(
        (&frames[1]["since"], &frames[1]["hears"]),
        (&json!("now"), &json!([false, false, true, false]))
    );
}

#[test]
fn revocations() {
    let world = World::new();
    let revocation = |client: &str, applies_at: i64| Revocation {
        key: fanfare_model::KeyName::parse("app.revocable").unwrap(),
        target: Target::parse(&format!("clientId:{client}")).unwrap(),
        issued_before: Timestamp(T + 1),
        applies_at: Timestamp(applies_at),
    };
    let notice = |r: Revocation| Event::Notice(Arc::new(vec![r]) as Arc<dyn Any + Send + Sync>);
    let mut client = connected(&world, 3600, json!({"x-ably-clientId": "me"}));
    assert!(client.told(notice(revocation("you", T))).is_empty());
    let frames = client.told(notice(revocation("me", T)));
    assert_eq!(errors(&frames), [(6, 40141)]);
    assert_eq!(frames[1], json!({"close": 1000}));

    let mut client = connected(&world, 3600, json!({"x-ably-clientId": "me"}));
    let late = revocation("me", T + 30_000);
    world.host.authenticator.revocations().add(late.clone(), Timestamp(T)).unwrap();
    assert_eq!(client.told(notice(late)), [json!({"action": PROMPT})]);
    assert!(client.waits(Duration::from_millis(29_999)).is_empty());
    assert_eq!(errors(&client.waits(Duration::from_millis(1))), [(6, 40141)]);
}

#[test]
fn the_app_changes() {
    let world = World::new();
    let mut client = world.client("");
    assert!(client.told(Event::Reconfigured).is_empty());
    world.directory.insert(app(|app| app.enabled = false));
    let frames = client.told(Event::Reconfigured);
    assert_eq!(errors(&frames), [(9, 40301)]);
    assert_eq!(frames.last(), Some(&json!("end")));
    world.directory.insert(app(|_| {}));
    let mut client = world.client("");
    world.directory.insert(app(|app| drop(app.keys.remove("full"))));
    assert_eq!(errors(&client.told(Event::Reconfigured)), [(9, 40131)]);
}

#[test]
fn the_secret_proves_the_holder() {
    let world = World::new();
    let mut client = world.open(&format!("{FULL}&clientId=me"));
    let key = client.heard()[1]["connectionDetails"]["connectionKey"].as_str().unwrap().to_owned();
    let key = ConnectionKey::parse(&key).unwrap();
    let me = fanfare_model::ClientIdRule::Only(ClientId::parse("me").unwrap());
    assert_eq!(client.session.prove(&key.secret), Some(me));
    assert_eq!(client.session.prove("x"), None);
}
