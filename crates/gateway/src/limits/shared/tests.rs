//! The scripts in a real Redis, against the table in memory that they must agree with.

use faults::redis::Redis as Server;
use gateway_core::access::Rates;
use gateway_core::secret::Secret;
use gateway_policy::limits::{Holder, Level, Resource};
use proptest::prelude::*;
use redis::ToRedisArgs;

use super::*;

/// The scripts with a clock that is handed in as the last argument.
macro_rules! timed {
    ($($part:literal),+) => {
        concat!("local now = tonumber(table.remove(ARGV))\n", $(include_str!($part), "\n"),+)
    };
}

const RESERVE: &str = timed!("bucket.lua", "reserve.lua");
const SETTLE: &str = timed!("bucket.lua", "settle.lua");
const RENEW: &str = timed!("lease.lua");
const NODE: &str = timed!("node.lua");

const HOUR: u64 = 3_600_000;

/// A gateway's limits on a Redis of their own, with the time in our hands.
struct World {
    server: Server,
    /// For the scripts alone: a busy machine may take its time.
    connection: redis::aio::MultiplexedConnection,
    shared: Shared,
    table: Table,
    origin: Instant,
    millis: u64,
}

async fn world() -> Option<World> {
    let server = Server::start().await.unwrap()?;
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    let shared = Shared::new(Redis::start(&Secret::new(server.url()), SCRIPTS).unwrap());
    let began = Instant::now();
    while shared.is_degraded() {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let origin = Instant::now();
    Some(World { server, connection, shared, table: Table::new(origin), origin, millis: 100 * HOUR })
}

impl World {
    fn now(&self) -> Instant {
        self.origin + Duration::from_millis(self.millis)
    }

    async fn run(&self, script: &str, keys: &[String], arguments: impl ToRedisArgs) -> Value {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(keys.len()).arg(keys).arg(arguments).arg(self.millis);
        command.query_async(&mut self.connection.clone()).await.unwrap()
    }

    /// What Redis decides, in the words of the table.
    async fn take(&self, ask: &Ask) -> (Result<Standing, Box<Refused>>, Reservation) {
        let reservation = self.shared.reservation(ask).unwrap();
        let mut numbers = vec![LEASE.as_millis() as i64, parts(ask.tokens) as i64];
        numbers.extend(&reservation.numbers);
        let answer = self.run(RESERVE, &reservation.keys, (&reservation.id, numbers)).await;
        let (granted, said) = read(&answer, ask.levels.len()).unwrap();
        (self.table.told(ask, &said, granted, self.now()), reservation)
    }

    /// How many levels were settled.
    async fn settle(&self, reservation: &Reservation, reserved: u64, spent: u64) -> Value {
        let mut numbers = vec![0, parts(reserved.saturating_sub(spent)), parts(spent.saturating_sub(reserved))];
        numbers.extend(reservation.numbers.iter().map(|number| number.cast_unsigned()));
        self.run(SETTLE, &reservation.keys, (&reservation.id, numbers)).await
    }

    async fn renew(&self, reservation: &Reservation) {
        let leases: Vec<String> = reservation.keys.iter().skip(1).step_by(2).cloned().collect();
        self.run(RENEW, &leases, (&reservation.id, LEASE.as_millis() as u64)).await;
    }

    async fn keys(&self) -> Vec<String> {
        self.server.says("KEYS llm-gateway:*:{*").await.unwrap()
    }
}

fn rates(requests: u64, tokens: u64, concurrent: Option<u64>) -> Rates {
    Rates { requests_per_minute: Some(requests), tokens_per_minute: Some(tokens), concurrent, ..Rates::NONE }
}

fn level(holder: Holder, rates: Rates) -> Level {
    Level::new(LevelId { holder, part: Part::All }, rates)
}

fn key(name: &str, rates: Rates) -> Level {
    level(Holder::Key(name.into()), rates)
}

fn team(name: &str, rates: Rates) -> Level {
    level(Holder::Team(name.into()), rates)
}

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Take {
        key: usize,
        tokens: u64,
    },
    /// One of those that are open.
    Settle {
        which: prop::sample::Index,
        spent: u64,
    },
    /// The team's limit is another one from now on.
    Limit(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..20_000u64).prop_map(Step::Pass),
        5 => (0..2usize, prop_oneof![0..5u64, 0..400u64, 0..3000u64]).prop_map(|(key, tokens)| Step::Take { key, tokens }),
        3 => (any::<prop::sample::Index>(), 0..2000u64).prop_map(|(which, spent)| Step::Settle { which, spent }),
        1 => prop_oneof![5..50u64].prop_map(Step::Limit),
    ];
    prop::collection::vec(step, 1..40)
}

