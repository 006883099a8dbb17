//! The operator's routes: keys, teams, and who changed them. What they say is in the database, and every change of it is in
//! the audit log; who may call them is decided before, on their rows.

use std::collections::HashSet;
use std::time::Instant;

use bytes::Bytes;
use gateway_core::error::{ErrorKind, GatewayError};
use gateway_core::limits::{ADMIN_ANSWER_TIME, ADMIN_BODY_BYTES, ADMIN_PAGE, KEYS_PER_PAGE};
use gateway_dialects::json;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use hyper::body::Incoming;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::egress::Reply;
use crate::api::ingress;
use crate::gateway::Gateway;
use crate::keys::view::{AuditView, KeyView, TeamView};
use crate::keys::{Invalid, Second, is_name, reading};
use crate::store::database::{Connection, Refusal, StoreError};
use crate::store::keys::Filter;

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admin {
    CreateKey,
    ListKeys,
    ShowKey,
    UpdateKey,
    RevokeKey,
    CreateTeam,
    ListTeams,
    ShowTeam,
    UpdateTeam,
    Audit,
}

/// Query parameters of the lists; `cursor` and `limit` are those of every list.
pub const CURSOR: &str = "cursor";
pub const LIMIT: &str = "limit";
pub const KEY_FILTERS: [&str; 3] = ["team", "owner", "revoked"];

/// In the audit log.
const ACTOR: &str = "admin";

/// A key that was just made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CreatedKey {
    /// What callers show. It is told this once.
    pub key: String,
    #[serde(flatten)]
    pub view: KeyView,
}

/// Some of the keys, in the order in which they were made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeyPage {
    pub keys: Vec<KeyView>,
    /// The `cursor` of the page that follows; `null` if there is none.
    pub next: Option<String>,
}

/// Some of the teams, in the order in which they were made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TeamPage {
    pub teams: Vec<TeamView>,
    /// The `cursor` of the page that follows; `null` if there is none.
    pub next: Option<String>,
}

/// Some entries of the audit log, the latest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AuditPage {
    pub entries: Vec<AuditView>,
    /// The `cursor` of the page that follows; `null` if there is none.
    pub next: Option<String>,
}

/// `id`: what the path says in that place.
pub async fn act(
    gateway: &Gateway,
    admin: Admin,
    began: Instant,
    head: &Parts,
    id: &str,
    body: Incoming,
) -> Result<Reply, GatewayError> {
    let said = match admin {
        Admin::CreateKey | Admin::UpdateKey | Admin::CreateTeam | Admin::UpdateTeam => {
            object(&read(gateway, began, head, body).await?)?
        }
        _ => Map::new(),
    };
    let asked = Asked { gateway, admin, query: head.uri.query().unwrap_or_default(), id };
    let in_time = tokio::time::timeout(ADMIN_ANSWER_TIME, asked.answer(said)).await;
    let mut reply = in_time.unwrap_or_else(|_| {
        let message = "the database has not answered in time; what was wanted may still be done";
        Err(GatewayError::new(ErrorKind::Overloaded, message))
    })?;
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

async fn read(gateway: &Gateway, began: Instant, head: &Parts, body: Incoming) -> Result<Bytes, GatewayError> {
    let process = &gateway.process;
    // The operator waits for nobody's place: whoever cannot take a key back under load cannot end the load.
    let admitted = process.admission.unbounded();
    ingress::read_body(began, &head.headers, body, ADMIN_BODY_BYTES, &admitted, |why| process.shed(why)).await
}

fn object(body: &[u8]) -> Result<Map<String, Value>, GatewayError> {
    let mut names = HashSet::new();
    json::scan(body, |name, _| {
        let text = String::from_utf8_lossy(&name).into_owned();
        if names.contains(&text) {
            return Err(GatewayError::invalid(text, "this field is there twice"));
        }
        names.insert(text);
        Ok(())
    })?;
    serde_json::from_slice(body).map_err(|error| json::invalid_body(format!("the body is not valid JSON: {error}")))
}

struct Asked<'a> {
    gateway: &'a Gateway,
    admin: Admin,
    query: &'a str,
    id: &'a str,
}

