//! Tokens asked for, used and revoked.

use serde_json::{Value, json};

use super::harness::{Got, Rest};

async fn token(rest: &Rest, key: usize, mut body: Value) -> Got {
    if let Value::Object(fields) = &mut body {
        fields.insert("keyName".into(), rest.key_name(key).into());
    }
    let path = format!("/keys/{}/requestToken", rest.key_name(key));
    rest.send("POST", &path, Some(&rest.key(key)), &[], Some(&body)).await
}

async fn with_token(rest: &Rest, method: &str, path: &str, token: &str, body: Value) -> Got {
    let bearer = format!("Bearer {token}");
    rest.send(method, path, None, &[("authorization", &bearer)], Some(&body)).await
}

#[tokio::test]
async fn a_token_does_what_it_may() {
    let rest = Rest::start().await;
    let asked = json!({"capability": r#"{"a":["publish","history"]}"#, "clientId": "me", "ttl": 100_000});
    let got = token(&rest, 0, asked).await;
    assert_eq!(got.status, 201, "{}", got.body);
    assert_eq!(got.body["keyName"], rest.key_name(0));
    assert_eq!(got.body["expires"].as_i64().unwrap() - got.body["issued"].as_i64().unwrap(), 100_000);
    let token = got.body["token"].as_str().unwrap();
    assert_eq!(
        with_token(&rest, "POST", "/channels/a/messages", token, json!({"data": "x"})).await.status,
        201
    );
    with_token(&rest, "POST", "/channels/b/messages", token, json!({})).await.assert(401, 40160);
    let other = json!({"clientId": "you"});
    with_token(&rest, "POST", "/channels/a/messages", token, other).await.assert(400, 40012);
    let got = rest.get(&format!("/channels/a/messages?access_token={token}")).await;
    assert_eq!(got.body[0]["clientId"], "me");
    assert!(!got.link("first").unwrap().contains("oken"), "credentials are not in links");
}

#[tokio::test]
async fn refused_token_requests() {
    let rest = Rest::start().await;
    for (body, status) in [
        (json!({"ttl": -1}), 400),
        (json!({"ttl": "notanumber"}), 400),
        (json!({"capability": r#"{"a":["publish_"]}"#}), 400),
        (json!({"clientId": ""}), 400),
        (json!([]), 400),
    ] {
        assert_eq!(token(&rest, 0, body.clone()).await.status, status, "{body}");
    }
    let path = format!("/keys/{}/requestToken", rest.key_name(0));
    assert_eq!(
        rest.send("POST", &path, None, &[], Some(&json!({"keyName": rest.key_name(0)}))).await.status,
        401
    );
    let wrong = json!({"keyName": rest.key_name(0), "timestamp": 1, "nonce": "n", "mac": "12345"});
    rest.send("POST", &path, None, &[], Some(&wrong)).await.assert(401, 40101);
    let auth = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, rest.key(0));
    let form = [
        ("authorization".to_owned(), format!("Basic {auth}")),
        ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
    ];
    let got = rest.raw("POST", &path, &form, format!("keyName={}&ttl=1000", rest.key_name(0))).await;
    assert_eq!(got.status, 201, "{}", got.body);
}

#[tokio::test]
async fn revoked_tokens_are_refused() {
    let rest = Rest::start().await;
    let got = token(&rest, 4, json!({"clientId": "me"})).await;
    let token = got.body["token"].as_str().unwrap();
    let path = format!("/keys/{}/revokeTokens", rest.key_name(4));
    let body = json!({"targets": ["clientId:me", "invalidType:abc"]});
    with_token(&rest, "POST", &path, token, body.clone()).await.assert(401, 40162);
    rest.send("POST", &path, Some(&rest.key(0)), &[], Some(&body)).await.assert(401, 40133);
    let got = rest.send("POST", &path, Some(&rest.key(4)), &[], Some(&body)).await;
    assert_eq!(got.status, 201, "{}", got.body);
    assert_eq!((&got.body["successCount"], &got.body["failureCount"]), (&json!(1), &json!(1)));
    assert!(got.body["results"][0]["appliesAt"].is_i64());
    assert_eq!(got.body["results"][1]["error"]["statusCode"], 400);
    with_token(&rest, "GET", "/channels/a/messages", token, json!({})).await.assert(401, 40141);
    let path = format!("/keys/{}/revokeTokens", rest.key_name(0));
    rest.post(&path, &body).await.assert(401, 40163);
}
