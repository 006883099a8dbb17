//! The streams of an HTTP/2 connection: each is a task of its own, with a clock for a client that does not read it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::watch;

use crate::admission::{Patience, Reader};
use crate::api::listen::Phase;
use crate::gateway::Process;

tokio::task_local! {
    /// Of the stream whose task is running.
    static READER: Arc<Reader>;
}

/// Who reads the answer that is being made; `None` outside of a stream of HTTP/2.
pub fn reader() -> Option<Arc<Reader>> {
    READER.try_with(Arc::clone).ok()
}

/// Where hyper runs the streams of an HTTP/2 connection.
///
/// A stream is polled once more when the phase of the shutdown changes. It ends when its client has not opened its window for
/// too long: the kernel takes what is written to the connection, so the clock of the connection does not see that.
#[derive(Clone)]
pub struct Streams {
    phase: watch::Receiver<Phase>,
    process: Arc<Process>,
}

impl Streams {
    pub fn new(phase: watch::Receiver<Phase>, process: Arc<Process>) -> Self {
        Streams { phase, process }
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let Streams { mut phase, process } = self.clone();
        let reader = Reader::new();
        let mut patience = Patience::new(process.admission.clone(), reader.clone());
        tokio::spawn(READER.scope(reader, async move {
            let mut stream = pin!(stream);
            let mut ended = pin!(poll_fn(|cx| {
                if stream.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                // hyper asks for the next piece of an answer once the client has room for all that came before it.
                patience.poll_behind(cx).map(Some)
            }));
            loop {
                let given_up = tokio::select! {
                    biased;
                    given_up = ended.as_mut() => given_up,
                    changed = phase.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => ended.as_mut().await,
                    },
                };
                if let Some(why) = given_up {
                    process.metrics.stalled(why);
                }
                // Dropped before its end, the stream is reset.
                return;
            }
        }));
    }
}
