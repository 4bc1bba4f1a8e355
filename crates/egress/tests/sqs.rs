//! SQS, against a double that checks signatures as the service does.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use fanfare_egress::{Dropped, Egress, QueueLimits, Retry, Sqs, SqsConfig};
use secrecy::SecretString;
use serde_json::{Value, json};
use support::*;

const SECRET: &str = "secret/access+key";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// The service's side of the signature, from what came over the wire.
fn is_signed(request: &Request) -> bool {
    let authorization = &request.headers["authorization"];
    let part = |name: &str| {
        let rest = authorization.split_once(&format!("{name}=")).unwrap().1;
        rest.split(',').next().unwrap().trim()
    };
    let (_, scope) = part("Credential").split_once('/').unwrap();
    let signed = part("SignedHeaders");
    for needed in ["content-type", "host", "x-amz-date", "x-amz-target"] {
        assert!(signed.split(';').any(|name| name == needed), "{needed} is not signed: {signed}");
    }
    let lines: String = signed.split(';').map(|name| format!("{name}:{}\n", request.headers[name])).collect();
    let sha = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
    let path = request.line.split(' ').nth(1).unwrap();
    let canonical = format!("POST\n{path}\n\n{lines}\n{signed}\n{}", sha(&request.body));
    let date = &request.headers["x-amz-date"];
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha(canonical.as_bytes()));
    let key = scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| mac(&key, part));
    assert!(date.starts_with("20231114T2213"), "the test's clock: {date}");
    hex(&mac(&key, &to_sign)) == part("Signature")
}

