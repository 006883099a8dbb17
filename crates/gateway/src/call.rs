//! One request of a client for an answer, understood as far as routing needs it.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway_core::access::{Scope, VirtualKey};
use gateway_core::chat::ChatRequest;
use gateway_core::dialect::Dialect;
use gateway_core::error::GatewayError;
use gateway_core::target::{Capabilities, Capability, Strategy};
use gateway_dialects::anthropic_messages;
use gateway_dialects::codec;
use gateway_dialects::envelope::Envelope;
use gateway_dialects::native;
use gateway_policy::routing::Hints;
use gateway_policy::tokens::{self, Estimate};
use http::{HeaderMap, HeaderName};
use serde_json::Value;

use crate::admission::WithBody;
use crate::api::ingress::Inbound;
use crate::cache::{self, Answered, Tapes, Wish};
use crate::request_id::RequestId;

/// Who asks: what the gateway keeps of a request is told to the same caller alone.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Without a key: whoever calls from this address.
    Address(IpAddr),
    Key(Arc<VirtualKey>),
    /// The operator, by the admin key.
    Admin,
}

impl Caller {
    pub fn scope(&self) -> &Scope {
        match self {
            Caller::Key(key) => &key.scope,
            Caller::Address(_) | Caller::Admin => &Scope::EVERYTHING,
        }
    }

    /// May what was told of a request of `other` be told to this one?
    pub fn may_see(&self, other: &Caller) -> bool {
        *self == Caller::Admin || self == other
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Caller::Address(one), Caller::Address(other)) => one == other,
            // By its name: what is known of a key may change while it is in use.
            (Caller::Key(one), Caller::Key(other)) => one.id == other.id,
            (Caller::Admin, Caller::Admin) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Address(address) => write!(f, "address {address}"),
            Caller::Key(key) => write!(f, "key {}", key.id),
            Caller::Admin => f.write_str("admin"),
        }
    }
}

/// What a client asks, and how.
#[derive(Debug)]
pub struct Call {
    pub request_id: RequestId,
    pub caller: Caller,
    pub dialect: Dialect,
    pub started: Instant,
    pub body: Bytes,
    pub envelope: Envelope,
    pub stream: bool,
    /// The client wants to know how many tokens its prompt has, and no answer to it.
    pub counts_tokens: bool,
    pub hints: Hints,
    pub user: Option<String>,
    pub metadata: Option<Value>,
    /// The client's own deadline for the whole answer, or for the first content of a stream.
    pub timeout: Option<Duration>,
    /// The answer is to say in a header why it came about as it did.
    pub explain: bool,
    /// Headers that pass to a provider of the same dialect.
    pub forwarded: HeaderMap,
    /// What the client wants of the cache.
    pub wish: Wish,
    /// It may have the answer to another request that asks the same at the same time.
    pub may_share: bool,
    /// Where its answer comes from, as far as that is known; `None`: there is no cache.
    pub cache: Option<Answered>,
    /// The answer is there already: nothing more is needed for it.
    pub is_answered: bool,
    /// Its stream is to be written down, so that it can be kept.
    pub tapes: Option<Tapes>,
    /// What the request and its answer hold.
    pub admitted: WithBody,
    chat: OnceLock<Result<Box<ChatRequest>, Box<GatewayError>>>,
    estimate: OnceLock<Estimate>,
}

