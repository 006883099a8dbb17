//! Every bound of the program, by name, with the unit in the name. Sources: RFC 9110 practice, the official SDKs' own
//! defaults, and what real provider traffic needs.

use std::time::Duration;

pub const REQUEST_BODY_MIB_DEFAULT: u64 = 32;
pub const REQUEST_HEADER_BYTES: usize = 16 * 1024;
pub const REQUEST_HEADERS: usize = 100;
pub const REQUEST_HEADERS_TIME: Duration = Duration::from_secs(10);
/// A sender may be slow, not idle: this much time is free, then [`REQUEST_BODY_BYTES_PER_SECOND`] is the least.
pub const REQUEST_BODY_GRACE: Duration = Duration::from_secs(10);
pub const REQUEST_BODY_BYTES_PER_SECOND: u64 = 1024;

/// serde_json's own bound for recursive parsing; deeper bodies are refused before anything recurses.
pub const JSON_DEPTH: usize = 128;
pub const SSE_EVENT_BYTES: usize = 1024 * 1024;
/// Events held back until the first content of a stream: one of them may be [`SSE_EVENT_BYTES`] long, all together no more.
pub const HELD_STREAM_BYTES: usize = 1024 * 1024;
pub const RESPONSE_BODY_BYTES: usize = 64 * 1024 * 1024;
/// Of an upstream's error answer; the rest is cut.
pub const ERROR_BODY_BYTES: usize = 1024 * 1024;
/// `x-gateway-dropped` and `x-gateway-added`; longer lists end in an ellipsis.
pub const NAMED_LOSSES_BYTES: usize = 4096;

pub const TARGETS_PER_PLAN: usize = 32;
/// Models of one provider whose state is kept apart; those that come later share one.
pub const TARGET_STATES_PER_PROVIDER: usize = 1000;
/// A longer name of a model is passed on, but nothing is kept under it.
pub const KEPT_MODEL_NAME_BYTES: usize = 256;
pub const IDLE_CONNECTIONS_PER_ORIGIN_AND_WORKER: usize = 64;
pub const IDLE_CONNECTION_TIME: Duration = Duration::from_secs(60);

/// To the first content of an answer that is streamed. Reasoning models think before they speak.
pub const FIRST_CONTENT_TIME: Duration = Duration::from_secs(120);
pub const FIRST_CONTENT_TIME_REASONING: Duration = Duration::from_secs(600);
/// Between two bytes of a stream, comments and pings included.
pub const STREAM_IDLE_TIME: Duration = Duration::from_secs(60);
/// Between two events that say something: pings keep the clock above alive, not this one.
pub const STREAM_SILENT_TIME: Duration = Duration::from_secs(300);
pub const STREAM_TOTAL_TIME: Duration = Duration::from_secs(3600);
/// A client that reads nothing for so long has gone.
pub const CLIENT_STALL_TIME: Duration = Duration::from_secs(30);
/// While memory is short, this part of the time above.
pub const CLIENT_STALL_PART_UNDER_PRESSURE: u32 = 6;
/// After this part of it a client that does not read is known as one, and may be given up for others.
pub const CLIENT_STALL_PART_UNNOTED: u32 = 30;
pub const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
/// A longer wait that a provider asks for is capped when it is told to the client.
pub const RETRY_AFTER_CLIENT: Duration = Duration::from_secs(120);

/// Requests that a whole gateway answers at a time.
pub const CONCURRENT_REQUESTS_DEFAULT: u64 = 16_384;
/// Waiting for one limit; more are refused at once.
pub const QUEUED_REQUESTS: usize = 1024;
/// How long a request waits for its turn, and how long a queue may stand before it counts as overload.
pub const QUEUE_TIME: Duration = Duration::from_secs(1);
/// The same while a queue has stood for longer than [`QUEUE_TIME`]: most will be refused, and should know soon.
pub const QUEUE_TIME_UNDER_LOAD: Duration = Duration::from_millis(5);
/// What a request holds besides a long body: its connections' buffers, its head, its account.
pub const REQUEST_BASE_BYTES: u64 = 32 * 1024;
/// How long a request waits for the memory of clients that were given up for it, and how often it looks.
pub const ROOM_TIME: Duration = Duration::from_millis(100);
pub const ROOM_LOOK_TIME: Duration = Duration::from_millis(2);
/// Of a whole answer, what is handed out to be written at a time: what is handed out is on nobody's account any more.
pub const REPLY_PIECE_BYTES: usize = 64 * 1024;
/// With less nothing of use could be done.
pub const MEMORY_LIMIT_BYTES_LEAST: u64 = 16 * 1024 * 1024;
/// Frames of an HTTP/2 client that carry nothing of a request: so many at once, so many a second, and one more for so many bytes
/// that are written to it (the answer to a ping has 17).
pub const CONTROL_FRAMES_AT_ONCE: u64 = 10_000;
pub const CONTROL_FRAMES_PER_SECOND: u64 = 1_000;
pub const WRITTEN_BYTES_PER_CONTROL_FRAME: u64 = 32;
/// Connections beyond the limit that are served once, so that health can be asked for and refusals can be told.
pub const SPARE_CONNECTIONS: usize = 16;
/// To the operator's own listener, whatever the other one has to do; they come out of [`RESERVED_FILES`].
pub const ADMIN_CONNECTIONS: usize = 16;
/// Files that are not connections of clients: listener, log, runtime, configuration.
pub const RESERVED_FILES: u64 = 64;
/// Limits of one provider that its health tells of: those of which least is left.
pub const QUOTAS_SHOWN: usize = 16;
/// How long a provider may take to answer a probe.
pub const PROBE_TIME: Duration = Duration::from_secs(5);

