//! The engine's answers as futures.

use std::time::Duration;

use fanfare_engine::Reply;
use fanfare_model::error::{self, ErrorInfo};
use tokio::sync::oneshot;

/// Longer than SDKs wait: by then only the connection is to be set free.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Calls at once, and waits for the answer. No answer ever means that the workers are gone.
pub(super) async fn ask<T: Send + 'static>(call: impl FnOnce(Reply<T>)) -> Result<T, ErrorInfo> {
    let (sender, receiver) = oneshot::channel();
    call(Box::new(move |answer| {
        // Nobody waits when the request was given up meanwhile.
        let _ = sender.send(answer);
    }));
    match tokio::time::timeout(ANSWER_TIMEOUT, receiver).await {
        Ok(answer) => answer.map_err(|_| error::unavailable("the server is going away")),
        Err(_) => {
            let why = "there was no answer in time; what was asked for may still be done";
            Err(error::unavailable(why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let mut unanswered: Option<Reply<()>> = None;
        let refusal = ask(|reply| unanswered = Some(reply)).await.unwrap_err();
        assert_eq!((refusal.code, refusal.status), (50003, 503));
        unanswered.unwrap()(());
        assert_eq!(ask(|reply: Reply<u8>| reply(7)).await.unwrap(), 7);
        let gone = ask(|reply: Reply<()>| drop(reply)).await.unwrap_err();
        assert_eq!(gone.code, 50003);
    }
}
