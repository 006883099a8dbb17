//! The cache on the way of a request: what it asks, whether somebody asked it before, and what is kept of the answer.
//!
//! What decides that an answer serves is the crate `gateway-cache`; here is what a gateway adds: questions made of bodies
//! (`question`), answers as clients were given them (`kept`, `tape`) and will be given them again (`replay`), requests that ask
//! the same at the same time (`coalesce`), and the other gateways (`shared`).

mod coalesce;
mod counts;
mod embedding;
pub mod keep;
mod kept;
mod labels;
mod note;
mod question;
pub mod replay;
mod shared;
mod tape;
mod wish;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gateway_cache::{Cache, Cleared, EntryId, Filter, Hash, Hit, Mode, Pair, Question, Settings, Stats};
use gateway_core::limits::CACHE_ENTRIES;
use gateway_core::target::Target;
use gateway_core::usage::Cost;

use crate::call::{Call, Caller};
use crate::config::{self, CacheMode, CacheScope, Config};
use crate::gateway::Gateway;
use crate::pipeline;
use crate::settle::Settle;
use crate::store::redis::Redis;

use coalesce::{Flights, Part};
pub use coalesce::{Follow, Landed};
pub use counts::Counts;
pub use embedding::Embedded;
use embedding::Embedding;
pub use keep::Keep;
pub use kept::{Kept, Worth};
use labels::Labels;
use note::Found;
pub use note::{Answered, Note};
use replay::Replay;
use shared::Shared;
pub use tape::{Tape, Tapes};
pub use wish::{Wish, may_share};

/// A tenant may have so much of a full cache before it makes room for others.
const TENANT_SHARE: f32 = 0.25;

/// The cache of one configuration.
#[derive(Debug)]
pub struct Caching {
    pub answers: Arc<Answers>,
    scope: CacheScope,
    time_to_live: Duration,
    /// What is asked in the place of the built-in model.
    embedding: Option<Arc<Embedding>>,
    /// Of what the configuration says of providers and models: under another one the same request may mean something else.
    version: Hash,
}

/// What is kept. It outlives configurations.
#[derive(Debug)]
pub struct Answers {
    cache: Cache<Kept>,
    flights: Flights,
    pub tapes: Tapes,
    /// What other gateways have.
    shared: OnceLock<Shared>,
    /// Who clears looks at everything: one at a time.
    clearing: tokio::sync::Mutex<()>,
}

impl Caching {
    /// `None`: there is to be no cache. `previous`: what it takes over.
    /// `redis`: where several gateways share what they have.
    pub fn new(config: &Config, redis: Option<&Redis>, previous: Option<&Caching>) -> Option<Caching> {
        if !config.cache.enabled {
            return None;
        }
        let settings = settings(&config.cache);
        let answers = match previous {
            Some(previous) => {
                previous.answers.cache.configure(settings);
                previous.answers.clone()
            }
            None => Answers::start(settings, redis),
        };
        let sections = ["aliases", "providers", "routing"].map(|name| config.said.digest_of(name));
        let model = &config.cache.embedding_model;
        let version = format!("{} {sections:x?} {model}", crate::gateway::VERSION);
        let version = Hash::of("version", version.as_bytes());
        let known = previous.and_then(|previous| previous.embedding.clone()).filter(|known| known.name() == model);
        let embedding = known.or_else(|| Embedding::new(model).map(Arc::new));
        let time_to_live = settings.ttl;
        Some(Caching { answers, scope: config.cache.scope, time_to_live, embedding, version })
    }

    fn question(&self, call: &Call) -> Option<Question> {
        question::of(self.version, self.scope, call)
    }

    /// Those with whom this caller shares answers.
    pub fn tenant(&self, caller: &Caller) -> Hash {
        question::tenant(self.scope, caller)
    }
}

fn settings(said: &config::Cache) -> Settings {
    Settings {
        mode: match said.mode {
            CacheMode::Strict => Mode::Strict,
            CacheMode::Cosine => Mode::Cosine,
            CacheMode::Shadow => Mode::Shadow,
        },
        threshold: said.threshold as f32,
        ttl: Duration::try_from_secs_f64(said.ttl_seconds).unwrap_or(Duration::MAX),
        max_bytes: said.max_mib.saturating_mul(1024 * 1024),
        max_entries: CACHE_ENTRIES,
        tenant_share: TENANT_SHARE,
    }
}