/// Requests that have ended and can be explained: so many, and no more than so many bytes of memory.
pub const EXPLANATIONS: usize = 10_000;
pub const EXPLANATIONS_BYTES: usize = 24 * 1024 * 1024;
/// A request that runs for longer can be explained before it ends.
pub const SHOWN_AFTER: Duration = Duration::from_secs(1);
/// A larger one is not kept: somebody named a model of many kilobytes.
pub const EXPLANATION_BYTES: usize = 16 * 1024;
/// Of an error or another text of others in an explanation; the rest is cut.
pub const EXPLANATION_TEXT_CHARS: usize = 500;
/// `x-gateway-explanation`; a longer one ends in an ellipsis.
pub const EXPLANATION_HEADER_BYTES: usize = 2048;
/// For what was said of requests that have just ended to be kept.
pub const EXPLANATION_WAIT: Duration = Duration::from_millis(250);

/// Commands to Redis that wait to be sent.
pub const REDIS_QUEUE: usize = 1024;
/// Of commands, sent together, that wait for their answers.
pub const REDIS_BATCHES_AT_ONCE: usize = 8;

/// The highest limit of requests or tokens in a minute. Every sum that a bucket makes of it fits into the 53 bits of a double,
/// in which Redis' scripts count.
pub const RATE_PER_MINUTE_MOST: u64 = 50_000_000_000;
/// What may be used at once, in percent of a minute's limit.
pub const BURST_PERCENT_MOST: u64 = 10_000;
/// Limits that a request stands under: of its key and of its team, each in all and for a model.
pub const LEVELS_PER_REQUEST: usize = 4;
/// An address may use so many times what one of its users may.
pub const ADDRESS_USERS: u64 = 10;
/// Callers without a key whose use is kept apart; those that come when so many have used something lately share one limit.
pub const ANONYMOUS_HOLDERS: usize = 65_536;
/// A provider that tells of more tokens for one request is not believed: no model reads and writes so many.
pub const TOKENS_PER_REQUEST_MOST: u64 = 4_000_000;
/// Of what a caller shows as its key; nothing longer is looked at.
pub const KEY_TEXT_BYTES: usize = 512;
/// Virtual keys of a database, those that were revoked included; the gateway keeps all of them in memory.
pub const KEYS: u64 = 1_000_000;
pub const TEAMS: u64 = 100_000;
/// Of the name of a key, a team or an owner, and of a tag.
pub const KEY_NAME_CHARS: usize = 100;
/// Tags of a key, and names in a list of what it may be used for.
pub const KEY_TAGS: usize = 50;
pub const KEY_SCOPE_NAMES: usize = 1000;
/// Keys that are listed at a time.
pub const KEYS_PER_PAGE: u64 = 1000;
/// For so long the gateway believes what it last heard from the database; a key that was revoked meanwhile is then refused.
pub const KEYS_STALE_TIME: Duration = Duration::from_secs(60);
/// A body that the admin API takes.
pub const ADMIN_BODY_BYTES: usize = 1024 * 1024;
/// What somebody who asks the admin API waits for the database at most, with all that others want before.
pub const ADMIN_ANSWER_TIME: Duration = Duration::from_secs(10);
/// Entries of a list of the admin API, if nobody says how many.
pub const ADMIN_PAGE: u64 = 100;
/// Of one body: problems that are told, and fields that are looked at one by one to find them.
pub const KEY_PROBLEMS_TOLD: usize = 50;
pub const KEY_FIELDS_TRIED: usize = 10_000;
/// Changes of keys and questions about them that wait for the database; more are refused.
pub const STORE_QUEUE: usize = 64;
/// Scripts for Redis that wait to be run and nobody waits for.
pub const REDIS_DELIVERIES: usize = 16 * 1024;

/// A longer text of a user is found in the cache as it was said alone.
pub const CACHE_TEXT_BYTES: usize = 8 * 1024;
/// Pairs of a question and an answer that were reported as wrong and are kept apart.
pub const CACHE_BLOCKED_PAIRS: usize = 10_000;
pub const CACHE_BLOCKED_PAIRS_PER_TENANT: usize = 1000;
/// Clearings that an answer on its way is compared with; of more, what was asked for before them is not stored.
pub const CACHE_CLEARINGS: usize = 256;
pub const CACHE_ENTRIES: usize = 1_000_000;
/// How long a request waits for the embedding model of a provider.
pub const CACHE_EMBEDDING_TIME: Duration = Duration::from_millis(500);
/// How long that model is left alone when it has failed.
pub const CACHE_EMBEDDING_REST: Duration = Duration::from_secs(5);
/// Of its answer, with some thousand components in decimal digits.
pub const CACHE_EMBEDDING_BYTES: usize = 256 * 1024;
/// A longer answer is not kept.
pub const CACHE_ENTRY_BYTES: usize = 1024 * 1024;
/// Of streams that are written down while they pass, all together; what does not fit is not kept.
pub const CACHE_TAPE_BYTES: usize = 64 * 1024 * 1024;
/// Requests that wait for the answer of another one that asks the same.
pub const COALESCED_REQUESTS: usize = 1024;
/// A body that reports a wrong answer.
pub const CACHE_FEEDBACK_BYTES: usize = 4096;
/// A longer answer, with all that is kept of it, is not shared with other gateways.
pub const CACHE_SHARED_ENTRY_BYTES: usize = 256 * 1024;
/// Answers on their way to other gateways; more are kept by this one alone.
pub const CACHE_SHARED_QUEUE: usize = 1024;
pub const CACHE_SHARED_QUEUE_BYTES: usize = 32 * 1024 * 1024;
