//! A webhook: JSON by POST, signed.

use std::sync::Arc;

use aws_lc_rs::hmac;
use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};

use crate::client::{Failure, header};
use crate::guard::Denied;
use crate::hex::hex;
use crate::line::{Delivery, Dropped, Outcome, QueueLimits, Retry, Sender, Sink};
use crate::{Clock, Shared};

/// `t=<unix seconds>,v1=<hex>`: HMAC-SHA256 of the time, a dot and the body. The time is the try's, so
/// that a receiver can refuse what is old.
const SIGNATURE: &str = "x-realtime-signature";
/// The same for all tries of one delivery.
const DELIVERY: &str = "x-realtime-delivery";

pub struct WebhookConfig {
    /// In logs; the app's id, say.
    pub name: Box<str>,
    pub url: SecretString,
    pub secret: SecretString,
    pub queue: QueueLimits,
    pub retry: Retry,
}

/// Dropping it closes the queue; what waits in it is still sent.
pub struct Webhook {
    pub(crate) line: Sender,
}

impl Webhook {
    /// Queues a body of JSON. Never waits.
    pub fn send(&self, body: Bytes) -> Result<(), Dropped> {
        self.line.send(body)
    }
}

pub(crate) struct Post {
    url: Url,
    key: hmac::Key,
    shared: Arc<Shared>,
}

impl Post {
    pub(crate) fn new(config: WebhookConfig, shared: &Arc<Shared>) -> Result<Self, Denied> {
        let url = shared.client.admit(config.url.expose_secret())?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, config.secret.expose_secret().as_bytes());
        Ok(Self { url, key, shared: shared.clone() })
    }
}

impl Sink for Post {
    async fn attempt(&self, delivery: &Delivery) -> Outcome {
        let mut headers = HeaderMap::new();
        header(&mut headers, "content-type", "application/json");
        header(&mut headers, SIGNATURE, &signature(&self.key, &self.shared.clock, &delivery.body));
        header(&mut headers, DELIVERY, &delivery.id);
        let answer = self.shared.client.post(&self.url, headers, delivery.body.clone()).await;
        match answer {
            // What the destination says beside the status is nothing to us.
            Err(Failure::TooLong(status)) => judge(status),
            Err(failure @ Failure::Denied(_)) => Outcome::Refused(failure.to_string()),
            Err(failure) => Outcome::Failed(failure.to_string()),
            Ok(answer) => judge(answer.status),
        }
    }
}

pub(crate) fn judge(status: StatusCode) -> Outcome {
    let said = || format!("the destination answered {}", status.as_u16());
    match status {
        _ if status.is_success() => Outcome::Taken,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Outcome::Failed(said())
        }
        _ if status.is_server_error() => Outcome::Failed(said()),
        // Redirects, too: the operator names where payloads go, and nobody else.
        _ => Outcome::Refused(said()),
    }
}

fn signature(key: &hmac::Key, clock: &Clock, body: &[u8]) -> String {
    let time = clock().wall.0.div_euclid(1_000);
    let mut mac = hmac::Context::with_key(key);
    mac.update(time.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("t={time},v1={}", hex(mac.sign().as_ref()))
}