impl Call {
    /// Reads the envelope of an OpenAI or Anthropic request, or the whole of a native one. `streamed`: the route says so.
    pub fn open(inbound: Inbound, dialect: Dialect, streamed: bool) -> Result<Call, GatewayError> {
        let Inbound { arrival, headers, body, admitted, .. } = inbound;
        let body = body?;
        let Asked { mut hints, timeout, user, explain, wish, may_share } = Asked::read(&headers)?;
        let envelope = Envelope::read(&body)?;
        let mut call = Call {
            request_id: arrival.request_id,
            caller: arrival.caller,
            dialect,
            started: arrival.started,
            forwarded: forwarded(&headers, dialect),
            wish,
            may_share,
            cache: None,
            is_answered: false,
            tapes: None,
            user,
            body,
            stream: envelope.stream || streamed,
            counts_tokens: false,
            envelope,
            hints: Hints::default(),
            metadata: None,
            timeout,
            admitted: WithBody::new(admitted),
            explain,
            chat: OnceLock::new(),
            estimate: OnceLock::new(),
        };
        if dialect == Dialect::Native {
            let request = native::decode(&call.body)?;
            let routing = request.routing;
            hints.strategy = routing.strategy.or(hints.strategy);
            hints.pinned = request.provider.or(hints.pinned);
            hints.required = routing.required_capabilities.iter().filter_map(|name| Capability::parse(name)).collect();
            if !routing.preferred_providers.is_empty() {
                hints.preferred = routing.preferred_providers;
            }
            hints.excluded.extend(routing.exclude_providers);
            if request.skip_cache {
                call.wish = Wish::Skip;
            }
            call.user = request.user_id.or(call.user);
            call.metadata = Some(Value::Object(request.metadata));
            let mut chat = request.chat;
            chat.stream = call.stream;
            call.chat = OnceLock::from(Ok(Box::new(chat)));
        } else if call.envelope.model.as_deref().unwrap_or_default().is_empty() {
            return Err(GatewayError::invalid(
                "model",
                "model is required: name one as provider/model; GET /v1/models lists them",
            ));
        }
        call.hints = hints;
        Ok(call)
    }

    /// The same prompt, to be counted and not answered.
    pub fn counting(self) -> Call {
        // A count is never kept: what the client wants of the cache does not concern it.
        Call { counts_tokens: true, stream: false, wish: Wish::Use, ..self }
    }

    pub fn model(&self) -> Option<&str> {
        self.envelope.model.as_deref()
    }

    /// The request in canonical form; decoded when first asked for.
    pub fn chat(&self) -> Result<&ChatRequest, GatewayError> {
        let decode = || {
            let read = match self.counts_tokens {
                true => anthropic_messages::decode_prompt(&self.body),
                false => codec::client(self.dialect).decode_request(&self.body),
            };
            read.map(Box::new).map_err(Box::new)
        };
        match self.chat.get_or_init(decode) {
            Ok(chat) => Ok(chat),
            Err(error) => Err((**error).clone()),
        }
    }

    /// The tokens of the prompt as the gateway counts them: of the conversation if it has been read, else what its bytes come to.
    pub fn prompt_tokens(&self, of_bytes: impl FnOnce() -> u64) -> u64 {
        match self.chat.get() {
            Some(Ok(chat)) => tokens::chat(chat),
            _ => of_bytes(),
        }
    }

    /// How large the request is by the rule that knows no model, from its bytes alone. What a body carries besides text has few
    /// tokens for its bytes: then the prompt is read. For a target, ask
    /// [`Catalog::estimate`](crate::providers::catalog::Catalog::estimate).
    pub fn estimate(&self) -> Estimate {
        *self.estimate.get_or_init(|| {
            if self.envelope.has_media {
                let _ = self.chat();
            }
            Estimate {
                input: self.prompt_tokens(|| tokens::about(&self.body)),
                output: tokens::expected_output(tokens::USUAL_OUTPUT_TOKENS, self.envelope.max_tokens),
            }
        })
    }

    /// A number of input tokens above `tokens` that the request surely has, if it has. Most requests are too small for that
    /// by the length of their bodies, and are not read for it.
    pub fn surely_more_than(&self, tokens: u64) -> Option<u64> {
        let bytes = self.body.len() as u64;
        // No byte is more than half a token, and half of that is sure.
        let possible = bytes.div_ceil(4) > tokens && self.estimate().input.div_ceil(2) > tokens;
        let sure = if possible { tokens::at_least(self.chat().ok()?) } else { 0 };
        (sure > tokens).then_some(sure)
    }
}

fn text_header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

