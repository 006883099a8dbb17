//! Who asks, and whether they may: decided once, on the row of the table of routes that was found, before anything of the
//! body is read. There is no other place that lets somebody in.

pub mod address;
pub mod browser;
mod shown;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use gateway_core::access::{Scope, VirtualKey};
use gateway_core::error::{ErrorKind, GatewayError};
use gateway_core::secret::Secret;
use http::HeaderMap;
use http::request::Parts;
use ipnet::IpNet;

use self::shown::Shown;
use crate::api::listen::Ends;
use crate::api::routes::Row;
use crate::call::Caller;
use crate::keys::ring::{KeyRing, Refused};
use crate::settle::shortened;

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Nothing: load balancers and people who are looking around come without a key.
    Open,
    /// Nothing for the outline; [`Right::Observe`] for the rest.
    Outline,
    /// A key, where there are keys.
    Use,
    /// The admin key, or a key that names the route; on this machine nothing. It changes nothing, but tells of all callers.
    Observe,
    /// The admin key.
    Administer,
}

/// Which listener a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Public,
    /// `server.admin_addr`
    Admin,
}

impl Door {
    /// Of its threads.
    pub fn name(self) -> &'static str {
        match self {
            Door::Public => "worker",
            Door::Admin => "admin",
        }
    }
}

/// How a request came here, which it cannot choose itself.
#[derive(Debug, Clone, Copy)]
pub struct Approach {
    pub door: Door,
    /// Of the client, behind proxies too.
    pub address: IpAddr,
    /// The gateway's end of the connection is a loopback address.
    pub to_loopback: bool,
    /// The other end is one.
    pub from_loopback: bool,
}

impl Approach {
    /// `proxies`: whose word counts.
    pub fn new(ends: Ends, headers: &HeaderMap, proxies: &[IpNet]) -> Approach {
        Approach {
            door: ends.door,
            address: address::of_client(ends.peer.ip(), headers, proxies),
            to_loopback: ends.local.ip().to_canonical().is_loopback(),
            from_loopback: ends.peer.ip().to_canonical().is_loopback(),
        }
    }

    /// Whether the request was made on this machine: no name or header decides that, and what came through a proxy was not.
    fn is_at_home(&self, headers: &HeaderMap) -> bool {
        self.to_loopback && self.from_loopback && !address::is_forwarded(headers)
    }
}

/// What somebody is let in as.
#[derive(Debug, Clone, PartialEq)]
pub struct Granted {
    pub caller: Caller,
    /// Of a route with an outline: the rest may be told too.
    pub details: bool,
}

/// What the configuration says about who may do what.
#[derive(Debug)]
pub struct Guard {
    /// The SHA-256 of the admin key.
    admin: Option<[u8; 32]>,
    /// The operator has a listener of their own: what is theirs is nowhere else.
    admin_door: bool,
    admin_hosts: Vec<String>,
    allow_anonymous: bool,
}

impl Guard {
    pub fn new(admin: Option<&Secret>, admin_door: bool, admin_hosts: Vec<String>, allow_anonymous: bool) -> Guard {
        let admin = admin.map(|key| shown::digest(key.expose()));
        Guard { admin, admin_door, admin_hosts, allow_anonymous }
    }

    pub fn has_admin_door(&self) -> bool {
        self.admin_door
    }

    /// Lets a request in, or says why not.
    pub fn authorize(
        &self,
        row: &Row,
        head: &Parts,
        approach: Approach,
        ring: &KeyRing,
    ) -> Result<Granted, GatewayError> {
        let asking = Asking { guard: self, row, head, approach, ring };
        let anybody = Granted { caller: Caller::Address(approach.address), details: false };
        match row.right {
            Right::Open => Ok(anybody),
            Right::Outline => match asking.observe() {
                Ok(caller) => Ok(Granted { caller, details: true }),
                Err(_) => Ok(anybody),
            },
            Right::Use => asking.r#use().map(Granted::from),
            Right::Observe => asking.at_this_door().and_then(|()| asking.observe()).map(Granted::from),
            Right::Administer => asking.at_this_door().and_then(|()| asking.administer()).map(Granted::from),
        }
    }
}

impl std::convert::From<Caller> for Granted {
    fn from(caller: Caller) -> Self {
        Granted { caller, details: true }
    }
}

struct Asking<'a> {
    guard: &'a Guard,
    row: &'a Row,
    head: &'a Parts,
    approach: Approach,
    ring: &'a KeyRing,
}