fn service() -> Double {
    Double::start(|request| {
        if !is_signed(request) {
            return Some(("403 Forbidden", String::new(), r#"{"__type":"SignatureDoesNotMatch"}"#.into()));
        }
        Some(("200 OK", String::new(), json!({"MessageId": "1"}).to_string()))
    })
}

fn config(double: &Double, queue: &str) -> SqsConfig {
    SqsConfig {
        name: "shop".into(),
        endpoint: Some(double.url("/").into()),
        region: "eu-west-1".into(),
        queue_url: format!("{}/{queue}", double.url("/1234")).into(),
        access_key_id: "AKID".into(),
        secret_access_key: SecretString::from(SECRET),
        session_token: None,
        queue: QueueLimits::default(),
        retry: Retry { tries: 3, backoff: Duration::from_millis(5) },
    }
}

fn queue(egress: &Egress, double: &Double, name: &str) -> Sqs {
    egress.sqs(config(double, name)).unwrap()
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[test]
fn messages_are_sent_signed_and_in_order() {
    let double = service();
    let egress = local();
    let sqs = queue(&egress, &double, "inbound");
    let messages: Vec<_> = (0..20).map(|i| format!("{{\"msg\":{{\"payload\":\"ä \\\" {i}\"}}}}")).collect();
    for message in &messages {
        sqs.send(message.clone().into()).unwrap();
    }
    for message in &messages {
        let request = double.next();
        assert_eq!(request.headers["x-amz-target"], "AmazonSQS.SendMessage");
        assert_eq!(request.headers["content-type"], "application/x-amz-json-1.0");
        let url = double.url("/1234/inbound");
        assert_eq!(body(&request), json!({"QueueUrl": url, "MessageBody": message}));
    }
    eventually("all are taken", || counts(egress.queue_counters()) == [20, 0, 0, 0]);
    let mut metrics = String::new();
    egress.metrics(&mut metrics);
    assert!(metrics.contains("fanfare_egress_delivered_total{kind=\"queue\"} 20\n"), "{metrics}");
}

#[test]
fn a_wrong_secret_is_found_out() {
    let double = service();
    let egress = local();
    let wrong = SqsConfig { secret_access_key: SecretString::from("wrong"), ..config(&double, "inbound") };
    egress.sqs(wrong).unwrap().send("{}".into()).unwrap();
    eventually("refused", || counts(egress.queue_counters()) == [0, 0, 1, 0]);
}

#[test]
fn a_session_token_is_signed() {
    let double = service();
    let egress = local();
    let token = Some(SecretString::from("session-token"));
    let sqs = egress.sqs(SqsConfig { session_token: token, ..config(&double, "inbound") }).unwrap();
    sqs.send("{}".into()).unwrap();
    let request = double.next();
    assert_eq!(request.headers["x-amz-security-token"], "session-token");
    assert!(request.headers["authorization"].contains(";x-amz-security-token;"));
    eventually("taken", || counts(egress.queue_counters()) == [1, 0, 0, 0]);
}

#[test]
fn a_queue_that_keeps_order_gets_a_group_and_the_same_id_for_each_try() {
    let tries = AtomicUsize::new(0);
    let double = Double::start(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => status("500 Oh"),
        _ => status("200 OK"),
    });
    let egress = local();
    let sqs = queue(&egress, &double, "inbound.fifo");
    sqs.send("1".into()).unwrap();
    sqs.send("2".into()).unwrap();
    let [first, again, second] = std::array::from_fn(|_| body(&double.next()));
    assert_eq!(first, again);
    assert!(first["MessageGroupId"] == "fanfare" && second["MessageGroupId"] == "fanfare");
    assert_ne!(first["MessageDeduplicationId"], second["MessageDeduplicationId"]);
}

#[test]
fn what_is_worth_another_try() {
    for (status, error, tries) in [
        ("400 Bad", "com.amazonaws.sqs#QueueDoesNotExist", 1),
        ("400 Bad", "com.amazonaws.sqs#RequestThrottled", 3),
        ("400 Bad", "ThrottlingException", 3),
        ("403 No", "InvalidClientTokenId", 1),
        ("500 Oh", "InternalFailure", 3),
        ("503 Later", "ServiceUnavailable", 3),
    ] {
        let double =
            Double::start(move |_| Some((status, String::new(), json!({"__type": error}).to_string())));
        let egress = local();
        queue(&egress, &double, "inbound").send("{}".into()).unwrap();
        eventually(error, || counts(egress.queue_counters()) == [0, tries - 1, 1, 0]);
    }
}

#[test]
fn nothing_of_a_payload_or_a_secret_is_logged_or_waited_for() {
    let logs = Logs::read();
    // An answer that quotes what it was sent.
    let double = Double::start(|request| {
        let quote = json!({"__type": format!("x#{}", request.text()), "message": request.text()});
        Some(("400 Bad", String::new(), quote.to_string()))
    });
    let egress = local();
    let few = QueueLimits { deliveries_max: 1, bytes_max: 1_000 };
    let config = SqsConfig { queue: few, ..config(&double, "inbound") };
    let counters: Arc<_> = egress.queue_counters().clone();
    let sqs = egress.sqs(config).unwrap();
    let mut dropped = 0;
    for i in 0..50 {
        dropped += u64::from(sqs.send(format!("payload-canary-{i}").into()) == Err(Dropped));
    }
    eventually("all are given up", || {
        let [delivered, retried, failed, gone] = counts(&counters);
        assert_eq!((delivered, retried, gone), (0, 0, dropped));
        failed + dropped == 50
    });
    assert!(dropped > 0);
    sqs.send(vec![0xff].into()).unwrap();
    eventually("no text", || counts(&counters)[2] + dropped == 51);
    egress.close(PATIENCE);
    let logs = logs.text();
    assert!(logs.contains("given up") && logs.contains("takes no more"), "{logs}");
    assert!(!logs.contains("canary") && !logs.contains(SECRET), "{logs}");
}

#[test]
fn amazon_is_asked_where_no_endpoint_is_given() {
    let (lookup, asked) = names(&[("sqs.eu-west-1.amazonaws.com", &[&["10.0.0.1"]])]);
    let egress = egress(&[], lookup, Time::default().clock());
    let double = service();
    let config = SqsConfig { endpoint: None, ..config(&double, "inbound") };
    egress.sqs(config).unwrap().send("{}".into()).unwrap();
    eventually("an inner address is refused", || counts(egress.queue_counters()) == [0, 0, 1, 0]);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
