//! A word to all gateways that share a Redis. It may get lost: who waits for one must find out by other means, too, only later.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError};
use tokio::sync::Notify;

use super::Redis;

const CONNECT_TIME: Duration = Duration::from_secs(2);
/// Between the end of one connection and the next.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(2);

impl Redis {
    /// Says to whoever listens that something has happened. Nobody may be there to hear it.
    pub async fn say(&self, channel: &'static str) {
        let mut word = Cmd::new();
        word.arg("PUBLISH").arg(channel).arg("");
        let _ = self.ask(word).await;
    }

    /// Tells `heard` whenever a word was said, and when some may have been missed; for as long as it is polled. It has a
    /// connection of its own, since one that listens can do nothing else.
    pub async fn listen(self, channel: &'static str, heard: Arc<Notify>) {
        loop {
            if let Ok(Ok(mut words)) = tokio::time::timeout(CONNECT_TIME, words(&self.client, channel)).await {
                heard.notify_one();
                while words.next().await.is_some() {
                    heard.notify_one();
                }
            }
            tokio::time::sleep(LISTEN_AGAIN_AFTER.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        }
    }
}

impl Redis {
    /// A connection for large values, which must not stand in the way of short questions, and what is said on `channel`. Who uses
    /// them keeps the time.
    pub async fn own_connections(
        &self,
        channel: &'static str,
    ) -> Result<(MultiplexedConnection, PubSubStream), RedisError> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let words = words(&self.client, channel).await?;
        Ok((self.client.get_multiplexed_async_connection_with_config(&config).await?, words))
    }
}

async fn words(client: &Client, channel: &'static str) -> Result<PubSubStream, RedisError> {
    let mut connection = client.get_async_pubsub().await?;
    connection.subscribe(channel).await?;
    Ok(connection.into_on_message())
}
