//! Every route of the program, as data: what is served, documented and counted comes from this one table.

use gateway_core::dialect::Dialect;
use http::Method;

use crate::access::Right;
use crate::api::admin::Admin;
use crate::api::docs::{self, Asset};

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Answer a conversation. `streamed`: whatever the body says.
    Complete {
        dialect: Dialect,
        streamed: bool,
    },
    /// How many tokens a prompt has.
    CountTokens,
    ListModels,
    ShowModel,
    ListProviders,
    ProviderHealth,
    CacheStats,
    CacheClear,
    CacheFeedback,
    ExplainRequest,
    Health,
    Live,
    Ready,
    Metrics,
    Root,
    /// A file of the documentation page.
    Asset(&'static Asset),
    OpenApi,
    Admin(Admin),
    /// In the contract, and not built yet: says so.
    NotBuilt {
        what: &'static str,
    },
}

#[derive(Debug)]
pub struct Row {
    pub method: Method,
    /// `{id}` stands for one segment, `{model}` for the rest of the path.
    pub path: &'static str,
    pub action: Action,
    /// What it asks of its caller; there is no row without.
    pub right: Right,
    pub summary: &'static str,
    /// For logs and metrics: `METHOD path`.
    pub name: &'static str,
}

macro_rules! routes {
    ($($method:ident $path:literal $right:ident $action:expr, $summary:literal;)*) => {
        &[$(Row {
            method: Method::$method,
            path: $path,
            action: $action,
            right: Right::$right,
            summary: $summary,
            name: concat!(stringify!($method), " ", $path),
        }),*]
    };
}

const NATIVE: Action = Action::Complete { dialect: Dialect::Native, streamed: false };
const NATIVE_STREAM: Action = Action::Complete { dialect: Dialect::Native, streamed: true };
const CHAT: Action = Action::Complete { dialect: Dialect::OpenAiChat, streamed: false };
const MESSAGES: Action = Action::Complete { dialect: Dialect::AnthropicMessages, streamed: false };

pub static ROUTES: &[Row] = routes! {
    POST "/v1/completions" Use NATIVE, "Create a completion";
    POST "/v1/completions/stream" Use NATIVE_STREAM, "Create a completion as server-sent events";
    POST "/v1/chat/completions" Use CHAT, "OpenAI chat completions";
    POST "/v1/messages" Use MESSAGES, "Anthropic messages";
    POST "/v1/messages/count_tokens" Use Action::CountTokens, "Count the tokens of a prompt";
    POST "/v1/responses" Use Action::NotBuilt { what: "the OpenAI Responses API" }, "OpenAI responses (not built yet)";
    POST "/v1/embeddings" Use Action::NotBuilt { what: "embeddings" }, "OpenAI embeddings (not built yet)";
    GET "/v1/models" Use Action::ListModels, "List models";
    GET "/v1/models/{model}" Use Action::ShowModel, "Show one model";
    GET "/v1/providers" Use Action::ListProviders, "List providers";
    GET "/v1/providers/{id}/health" Use Action::ProviderHealth, "Health of one provider";
    GET "/v1/cache/stats" Use Action::CacheStats, "Cache statistics";
    DELETE "/v1/cache" Use Action::CacheClear, "Clear the caller's part of the cache";
    POST "/v1/cache/feedback" Use Action::CacheFeedback, "Report a wrong cache hit";
    GET "/v1/requests/{id}" Use Action::ExplainRequest, "Why the gateway did what it did for one request";
    GET "/health" Outline Action::Health, "Health of the gateway and its providers";
    GET "/health/live" Open Action::Live, "Is the process alive?";
    GET "/livez" Open Action::Live, "Is the process alive?";
    GET "/health/ready" Open Action::Ready, "Does the gateway take requests?";
    GET "/readyz" Open Action::Ready, "Does the gateway take requests?";
    GET "/metrics" Observe Action::Metrics, "Prometheus metrics";
    GET "/" Open Action::Root, "Name and version";
    GET "/docs" Open Action::Asset(&docs::PAGE), "Interactive documentation";
    GET "/docs/page.js" Open Action::Asset(&docs::SCRIPT), "Its script";
    GET "/docs/page.css" Open Action::Asset(&docs::STYLE), "Its style";
    GET "/openapi.json" Open Action::OpenApi, "This interface as OpenAPI 3.1";
    POST "/admin/v1/keys" Administer Action::Admin(Admin::CreateKey), "Make a key";
    GET "/admin/v1/keys" Administer Action::Admin(Admin::ListKeys), "List keys";
    GET "/admin/v1/keys/{id}" Administer Action::Admin(Admin::ShowKey), "Show a key";
    PATCH "/admin/v1/keys/{id}" Administer Action::Admin(Admin::UpdateKey), "Change what is said of a key";
    DELETE "/admin/v1/keys/{id}" Administer Action::Admin(Admin::RevokeKey), "Revoke a key";
    POST "/admin/v1/teams" Administer Action::Admin(Admin::CreateTeam), "Make a team";
    GET "/admin/v1/teams" Administer Action::Admin(Admin::ListTeams), "List teams";
    GET "/admin/v1/teams/{id}" Administer Action::Admin(Admin::ShowTeam), "Show a team";
    PATCH "/admin/v1/teams/{id}" Administer Action::Admin(Admin::UpdateTeam), "Change what is said of a team";
    GET "/admin/v1/audit" Administer Action::Admin(Admin::Audit), "Who changed which key or team";
    GET "/admin/v1/usage" Administer Action::NotBuilt { what: "the account of usage" }, "Usage (not built yet)";
};

