//! `llm-gateway keys`: straight to the database, whether gateways run or not.

use std::fmt::Write;
use std::time::Duration;

use gateway_core::limits::KEYS_PER_PAGE;
use serde::Serialize;
use serde_json::json;

use super::view::{KeyView, TeamView};
use super::{KeySettings, Second, TeamSettings};
use crate::cli::{self, CreateKey, Keys, KeysAction, LimitArgs, ListKeys, TeamsAction};
use crate::config::{self, Environment, KeyLimits};
use crate::store::database::{Connection, Location, Refusal, StoreError};
use crate::store::keys::Filter;

/// For all of a command; an answer that takes longer will not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does what was said. What is returned goes to standard output; words beside it have gone to standard error.
pub fn run(keys: Keys, environment: &dyn Environment) -> Result<String, String> {
    let args = config::Args { config: keys.config, ..config::Args::default() };
    let location = config::database(&args, environment).map_err(|problems| problems.to_string())?;
    let location = location.ok_or(
        "there is no database: REDIS_URL is set and DATABASE_URL is not. Gateways that share a Redis share their keys in \
         PostgreSQL: set DATABASE_URL=postgres://...",
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let actor = actor(environment);
    runtime.block_on(async {
        let done = tokio::time::timeout(PATIENCE, act(keys.action, &location, &actor, keys.json));
        done.await.map_err(|_| format!("the {} does not answer", location.place))?
    })
}

fn actor(environment: &dyn Environment) -> String {
    let variables = environment.variables();
    let named = |name: &str| variables.iter().find(|(variable, value)| variable == name && !value.is_empty());
    match named("USER").or_else(|| named("LOGNAME")) {
        Some((_, user)) => format!("cli:{user}"),
        None => "cli".to_owned(),
    }
}

async fn act(action: KeysAction, location: &Location, actor: &str, json: bool) -> Result<String, String> {
    let makes = matches!(action, KeysAction::Create(_) | KeysAction::Teams(TeamsAction::Create { .. }));
    if makes {
        location.create().map_err(|error| error.to_string())?;
    } else if !location.exists() {
        let none = "make a key with `llm-gateway keys create --name NAME`, or set DATABASE_URL to where they are";
        return Err(format!("there is no {} yet: {none}", location.place));
    }
    let mut database = location.open().await.map_err(|error| error.to_string())?;
    let told = match action {
        KeysAction::Create(said) => create(&mut database, *said, location, actor, json).await,
        KeysAction::List(said) => list(&mut database, said, json).await,
        KeysAction::Show { key } => {
            let key = KeyView::new(database.key(&key).await.map_err(explained)?, Second::now());
            Ok(if json { one_line(&key) } else { described(&key) })
        }
        KeysAction::Revoke { key } => {
            let key = KeyView::new(database.revoke_key(actor, &key).await.map_err(explained)?, Second::now());
            Ok(if json { one_line(&key) } else { format!("{} ({}) is revoked\n", key.settings.name, key.id) })
        }
        KeysAction::Teams(TeamsAction::Create { name, scope, limits }) => {
            let settings = TeamSettings {
                limits: key_limits(&limits),
                models: scope.models,
                providers: scope.providers,
                routes: scope.routes,
                ..TeamSettings::named(name)
            };
            let team = TeamView::from(database.create_team(actor, settings).await.map_err(explained)?);
            Ok(if json { one_line(&team) } else { format!("{} ({}) is made\n", team.settings.name, team.id) })
        }
        KeysAction::Teams(TeamsAction::List) => list_teams(&mut database, json).await,
        KeysAction::Audit { limit, verify: false } => audit(&mut database, limit, json).await,
        KeysAction::Audit { verify: true, .. } => match database.broken_audit().await.map_err(explained)? {
            None => Ok("every entry is as it was written\n".to_owned()),
            Some(number) => Err(format!("entry {number} is missing or was altered")),
        },
    };
    database.close().await;
    told
}

async fn create(
    database: &mut Connection,
    said: CreateKey,
    location: &Location,
    actor: &str,
    json: bool,
) -> Result<String, String> {
    let now = Second::now();
    let expires = said.expires.map(|when| moment(&when, now).ok_or(when)).transpose().map_err(|when| {
        format!("--expires: {when:?} is not a time: write 2027-01-31, 2027-01-31T12:00:00Z, or 90d, 12h, 30m for one from now")
    })?;
    if expires.is_some_and(|expires| expires <= now) {
        return Err("--expires: that time has passed".to_owned());
    }
    let settings = KeySettings {
        name: said.name,
        team: said.team,
        owner: said.owner,
        tags: said.tags,
        models: said.scope.models,
        providers: said.scope.providers,
        routes: said.scope.routes,
        limits: key_limits(&said.limits),
        cache: !said.no_cache,
        expires,
    };
    let (key, minted) = database.create_key(actor, settings).await.map_err(explained)?;
    if json {
        let mut shown = serde_json::to_value(KeyView::new(key, now)).unwrap_or_default();
        shown["key"] = minted.text.expose().into();
        return Ok(one_line(&shown));
    }
    cli::complain(&format!(
        "The key of {} ({}) is shown now and never again; what is kept in the {} does not tell it.\n\
         Callers send it as `Authorization: Bearer KEY` or as `x-api-key: KEY`.\n",
        key.settings.name, key.id, location.place
    ));
    Ok(format!("{}\n", minted.text.expose()))
}

async fn list(database: &mut Connection, said: ListKeys, json: bool) -> Result<String, String> {
    let team = match said.team {
        Some(named) => Some(database.team(&named).await.map_err(explained)?.id),
        None => None,
    };
    let filter = Filter { team, owner: said.owner, revoked: said.revoked };
    let (mut after, now) = (None, Second::now());
    let mut table = Table::new(["NAME", "ID", "ENDS IN", "STATE", "TEAM", "OWNER", "CREATED", "EXPIRES"]);
    let mut lines = String::new();
    loop {
        let page = database.keys(&filter, after, KEYS_PER_PAGE).await.map_err(explained)?;
        let Some(last) = page.last() else { break };
        after = Some(last.made);
        for key in page {
            let key = KeyView::new(key, now);
            if json {
                lines += &one_line(&key);
                continue;
            }
            let KeySettings { name, team, owner, expires, .. } = key.settings;
            table.row([
                name,
                key.id,
                key.last_four,
                key.state.to_owned(),
                team.unwrap_or_default(),
                owner.unwrap_or_default(),
                key.created.to_string(),
                expires.map_or_else(|| "never".to_owned(), |expires| expires.to_string()),
            ]);
        }
    }
    Ok(if json { lines } else { table.text() })
}

async fn list_teams(database: &mut Connection, json: bool) -> Result<String, String> {
    let mut after = None;
    let mut table = Table::new(["NAME", "ID", "REQUESTS/MIN", "TOKENS/MIN", "CONCURRENT", "CREATED"]);
    let mut lines = String::new();
    loop {
        let page = database.teams(after, KEYS_PER_PAGE).await.map_err(explained)?;
        let Some(last) = page.last() else { break };
        after = Some(last.made);
        for team in page {
            let team = TeamView::from(team);
            if json {
                lines += &one_line(&team);
                continue;
            }
            let limits = &team.settings.limits;
            let shown = |limit: Option<u64>| limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
            table.row([
                team.settings.name,
                team.id,
                shown(limits.requests_per_minute),
                shown(limits.tokens_per_minute),
                shown(limits.concurrent),
                team.created.to_string(),
            ]);
        }
    }
    Ok(if json { lines } else { table.text() })
}

async fn audit(database: &mut Connection, limit: u64, json: bool) -> Result<String, String> {
    let entries = database.audit(None, limit).await.map_err(explained)?;
    if json {
        return Ok(entries.iter().map(one_line).collect());
    }
    let mut table = Table::new(["NUMBER", "TIME", "WHO", "WHAT", "OF", "WHICH THEN WAS"]);
    for entry in entries {
        let time = u64::try_from(entry.at_ms / 1000).map(Second).unwrap_or(Second(0));
        let details = entry.details.get().to_owned();
        table.row([entry.number.to_string(), time.to_string(), entry.actor, entry.action, entry.subject, details]);
    }
    Ok(table.text())
}

fn explained(error: StoreError) -> String {
    match &error {
        StoreError::Refused(Refusal::NoSuchTeam(_)) => format!("{error}: `llm-gateway keys teams list` shows them"),
        StoreError::Refused(Refusal::NoSuchKey(_)) => format!("{error}: `llm-gateway keys list` shows them"),
        _ => error.to_string(),
    }
}

fn key_limits(said: &LimitArgs) -> KeyLimits {
    KeyLimits {
        requests_per_minute: said.rpm,
        tokens_per_minute: said.tpm,
        concurrent: said.concurrent,
        ..KeyLimits::default()
    }
}

/// A time as people write it.
fn moment(text: &str, now: Second) -> Option<Second> {
    let unit = |unit| match unit {
        'd' => Some(86_400),
        'h' => Some(3_600),
        'm' => Some(60),
        _ => None,
    };
    let from_now = text.char_indices().last().and_then(|(at, last)| {
        let number: u64 = text[..at].parse().ok()?;
        now.0.checked_add(number.checked_mul(unit(last)?)?)
    });
    match from_now {
        Some(second) => Some(Second(second)),
        None => Second::parse(text).or_else(|| Second::parse(&format!("{text}T00:00:00Z"))),
    }
}

fn one_line(shown: &impl Serialize) -> String {
    format!("{}\n", json!(shown))
}

fn described(key: &KeyView) -> String {
    let shown = serde_json::to_value(key).unwrap_or_default();
    let mut text = String::new();
    for (name, value) in shown.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = writeln!(text, "{name:<10} {value}");
    }
    text
}