fn list_header(headers: &HeaderMap, name: &str) -> Vec<String> {
    let list = text_header(headers, name).unwrap_or_default();
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// What a client asks of the gateway in headers, which every dialect may carry.
#[derive(Default)]
struct Asked {
    hints: Hints,
    timeout: Option<Duration>,
    user: Option<String>,
    explain: bool,
    wish: Wish,
    may_share: bool,
}

/// Whether a client asks anything of the gateway in headers. Few do: to go through the names once takes less than to look for
/// each.
pub fn asks_in_headers(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("x-gateway-"))
}

impl Asked {
    fn read(headers: &HeaderMap) -> Result<Asked, GatewayError> {
        if !asks_in_headers(headers) {
            return Ok(Asked { wish: Wish::of_any_cache(headers), ..Asked::default() });
        }
        Ok(Asked {
            wish: Wish::read(headers)?,
            may_share: cache::may_share(headers)?,
            hints: header_hints(headers)?,
            timeout: timeout_header(headers)?,
            user: user_of(headers),
            explain: explain_header(headers)?,
        })
    }
}

fn header_hints(headers: &HeaderMap) -> Result<Hints, GatewayError> {
    let strategy = match text_header(headers, "x-gateway-strategy") {
        None => None,
        Some(name) => Some(Strategy::parse(&name).ok_or_else(|| {
            let known = Strategy::ALL.map(Strategy::name).join(", ");
            GatewayError::invalid(
                "x-gateway-strategy",
                format!("x-gateway-strategy must be one of {known}, got {name:?}"),
            )
        })?),
    };
    Ok(Hints {
        strategy,
        preferred: list_header(headers, "x-gateway-prefer"),
        excluded: list_header(headers, "x-gateway-exclude"),
        pinned: text_header(headers, "x-gateway-provider"),
        required: Capabilities::default(),
    })
}

/// The deadline that a client sets, where it is one.
pub fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    timeout_header(headers).ok().flatten()
}

/// The user that a client names in a header, which in the native dialect its body may say otherwise.
pub fn user_of(headers: &HeaderMap) -> Option<String> {
    text_header(headers, "x-gateway-user")
}

fn timeout_header(headers: &HeaderMap) -> Result<Option<Duration>, GatewayError> {
    let Some(text) = text_header(headers, "x-gateway-timeout-ms") else { return Ok(None) };
    match text.parse() {
        Ok(ms @ 1..=3_600_000) => Ok(Some(Duration::from_millis(ms))),
        _ => Err(GatewayError::invalid(
            "x-gateway-timeout-ms",
            format!("x-gateway-timeout-ms must be a whole number from 1 to 3600000, got {text:?}"),
        )),
    }
}

fn explain_header(headers: &HeaderMap) -> Result<bool, GatewayError> {
    match text_header(headers, "x-gateway-explain").as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(GatewayError::invalid(
            "x-gateway-explain",
            format!("x-gateway-explain must be true or false, got {other:?}"),
        )),
    }
}

/// The headers by which a dialect says more than its body does.
fn forwarded(headers: &HeaderMap, dialect: Dialect) -> HeaderMap {
    let passes: fn(&HeaderName) -> bool = match dialect {
        Dialect::AnthropicMessages => |name| name.as_str().starts_with("anthropic-"),
        Dialect::OpenAiChat => |name| {
            let name = name.as_str();
            // Organisation and project belong to the key, and the key is ours.
            name.starts_with("openai-") && name != "openai-organization" && name != "openai-project"
        },
        Dialect::Native => |_| false,
    };
    let mut chosen = HeaderMap::new();
    for (name, value) in headers {
        if passes(name) {
            chosen.append(name.clone(), value.clone());
        }
    }
    chosen
}

/// Capabilities that a request plainly needs.
pub fn needed(call: &Call) -> Capabilities {
    let mut needed = call.hints.required;
    if call.stream {
        needed = needed.with(Capability::Streaming);
    }
    needed
}

/// A request is shared by the attempts it causes.
pub type SharedCall = Arc<Call>;