/// A base path under which an SDK of that vendor finds everything where it expects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Plain,
    OpenAi,
    Anthropic,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Found<'a> {
    Row {
        row: &'static Row,
        family: Family,
        parameter: &'a str,
    },
    /// The path exists with these methods.
    WrongMethod(String),
    Nothing,
}

pub fn find<'a>(method: &Method, path: &'a str) -> Found<'a> {
    let (family, path) = split_family(path);
    let mut allowed: Vec<&str> = Vec::new();
    for row in ROUTES {
        if family != Family::Plain && !row.path.starts_with("/v1/") {
            continue;
        }
        if let Some(parameter) = matches(row.path, path) {
            if row.method == *method || (*method == Method::HEAD && row.method == Method::GET) {
                return Found::Row { row, family, parameter };
            }
            allowed.push(row.method.as_str());
        }
    }
    if allowed.is_empty() { Found::Nothing } else { Found::WrongMethod(allowed.join(", ")) }
}

fn split_family(path: &str) -> (Family, &str) {
    for (prefix, family) in [("/openai", Family::OpenAi), ("/anthropic", Family::Anthropic)] {
        if let Some(rest) = path.strip_prefix(prefix)
            && rest.starts_with("/v1/")
        {
            return (family, rest);
        }
    }
    (Family::Plain, path)
}

/// The parameter in `path` if it fits `pattern`; empty where the pattern has none.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    // Of every row before that of the request.
    let Some(open) = memchr::memchr(b'{', pattern.as_bytes()) else {
        return (pattern == path).then_some("");
    };
    let (before, rest) = (&pattern[..open], &pattern[open + 1..]);
    let (name, after) = rest.split_once('}')?;
    let parameter = path.strip_prefix(before)?.strip_suffix(after)?;
    let whole = name == "model" || !parameter.contains('/');
    (!parameter.is_empty() && whole).then_some(parameter)
}

/// In which dialect a caller of `path` expects to be told of an error.
pub fn dialect_of(path: &str) -> Dialect {
    match split_family(path) {
        (Family::OpenAi, _) => Dialect::OpenAiChat,
        (Family::Anthropic, _) => Dialect::AnthropicMessages,
        (Family::Plain, path) if path.starts_with("/v1/messages") => Dialect::AnthropicMessages,
        (Family::Plain, path)
            if ["/v1/chat/", "/v1/models", "/v1/responses", "/v1/embeddings"]
                .iter()
                .any(|prefix| path.starts_with(prefix)) =>
        {
            Dialect::OpenAiChat
        }
        (Family::Plain, _) => Dialect::Native,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(method: &Method, path: &str) -> Option<(Action, String)> {
        match find(method, path) {
            Found::Row { row, parameter, .. } => Some((row.action, parameter.to_owned())),
            _ => None,
        }
    }

    #[test]
    fn paths_find_their_rows() {
        assert_eq!(action(&Method::POST, "/openai/v1/chat/completions"), Some((CHAT, String::new())));
        assert_eq!(action(&Method::POST, "/anthropic/v1/messages"), Some((MESSAGES, String::new())));
        assert_eq!(
            action(&Method::GET, "/v1/providers/openai/health"),
            Some((Action::ProviderHealth, "openai".into()))
        );
        assert_eq!(action(&Method::GET, "/v1/models/openai/gpt-5"), Some((Action::ShowModel, "openai/gpt-5".into())));
        assert_eq!(action(&Method::GET, "/v1/providers/a/b/health"), None);
        assert_eq!(action(&Method::GET, "/openai/health"), None);
        assert_eq!(action(&Method::GET, "/v1/models/"), None);
        assert!(matches!(find(&Method::GET, "/v1/messages"), Found::WrongMethod(allow) if allow == "POST"));
    }

    #[test]
    fn no_route_stands_twice() {
        for (index, row) in ROUTES.iter().enumerate() {
            assert!(!ROUTES[..index].iter().any(|other| other.name == row.name), "{}", row.name);
        }
    }
}
