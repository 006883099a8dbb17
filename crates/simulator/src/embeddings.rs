//! Embeddings: texts that share words and letters get vectors that point the same way.

use http::StatusCode;
use serde_json::Value;

use crate::ids;
use crate::openai;
use crate::reply::{Rejection, Reply};
use crate::tokens::{self, Usage};

const MAX_DIMENSIONS: u64 = 4096;
const MAX_INPUTS: usize = 2048;
/// How many places of the vector a word changes.
const PLACES_PER_FEATURE: usize = 12;

/// Answers POST /v1/embeddings.
pub(crate) fn embeddings(body: &Value, seed: u64) -> Result<Reply, Rejection> {
    let model = openai::model_of(body)?;
    let inputs = inputs(body)?;
    let dimensions = dimensions(body, model)?;
    let base64 = match body.get("encoding_format") {
        None | Some(Value::Null) => false,
        Some(format) if format.as_str() == Some("float") => false,
        Some(format) if format.as_str() == Some("base64") => true,
        Some(other) => {
            let message = format!("Invalid value: {other}. Supported values are: 'float' and 'base64'.");
            return Err(Rejection::invalid(message).param("encoding_format").code("invalid_value"));
        }
    };
    let tokens: u64 = inputs.iter().map(|input| input.tokens).sum();
    let mut text = String::from("{\n  \"object\": \"list\",\n  \"data\": [");
    for (index, input) in inputs.iter().enumerate() {
        let vector = vector(&input.text, dimensions, seed);
        let shown = if base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            format!("\"{}\"", ids::base64(&bytes))
        } else {
            let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
            format!("[\n        {}\n      ]", numbers.join(",\n        "))
        };
        let comma = if index == 0 { "" } else { "," };
        text.push_str(&format!(
            "{comma}\n    {{\n      \"object\": \"embedding\",\n      \"index\": {index},\n      \"embedding\": {shown}\n    }}"
        ));
    }
    text.push_str(&format!(
        "\n  ],\n  \"model\": {},\n  \"usage\": {{\n    \"prompt_tokens\": {tokens},\n    \"total_tokens\": {tokens}\n  }}\n}}\n",
        Value::from(model)
    ));
    let mut reply = openai::success_headers(Reply::json(StatusCode::OK, text)).header_text("openai-model", model);
    reply.usage = Some(Usage { input: tokens, ..Usage::default() });
    Ok(reply)
}

struct Input {
    text: String,
    tokens: u64,
}

fn inputs(body: &Value) -> Result<Vec<Input>, Rejection> {
    let empty = || {
        Rejection::invalid(
            "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
        )
    };
    let text = |text: &str| Input { text: text.to_owned(), tokens: tokens::of_text(text) };
    let ids = |ids: &[Value]| {
        let words: Vec<String> = ids.iter().map(Value::to_string).collect();
        Input { text: words.join(" "), tokens: ids.len() as u64 }
    };
    let inputs = match body.get("input") {
        None | Some(Value::Null) => {
            let message = "Missing required parameter: 'input'.";
            return Err(Rejection::invalid(message).param("input").code("missing_required_parameter"));
        }
        Some(Value::String(input)) if !input.is_empty() => vec![text(input)],
        Some(Value::Array(items)) if !items.is_empty() && items.iter().all(Value::is_number) => vec![ids(items)],
        Some(Value::Array(items)) => {
            let input = |item: &Value| match item {
                Value::String(input) if !input.is_empty() => Some(text(input)),
                Value::Array(items) if items.iter().all(Value::is_number) => Some(ids(items)),
                _ => None,
            };
            items.iter().map(input).collect::<Option<Vec<_>>>().ok_or_else(empty)?
        }
        Some(_) => return Err(empty()),
    };
    if inputs.is_empty() || inputs.len() > MAX_INPUTS {
        return Err(empty());
    }
    Ok(inputs)
}

fn dimensions(body: &Value, model: &str) -> Result<usize, Rejection> {
    let default = if model.contains("-3-large") { 3072 } else { 1536 };
    match body.get("dimensions").filter(|value| !value.is_null()) {
        None => Ok(default),
        Some(value) => match value.as_u64() {
            Some(dimensions @ 1..=MAX_DIMENSIONS) => Ok(usize::try_from(dimensions).unwrap_or(default)),
            _ => Err(Rejection::invalid(format!("{value} is less than the minimum of 1 - 'dimensions'"))),
        },
    }
}

/// A unit vector. Every word, and every group of three letters, moves a few places of it up or down.
fn vector(text: &str, dimensions: usize, seed: u64) -> Vec<f32> {
    let mut vector = vec![0.0f32; dimensions];
    let mut add = |feature: &str, weight: f32| {
        let mut rng = ids::rng(seed, feature);
        for _ in 0..PLACES_PER_FEATURE {
            let sign = if rng.bool() { weight } else { -weight };
            vector[rng.usize(..dimensions)] += sign;
        }
    };
    let lower = text.to_lowercase();
    for word in lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        add(word, 1.0);
        let starts: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
        for group in starts.windows(4) {
            add(&word[group[0]..group[3]], 0.3);
        }
    }
    // Texts without any word, and those that differ in signs alone, still differ a little.
    add(text, 0.2);
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|number| *number /= length);
    } else {
        vector[0] = 1.0;
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::vector;

    fn cosine(one: &str, other: &str) -> f32 {
        vector(one, 512, 7).iter().zip(vector(other, 512, 7)).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn vectors_have_length_one_and_likeness() {
        assert!((cosine("the cat sat", "the cat sat") - 1.0).abs() < 1e-5);
        assert!(cosine("how do I reset my password", "how can I reset the password") > 0.5);
        assert!(cosine("how do I reset my password", "the moon is made of cheese") < 0.3);
        assert_eq!(vector("!?", 1, 0).len(), 1);
    }
}
