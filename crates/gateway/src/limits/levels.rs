//! Under which limits a request stands.
//!
//! A key stands under its own limits, those of its team, and what each of them says of the model and of the provider. A caller
//! without a key is an address with the user that it names; since anybody can name many users, the address as a whole may use
//! no more than [`ADDRESS_USERS`] of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use gateway_core::access::{Limits, Rates, VirtualKey};
use gateway_core::dialect::Dialect;
use gateway_core::limits::ADDRESS_USERS;
use gateway_policy::limits::{Ask, Holder, Level, LevelId, Part, Refused, Standing};
use gateway_policy::routing::RoutePlan;
use http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::call::{self, Call, Caller};
use crate::gateway::Gateway;

/// What the head of a request says about the limits that it stands under.
#[derive(Debug, Default)]
pub struct Looked {
    /// Those of its caller in all, whatever it asks for. None: nothing is limited.
    levels: Vec<Level>,
    /// How its caller stands.
    pub standing: Standing,
}

/// Whether a request would pass of which nothing but the head is known, as far as that can be said without asking anybody. So
/// who has nothing left is refused before its body is read. `tokens`: what the smallest request of its kind takes.
pub fn look(
    gateway: &Gateway,
    caller: &Caller,
    headers: &HeaderMap,
    dialect: Dialect,
    tokens: u64,
    now: Instant,
) -> Result<Looked, Box<Refused>> {
    // In the native dialect the body names the user, which has not been read.
    let user = if dialect == Dialect::Native {
        None
    } else {
        let named = if call::asks_in_headers(headers) { call::user_of(headers) } else { None };
        of_user(gateway, caller, named.as_deref())
    };
    let mut levels = Vec::with_capacity(2);
    levels.extend(user);
    levels.extend(of_caller(gateway, caller).into_iter().flatten());
    let standing = gateway.process.limiter.look(&levels, tokens, now)?;
    Ok(Looked { levels, standing })
}

/// The limit of one user of a caller without a key.
fn of_user(gateway: &Gateway, caller: &Caller, user: Option<&str>) -> Option<Level> {
    let Caller::Address(address) = caller else { return None };
    Some(level(Holder::User(network(*address), user.map(digest)), Part::All, gateway.config.limits?))
}

/// The limits of a caller in all, whoever of its users it is.
fn of_caller(gateway: &Gateway, caller: &Caller) -> [Option<Level>; 2] {
    let Some(general) = gateway.config.limits else { return [None, None] };
    match caller {
        Caller::Admin => [None, None],
        Caller::Address(address) => {
            let holder = Holder::Address(network(*address));
            [Some(level(holder, Part::All, general.times(ADDRESS_USERS))), None]
        }
        Caller::Key(key) => {
            let own = level(Holder::Key(key.id.clone()), Part::All, key.limits.all.or(general));
            // A team that limits only models is here for every model: the state of a key lives where that of its team does.
            let team = key.team.as_ref().filter(|team| team.limits != Limits::default());
            let team = team.map(|team| level(Holder::Team(team.id.clone()), Part::All, team.limits.all));
            [Some(own), team]
        }
    }
}

/// What a request takes before anybody is asked.
pub fn ask(gateway: &Gateway, looked: Looked, call: &Call, plan: &RoutePlan) -> Ask {
    let mut levels = looked.levels;
    if call.dialect == Dialect::Native
        && let Some(user) = of_user(gateway, &call.caller, call.user.as_deref())
    {
        levels.insert(0, user);
    }
    if let Caller::Key(key) = &call.caller
        && !levels.is_empty()
    {
        levels.extend(holders(key).filter_map(|(holder, limits)| {
            let (name, rates) = of_model(gateway, &limits.models, call, plan)?;
            Some(level(holder, Part::Model(name.into()), rates))
        }));
    }
    let tokens = if levels.iter().any(|level| level.tokens().is_some()) { needs(gateway, call, plan) } else { 0 };
    Ask { levels, tokens }
}

/// What it takes before a target of this provider is asked.
pub fn ask_of_provider(gateway: &Gateway, caller: &Caller, provider: &Arc<str>, tokens: u64) -> Ask {
    let Caller::Key(key) = caller else { return Ask::default() };
    if gateway.config.limits.is_none() {
        return Ask::default();
    }
    let levels = holders(key).filter_map(|(holder, limits)| {
        let rates = *limits.providers.get(&**provider)?;
        Some(level(holder, Part::Provider(provider.clone()), rates))
    });
    Ask { levels: levels.collect(), tokens }
}

fn level(holder: Holder, part: Part, rates: Rates) -> Level {
    Level::new(LevelId { holder, part }, rates)
}

fn holders(key: &VirtualKey) -> impl Iterator<Item = (Holder, &Limits)> {
    let team = key.team.as_ref().map(|team| (Holder::Team(team.id.clone()), &team.limits));
    [Some((Holder::Key(key.id.clone()), &key.limits)), team].into_iter().flatten()
}

/// The limit for the name that was asked for. A name that is no alias may stand for `provider/model`, whose limit it must not
/// evade.
fn of_model<'a>(
    gateway: &Gateway,
    models: &'a BTreeMap<String, Rates>,
    call: &Call,
    plan: &RoutePlan,
) -> Option<(&'a str, Rates)> {
    if models.is_empty() {
        return None;
    }
    let of = |name: &str| models.get_key_value(name).map(|(name, rates)| (name.as_str(), *rates));
    let asked = call.model().unwrap_or_default();
    let stands_for = || plan.targets.iter().find_map(|planned| of(&planned.target.to_string()));
    of(asked).or_else(|| if gateway.catalog.is_alias(asked) { None } else { stands_for() })
}

/// The tokens that a request and its answer will probably have. A count of tokens has no answer, and costs none; neither does an
/// answer that is there already.
fn needs(gateway: &Gateway, call: &Call, plan: &RoutePlan) -> u64 {
    if call.counts_tokens || call.is_answered {
        return 0;
    }
    let first = plan.targets.first().map(|planned| gateway.catalog.estimate(&planned.target, call));
    let estimate = first.unwrap_or_else(|| call.estimate());
    let output = estimate.output.saturating_mul(call.envelope.answers.unwrap_or(1).max(1));
    estimate.input.saturating_add(output)
}

/// An IPv6 address is one of 2^64 that its holder has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Names of any length take the same room, and are the same on every node.
fn digest(user: &str) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::digest(user).into();
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_its_network_of_64_bits() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:2::"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:3::1"), of("2001:db8:1:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