#[test]
fn redis_and_memory_give_the_same_verdicts_step_by_step() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Some(world) = runtime.block_on(world()) else { return };
    let world = std::cell::RefCell::new((world, 0));
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) };
    let same = |steps: Vec<Step>| {
        let (world, round) = &mut *world.borrow_mut();
        *round += 1;
        runtime.block_on(same(world, *round, &steps))
    };
    proptest::test_runner::TestRunner::new(config).run(&steps(), same).unwrap();
}

async fn same(world: &mut World, round: u64, steps: &[Step]) -> Result<(), TestCaseError> {
    let memory = Table::new(world.origin);
    let (mut limit, mut open): (u64, Vec<(Ask, Reservation)>) = (20, Vec::new());
    for step in steps {
        match *step {
            Step::Pass(millis) => {
                world.millis += millis;
                for (_, reservation) in &open {
                    world.renew(reservation).await;
                }
            }
            Step::Limit(requests) => limit = requests,
            Step::Take { key: which, tokens } => {
                let own = [rates(7, 900, Some(3)), Rates { burst_percent: Some(250), ..rates(60, 500, None) }][which];
                let levels = vec![
                    key(&format!("k{round}-{which}"), own),
                    team(&format!("t{round}"), rates(limit, limit * 100, Some(4))),
                ];
                let mut ask = Ask { levels, tokens };
                let (told, reservation) = world.take(&ask).await;
                let own = memory.take(&mut ask, world.now());
                prop_assert_eq!(&told, &own);
                if told.is_ok() {
                    open.push((ask, reservation));
                }
            }
            Step::Settle { ref which, spent } if !open.is_empty() => {
                let (ask, reservation) = open.swap_remove(which.index(open.len()));
                let levels = Value::Int(ask.levels.len() as i64);
                prop_assert_eq!(world.settle(&reservation, ask.tokens, spent).await, levels);
                prop_assert_eq!(world.settle(&reservation, ask.tokens, spent).await, Value::Int(0), "once");
                memory.settle(&ask, spent, world.now());
            }
            Step::Settle { .. } => {}
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_was_given_back_leaves_nothing_behind() {
    let Some(mut world) = world().await else { return };
    let levels = vec![key("k", rates(60, 1000, Some(5))), team("t", rates(60, 1000, None))];
    let ask = Ask { levels, tokens: 400 };
    let (told, reservation) = world.take(&ask).await;
    assert!(told.is_ok());
    let keys = world.keys().await;
    assert_eq!(keys.len(), 4, "{keys:?}");
    // One slot of a cluster.
    assert!(keys.iter().all(|key| key.contains(":{team:t}:")), "{keys:?}");
    for key in &keys {
        let left: i64 = world.server.says(&format!("PTTL {key}")).await.unwrap()[0].parse().unwrap();
        assert!((1..=31_000).contains(&left), "{key} lasts {left} ms");
    }
    world.millis += 1000;
    assert_eq!(world.settle(&reservation, 400, 0).await, Value::Int(2));
    // A request was taken a second ago, and one comes back in a second: what is kept now is nothing, for a second.
    let keys = world.keys().await;
    assert!(keys.iter().all(|key| key.starts_with("llm-gateway:used:")), "{keys:?}");
    for key in &keys {
        let left: i64 = world.server.says(&format!("PTTL {key}")).await.unwrap()[0].parse().unwrap();
        assert!(left <= 1000, "{key} lasts {left} ms");
    }
}

#[tokio::test]
async fn a_gateway_that_died_frees_its_places_when_its_leases_end() {
    let Some(mut world) = world().await else { return };
    let ask = Ask { levels: vec![key("k", rates(600, 100_000, Some(2)))], tokens: 1 };
    for _ in 0..2 {
        assert!(world.take(&ask).await.0.is_ok());
    }
    world.millis += LEASE.as_millis() as u64 - 1;
    assert_eq!(world.take(&ask).await.0.unwrap_err().what, Resource::Places);
    world.millis += 1;
    let (told, living) = world.take(&ask).await;
    assert!(told.is_ok());
    // Whoever lives renews, and is not counted twice.
    for _ in 0..5 {
        world.millis += LEASE.as_millis() as u64 - 1;
        world.renew(&living).await;
    }
    assert!(world.take(&ask).await.0.is_ok());
    assert_eq!(world.take(&ask).await.0.unwrap_err().what, Resource::Places);
}

#[tokio::test]
async fn a_clock_that_jumps_locks_nobody_out_for_more_than_a_minute() {
    let Some(mut world) = world().await else { return };
    let ask = Ask { levels: vec![key("k", rates(60, 6000, Some(60)))], tokens: 100 };
    let mut open = Vec::new();
    for _ in 0..60 {
        let (told, reservation) = world.take(&ask).await;
        assert!(told.is_ok());
        open.push(reservation);
    }
    assert!(world.take(&ask).await.0.is_err());
    // An hour back: not an hour without anything, and leases that would last an hour are none.
    world.millis -= HOUR;
    let granted = async |world: &World| {
        let mut granted = 0;
        while world.take(&ask).await.0.is_ok() {
            granted += 1;
        }
        granted
    };
    assert_eq!(granted(&world).await, 0);
    world.millis += 1000;
    assert_eq!(granted(&world).await, 1, "a second after the jump");
    world.millis += 30_000;
    assert_eq!(granted(&world).await, 30);
    // An hour forward: a minute's limit, not an hour's.
    world.millis += HOUR;
    assert_eq!(granted(&world).await, 60);
}

#[tokio::test]
async fn numbers_stay_exact_at_the_highest_limits() {
    let Some(mut world) = world().await else { return };
    let most = gateway_core::limits::RATE_PER_MINUTE_MOST;
    let ask = |tokens| Ask { levels: vec![key("k", rates(most, most, None))], tokens };
    let left = |told: &Result<Standing, Box<Refused>>| match told {
        Ok(standing) => standing.tokens.unwrap().remaining,
        Err(refused) => refused.standing.tokens.unwrap().remaining,
    };
    assert_eq!(left(&world.take(&ask(most - 1)).await.0), 1);
    assert_eq!(left(&world.take(&ask(1)).await.0), 0);
    assert_eq!(left(&world.take(&ask(1)).await.0), 0);
    world.millis += 1;
    assert_eq!(left(&world.take(&ask(0)).await.0), most / 60_000);
    let (told, reservation) = world.take(&ask(1)).await;
    assert!(told.is_ok());
    world.settle(&reservation, 1, most).await;
    world.millis += 59_999;
    assert_eq!(left(&world.take(&ask(0)).await.0), 0, "in debt by a minute");
    world.millis += 60_000;
    assert_eq!(left(&world.take(&ask(0)).await.0), most);
}

#[tokio::test]
async fn gateways_that_are_silent_are_not_counted() {
    let Some(mut world) = world().await else { return };
    let alive = async |world: &World, node: &str| {
        world.run(NODE, &[NODES.to_owned()], (node, NODE_SILENCE.as_millis() as u64)).await
    };
    for node in 1..=3 {
        assert_eq!(alive(&world, &format!("n{node}")).await, Value::Int(node));
    }
    world.millis += NODE_SILENCE.as_millis() as u64 - 1;
    assert_eq!(alive(&world, "n1").await, Value::Int(3));
    world.millis += 1;
    assert_eq!(alive(&world, "n2").await, Value::Int(2));
    // A clock that went back does not let the dead live on.
    world.millis -= HOUR;
    assert_eq!(alive(&world, "n2").await, Value::Int(1));
}

#[tokio::test]
async fn leases_that_were_lost_are_renewed_and_those_of_ended_requests_are_not() {
    let Some(world) = world().await else { return };
    let mut ask = Ask { levels: vec![key("k", rates(600, 100_000, Some(5)))], tokens: 100 };
    let (_, reservation) = world.shared.take(&world.table, &mut ask).await.unwrap();
    let (reservation, leases) = (reservation.unwrap(), "llm-gateway:open:{key:k}:key:k");
    let open = async || world.server.says(&format!("ZCARD {leases}")).await.unwrap().concat();
    assert_eq!(open().await, "1");
    world.server.says("FLUSHALL").await.unwrap();
    world.shared.renew(Instant::now(), false);
    world.shared.settled(Duration::from_secs(1)).await;
    assert_eq!(open().await, "0", "it was renewed not long ago");
    world.shared.renew(Instant::now(), true);
    world.shared.settled(Duration::from_secs(1)).await;
    assert_eq!(open().await, "1");
    world.shared.settle(&reservation, 100, 50);
    world.shared.renew(Instant::now() + 2 * RENEW_AFTER, true);
    world.shared.settled(Duration::from_secs(1)).await;
    assert_eq!(open().await, "0");
    assert_eq!(world.shared.unsettled(), 0);
}

#[tokio::test]
async fn who_leaves_before_the_answer_has_taken_nothing() {
    let Some(world) = world().await else { return };
    let ask = Ask { levels: vec![key("k", rates(60, 6000, Some(100)))], tokens: 100 };
    let mut answered = 0;
    for patience in 0..50u64 {
        let mut ask = ask.clone();
        let asking = world.shared.take(&world.table, &mut ask);
        if let Ok(taken) = tokio::time::timeout(Duration::from_micros(20 * patience), asking).await {
            world.shared.settle(&taken.unwrap().1.unwrap(), 100, 100);
            answered += 1;
        }
    }
    world.shared.settled(Duration::from_secs(1)).await;
    assert_eq!(world.server.says("KEYS llm-gateway:open:*").await.unwrap(), Vec::<String>::new());
    // Neither its request nor its tokens: what is gone is what was answered, as far as it has not come back.
    let gone = world.server.says("HGET llm-gateway:used:{key:k}:key:k r").await.unwrap().concat();
    assert!(gone.parse().unwrap_or(0) <= parts(answered), "{gone} of {answered}");
}
