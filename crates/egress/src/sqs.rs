//! A queue that speaks Amazon SQS's JSON protocol: SQS itself, or another under the same words.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::Shared;
use crate::client::{Answer, Failure, header};
use crate::guard::Denied;
use crate::line::{Delivery, Dropped, Outcome, QueueLimits, Retry, Sender, Sink};
use crate::sigv4::{Signer, amz_date};
use crate::webhook::judge;

const CONTENT_TYPE: &str = "application/x-amz-json-1.0";
const TARGET: &str = "AmazonSQS.SendMessage";
/// Of a queue that keeps order: one group, so that it keeps all of ours.
const MESSAGE_GROUP: &str = "fanfare";
/// What SQS answers with 400 although another try may go well.
const PASSING: [&str; 3] = ["ThrottlingException", "RequestThrottled", "KmsThrottled"];

pub struct SqsConfig {
    /// In logs; the app's id, say.
    pub name: Box<str>,
    /// `None` is Amazon's own for the region.
    pub endpoint: Option<Box<str>>,
    pub region: Box<str>,
    pub queue_url: Box<str>,
    pub access_key_id: Box<str>,
    pub secret_access_key: SecretString,
    pub session_token: Option<SecretString>,
    pub queue: QueueLimits,
    pub retry: Retry,
}

/// Dropping it closes the queue in memory; what waits in it is still sent.
pub struct Sqs {
    pub(crate) line: Sender,
}

impl Sqs {
    /// Queues a message's body. Never waits. SQS takes text only: what is not UTF-8 is given up.
    pub fn send(&self, body: Bytes) -> Result<(), Dropped> {
        self.line.send(body)
    }
}

pub(crate) struct SendMessage {
    endpoint: Url,
    host: String,
    queue_url: Box<str>,
    signer: Signer,
    session_token: Option<SecretString>,
    shared: Arc<Shared>,
}

impl SendMessage {
    pub(crate) fn new(config: SqsConfig, shared: &Arc<Shared>) -> Result<Self, Denied> {
        let amazon = format!("https://sqs.{}.amazonaws.com/", config.region);
        let endpoint = shared.client.admit(config.endpoint.as_deref().unwrap_or(&amazon))?;
        let host = match (endpoint.host_str(), endpoint.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(Denied::NotAUrl),
        };
        let signer = Signer {
            access_key_id: config.access_key_id,
            secret_access_key: config.secret_access_key,
            region: config.region,
            service: "sqs",
        };
        let (queue_url, session_token) = (config.queue_url, config.session_token);
        Ok(Self { endpoint, host, queue_url, signer, session_token, shared: shared.clone() })
    }

    fn body(&self, delivery: &Delivery) -> Option<String> {
        let text = std::str::from_utf8(&delivery.body).ok()?;
        let mut body = json!({ "QueueUrl": self.queue_url, "MessageBody": text });
        if self.queue_url.ends_with(".fifo") {
            body["MessageGroupId"] = MESSAGE_GROUP.into();
            body["MessageDeduplicationId"] = delivery.id.as_ref().into();
        }
        Some(body.to_string())
    }

    fn headers(&self, body: &[u8]) -> HeaderMap {
        let now = (self.shared.clock)().wall;
        let date = amz_date(now);
        let token = self.session_token.as_ref().map(|token| token.expose_secret());
        let mut signed = vec![("content-type", CONTENT_TYPE), ("host", &self.host), ("x-amz-date", &date)];
        signed.extend(token.map(|token| ("x-amz-security-token", token)));
        signed.push(("x-amz-target", TARGET));
        let authorization = self.signer.authorization(self.endpoint.path(), &signed, body, now);
        let mut headers = HeaderMap::new();
        for (name, value) in signed {
            header(&mut headers, name, value);
        }
        header(&mut headers, "authorization", &authorization);
        headers
    }
}

impl Sink for SendMessage {
    async fn attempt(&self, delivery: &Delivery) -> Outcome {
        let Some(body) = self.body(delivery) else {
            return Outcome::Refused("the body is not text".into());
        };
        let headers = self.headers(body.as_bytes());
        match self.shared.client.post(&self.endpoint, headers, body.into()).await {
            Err(failure @ Failure::Denied(_)) => Outcome::Refused(failure.to_string()),
            Err(failure) => Outcome::Failed(failure.to_string()),
            Ok(answer) => self.judge(&answer),
        }
    }
}

impl SendMessage {
    fn judge(&self, answer: &Answer) -> Outcome {
        let Some(error) = error_type(answer).filter(|_| !answer.status.is_success()) else {
            return judge(answer.status);
        };
        let said = format!("the queue answered {} {error}", answer.status.as_u16());
        match judge(answer.status) {
            Outcome::Refused(_) if !PASSING.contains(&&*error) => Outcome::Refused(said),
            _ => Outcome::Failed(said),
        }
    }
}

/// The name of the error, out of `com.amazonaws.sqs#QueueDoesNotExist`: letters only, so that nothing
/// of ours can come back in it and be logged.
fn error_type(answer: &Answer) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let full = body.get("__type")?.as_str()?;
    let name = full.rsplit_once('#').map_or(full, |(_, name)| name);
    let plain = name.len() <= 100 && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'.');
    plain.then(|| name.to_owned())
}
