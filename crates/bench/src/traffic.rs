//! The requests that are sent: OpenAI chat completions of about a given size, like those of a program that helps with code.

use serde_json::{Value, json};

/// Longest text of one turn, in bytes.
const TURN_BYTES: usize = 4000;

const SYSTEM: &str = "You are a careful assistant for a team of engineers.\nAnswer briefly, quote the line you speak of, and say when you are not sure.";

/// Newlines, quotes, tabs, backslashes and text outside ASCII, since escapes are what makes bodies costly to read.
const PARAGRAPHS: [&str; 6] = [
    "The job \"nightly-import\" failed again last night.\nIt stops after about 40 minutes, always while it writes the second file.\n\n",
    "```python\ndef load(path: str) -> dict:\n\twith open(path, encoding=\"utf-8\") as source:\n\t\treturn json.load(source)\n```\n",
    "Zoë from Köln says the same happens for customers in São Paulo and 東京: names such as “Łukasz” come back as question marks – see the log below.\n",
    "2025-03-14T09:26:53Z WARN  importer  row=18233 column=\"name\" error=\"invalid byte 0xC5 at offset 7\" file=C:\\\\data\\\\in\\\\customers.csv\n",
    "Our guess: the file is written as Latin-1 and read as UTF-8. Is there a way to find out *which* rows are damaged, without reading all 3,000,000 of them by hand?\n",
    "* first, list what you would check\n* then show the smallest change that would help\n* costs matter: each run takes ≈ 1.50 € of machine time 🙂\n",
];

/// A chat completion request of `bytes` bytes or a few less: a system prompt, then user and assistant in turn, the user last.
pub(crate) fn chat(model: &str, stream: bool, bytes: usize) -> Vec<u8> {
    let mut texts = vec![String::new()];
    loop {
        let body = encode(model, stream, &texts);
        let Some(room) = bytes.checked_sub(body.len()).filter(|&room| room > 0) else { return body };
        let paragraph = PARAGRAPHS[texts.iter().map(String::len).sum::<usize>() % PARAGRAPHS.len()];
        // An escaped character takes two bytes, so an over-long rest is cut to what surely fits.
        let piece = prefix(paragraph, if room > 2 * paragraph.len() { paragraph.len() } else { room / 2 });
        if piece.is_empty() {
            return body;
        }
        match texts.last_mut() {
            Some(last) if last.len() < TURN_BYTES || room < 4 * TURN_BYTES => last.push_str(piece),
            // Two at a time, so that the user has the last word.
            _ => texts.extend(["Understood. Please go on.\n".to_owned(), piece.to_owned()]),
        }
    }
}

/// The same with its last message in two parts, the first of which says `mark`: all of them are of the user, and no cache
/// looks for them in other words.
pub(crate) fn in_parts(model: &str, bytes: usize, mark: &str) -> serde_json::Result<Vec<u8>> {
    let parts = |text: &str| {
        let part = |text: &str| json!({"type": "text", "text": text});
        json!([part(&format!("This is case {mark}.")), part(text)])
    };
    let more = parts("").to_string().len() - json!("").to_string().len();
    let mut body: Value = serde_json::from_slice(&chat(model, false, bytes.saturating_sub(more)))?;
    if let Some(last) = body["messages"].as_array_mut().and_then(|messages| messages.last_mut()) {
        last["content"] = parts(last["content"].as_str().unwrap_or_default());
    }
    serde_json::to_vec(&body)
}

/// A system prompt and `question`, and nothing more.
pub(crate) fn ask(model: &str, question: &str) -> Vec<u8> {
    encode(model, false, &[question.to_owned()])
}

/// The longest start of `text` that has at most `bytes` bytes and ends between characters.
fn prefix(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}

fn encode(model: &str, stream: bool, texts: &[String]) -> Vec<u8> {
    let roles = ["user", "assistant"].into_iter().cycle();
    let turns = roles.zip(texts).map(|(role, text)| json!({"role": role, "content": text}));
    let messages: Vec<Value> = std::iter::once(json!({"role": "system", "content": SYSTEM})).chain(turns).collect();
    let mut body = json!({"model": model, "messages": messages, "temperature": 0.7, "max_tokens": 1024});
    if stream {
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    body.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_their_size_and_a_user_has_the_last_word() {
        for (bytes, stream) in [(1024, false), (1024, true), (100 * 1024, false)] {
            let body = chat("openai/gpt-4o-mini", stream, bytes);
            assert!((bytes - 8..=bytes).contains(&body.len()), "{} of {bytes}", body.len());
            let parsed: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(parsed["messages"][0]["role"], "system");
            assert_eq!(parsed["messages"].as_array().unwrap().last().unwrap()["role"], "user");
            assert_eq!(parsed["stream"].as_bool().unwrap_or(false), stream);
            assert!(!body.is_ascii() && body.windows(2).any(|pair| pair == b"\\n"));
        }
    }

    #[test]
    fn a_message_in_parts_is_as_large_and_has_its_mark_once() {
        for bytes in [1024, 100 * 1024] {
            let body = in_parts("openai/gpt-4o-mini", bytes, "@HERE@").unwrap();
            assert!((bytes - 8..=bytes).contains(&body.len()), "{} of {bytes}", body.len());
            assert_eq!(memchr::memmem::find_iter(&body, "@HERE@").count(), 1);
            let parsed: Value = serde_json::from_slice(&body).unwrap();
            let last = parsed["messages"].as_array().unwrap().last().unwrap();
            assert_eq!((&last["role"], last["content"].as_array().unwrap().len()), (&json!("user"), 2));
        }
    }
}
