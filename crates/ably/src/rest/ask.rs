//! The engine's answers as futures.

use fanfare_engine::Reply;
use fanfare_model::error::{self, ErrorInfo};
use tokio::sync::oneshot;

/// Calls at once, and waits for the answer. No answer ever means that the workers are gone.
pub(super) async fn ask<T: Send + 'static>(call: impl FnOnce(Reply<T>)) -> Result<T, ErrorInfo> {
    let (sender, receiver) = oneshot::channel();
    call(Box::new(move |answer| {
        // Nobody waits when the request was given up meanwhile.
        let _ = sender.send(answer);
    }));
    receiver.await.map_err(|_| error::unavailable("the server is going away"))
}