impl Asking<'_> {
    fn r#use(&self) -> Result<Caller, GatewayError> {
        let needed = self.approach.door == Door::Admin || self.ring.has_keys();
        if !needed && self.guard.admin.is_none() {
            return self.anonymous();
        }
        match self.identify() {
            Ok(Some(Caller::Key(key))) if !key.scope.allows_route(self.row.path) => Err(self.out_of_scope(&key)),
            Ok(Some(Caller::Key(_))) if self.approach.door == Door::Admin => Err(self.only_for_the_operator()),
            Ok(Some(caller)) => Ok(caller),
            // As long as there are no keys, what a client sends as one is ignored.
            _ if !needed => self.anonymous(),
            Ok(None) => {
                Err(unauthorized("this gateway wants a key: send it as Authorization: Bearer KEY, or as x-api-key"))
            }
            Err(error) => Err(error),
        }
    }

    /// There are no keys: nobody has one.
    fn anonymous(&self) -> Result<Caller, GatewayError> {
        if self.approach.to_loopback || self.guard.allow_anonymous {
            return Ok(Caller::Address(self.approach.address));
        }
        Err(unauthorized(
            "this gateway has no keys, and serves nobody without one: its operator makes one with `llm-gateway keys create`",
        ))
    }

    fn observe(&self) -> Result<Caller, GatewayError> {
        if self.approach.is_at_home(&self.head.headers) {
            return Ok(Caller::Address(self.approach.address));
        }
        match self.identify()? {
            Some(Caller::Key(key)) if key.scope.names_route(self.row.path) => Ok(Caller::Key(key)),
            Some(Caller::Admin) => Ok(Caller::Admin),
            Some(_) => Err(self.only_for_the_operator()),
            None => Err(unauthorized(format!(
                "{} wants the admin key (GATEWAY_ADMIN_KEY), or a key that names it among its routes, except from the \
                 machine of the gateway itself",
                self.row.path
            ))),
        }
    }

    fn administer(&self) -> Result<Caller, GatewayError> {
        if self.guard.admin.is_none() {
            let message = "there is no admin API: it is there once GATEWAY_ADMIN_KEY is set";
            return Err(GatewayError::new(ErrorKind::NotFound, message));
        }
        browser::check_admin(self.head, &self.guard.admin_hosts)?;
        match self.identify()? {
            Some(Caller::Admin) => Ok(Caller::Admin),
            Some(_) => Err(self.only_for_the_operator()),
            None => Err(unauthorized("this wants the admin key: send it as Authorization: Bearer KEY")),
        }
    }

    /// What is the operator's is at their own listener alone, if they have one.
    fn at_this_door(&self) -> Result<(), GatewayError> {
        if self.approach.door == Door::Public && self.guard.admin_door {
            let message = format!("{} is not here: it is at the address that server.admin_addr names", self.row.path);
            return Err(GatewayError::new(ErrorKind::NotFound, message));
        }
        Ok(())
    }

    /// Whose key was shown; `None` if none was.
    fn identify(&self) -> Result<Option<Caller>, GatewayError> {
        let key = match Shown::read(&self.head.headers) {
            Shown::Nothing => return Ok(None),
            Shown::Unreadable => {
                return Err(unauthorized("what was sent as a key cannot be read: send one key, in one header"));
            }
            Shown::Key(key) => key,
        };
        let admin_counts = self.approach.door == Door::Admin || !self.guard.admin_door;
        if admin_counts && self.guard.admin.is_some_and(|admin| shown::is_same(&admin, &shown::digest(key))) {
            return Ok(Some(Caller::Admin));
        }
        match self.ring.shown(key) {
            Ok(key) => Ok(Some(Caller::Key(key))),
            Err(Refused::Unknown) => Err(unauthorized("this key is not known here")),
            Err(Refused::Expired) => Err(unauthorized("this key has expired: ask for a new one")),
            Err(Refused::Revoked) => Err(unauthorized("this key was revoked: ask for a new one")),
            Err(Refused::Unavailable) => {
                let message = "keys cannot be checked at the moment: the gateway's database does not answer";
                Err(GatewayError::new(ErrorKind::Overloaded, message))
            }
        }
    }

    fn out_of_scope(&self, key: &VirtualKey) -> GatewayError {
        let routes = key.scope.routes.as_deref().map(some).unwrap_or_default();
        let message = format!("this key may not call {}; it may call: {routes}", self.row.name);
        GatewayError::new(ErrorKind::Forbidden, message)
    }

    fn only_for_the_operator(&self) -> GatewayError {
        let message = format!("{} is for the operator: it wants the admin key", self.row.name);
        GatewayError::new(ErrorKind::Forbidden, message)
    }
}

/// A list that may be long, for an error.
fn some(names: &[String]) -> String {
    const TOLD: usize = 20;
    match names.len().saturating_sub(TOLD) {
        0 => names.join(", "),
        more => format!("{}, and {more} more", names[..TOLD].join(", ")),
    }
}

/// The refusal of a model that exists, to a key that is not for it.
pub fn not_for_this_key(scope: &Scope, model: Option<&str>) -> GatewayError {
    let asked = model.map_or_else(|| "any default model".to_owned(), |model| format!("{:?}", shortened(model, 100)));
    let lists = [("models", &scope.models), ("providers", &scope.providers)];
    let allowed: Vec<String> = lists
        .into_iter()
        .filter_map(|(what, list)| Some(format!("its {what} are: {}", some(list.as_deref()?))))
        .collect();
    let message = format!("this key may not use {asked}; {}", allowed.join("; "));
    GatewayError { field: Some("model".to_owned()), ..GatewayError::new(ErrorKind::Forbidden, message) }
}

/// The error of a name that stands for no model, for a key of this scope: names that it may not use are no help to it.
pub fn within(scope: &Scope, error: GatewayError) -> GatewayError {
    if scope.is_of_all_models() {
        return error;
    }
    let message = "there is no such model here: GET /v1/models lists those that this key may use";
    GatewayError { field: error.field, ..GatewayError::new(error.kind, message) }
}

fn unauthorized(message: impl Into<String>) -> GatewayError {
    GatewayError::new(ErrorKind::Unauthorized, message)
}
