//! Formats, errors, wrappings and routes.

use serde_json::json;

use super::harness::Rest;
use crate::rest::BODY_BYTES_MAX;
use crate::wire::Format;

fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn time_in_the_format_that_is_asked_for() {
    let rest = Rest::start().await;
    let rows = [
        ("/time", "", "application/json"),
        ("/time", "*/*", "application/json"),
        ("/time?format=msgpack", "*/*", "application/x-msgpack"),
        ("/time?format=msgpack", "application/json", "application/json"),
        ("/time", "application/x-msgpack, text/html", "application/x-msgpack"),
    ];
    for (path, accept, wanted) in rows {
        let got = rest.raw("GET", path, &headers(&[("accept", accept)]), "").await;
        assert_eq!((got.status, got.header("content-type")), (200, wanted), "{path} {accept}");
        assert!(got.body[0].as_i64().unwrap() > 1_700_000_000_000);
        assert_eq!(got.body.as_array().unwrap().len(), 1);
        assert_eq!(got.header("access-control-allow-origin"), "*");
        assert_eq!(got.header("x-ably-serverid"), "server-1");
    }
}

#[tokio::test]
async fn refusals_have_a_code_in_the_callers_format() {
    let mut rest = Rest::start().await;
    let rows = [
        ("GET", "/not-found", 404, 40400),
        ("GET", "/", 404, 40400),
        ("POST", "/channels/a/b/messages", 404, 40400),
        ("GET", "/keys/ablyjs.test/requestToken", 404, 40400),
        ("DELETE", "/time", 405, 40500),
        ("PUT", "/channels/a/messages", 405, 40500),
        ("GET", "/messages", 405, 40500),
        ("GET", "/channels/%/messages", 400, 40000),
        ("GET", "/channels/%ff/messages", 400, 40000),
        ("GET", "/time?a=%zz", 400, 40000),
        ("GET", "/time?callback=alert(1)", 400, 40003),
        ("GET", "/channels/a/messages", 401, 40101),
        ("GET", "/channels/a/messages?limit=abc", 401, 40101),
    ];
    for format in [Format::Json, Format::Msgpack] {
        rest.format = format;
        for (method, path, status, code) in rows {
            let got = rest.send(method, path, None, &[], None).await;
            assert_eq!(got.header("content-type"), format.content_type(), "{path}");
            got.assert(status, code);
            assert_eq!(got.body["error"]["statusCode"], status);
            assert!(!got.header("x-ably-errormessage").is_empty());
            assert_eq!(status == 405, !got.header("allow").is_empty());
        }
    }
}

#[tokio::test]
async fn bad_parameters_are_refused() {
    let rest = Rest::start().await;
    let rows = [
        ("/channels/a/messages?limit=abc", 40003),
        ("/channels/a/messages?limit=0", 40003),
        ("/channels/a/messages?limit=1001", 40003),
        ("/channels/a/messages?start=x", 40003),
        ("/channels/a/messages?start=2&end=1", 40003),
        ("/channels/a/messages?direction=up", 40003),
        ("/channels/a/messages?from_serial=x", 40003),
        ("/channels/a/messages?cursor=x", 40003),
        ("/channels/%3Aa/messages", 40010),
        ("/channels//messages", 40010),
        ("/channels/a/presence?limit=abc", 40003),
        ("/channels?by=x", 40003),
        ("/presence", 40000),
    ];
    for (path, code) in rows {
        rest.get(path).await.assert(400, code);
    }
    rest.send("GET", "/time", None, &[("x-ably-version", "0.8")], None).await.assert(400, 40017);
}

#[tokio::test]
async fn preflights_are_answered_everywhere() {
    let rest = Rest::start().await;
    for path in ["/time", "/channels/a/messages", "/nowhere", "/%"] {
        let got = rest.raw("OPTIONS", path, &headers(&[("origin", "https://a.example")]), "").await;
        assert_eq!((got.status, got.header("access-control-allow-origin")), (204, "*"));
        assert!(got.header("access-control-allow-headers").contains("Authorization"));
        assert!(got.header("access-control-expose-headers").contains("Link"));
    }
}

#[tokio::test]
async fn wrappings() {
    let rest = Rest::start().await;
    let none = headers(&[]);
    let got = rest.raw("GET", "/time?envelope=json", &none, "").await;
    assert_eq!((got.status, &got.body["statusCode"]), (200, &json!(200)));
    assert!(got.body["response"][0].is_i64());
    let got = rest.raw("GET", "/nowhere?envelope=msgpack", &none, "").await;
    assert_eq!(got.header("content-type"), "application/x-msgpack");
    assert_eq!((got.status, &got.body["statusCode"]), (200, &json!(404)));
    assert_eq!(got.body["response"]["error"]["code"], 40400);
    assert_eq!(got.body["headers"]["X-Ably-Errorcode"], "40400");
    let got = rest.raw("GET", "/time?callback=cb&envelope=jsonp", &none, "").await;
    assert_eq!((got.status, got.header("content-type")), (200, "application/javascript"));
    let script = String::from_utf8(got.bytes).unwrap();
    assert!(script.starts_with("/**/cb({\"statusCode\":200,") && script.ends_with(");"), "{script}");
    let key = rest.key(0);
    let history = rest.send("GET", "/channels/x/messages?envelope=json", Some(&key), &[], None).await;
    assert!(history.body["headers"]["Link"].as_str().unwrap().contains("rel=\"first\""));
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let rest = Rest::start().await;
    let key = rest.key(0);
    let auth = format!("Basic {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key));
    let path = "/channels/a/messages";
    let announced = headers(&[("authorization", &auth), ("content-length", "3000000")]);
    rest.raw("POST", path, &announced, "").await.assert(413, 40009);
    let plain = headers(&[("authorization", &auth)]);
    rest.raw("POST", path, &plain, vec![b' '; BODY_BYTES_MAX + 1]).await.assert(413, 40009);
    rest.raw("POST", path, &plain, "{").await.assert(400, 40000);
    rest.raw("POST", path, &plain, "").await.assert(400, 40000);
    // Strangers are told so before they have sent anything.
    rest.raw("POST", path, &headers(&[("content-length", "3000000")]), "").await.assert(401, 40101);
}

#[tokio::test]
async fn statistics_are_empty_for_those_who_may_ask() {
    let rest = Rest::start().await;
    assert_eq!(rest.get("/stats").await.body, json!([]));
    rest.send("GET", "/stats", Some(&rest.key(3)), &[], None).await.assert(401, 40160);
    assert_eq!(rest.post("/stats", &json!([])).await.status, 201);
}
