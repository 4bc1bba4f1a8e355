//! Publishing and history.

use serde_json::{Value, json};

use super::harness::{Got, Rest};
use crate::wire::Format;

fn data_of(got: &Got) -> Vec<String> {
    got.body.as_array().unwrap().iter().map(|m| m["data"].as_str().unwrap().to_owned()).collect()
}

async fn pages(rest: &Rest, path: &str, query: &str) -> Vec<Vec<String>> {
    let (mut query, mut pages) = (query.to_owned(), Vec::new());
    loop {
        let got = rest.get(&format!("{path}?{query}")).await;
        assert_eq!(got.status, 200, "{}", got.body);
        pages.push(data_of(&got));
        assert!(got.link("first").is_some() && got.link("current").is_some());
        match got.link("next") {
            Some(next) => query = next,
            None => return pages,
        }
    }
}

#[tokio::test]
async fn published_messages_are_in_history() {
    let mut rest = Rest::start().await;
    for (format, channel) in [
        (Format::Json, "plain"),
        (Format::Msgpack, "plain2"),
        (Format::Json, "persisted%3Aa%2Fb%20%C3%BC"),
        (Format::Msgpack, "persisted%3Ab"),
    ] {
        rest.format = format;
        let path = format!("/channels/{channel}/messages");
        let body = json!([{"name": "n", "data": "a"}, {"data": {"x": 1}}, {"name": "only"}]);
        let got = rest.post(&path, &body).await;
        assert_eq!(got.status, 201, "{}", got.body);
        let serials = got.body["serials"].as_array().unwrap();
        assert_eq!(serials.len(), 3);
        let id = got.body["messageId"].as_str().unwrap();
        let history = rest.get(&format!("{path}?direction=forwards")).await;
        assert_eq!(history.header("content-type"), format.content_type());
        let items = history.body.as_array().unwrap();
        assert_eq!(items.len(), 3);
        assert_eq!((&items[0]["name"], &items[0]["data"]), (&json!("n"), &json!("a")));
        assert_eq!((&items[1]["data"], &items[1]["encoding"]), (&json!("{\"x\":1}"), &json!("json")));
        assert!(items[2].get("data").is_none(), "what was not said is not there");
        for (index, item) in items.iter().enumerate() {
            assert_eq!(item["id"], format!("{id}:{index}"));
            assert_eq!(&item["serial"], &serials[index]);
            assert!(item["timestamp"].is_i64());
        }
    }
    let got = rest.get("/channels/persisted%3Aa%2Fb%20%C3%BC").await;
    assert_eq!(got.body["channelId"], "persisted:a/b ü");
}

#[tokio::test]
async fn history_in_pages_of_any_size() {
    let rest = Rest::start().await;
    for channel in ["paged", "persisted:paged"] {
        let path = format!("/channels/{channel}/messages");
        rest.post(&path, &json!({"data": "0"})).await;
        rest.post(&path, &json!([{"data": "1"}, {"data": "2"}, {"data": "3"}])).await;
        rest.post(&path, &json!({"data": "4"})).await;
        for alias in ["messages", "history"] {
            let path = format!("/channels/{channel}/{alias}");
            let forwards = pages(&rest, &path, "direction=forwards&limit=2").await;
            assert_eq!(forwards, [vec!["0", "1"], vec!["2", "3"], vec!["4"]]);
            let backwards = pages(&rest, &path, "limit=2").await;
            assert_eq!(backwards, [vec!["4", "3"], vec!["2", "1"], vec!["0"]]);
            assert_eq!(pages(&rest, &path, "limit=5").await.len(), 1, "no link to an empty page");
            assert_eq!(pages(&rest, &path, "limit=1").await.len(), 5);
        }
    }
    assert_eq!(pages(&rest, "/channels/empty/messages", "limit=5").await, [Vec::<String>::new()]);
}