impl Asked<'_> {
    async fn answer(&self, said: Map<String, Value>) -> Result<Reply, GatewayError> {
        let now = Second::now();
        let key = |key| Reply::json(&KeyView::new(key, now));
        let team = |team| Reply::json(&TeamView::from(team));
        match self.admin {
            Admin::CreateKey => {
                let settings: crate::keys::KeySettings = reading::whole(said).map_err(invalid)?;
                if settings.expires.is_some_and(|expires| expires <= now) {
                    return Err(GatewayError::invalid("expires", "expires: that time has passed"));
                }
                let made = self.ask(async move |to: &mut Connection| to.create_key(ACTOR, settings).await).await?;
                let (key, minted) = made;
                let view = KeyView::new(key, now);
                Ok(created(&CreatedKey { key: minted.text.expose().to_owned(), view }))
            }
            Admin::ListKeys => self.keys(now).await,
            Admin::ShowKey => {
                let id = self.id("key_")?;
                self.ask(async move |to: &mut Connection| to.key(&id).await).await.map(key)
            }
            Admin::UpdateKey => {
                let id = self.id("key_")?;
                let work = async move |to: &mut Connection| {
                    to.update_key(ACTOR, &id, |there| {
                        *there = reading::merged(there, &said).map_err(Refusal::Invalid)?;
                        Ok(())
                    })
                    .await
                };
                self.ask(work).await.map(key)
            }
            Admin::RevokeKey => {
                let id = self.id("key_")?;
                self.ask(async move |to: &mut Connection| to.revoke_key(ACTOR, &id).await).await.map(key)
            }
            Admin::CreateTeam => {
                let settings: crate::keys::TeamSettings = reading::whole(said).map_err(invalid)?;
                let made = self.ask(async move |to: &mut Connection| to.create_team(ACTOR, settings).await).await?;
                Ok(created(&TeamView::from(made)))
            }
            Admin::ListTeams => {
                let [cursor, limit] = ingress::parameters(self.query, [CURSOR, LIMIT])?;
                let (after, limit) = (position(cursor)?, page(limit)?);
                let teams = self.ask(async move |to: &mut Connection| to.teams(after, limit).await).await?;
                let next = next(limit, &teams, |team| team.made);
                Ok(Reply::json(&TeamPage { teams: teams.into_iter().map(TeamView::from).collect(), next }))
            }
            Admin::ShowTeam => {
                let id = self.id("team_")?;
                self.ask(async move |to: &mut Connection| to.team(&id).await).await.map(team)
            }
            Admin::UpdateTeam => {
                let id = self.id("team_")?;
                let work = async move |to: &mut Connection| {
                    to.update_team(ACTOR, &id, |there| {
                        *there = reading::merged(there, &said).map_err(Refusal::Invalid)?;
                        Ok(())
                    })
                    .await
                };
                self.ask(work).await.map(team)
            }
            Admin::Audit => {
                let [cursor, limit] = ingress::parameters(self.query, [CURSOR, LIMIT])?;
                let (before, limit) = (position(cursor)?, page(limit)?);
                let entries = self.ask(async move |to: &mut Connection| to.audit(before, limit).await).await?;
                let next = next(limit, &entries, |entry| entry.number);
                Ok(Reply::json(&AuditPage { entries: entries.into_iter().map(AuditView::from).collect(), next }))
            }
        }
    }

    async fn keys(&self, now: Second) -> Result<Reply, GatewayError> {
        let [team_parameter, owner_parameter, revoked_parameter] = KEY_FILTERS;
        let known = [CURSOR, LIMIT, team_parameter, owner_parameter, revoked_parameter];
        let [cursor, limit, team, owner, revoked] = ingress::parameters(self.query, known)?;
        let (after, limit) = (position(cursor)?, page(limit)?);
        let mut problems = Vec::new();
        for (name, value) in [(team_parameter, &team), (owner_parameter, &owner)] {
            value.iter().for_each(|value| is_name(name, value, &mut problems));
        }
        if !problems.is_empty() {
            return Err(invalid(problems));
        }
        let revoked = match revoked.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(GatewayError::invalid(revoked_parameter, "revoked must be true or false")),
        };
        let work = async move |to: &mut Connection| {
            let team = match team {
                Some(named) => Some(to.team(&named).await?.id),
                None => None,
            };
            to.keys(&Filter { team, owner, revoked }, after, limit).await
        };
        let keys = self.ask(work).await?;
        let next = next(limit, &keys, |key| key.made);
        Ok(Reply::json(&KeyPage { keys: keys.into_iter().map(|key| KeyView::new(key, now)).collect(), next }))
    }

    async fn ask<T, W>(&self, work: W) -> Result<T, GatewayError>
    where
        T: Send + 'static,
        W: AsyncFnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let store = self.gateway.process.store().ok_or_else(|| {
            let message = "this gateway has no database, and no keys but those of its file: set DATABASE_URL";
            GatewayError::new(ErrorKind::NotFound, message)
        })?;
        store.ask(work).await.map_err(|error| self.refused(error))
    }

    fn refused(&self, error: StoreError) -> GatewayError {
        let message = error.to_string();
        let refusal = match error {
            StoreError::Unavailable(_) => return GatewayError::new(ErrorKind::Overloaded, message),
            StoreError::Refused(refusal) => refusal,
        };
        let of_teams = matches!(self.admin, Admin::ShowTeam | Admin::UpdateTeam);
        match refusal {
            Refusal::NoSuchKey(_) => GatewayError::new(ErrorKind::NotFound, message),
            Refusal::NoSuchTeam(_) if of_teams => GatewayError::new(ErrorKind::NotFound, message),
            Refusal::NoSuchTeam(_) => GatewayError::invalid("team", message),
            Refusal::NameTaken(_) => GatewayError::invalid("name", message),
            Refusal::Revoked(_) | Refusal::Full(_) => GatewayError::new(ErrorKind::InvalidRequest, message),
            Refusal::Invalid(problems) => invalid(problems),
        }
    }

    /// The id in the path. What looks otherwise is nobody's, and the database is not asked.
    fn id(&self, prefix: &str) -> Result<String, GatewayError> {
        let is_one = self.id.len() <= 40
            && self.id.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if is_one {
            return Ok(self.id.to_owned());
        }
        let shown = crate::settle::shortened(self.id, 64);
        Err(GatewayError::new(ErrorKind::NotFound, format!("{shown:?} is no id: they begin with {prefix}")))
    }
}

