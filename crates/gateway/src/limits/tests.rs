//! The limits of keys and teams, over the whole way of a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gateway_core::access::{KeyHash, Limits, Rates, Scope, Team, VirtualKey};
use gateway_core::dialect::Dialect;
use gateway_policy::limits::{Ask, Holder, Level as PolicyLevel, LevelId, Part, Standing};
use serde_json::json;
use simulator::Simulator;

use super::{Limiter, ask_of_provider, levels};
use crate::api::Arrival;
use crate::api::egress::Reply;
use crate::api::ingress::Inbound;
use crate::call::Caller;
use crate::config::{self, Alias, AliasTarget, Config, System};
use crate::gateway::{Gateway, Process};
use crate::pipeline;
use crate::request_id::RequestId;
use crate::telemetry::explain::Explanations;
use crate::telemetry::log::{Format, Level, Log};

const RATES: Rates = Rates { requests_per_minute: Some(1000), tokens_per_minute: Some(600_000), ..Rates::NONE };

fn requests(most: u64) -> Rates {
    Rates { requests_per_minute: Some(most), ..Rates::NONE }
}

/// A token comes back each second.
const SLOW_TOKENS: Rates = Rates { tokens_per_minute: Some(60), burst_percent: Some(10_000), ..Rates::NONE };
const FULL: u64 = 6000;

struct World {
    gateway: Arc<Gateway>,
    _simulator: Simulator,
}

impl World {
    /// Aliases of the simulator's two providers: `both` in this order, `failing` with one that fails first.
    async fn new() -> World {
        let simulator = Simulator::start(simulator::Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let args = config::Args { sandbox: true, ..config::Args::default() };
        let target = |provider: &str, model: &str| AliasTarget {
            provider: provider.to_owned(),
            model: model.to_owned(),
            weight: 1,
            priority: 0,
            canary: None,
        };
        let alias = |name: &str, first: &str| Alias {
            name: name.to_owned(),
            strategy: None,
            targets: vec![target("openai", first), target("anthropic", "sim")],
            affinity: false,
            hedge: false,
            on_context_overflow: Vec::new(),
            on_content_filter: Vec::new(),
        };
        let config = Config {
            providers: Config::sandbox_providers(simulator.addr()),
            aliases: vec![alias("both", "sim"), alias("failing", "fault:status=500"), alias("mini", "gpt-4o-mini")],
            limits: Some(RATES),
            // The same is asked again and again.
            cache: config::Cache { enabled: false, ..config::Cache::default() },
            ..config::load(&args, &System).unwrap()
        };
        let log = Log::start(Format::Json, Level::Error, Explanations::new(None), std::io::sink()).unwrap();
        let gateway = Gateway::new(Arc::new(Process::new(log, None).unwrap()), config, None).unwrap();
        World { gateway: Arc::new(gateway), _simulator: simulator }
    }

    async fn ask(&self, caller: &Caller, model: &str) -> Reply {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "Reply with exactly: ok"}]});
        self.send(caller, &body.to_string()).await
    }

    async fn send(&self, caller: &Caller, body: &str) -> Reply {
        let (dialect, caller) = (Dialect::OpenAiChat, caller.clone());
        let arrival =
            Arrival { started: Instant::now(), request_id: RequestId::new(), correlation_id: None, dialect, caller };
        let headers = http::HeaderMap::new();
        let looked = levels::look(&self.gateway, &arrival.caller, &headers, dialect, 1, arrival.started);
        let inbound = Inbound {
            route: "test",
            headers,
            body: Ok(Bytes::from(body.to_owned())),
            admitted: self.gateway.process.admission.unbounded(),
            looked: match looked {
                Ok(looked) => looked,
                Err(refused) => return pipeline::turn_away(&self.gateway, &arrival, "test", dialect, &refused),
            },
            arrival,
        };
        pipeline::handle(self.gateway.clone(), inbound, dialect, false).await
    }

    /// The status, and who answered.
    async fn asked(&self, caller: &Caller, model: &str) -> (u16, String) {
        let reply = self.ask(caller, model).await;
        let provider = reply.headers.get("x-gateway-provider").map_or("", |name| name.to_str().unwrap());
        (reply.status.as_u16(), provider.to_owned())
    }

    fn tokens_left(&self, caller: &Caller, provider: &str) -> u64 {
        let ask = ask_of_provider(&self.gateway, caller, &provider.into(), 0);
        assert_eq!(ask.levels[0].id().part, Part::Provider(provider.into()));
        self.gateway.process.limiter.look(&ask.levels, 0, Instant::now()).unwrap().tokens.unwrap().remaining
    }

    fn reservations(&self) -> u64 {
        self.gateway.process.limiter.counts().reservations
    }
}