impl Answers {
    /// Some of what is too old goes. What nobody asks for any more would otherwise keep its memory until something is stored.
    pub fn expire(&self) {
        const AT_ONCE: u32 = 256;
        self.cache.expire(AT_ONCE, Instant::now());
    }

    fn start(settings: Settings, redis: Option<&Redis>) -> Arc<Answers> {
        let answers = Arc::new(Answers {
            cache: Cache::new(settings),
            flights: Flights::default(),
            tapes: Tapes::default(),
            shared: OnceLock::new(),
            clearing: tokio::sync::Mutex::default(),
        });
        if let Some(shared) = redis.and_then(|redis| Shared::start(redis.clone(), Arc::downgrade(&answers))) {
            answers.shared.get_or_init(|| shared);
        }
        answers
    }

    pub fn stats(&self) -> Stats {
        self.cache.stats()
    }

    /// Here, and wherever else they may be. On a thread of its own: a worker has others to serve. `None`: there is no such thread
    /// any more.
    pub async fn clear(self: &Arc<Self>, filter: Filter, dry_run: bool) -> Option<Cleared> {
        let (_turn, answers, now) = (self.clearing.lock().await, self.clone(), Instant::now());
        let clear = move || {
            let cleared = answers.cache.clear(&filter, now, dry_run);
            // After that, since this gateway hears of it, too, and would count nothing here.
            if let Some(shared) = answers.shared.get().filter(|_| !dry_run) {
                shared.clear(&filter);
            }
            cleared
        };
        tokio::task::spawn_blocking(clear).await.ok()
    }

    /// Removes an answer that was wrong. `true`: it was still there.
    pub fn report_wrong(&self, pair: &Pair) -> bool {
        if let Some(shared) = self.shared.get() {
            shared.report(pair);
        }
        self.cache.report_wrong(pair)
    }

    /// Answers that other gateways do not see.
    pub fn not_shared(&self) -> u64 {
        self.shared.get().map_or(0, Shared::lost)
    }
}

/// What the cache says to a request.
#[derive(Debug)]
pub enum Looked {
    /// Here is the answer.
    Answer(Box<Served>),
    /// Somebody asks the same just now: wait for it.
    Wait(Follow),
    /// Ask a provider.
    Ask,
}

/// An answer that is not asked for.
#[derive(Debug)]
pub struct Served {
    pub kept: Arc<Kept>,
    pub replay: Replay,
    /// What the form that is wanted has no word for.
    pub losses: Vec<String>,
}

/// Looks for the answer to a request. What is to become of the one that a provider gives is noted in `settle`.
pub async fn look_up(gateway: &Gateway, call: &mut Call, settle: &mut Settle) -> Looked {
    // Nobody will be asked, whatever is found.
    call.is_answered = call.wish == Wish::OnlyIfCached;
    let Some(caching) = gateway.cache.as_ref().filter(|_| !call.counts_tokens) else { return Looked::Ask };
    let mut question = match asks(caching, call) {
        Ok(question) => question,
        Err(why) => {
            call.cache = Some(Answered::Bypass);
            settle.cached(Note::bypass(why));
            return Looked::Ask;
        }
    };
    let answers = &caching.answers;
    let (mut note, mut labels) = (Note::of(Answered::Refresh), Labels::default());
    if call.wish.reads()
        && let Some(shared) = answers.shared.get().filter(|shared| shared.needs(&question))
    {
        // Larger, and rare.
        Box::pin(shared.load(&question)).await;
    }
    if let Some(embedding) = &caching.embedding {
        Box::pin(embed(embedding, gateway, call, &mut question, settle)).await;
    }
    if call.wish.reads() {
        let looked = answers.cache.look_up(&question, Instant::now());
        if let Some(served) = looked.hit.as_ref().and_then(|hit| serve(gateway, call, hit, settle)) {
            return Looked::Answer(Box::new(served));
        }
        note = Note::miss(&looked);
        labels = Labels::of(&looked);
    }
    call.cache = Some(note.answered);
    settle.cached(note);
    let mut lead = None;
    if call.wish == Wish::Use && !call.stream && is_shared(call) {
        match answers.flights.join(question.exact) {
            Part::Follow(follow) => {
                settle.keeps(Keep {
                    answers: answers.clone(),
                    time_to_live: caching.time_to_live,
                    question,
                    asked: call.started,
                    lead: None,
                    labels,
                });
                return Looked::Wait(follow);
            }
            Part::Lead(first) => {
                // The one before may have ended just now.
                let hit = answers.cache.look_again(&question, Instant::now());
                if let Some(hit) = &hit
                    && let Some(served) = serve(gateway, call, hit, settle)
                {
                    first.answered(hit.answer.clone());
                    return Looked::Answer(Box::new(served));
                }
                lead = Some(first);
            }
            Part::Alone => {}
        }
    }
    if call.wish.keeps() {
        call.tapes = call.stream.then(|| answers.tapes.clone());
        settle.keeps(Keep {
            answers: answers.clone(),
            time_to_live: caching.time_to_live,
            question,
            asked: call.started,
            lead,
            labels,
        });
    }
    Looked::Ask
}

