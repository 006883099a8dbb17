//! The embedding model of a provider, in the place of the built-in one where the operator names it.
//!
//! It is asked while a request waits, and only where its answer could be of use: neither the same question nor its normal form is
//! in the cache. Whatever goes wrong is a miss in other words, and the model is then left alone for a while. It finds candidates, as the
//! built-in one does; in strict mode the rules decide all the same.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway_cache::semantic::embedder::{Vector, quantised};
use gateway_core::limits::{CACHE_EMBEDDING_BYTES, CACHE_EMBEDDING_REST, CACHE_EMBEDDING_TIME};
use gateway_core::usage::{NanoUsd, Usage};
use http::{HeaderMap, HeaderValue, Method, Request, header};
use serde::Deserialize;
use serde_json::json;

use crate::call::Call;
use crate::config::BUILT_IN;
use crate::gateway::Gateway;
use crate::providers::client::Payload;
use crate::telemetry::log::Level;

#[derive(Debug)]
pub struct Embedding {
    /// As it is configured: `provider/model`.
    name: String,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By what its first answer called itself, and how many components it had. Vectors of another model cannot be compared with its.
    identity: Option<(String, usize)>,
    /// It has failed, and is not asked before then.
    rests_until: Option<Instant>,
    /// The operator has been told that it is another one now.
    told: bool,
}

impl Seen {
    /// Whether that is the model of the first answer; and if it is not, what there is to tell, once.
    fn answered(&mut self, model: String, size: usize) -> (bool, Option<String>) {
        self.rests_until = None;
        let now = (model, size);
        let first = self.identity.get_or_insert_with(|| now.clone());
        if *first == now {
            return (true, None);
        }
        let of = |(model, size): &(String, usize)| format!("{model}, {size} components");
        let why = format!("{} before, now {}", of(first), of(&now));
        (false, (!std::mem::replace(&mut self.told, true)).then_some(why))
    }
}

/// What came of asking it, for one request.
#[derive(Debug, Clone, Copy)]
pub struct Embedded {
    pub how: How,
    pub took: Duration,
    pub tokens: u64,
    pub cost: NanoUsd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Ok,
    /// It did not answer in time.
    Late,
    Failed,
    /// The answer was of another size or model than those before it.
    Other,
    /// It has failed lately, and was not asked.
    Resting,
}

impl How {
    pub fn name(self) -> &'static str {
        match self {
            How::Ok => "ok",
            How::Late => "timeout",
            How::Failed => "failed",
            How::Other => "other",
            How::Resting => "resting",
        }
    }
}

/// As OpenAI says it, and those that do as OpenAI does.
#[derive(Deserialize)]
struct Said {
    data: Vec<Datum>,
    #[serde(default)]
    model: String,
    #[serde(default)]
    usage: Tokens,
}

#[derive(Deserialize)]
struct Datum {
    embedding: Vec<f32>,
}

#[derive(Deserialize, Default)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: u64,
}

impl Embedding {
    /// `None`: the built-in one will do.
    pub fn new(name: &str) -> Option<Embedding> {
        (name != BUILT_IN).then(|| Embedding { name: name.to_owned(), seen: Mutex::default() })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Never takes longer than [`CACHE_EMBEDDING_TIME`].
    pub async fn embed(&self, gateway: &Gateway, call: &Call, text: &str) -> (Embedded, Option<Box<Vector>>) {
        let began = Instant::now();
        let nothing = |how| (Embedded { how, took: began.elapsed(), tokens: 0, cost: NanoUsd(0) }, None);
        if self.seen().rests_until.is_some_and(|until| until > began) {
            return nothing(How::Resting);
        }
        let said = match tokio::time::timeout(CACHE_EMBEDDING_TIME, self.ask(gateway, call, text)).await {
            Ok(Ok(said)) => said,
            Ok(Err(why)) => {
                self.rest(gateway, &why);
                return nothing(How::Failed);
            }
            Err(_) => {
                self.rest(gateway, "no answer in time");
                return nothing(How::Late);
            }
        };
        let tokens = said.usage.prompt_tokens;
        let cost = self.price(gateway, tokens);
        let embedding = said.data.first().map(|datum| datum.embedding.as_slice()).unwrap_or_default();
        let is_same = self.is_same(gateway, said.model, embedding.len());
        let how = if is_same { How::Ok } else { How::Other };
        let vector = quantised(embedding).filter(|_| is_same);
        (Embedded { how, took: began.elapsed(), tokens, cost }, vector)
    }

    async fn ask(&self, gateway: &Gateway, call: &Call, text: &str) -> Result<Said, String> {
        let (provider, model) = self.name.split_once('/').unwrap_or_default();
        let provider = gateway.catalog.provider(provider).ok_or("it is not configured")?;
        let uri = provider.embeddings_uri(model).map_err(|error| error.message)?;
        let credential = provider.draw(&[]).ok_or("it has no key")?;
        let body = Payload::new(vec![Bytes::from(json!({"model": model, "input": text}).to_string())]);
        let request = || {
            let mut request = Request::new(body.clone());
            *request.method_mut() = Method::POST;
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = provider.headers(&HeaderMap::new(), credential);
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.headers_mut().insert(header::CONTENT_LENGTH, body.content_length());
            request
        };
        let response = gateway.client.send(&provider.origin, request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            return Err(format!("status {}", head.status));
        }
        let body = body.collect(CACHE_EMBEDDING_BYTES, &call.admitted).await.map_err(|error| error.to_string())?;
        let said: Said = serde_json::from_slice(&body).map_err(|error| format!("no embedding: {error}"))?;
        match said.data.as_slice() {
            [datum] if !datum.embedding.is_empty() => Ok(said),
            _ => Err("not one embedding".to_owned()),
        }
    }

    fn price(&self, gateway: &Gateway, tokens: u64) -> NanoUsd {
        let (provider, model) = self.name.split_once('/').unwrap_or_default();
        let price = gateway.catalog.provider(provider).and_then(|there| gateway.catalog.facts(there, model).price);
        price.map_or(NanoUsd(0), |price| price.cost(&Usage { input: tokens, ..Usage::default() }).total())
    }

    fn is_same(&self, gateway: &Gateway, model: String, size: usize) -> bool {
        let (is_same, to_tell) = self.seen().answered(model, size);
        if let Some(why) = to_tell {
            self.warn(
                gateway,
                "the embedding model of the cache answers as another one: nothing is found in other words until a restart",
                &why,
            );
        }
        is_same
    }

    fn rest(&self, gateway: &Gateway, why: &str) {
        let until = Instant::now() + CACHE_EMBEDDING_REST;
        if self.seen().rests_until.replace(until).is_none() {
            self.warn(
                gateway,
                "the embedding model of the cache cannot be asked: nothing is found in other words until it can",
                why,
            );
        }
    }

    fn warn(&self, gateway: &Gateway, what: &'static str, why: &str) {
        let fields = [("embedding_model", self.name.clone().into()), ("error", why.into())];
        gateway.process.log.event(Level::Warn, what, fields);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_answers_as_another_one_is_not_it_and_that_is_told_once() {
        let mut seen = Seen::default();
        let mut answered = |model: &str, size| seen.answered(model.to_owned(), size);
        assert_eq!(answered("small", 1536), (true, None));
        assert_eq!(answered("small", 1536), (true, None));
        let (is_same, told) = answered("small", 512);
        assert!(!is_same && told.is_some_and(|why| why.contains("1536") && why.contains("512")));
        assert_eq!(answered("large", 1536), (false, None), "it was told");
        assert_eq!(answered("small", 1536), (true, None), "that of the index");
    }
}