fn created(made: &impl Serialize) -> Reply {
    let mut reply = Reply::json(made);
    reply.status = StatusCode::CREATED;
    reply
}

fn invalid(problems: Vec<Invalid>) -> GatewayError {
    let told: Vec<(String, String)> = problems.into_iter().map(|problem| (problem.field(), problem.message)).collect();
    let sentences: Vec<String> = told.iter().map(|(field, message)| format!("{field} {message}")).collect();
    let first = told.first().map(|(field, _)| field.clone());
    let all: Vec<Value> =
        told.into_iter().map(|(field, message)| serde_json::json!({"field": field, "message": message})).collect();
    GatewayError { field: first, ..GatewayError::new(ErrorKind::InvalidRequest, sentences.join("; ")) }
        .detail("problems", all)
}

fn page(limit: Option<String>) -> Result<u64, GatewayError> {
    let Some(limit) = limit else { return Ok(ADMIN_PAGE) };
    let limit = limit.parse().ok().filter(|limit| (1..=KEYS_PER_PAGE).contains(limit));
    limit.ok_or_else(|| GatewayError::invalid(LIMIT, format!("limit must be a whole number from 1 to {KEYS_PER_PAGE}")))
}

fn position(cursor: Option<String>) -> Result<Option<i64>, GatewayError> {
    let Some(cursor) = cursor else { return Ok(None) };
    let number = Some(&cursor).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match number.and_then(|text| text.parse().ok()) {
        Some(position) => Ok(Some(position)),
        None => Err(GatewayError::invalid(CURSOR, "cursor must be what `next` of the page before said")),
    }
}

/// A page that is full may have another one after it.
fn next<T>(limit: u64, page: &[T], place: impl Fn(&T) -> i64) -> Option<String> {
    let is_full = u64::try_from(page.len()).unwrap_or(u64::MAX) >= limit;
    page.last().filter(|_| is_full).map(|last| place(last).to_string())
}