/// Has the question's text embedded by a provider, where that may be of use.
async fn embed(embedding: &Embedding, gateway: &Gateway, call: &Call, question: &mut Question, settle: &mut Settle) {
    let Some(caching) = &gateway.cache else { return };
    let cache = &caching.answers.cache;
    let is_needed = match call.wish.reads() {
        true => cache.needs_vector(question, Instant::now()),
        false => cache.stores_vector(question),
    };
    let Some(text) = &mut question.text else { return };
    let mut vector = None;
    if is_needed {
        let embedded;
        (embedded, vector) = embedding.embed(gateway, call, text.as_str()).await;
        settle.embedded(embedded);
    }
    text.set_vector(vector);
}

/// What a request asks, if it may be looked for; or why not.
fn asks(caching: &Caching, call: &Call) -> Result<Question, &'static str> {
    if call.wish == Wish::Skip {
        return Err("the request said so");
    }
    if let Caller::Key(key) = &call.caller
        && !key.cache
    {
        return Err("the key says so");
    }
    if call.envelope.answers.is_some_and(|answers| answers > 1) {
        return Err("several answers were wanted, and they should differ");
    }
    caching.question(call).ok_or("the request has no conversation that could be compared")
}

/// Nobody expects two answers to differ.
fn is_shared(call: &Call) -> bool {
    let mut members = call.envelope.members.iter();
    let temperature = members.find(|member| member.name(&call.body) == b"temperature");
    let temperature = temperature.and_then(|member| std::str::from_utf8(member.value(&call.body)).ok());
    call.may_share || temperature.and_then(|text| text.parse::<f64>().ok()) == Some(0.0)
}

/// The answer that was found, as this client is given it; `None`: it is none for it.
fn serve(gateway: &Gateway, call: &mut Call, hit: &Hit<Kept>, settle: &mut Settle) -> Option<Served> {
    let kept = &hit.answer;
    let (replay, losses) = again(gateway, call, kept, Some(hit.id))?;
    let note = Note { hit: Some(Found::from(hit)), ..Note::saving(Answered::Hit, kept) };
    call.cache = Some(Answered::Hit);
    call.is_answered = true;
    settle.cached(note);
    Some(Served { kept: kept.clone(), replay, losses })
}

/// The answer to a request that others made at the same time.
pub fn serve_shared(gateway: &Gateway, call: &Call, kept: Arc<Kept>, settle: &mut Settle) -> Option<Served> {
    let (replay, losses) = again(gateway, call, &kept, None)?;
    settle.cached(Note::saving(Answered::Coalesced, &kept));
    settle.take_keep();
    Some(Served { kept, replay, losses })
}

fn again(gateway: &Gateway, call: &Call, kept: &Kept, entry: Option<EntryId>) -> Option<(Replay, Vec<String>)> {
    // Whoever shares answers with others may not use all that they may.
    if !call.caller.scope().allows_target(call.model(), &kept.provider, &kept.model) {
        return None;
    }
    replay::replay(kept, call, || {
        let target = Target { provider: kept.provider.clone(), model: kept.model.clone(), dialect: kept.wire };
        let mut answer = pipeline::answer(gateway, call, &target);
        // It costs nothing to say it again.
        answer.price = Arc::new(|_| Some(Cost::default()));
        answer.created = kept.created;
        answer.cache_key = entry.map(|entry| entry.to_string());
        answer
    })
}