fn key(id: &str, limits: Limits, team: Option<&Arc<Team>>) -> Caller {
    Caller::Key(Arc::new(VirtualKey {
        id: id.into(),
        name: id.to_owned(),
        hash: KeyHash([0; 32]),
        team: team.cloned(),
        owner: None,
        tags: Vec::new(),
        scope: Scope::EVERYTHING,
        limits,
        cache: true,
        expires: None,
    }))
}

fn of(name: &str, rates: Rates) -> BTreeMap<String, Rates> {
    BTreeMap::from([(name.to_owned(), rates)])
}

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_key_has_limits_of_its_own_and_the_general_ones_where_it_says_nothing() {
    let world = World::new().await;
    let own = key("own", Limits { all: requests(2), ..Limits::default() }, None);
    let general = key("general", Limits::default(), None);
    for left in ["1", "0"] {
        let reply = world.ask(&own, "openai/sim").await;
        assert_eq!((reply.status.as_u16(), header(&reply, "x-ratelimit-remaining-requests")), (200, left));
        assert_eq!(header(&reply, "x-ratelimit-limit-tokens"), "600000");
    }
    let refused = world.ask(&own, "openai/sim").await;
    assert_eq!((refused.status.as_u16(), header(&refused, "retry-after")), (429, "30"));
    assert_eq!(header(&world.ask(&general, "openai/sim").await, "x-ratelimit-remaining-requests"), "999");
    for _ in 0..3 {
        let reply = world.ask(&Caller::Admin, "openai/sim").await;
        assert_eq!((reply.status.as_u16(), header(&reply, "x-ratelimit-limit-requests")), (200, ""), "not limited");
    }
    assert_eq!(world.reservations(), 0);
}

#[tokio::test]
async fn keys_of_a_team_share_its_limits_and_what_it_refuses_costs_none_of_them() {
    let world = World::new().await;
    let team = Arc::new(Team {
        id: "t".into(),
        name: "t".to_owned(),
        limits: Limits { all: requests(3), ..Limits::default() },
    });
    let (one, other) = (key("a", Limits::default(), Some(&team)), key("b", Limits::default(), Some(&team)));
    for caller in [&one, &other, &one] {
        assert_eq!(world.ask(caller, "openai/sim").await.status, 200);
    }
    for caller in [&one, &other] {
        let refused = world.ask(caller, "openai/sim").await;
        assert_eq!((refused.status.as_u16(), header(&refused, "x-ratelimit-limit-requests")), (429, "3"));
    }
    let alone = key("b", Limits::default(), None);
    assert_eq!(header(&world.ask(&alone, "openai/sim").await, "x-ratelimit-remaining-requests"), "998");
}

#[tokio::test]
async fn a_limit_for_a_model_is_met_by_all_its_names_and_not_by_an_alias() {
    let world = World::new().await;
    let caller = key("k", Limits { models: of("openai/gpt-4o-mini", requests(2)), ..Limits::default() }, None);
    for (name, status) in [("gpt-4o-mini", 200), ("openai/gpt-4o-mini", 200), ("gpt-4o-mini", 429), ("mini", 200)] {
        assert_eq!(world.ask(&caller, name).await.status.as_u16(), status, "{name}");
    }
    assert_eq!(world.ask(&caller, "openai/gpt-4o").await.status, 200, "another model");
    let caller = key("l", Limits { models: of("mini", requests(1)), ..Limits::default() }, None);
    for (name, status) in [("mini", 200), ("openai/gpt-4o-mini", 200), ("mini", 429)] {
        assert_eq!(world.ask(&caller, name).await.status.as_u16(), status, "{name}");
    }
    assert_eq!(world.reservations(), 0);
}

#[tokio::test]
async fn a_provider_of_which_the_caller_has_used_up_its_part_is_passed_over() {
    let world = World::new().await;
    let caller = key("k", Limits { providers: of("openai", requests(1)), ..Limits::default() }, None);
    assert_eq!(world.asked(&caller, "both").await, (200, "openai".to_owned()));
    assert_eq!(world.asked(&caller, "both").await, (200, "anthropic".to_owned()));
    let refused = world.ask(&caller, "openai/sim").await;
    assert_eq!((refused.status.as_u16(), header(&refused, "retry-after")), (429, "60"));
    assert_eq!(header(&refused, "x-should-retry"), "", "it may well come again");
    let other = key("l", Limits::default(), None);
    assert_eq!(world.asked(&other, "both").await, (200, "openai".to_owned()));
    assert_eq!(world.reservations(), 0);
}

