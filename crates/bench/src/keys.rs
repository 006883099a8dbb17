//! Keys of callers: made as the documentation of the gateway says, and put into a database that the gateway itself has made.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, SqliteConnection};

use crate::AnyError;

/// Most keys that a run shows in turn.
const MAX_KEYS: usize = 1_000_000;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// All other rows of a database are like that of its first key, which the gateway made, but for what must differ.
const COPIES: &str = "
    INSERT INTO gateway_keys (id, revision, made, hash, last_four, name, team, owner, settings, created)
    SELECT printf('key_%016d', copy.key), revision, made + 1 + copy.key, unhex(copy.value), last_four,
           'bench-' || copy.key, team, owner, json_set(settings, '$.name', 'bench-' || copy.key), created
    FROM gateway_keys, json_each(?1) AS copy";

/// A database with keys, and their texts, one a line.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    pub(crate) url: String,
    pub(crate) texts: PathBuf,
}

impl Ring {
    /// `count` keys in `directory`: the first by `gateway keys create`, the others as copies of its row.
    pub(crate) fn make(gateway: &Path, directory: &Path, count: usize) -> Result<Self, AnyError> {
        let (url, texts) = (format!("sqlite://{}/keys.db", directory.display()), directory.join("keys.txt"));
        let mut create = Command::new(gateway);
        create.args(["keys", "create", "--name", "bench"]).env_clear().env("DATABASE_URL", &url);
        let made = create.current_dir(directory).output()?;
        if !made.status.success() {
            return Err(format!("keys create: {}", String::from_utf8_lossy(&made.stderr).trim()).into());
        }
        let mut keys = vec![String::from_utf8(made.stdout)?.trim().to_owned()];
        keys.extend((1..count).map(text));
        fs::write(&texts, keys.join("\n"))?;
        let hashes: Vec<String> = keys[1..].iter().map(|key| hex(&Sha256::digest(key))).collect();
        if !hashes.is_empty() {
            let copied =
                tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(copy(&url, &hashes))?;
            if copied != hashes.len() as u64 {
                return Err(format!("{copied} keys were made of {}", hashes.len()).into());
            }
        }
        Ok(Self { url, texts })
    }
}

/// How many rows there are more.
async fn copy(url: &str, hashes: &[String]) -> Result<u64, AnyError> {
    let mut database = SqliteConnection::connect(url).await?;
    let made = database.execute(sqlx::query(COPIES).bind(serde_json::to_string(hashes)?)).await?;
    database.close().await?;
    Ok(made.rows_affected())
}

/// The keys in a file, one a line.
pub(crate) fn read(file: &Path) -> Result<Vec<String>, AnyError> {
    let text = fs::read_to_string(file).map_err(|error| format!("--keys {}: {error}", file.display()))?;
    let keys: Vec<String> = text.lines().map(str::to_owned).collect();
    match keys.len() {
        0 => Err(format!("--keys {}: there are none", file.display()).into()),
        1..=MAX_KEYS => Ok(keys),
        more => Err(format!("--keys {}: {more} are more than {MAX_KEYS}", file.display()).into()),
    }
}

/// A key that nobody should use for anything else: what looks random in it is made of its number.
fn text(number: usize) -> String {
    let digest = hex(&Sha256::digest(number.to_le_bytes()));
    signed(format!("llmgw_{digest:.43}"))
}

/// With the checksum that a key ends in.
fn signed(mut text: String) -> String {
    let checksum = Sha256::digest(&text);
    let mut rest = checksum.iter().take(4).fold(0u32, |number, byte| (number << 8) | u32::from(*byte));
    let mut digits = [DIGITS[0]; 6];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    text.extend(digits.map(char::from));
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_look_as_documented_and_differ() {
        let zeros = format!("llmgw_{}", "0".repeat(43));
        assert_eq!(signed(zeros.clone()), zeros + "3kitlf");
        let (one, other) = (text(1), text(2));
        assert_ne!(one, other);
        assert!(one.len() == 55 && one[6..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }

    #[test]
    fn requests_show_the_keys_in_turn() {
        let mut request = crate::http::Request::post(([127, 0, 0, 1], 1).into(), "/", &["a: b".to_owned()], b"{}");
        request.show_key("first");
        let first = String::from_utf8(request.bytes.clone()).unwrap();
        request.show_key("another");
        request.show_key("first");
        assert_eq!(String::from_utf8(request.bytes).unwrap(), first);
        assert!(first.starts_with("POST / HTTP/1.1\r\nauthorization: Bearer first\r\n"), "{first}");
        assert!(first.ends_with("\r\na: b\r\n\r\n{}"), "{first}");
    }

    #[test]
    fn a_request_says_other_words_with_another_key_and_tells_its_length() {
        let post = |body: &[u8]| crate::http::Request::post(([127, 0, 0, 1], 1).into(), "/", &[], body);
        assert!(post(b"{}").marked("@").is_none());
        let mut request = post(b"[\"@\"]").marked("@").unwrap();
        for (key, words) in [("first", "some words"), ("another", "a"), ("k", "more words than before")] {
            request.show_key(key);
            request.say(words);
            let mut expected = post(format!("[\"{words}\"]").as_bytes());
            expected.show_key(key);
            assert_eq!(String::from_utf8_lossy(&request.bytes), String::from_utf8_lossy(&expected.bytes));
        }
    }
}