#[tokio::test]
async fn history_between_times_and_until_an_attach() {
    let rest = Rest::start().await;
    let path = "/channels/persisted:times/messages";
    let mut published = Vec::new();
    for n in 0..3 {
        published.push(rest.post(path, &json!({"data": n.to_string()})).await.body);
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    let all = rest.get(&format!("{path}?direction=forwards")).await;
    let at = all.body[1]["timestamp"].as_i64().unwrap();
    let got = rest.get(&format!("{path}?start={at}&end={at}")).await;
    assert_eq!(data_of(&got), ["1"], "both ends are in");
    let got = rest.get(&format!("{path}?start=0&end={}", at - 1)).await;
    assert_eq!(data_of(&got), ["0"]);
    let serial = published[1]["serials"][0].as_str().unwrap().replace('@', "%40");
    for name in ["fromSerial", "from_serial"] {
        assert_eq!(pages(&rest, path, &format!("{name}={serial}&limit=1")).await, [vec!["1"], vec!["0"]]);
    }
}

#[tokio::test]
async fn ids_make_publishes_idempotent() {
    let rest = Rest::start().await;
    let path = "/channels/idempotent/messages";
    let body = json!([{"id": "base:0", "data": "a"}, {"id": "base:1", "data": "b"}]);
    let first = rest.post(path, &body).await;
    assert_eq!(first.body["messageId"], "base");
    assert_eq!(rest.post(path, &body).await.body, first.body, "the first one's answer");
    let single = json!({"id": "some id", "data": "c"});
    let (a, b, c) =
        tokio::join!(rest.post(path, &single), rest.post(path, &single), rest.post(path, &single));
    assert!([a, b, c].iter().all(|got| got.status == 201));
    let history = rest.get(&format!("{path}?direction=forwards")).await;
    let ids: Vec<&Value> = history.body.as_array().unwrap().iter().map(|m| &m["id"]).collect();
    assert_eq!(ids, ["base:0", "base:1", "some id"]);
    rest.post(path, &json!([{"id": "a:0"}, {"id": "b:1"}])).await.assert(400, 40031);
}

#[tokio::test]
async fn refused_publishes() {
    let rest = Rest::start().await;
    let path = "/channels/refused/messages";
    let large = "x".repeat(65_537);
    let many = Value::Array(vec![json!({}); 1001]);
    let rows = [
        (json!({"data": 1}), 40013),
        (json!({"extras": "x"}), 40032),
        (json!({"name": 1}), 40016),
        (json!({"clientId": "*"}), 40012),
        (json!({"connectionKey": "should.be.wrong"}), 40006),
        (json!({"data": large}), 40009),
        (json!([]), 40000),
        (json!({"action": 1}), 93002),
        (json!({"action": 3}), 40000),
        (json!("x"), 40000),
        (json!([{"extras": {"ephemeral": true}}, {}]), 40032),
        (many, 40034),
    ];
    for (body, code) in rows {
        rest.post(path, &body).await.assert(400, code);
    }
    rest.post(&format!("{path}?_forceNack=true"), &json!({})).await.assert(400, 40099);
    rest.post("/channels/%5Bmeta%5Dlog/messages", &json!({})).await.assert(401, 40160);
    rest.send("POST", path, Some(&rest.key(3)), &[], Some(&json!({}))).await.assert(401, 40160);
    assert_eq!(rest.get(path).await.body, json!([]));
}

#[tokio::test]
async fn client_ids_and_ephemeral_messages() {
    let rest = Rest::start().await;
    let path = "/channels/clients/messages";
    let key = rest.key(0);
    let me = [("x-ably-clientid", "bWU=")];
    let got = rest.send("POST", path, Some(&key), &me, Some(&json!({"data": "a"}))).await;
    assert_eq!(got.status, 201, "{}", got.body);
    rest.send("POST", path, Some(&key), &me, Some(&json!({"clientId": "you"}))).await.assert(400, 40012);
    rest.post(path, &json!({"clientId": "you", "data": "b"})).await;
    assert_eq!(rest.post(&format!("{path}?ephemeral=true"), &json!({"data": "c"})).await.status, 201);
    assert_eq!(rest.post(path, &json!({"data": "d", "extras": {"ephemeral": true}})).await.status, 201);
    let history = rest.get(&format!("{path}?direction=forwards&testParam=x")).await;
    assert_eq!(data_of(&history), ["a", "b"]);
    let clients: Vec<&Value> = history.body.as_array().unwrap().iter().map(|m| &m["clientId"]).collect();
    assert_eq!(clients, ["me", "you"]);
}

#[tokio::test]
async fn raw_publishes() {
    let rest = Rest::start().await;
    let path = "/channels/raw/messages";
    let headers = [
        ("content-type", "text/plain; charset=utf-8"),
        ("x-ably-messagename", "greeting"),
        ("x-ably-messageid", "my id"),
    ];
    let auth = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, rest.key(0));
    let mut all: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    all.push(("authorization".into(), format!("Basic {auth}")));
    let got = rest.raw("POST", &format!("{path}?enveloped=false"), &all, "[hello]").await;
    assert_eq!((got.status, &got.body["messageId"]), (201, &json!("my id")), "{}", got.body);
    let history = rest.get(path).await;
    let message = &history.body[0];
    assert_eq!((&message["name"], &message["data"]), (&json!("greeting"), &json!("[hello]")));
    assert!(message.get("encoding").is_none());
}

#[tokio::test]
async fn batches() {
    let mut rest = Rest::start().await;
    let limited = rest.key(2);
    let spec = json!({"channels": ["channel0", "channel3"], "messages": [{"data": "a"}, {"data": "b"}]});
    for format in [Format::Json, Format::Msgpack] {
        (rest.format, rest.version) = (format, "6");
        let got = rest.send("POST", "/messages", Some(&limited), &[], Some(&json!([spec, spec]))).await;
        assert_eq!((got.status, got.body.as_array().unwrap().len()), (201, 2), "{}", got.body);
        let one = &got.body[0];
        assert_eq!((&one["successCount"], &one["failureCount"]), (&json!(1), &json!(1)));
        assert_eq!(one["results"][0]["channel"], "channel0");
        assert_eq!(one["results"][0]["serials"].as_array().unwrap().len(), 2);
        assert!(one["results"][0].get("error").is_none());
        assert_eq!(one["results"][1]["error"]["statusCode"], 401);
        assert!(one["results"][1].get("messageId").is_none());
        let got = rest.send("POST", "/messages", Some(&limited), &[], Some(&spec)).await;
        assert_eq!(got.body["successCount"], 1, "one result for one spec");
        let history = rest.get("/channels/channel0/messages?limit=2").await;
        assert_eq!(data_of(&history), ["b", "a"]);
        rest.version = "2";
        let got = rest.send("POST", "/messages", Some(&limited), &[], Some(&spec)).await;
        got.assert(400, 40020);
        assert_eq!(got.body["batchResponse"][1]["error"]["code"], 40160);
        let good = json!({"channels": ["a", "b"], "messages": {"data": "x"}});
        let got = rest.post("/messages", &good).await;
        assert_eq!((got.status, got.body.as_array().unwrap().len()), (201, 2));
        let bad = json!({"channels": ["a", "[invalid", ""], "messages": {"data": "x"}});
        let got = rest.post("/messages", &bad).await;
        assert_eq!(got.body["batchResponse"][2]["error"]["code"], 40010);
    }
    let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    rest.post("/messages", &json!({"channels": many, "messages": {}})).await.assert(400, 40000);
    rest.post("/messages", &json!({"messages": {}})).await.assert(400, 40000);
}
