//! Presence, channels, and the sandbox that makes them.

use serde_json::{Value, json};

use super::harness::Rest;
use crate::wire::Format;

const FIXTURES: &str = "/channels/persisted:presence_fixtures/presence";

fn clients(body: &Value) -> Vec<String> {
    body.as_array().unwrap().iter().map(|m| m["clientId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_made_app_says_all_that_suites_read() {
    let rest = Rest::start().await;
    let app = &rest.app;
    let asked: Value = serde_json::from_str(include_str!("post_apps.json")).unwrap();
    let keys = app["keys"].as_array().unwrap();
    assert_eq!(keys.len(), asked["keys"].as_array().unwrap().len());
    assert_eq!(app["namespaces"].as_array().unwrap().len(), asked["namespaces"].as_array().unwrap().len());
    for (key, asked) in keys.iter().zip(asked["keys"].as_array().unwrap()) {
        let text = |name: &str| key[name].as_str().unwrap();
        assert_eq!(text("keyName"), format!("{}.{}", app["appId"].as_str().unwrap(), text("id")));
        assert_eq!(text("keyStr"), format!("{}:{}", text("keyName"), text("value")));
        assert_eq!(text("keySecret"), text("value"));
        let _: Value = serde_json::from_str(text("capability")).unwrap();
        assert_eq!(key["revocableTokens"], asked.get("revocableTokens").is_some());
    }
    assert_eq!(keys[0]["capability"], r#"{"*":["*"]}"#);
    assert_eq!(
        (&app["endpoint"], &app["port"], &app["tls"]),
        (&json!("127.0.0.1"), &json!(8080), &json!(false))
    );
}

#[tokio::test]
async fn a_made_app_is_deleted_by_its_key_alone() {
    let rest = Rest::start().await;
    let other = rest.send("POST", "/apps", None, &[], Some(&json!({"keys": [{}], "privileged": 1}))).await;
    let other_key = other.body["keys"][0]["keyStr"].as_str().unwrap();
    let path = format!("/apps/{}", rest.app["appId"].as_str().unwrap());
    rest.send("DELETE", &path, None, &[], None).await.assert(401, 40101);
    rest.send("DELETE", &path, Some(other_key), &[], None).await.assert(403, 40300);
    let got = rest.send("DELETE", &path, Some(&rest.key(0)), &[], None).await;
    assert_eq!((got.status, got.bytes.len()), (204, 0));
    assert_eq!(rest.get("/channels/a/messages").await.status, 401);
    let got = rest.send("GET", "/channels/a/messages", Some(other_key), &[], None).await;
    assert_eq!(got.status, 200);
    rest.post("/apps", &json!({"keys": [{"capability": "{}"}]})).await.assert(400, 40000);
    rest.post("/apps", &json!([])).await.assert(400, 40000);
}

#[tokio::test]
async fn fixtures_are_present() {
    let mut rest = Rest::start().await;
    for format in [Format::Json, Format::Msgpack] {
        rest.format = format;
        let got = rest.get(FIXTURES).await;
        assert_eq!((got.status, got.body.as_array().unwrap().len()), (200, 6), "{}", got.body);
        assert!(got.body.as_array().unwrap().iter().all(|m| m["action"] == 1));
        let connection = got.body[0]["connectionId"].as_str().unwrap();
        let all = rest.get(&format!("{FIXTURES}?connectionId={connection}")).await;
        assert_eq!(all.body.as_array().unwrap().len(), 6);
        let one = rest.get(&format!("{FIXTURES}?clientId=client_json")).await;
        assert_eq!(clients(&one.body), ["client_json"]);
        assert_eq!(rest.get(&format!("{FIXTURES}?clientId=nobody")).await.body, json!([]));
        let first = rest.get(&format!("{FIXTURES}?limit=4")).await;
        let next = first.link("next").unwrap();
        let second = rest.get(&format!("{FIXTURES}?{next}")).await;
        assert_eq!((clients(&first.body).len(), clients(&second.body).len()), (4, 2));
        assert!(second.link("next").is_none());
        let history = rest.get(&format!("{FIXTURES}/history")).await;
        let names = clients(&history.body);
        assert_eq!((&*names[0], &*names[5]), ("client_encoded", "client_bool"));
        assert!(history.body.as_array().unwrap().iter().all(|m| m["action"] == 2));
        let encoding = history.body[0]["encoding"].as_str().unwrap();
        let wanted = match format {
            Format::Json => "json/utf-8/cipher+aes-128-cbc/base64",
            Format::Msgpack => "json/utf-8/cipher+aes-128-cbc",
        };
        assert_eq!(encoding, wanted);
    }
}

#[tokio::test]
async fn presence_of_several_channels() {
    let mut rest = Rest::start().await;
    let path = "/presence?channels=persisted:presence_fixtures,empty,%3Abad";
    let got = rest.get(path).await;
    assert_eq!((&got.body["successCount"], &got.body["failureCount"]), (&json!(2), &json!(1)));
    assert_eq!(got.body["results"][0]["presence"].as_array().unwrap().len(), 6);
    assert_eq!(got.body["results"][1], json!({"channel": "empty", "presence": []}));
    assert_eq!(got.body["results"][2]["error"]["code"], 40010);
    rest.version = "2";
    rest.get(path).await.assert(400, 40020);
    let got = rest.get("/presence?channels=empty").await;
    assert_eq!((got.status, &got.body), (200, &json!([{"channel": "empty", "presence": []}])));
    let limited =
        rest.send("GET", "/presence?channels=channel4,channel0", Some(&rest.key(2)), &[], None).await;
    assert_eq!(limited.body["batchResponse"][1]["error"]["statusCode"], 401);
}

#[tokio::test]
async fn channels_say_how_they_are() {
    let rest = Rest::start().await;
    let got = rest.get("/channels/status0").await;
    assert_eq!(got.body["channelId"], "status0");
    assert_eq!(got.body["status"]["isActive"], true);
    let metrics = &got.body["status"]["occupancy"]["metrics"];
    for name in ["connections", "presenceConnections", "presenceMembers", "presenceSubscribers", "publishers"]
    {
        assert!(metrics[name].is_i64(), "{name}");
    }
    rest.send("GET", "/channels/a", Some(&rest.key(3)), &[], None).await.assert(401, 40160);
}

#[tokio::test]
async fn channels_are_listed() {
    let mut rest = Rest::start().await;
    for name in ["b", "a", "c"] {
        assert_eq!(
            rest.post(&format!("/channels/list:{name}/messages"), &json!({"data": "x"})).await.status,
            201
        );
    }
    let got = rest.get("/channels?prefix=list:&limit=2").await;
    assert_eq!(got.body, json!(["list:a", "list:b"]));
    let got = rest.get(&format!("/channels?{}", got.link("next").unwrap())).await;
    assert_eq!((&got.body, got.link("next")), (&json!(["list:c"]), None));
    rest.version = "2";
    let got = rest.get("/channels?prefix=list:").await;
    assert_eq!(got.body[0]["channelId"], "list:a");
    let got = rest.get("/channels?prefix=list:&by=id").await;
    assert_eq!(got.body[0], "list:a");
    rest.send("GET", "/channels", Some(&rest.key(3)), &[], None).await.assert(401, 40160);
}
