use super::*;

fn publish(serial: i64) -> Value {
    json!({"action": 15, "channel": "a", "msgSerial": serial, "messages": [{}]})
}

/// `action msgSerial count serials…`
fn read(frames: &[Value]) -> Vec<String> {
    let one = |f: &Value| {
        let serials =
            f["res"].as_array().map_or(0, |r| r.iter().map(|r| r["serials"].as_array().unwrap().len()).sum());
        format!("{} {} {} {serials}", f["action"], f["msgSerial"], f["count"])
    };
    frames.iter().filter(|f| f.is_object()).map(one).collect()
}

#[test]
fn in_order_whatever_the_order_of_results() {
    let mut client = World::new().client("");
    for serial in 0..4 {
        client.says(publish(serial));
    }
    assert!(client.published(1, 2).is_empty(), "the first one's result is awaited");
    assert!(client.published(2, 1).is_empty());
    assert_eq!(client.published(0, 1), [json!("flush")]);
    let frames = client.flushed();
    assert_eq!(read(&frames), ["1 0 3 4"]);
    assert_eq!(frames[0]["res"][1]["serials"][1], "01800000000000-001@epoch:001");
    let refusal = Event::Published { token: 3, result: Err(refused(40009)) };
    client.told(refusal);
    assert_eq!(read(&client.flushed()), ["2 3 1 0"]);
    assert!(client.flushed().is_empty());
}

#[test]
fn refusals_part_acks() {
    let mut client = World::new().client("");
    for serial in 0..3 {
        client.says(publish(serial));
    }
    client.told(Event::Published { token: 1, result: Err(refused(40009)) });
    client.published(2, 1);
    client.published(0, 1);
    assert_eq!(read(&client.flushed()), ["1 0 1 1", "2 1 1 0", "1 2 1 1"]);
}

#[test]
fn sent_again_is_answered_again_and_not_published() {
    let mut client = World::new().client("");
    client.says(publish(0));
    client.says(publish(1));
    assert!(client.says(publish(0)).is_empty(), "it is still on its way");
    client.published(0, 1);
    client.told(Event::Published { token: 1, result: Err(refused(40009)) });
    client.flushed();
    assert_eq!(client.says(publish(0)), [json!("flush")]);
    assert_eq!(client.says(publish(1)), [json!("flush")]);
    assert_eq!(read(&client.flushed()), ["1 0 1 1", "2 1 1 0"]);
    assert_eq!(client.says(publish(2))[0]["publish"], "a");
}

#[test]
fn what_is_forgotten_is_still_not_published() {
    let mut client = World::new().client("");
    for serial in 0..1_025 {
        client.says(publish(serial));
        client.published(serial as u64, 1);
    }
    client.flushed();
    client.says(publish(0));
    client.says(publish(1));
    assert_eq!(read(&client.flushed()), ["1 0 2 1"], "the first without its serial");
    let later = client.waits(Duration::from_secs(130));
    assert!(later.iter().all(|f| f["action"] == 0), "{later:?}");
    client.says(publish(1_024));
    assert_eq!(read(&client.flushed()), ["1 1024 1 0"], "results age");
}

#[test]
fn empty_and_nonsensical() {
    let mut client = World::new().client("");
    client.says(json!({"action": 15, "channel": "a", "msgSerial": 0, "messages": []}));
    assert_eq!(read(&client.flushed()), ["1 0 1 0"]);
    assert_eq!(errors(&client.says(publish(-1))), [(9, 40000)]);
}