#[tokio::test]
async fn what_was_taken_of_a_provider_comes_back_when_it_fails_and_the_next_one_is_paid() {
    let world = World::new().await;
    let providers = BTreeMap::from([("openai".to_owned(), SLOW_TOKENS), ("anthropic".to_owned(), SLOW_TOKENS)]);
    let caller = key("k", Limits { providers, ..Limits::default() }, None);
    assert_eq!(world.asked(&caller, "failing").await, (200, "anthropic".to_owned()));
    assert_eq!(world.tokens_left(&caller, "openai"), FULL);
    let left = world.tokens_left(&caller, "anthropic");
    assert!((FULL - 40..FULL - 2).contains(&left), "a short answer, as it was: {left} left");
    assert_eq!(world.reservations(), 0);
}

#[tokio::test]
async fn what_is_asked_for_several_times_is_taken_as_often() {
    let world = World::new().await;
    let mut taken = Vec::new();
    for n in [json!(1), json!(4), json!(-1), json!("x"), json!(u64::MAX)] {
        let caller = key(&n.to_string(), Limits::default(), None);
        let body =
            json!({"n": n, "model": "openai/sim", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]});
        let reply = world.send(&caller, &body.to_string()).await;
        taken.push(600_000 - header(&reply, "x-ratelimit-remaining-tokens").parse::<u64>().unwrap());
    }
    assert!((100..200).contains(&taken[0]) && (400..500).contains(&taken[1]), "{taken:?}");
    assert!(taken[2..4].iter().all(|taken| (100..200).contains(taken)), "what is no number is one: {taken:?}");
    assert_eq!(taken[4], 600_000, "all that there is, and a debt");
}

#[tokio::test]
async fn who_drops_a_hold_owes_what_a_provider_was_at_work_for() {
    let limiter = Limiter::new(Instant::now(), None);
    let levels = vec![PolicyLevel::new(LevelId { holder: Holder::Key("k".into()), part: Part::All }, SLOW_TOKENS)];
    let left = || limiter.look(&levels, 0, Instant::now()).unwrap().tokens.unwrap().remaining;
    let take = async || limiter.take(Ask { levels: levels.clone(), tokens: 1000 }).await.unwrap().0;
    drop(take().await);
    assert_eq!(left(), FULL, "nobody was asked");
    let mut failed = take().await;
    failed.provider_asked();
    failed.provider_failed();
    drop(failed);
    assert_eq!(left(), FULL, "what failed is not the caller's to pay");
    let mut asked = take().await;
    asked.provider_asked();
    drop(asked);
    assert!(left() < FULL - 990, "it was at work");
    let mut settled = take().await;
    settled.provider_asked();
    settled.settle(u64::MAX, Instant::now());
    settled.settle(0, Instant::now());
    drop(settled);
    assert_eq!(left(), 0, "settled once");
    let unlimited = limiter.take(Ask::default()).await.unwrap();
    assert_eq!((unlimited.0.reserved(), unlimited.1), (0, Standing::default()));
    drop(unlimited);
    assert_eq!(limiter.counts().reservations, 0);
}

#[tokio::test]
async fn switched_off_limits_are_those_of_keys_too() {
    let world = World::new().await;
    let all = Limits { all: requests(1), models: of("openai/sim", requests(1)), providers: of("openai", requests(1)) };
    let caller = key("k", all, None);
    let mut config = config::load(&config::Args { sandbox: true, ..config::Args::default() }, &System).unwrap();
    config.providers = Config::sandbox_providers("127.0.0.1:1".parse().unwrap());
    config.limits = None;
    let off = Gateway::new(world.gateway.process.clone(), config, Some(&world.gateway)).unwrap();
    assert!(ask_of_provider(&off, &caller, &"openai".into(), 1).levels.is_empty());
    assert!(levels::look(&off, &caller, &http::HeaderMap::new(), Dialect::Native, 1, Instant::now()).is_ok());
    for status in [200, 429] {
        assert_eq!(world.ask(&caller, "openai/sim").await.status.as_u16(), status, "and on they count");
    }
}