/// Columns as wide as what stands in them.
struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    fn new(head: [&str; COLUMNS]) -> Self {
        Table { rows: vec![head.map(str::to_owned)] }
    }

    fn row(&mut self, row: [String; COLUMNS]) {
        // What somebody has put into a name must not steer the terminal that shows it.
        self.rows.push(row.map(|cell| cell.replace(char::is_control, "\u{fffd}")));
    }

    fn text(&self) -> String {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            text += cells.collect::<Vec<_>>().join("  ").trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_one_of_the_calendar_or_one_from_now() {
        let now = Second(1_000_000);
        for (text, expected) in [
            ("2027-01-31", Some(1_801_353_600)),
            ("2027-01-31T12:00:00Z", Some(1_801_396_800)),
            ("2027-01-31T13:00:00+01:00", Some(1_801_396_800)),
            ("90d", Some(1_000_000 + 90 * 86_400)),
            ("12h", Some(1_000_000 + 12 * 3_600)),
            ("30m", Some(1_000_000 + 30 * 60)),
            ("18446744073709551615d", None),
            ("d", None),
            ("", None),
            ("-1d", None),
            ("tomorrow", None),
            ("ü", None),
        ] {
            assert_eq!(moment(text, now), expected.map(Second), "{text}");
        }
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut table = Table::new(["NAME", "ID"]);
        table.row(["a\u{1b}[2J".to_owned(), "b".to_owned()]);
        assert_eq!(table.text(), "NAME   ID\na\u{fffd}[2J  b\n");
    }
}
