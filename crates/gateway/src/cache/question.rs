//! What a request asks, as the cache knows it: hashes of all that must be equal, straight from the bytes of the body.
//!
//! **In it**: who shares answers, the client's dialect, what it wants of routing, the headers that reach the provider, and every
//! member of the body as it is written, unknown ones too, in the order of their names. **Not in it**: [`IGNORED`].
//!
//! Members are hashed as they are written: other spacing or another spelling of a number is another question, and asks anew.
//! That is rare (a program writes its JSON in one way), and to read 100 KB of history would cost more than all the rest.
//! Anthropic's `cache_control` marks are in it for the same reason: a client that moves its marks from turn to turn has them at
//! the same places when it asks the same turn again.
//!
//! The last message is the question; it may be asked in other words if it is plain text of the user and nothing else.

use std::borrow::Cow;
use std::net::IpAddr;

use gateway_cache::{Hash, Hasher, Question, Text};
use gateway_core::limits::CACHE_TEXT_BYTES;
use gateway_dialects::envelope::Member;
use gateway_dialects::json;
use serde_json::value::RawValue;

use crate::call::{Call, Caller};
use crate::config::CacheScope;

/// What the answer does not depend on: who asks, and in how many pieces the answer is wanted.
const IGNORED: [&[u8]; 6] = [b"stream", b"stream_options", b"user", b"metadata", b"skip_cache", b"user_id"];

/// A body with more members at its top level is no request that the gateway knows.
const MEMBERS_MOST: usize = 100;

/// A message may be longer than its text, for what escapes add. A longer one is not looked into.
const MESSAGE_BYTES: usize = 2 * CACHE_TEXT_BYTES;

/// Those who share answers with this caller.
pub fn tenant(scope: CacheScope, caller: &Caller) -> Hash {
    match (scope, caller) {
        (CacheScope::All, _) => Hash::of("all", b""),
        (_, Caller::Admin) => Hash::of("admin", b""),
        (_, Caller::Address(address)) => match address.to_canonical() {
            IpAddr::V4(address) => Hash::of("address", &address.octets()),
            IpAddr::V6(address) => Hash::of("address", &address.octets()),
        },
        (CacheScope::Team, Caller::Key(key)) if let Some(team) = &key.team => Hash::of("team", team.id.as_bytes()),
        (_, Caller::Key(key)) => Hash::of("key", key.id.as_bytes()),
    }
}

/// `version`: of the configuration. `None`: what the request asks is not known well enough, and it is not looked for.
pub fn of(version: Hash, scope: CacheScope, call: &Call) -> Option<Question> {
    let (body, envelope) = (&call.body[..], &call.envelope);
    let last = envelope.last_message.clone()?;
    let mut members: Vec<(&[u8], &Member)> =
        envelope.members.iter().map(|member| (member.name(body), member)).collect();
    members.retain(|(name, _)| !IGNORED.contains(name));
    if members.len() > MEMBERS_MOST {
        return None;
    }
    members.sort_by_key(|(name, _)| *name);
    let mut hasher = Hasher::new(version, tenant(scope, &call.caller));
    hasher.field("dialect", call.dialect.name().as_bytes());
    hints(&mut hasher, call);
    headers(&mut hasher, call);
    for (name, member) in members {
        let mut value = member.value(body);
        if (member.value.start as usize..member.value.end as usize).contains(&last.start) {
            value = body.get(member.value.start as usize..last.start)?;
        }
        hasher.field(name, value);
    }
    let message = body.get(last)?;
    let plain = Plain::read(message);
    hasher.field("last", if plain.is_some() { b"text" } else { b"whole" });
    for (name, value) in plain.iter().flat_map(|plain| &plain.beside) {
        hasher.field(name, value.as_bytes());
    }
    let text = plain.and_then(|plain| Text::new(&plain.text));
    Some(hasher.question(message, text))
}

/// Always as many fields, so that none can be taken for a member of the body.
fn hints(hasher: &mut Hasher, call: &Call) {
    let hints = &call.hints;
    hasher.field("strategy", hints.strategy.map_or("", |strategy| strategy.name()).as_bytes());
    hasher.field("pinned", hints.pinned.as_deref().unwrap_or_default().as_bytes());
    hasher.list("preferred", hints.preferred.iter().map(String::as_bytes));
    hasher.list("excluded", hints.excluded.iter().map(String::as_bytes));
}

/// Those that pass to the provider change what it answers (`anthropic-beta`).
fn headers(hasher: &mut Hasher, call: &Call) {
    let mut headers: Vec<[&[u8]; 2]> =
        call.forwarded.iter().map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]).collect();
    headers.sort_unstable();
    hasher.list("headers", headers.concat().into_iter());
}

/// A message of the user that is one text.
struct Plain<'a> {
    text: Cow<'a, str>,
    /// The other members of the message and of its part, in the order of their names.
    beside: Vec<(String, &'a str)>,
}

impl<'a> Plain<'a> {
    fn read(message: &'a [u8]) -> Option<Plain<'a>> {
        if message.len() > MESSAGE_BYTES {
            return None;
        }
        let (mut role, mut content, mut beside) = (None, None, Vec::new());
        members(message, |name, value| match name {
            "role" => role.replace(value).is_none(),
            "content" => content.replace(value).is_none(),
            name => {
                beside.push((format!("message.{name}"), value));
                true
            }
        })?;
        let content = content.filter(|_| role == Some("\"user\""))?;
        let text = match content.as_bytes().first()? {
            b'"' => unquoted(content)?,
            b'[' => {
                let parts: Vec<&RawValue> = serde_json::from_str(content).ok()?;
                let [part] = parts[..] else { return None };
                let (mut kind, mut text) = (None, None);
                members(part.get().as_bytes(), |name, value| match name {
                    "type" => kind.replace(value).is_none(),
                    "text" => text.replace(value).is_none(),
                    name => {
                        beside.push((format!("part.{name}"), value));
                        true
                    }
                })?;
                unquoted(text.filter(|_| kind == Some("\"text\""))?)?
            }
            _ => return None,
        };
        beside.sort_unstable();
        Some(Plain { text, beside })
    }
}

/// Tells the members of an object, until one is not wanted: then there is no answer, as where it is none.
fn members<'a>(object: &'a [u8], mut wanted: impl FnMut(&str, &'a str) -> bool) -> Option<()> {
    let mut good = object.first() == Some(&b'{');
    json::scan(object, |name, place| {
        let value = object.get(place).and_then(|value| std::str::from_utf8(value).ok());
        good &= value.zip(std::str::from_utf8(&name).ok()).is_some_and(|(value, name)| wanted(name, value));
        Ok(())
    })
    .ok()?;
    good.then_some(())
}

fn unquoted(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    match inner.contains('\\') {
        false => Some(Cow::Borrowed(inner)),
        true => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests;
