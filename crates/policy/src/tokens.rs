//! How large a request probably is, before a vendor has counted it.
//!
//! The rule is a rough one, made to be fast and to err on the high side: four ASCII characters are a token (the rule of thumb
//! that vendors give for English), two characters of the scripts that take two bytes in UTF-8 (accented Latin, Greek,
//! Cyrillic, Hebrew, Arabic, …), one of three bytes (Chinese, Japanese, Korean, Indic scripts, …); one of four bytes
//! (emoji) is two. What is not text has a fixed size.
//!
//! The rule knows no model. What it says is corrected by what the model's provider has told of other requests
//! ([`Signals::estimate`](crate::routing::signals::Signals::estimate)), and what was reserved by it is settled to what is told.

use std::io;

use gateway_core::chat::{ChatRequest, Media, OutputFormat, Part, PartBody, ToolBody};
use serde_json::Value;

/// An image. Vendors count by its size in pixels, which is not known here: OpenAI 765 for 1024 x 1024 in high detail,
/// Anthropic about 1,600 for the largest that is not scaled down.
pub const IMAGE_TOKENS: u64 = 1_500;
/// A document that is not text, of unknown length: two pages at Anthropic's 1,500 to 3,000 tokens a page.
pub const DOCUMENT_TOKENS: u64 = 5_000;
/// A recording of unknown length.
pub const AUDIO_TOKENS: u64 = 1_000;
/// Role and separators of a message.
pub const TURN_TOKENS: u64 = 4;
/// An answer whose length nobody has limited. A judgement, not a measurement.
pub const USUAL_OUTPUT_TOKENS: u64 = 1_000;
/// The same where the model thinks before it speaks.
pub const USUAL_OUTPUT_TOKENS_REASONING: u64 = 4_000;

/// The probable size of a request and of its answer, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Estimate {
    pub input: u64,
    pub output: u64,
}

/// The tokens of an answer: what is usual, or what the client allows if that is less.
pub fn expected_output(usual: u64, max_tokens: Option<u64>) -> u64 {
    max_tokens.map_or(usual, |most| most.min(usual))
}

/// The tokens of UTF-8 text. A whole JSON body may be given too: its punctuation counts, and so does inline base64, so that
/// the estimate is then higher than [`chat`]'s.
pub fn text(utf8: &[u8]) -> u64 {
    quarters(utf8).div_ceil(4)
}

/// A text up to this length is counted, of a longer one as much is.
const COUNTED_BYTES: usize = 16 * 1024;
/// Parts of a long text that are counted, at even distances.
const COUNTED_PARTS: usize = 16;

/// About as many as [`text`], of a text of any length in the same time. Of a long one, parts are counted and speak for the
/// rest. However it is mixed, this is at most twice and at least half as many: a byte of UTF-8 is a quarter of a token, or
/// half of one where it is part of an emoji, or something between.
pub fn about(utf8: &[u8]) -> u64 {
    if utf8.len() <= COUNTED_BYTES {
        return text(utf8);
    }
    const PART_BYTES: usize = COUNTED_BYTES / COUNTED_PARTS;
    let starts = (0..COUNTED_PARTS).map(|part| (utf8.len() - PART_BYTES) * part / (COUNTED_PARTS - 1));
    let counted: u64 = starts.map(|start| quarters(&utf8[start..start + PART_BYTES])).sum();
    let all = u128::from(counted) * utf8.len() as u128 / COUNTED_BYTES as u128;
    u64::try_from(all.div_ceil(4)).unwrap_or(u64::MAX)
}

/// The tokens of text that comes in pieces: as many as of the whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct Count {
    quarters: u64,
}

impl Count {
    pub fn add(&mut self, text: &str) {
        self.quarters += quarters(text.as_bytes());
    }

    pub fn tokens(self) -> u64 {
        self.quarters.div_ceil(4)
    }
}

/// Quarters of a token, so that the parts of a text add up. Every byte of every request comes by here: sums in numbers of eight
/// bits, side by side, are what compilers make vectors of (12 GB/s; 3 GB/s in sixteen bits).
fn quarters(utf8: &[u8]) -> u64 {
    // Most texts are, and to see that takes a fifth of the time of counting.
    if utf8.is_ascii() {
        return utf8.len() as u64;
    }
    const LANES: usize = 32;
    const HEAVIEST_BYTE: usize = 8;
    let (blocks, rest) = utf8.as_chunks::<LANES>();
    // The inside of a character weighs nothing.
    let mut last = [[0x80; LANES]];
    last[0][..rest.len()].copy_from_slice(rest);
    let mut sum = 0;
    for blocks in blocks.chunks(u8::MAX as usize / HEAVIEST_BYTE).chain([&last[..]]) {
        let mut lanes = [0; LANES];
        for block in blocks {
            for (lane, &byte) in lanes.iter_mut().zip(block) {
                *lane += weight(byte);
            }
        }
        sum += lanes.into_iter().map(u64::from).sum::<u64>();
    }
    sum
}

/// Of the bytes of a character, the first alone weighs anything.
fn weight(byte: u8) -> u8 {
    u8::from(byte < 0x80) + 2 * u8::from(byte >= 0xC0) + 2 * u8::from(byte >= 0xE0) + 4 * u8::from(byte >= 0xF0)
}

/// The tokens of a prompt: its messages, tools and output schema.
pub fn chat(request: &ChatRequest) -> u64 {
    let mut size = Size::default();
    for turn in &request.turns {
        size.tokens += TURN_TOKENS;
        turn.parts.iter().for_each(|part| size.part(part));
    }
    for tool in &request.tools {
        size.tokens += TURN_TOKENS;
        match &tool.body {
            ToolBody::Function { name, description, schema, strict: _ } => {
                size.text(name);
                description.iter().for_each(|text| size.text(text));
                schema.iter().for_each(|schema| size.json(schema));
            }
            ToolBody::Foreign { value, .. } => size.json(value),
        }
    }
    if let Some(OutputFormat::JsonSchema { schema, .. }) = &request.output {
        size.json(schema);
    }
    size.tokens + size.quarters.div_ceil(4)
}

/// Tokens of input that a prompt has in any case, for the question whether it can fit at all: half of what its messages' texts
/// are thought to be. What is not text, or of a shape that only a vendor knows, counts nothing.
pub fn at_least(request: &ChatRequest) -> u64 {
    let parts = request.turns.iter().flat_map(|turn| &turn.parts);
    parts.map(text_quarters).sum::<u64>().div_ceil(8)
}

fn text_quarters(part: &Part) -> u64 {
    match &part.body {
        PartBody::Text(text) | PartBody::Refusal(text) | PartBody::Reasoning { text, .. } => quarters(text.as_bytes()),
        PartBody::ToolCall(call) => quarters(call.arguments.as_bytes()),
        PartBody::ToolResult { content, .. } => content.iter().map(text_quarters).sum(),
        PartBody::File { media: Media::Text(text), .. } => quarters(text.as_bytes()),
        _ => 0,
    }
}

#[derive(Default)]
struct Size {
    tokens: u64,
    quarters: u64,
}

impl Size {
    fn text(&mut self, text: &str) {
        self.quarters += quarters(text.as_bytes());
    }

    fn json(&mut self, value: &Value) {
        // Writing to a counter cannot fail, and a key that is no string cannot be in a `Value`.
        let _ = serde_json::to_writer(self, value);
    }

    fn media(&mut self, media: &Media, tokens: u64) {
        match media {
            Media::Text(text) => self.text(text),
            Media::Url(_) | Media::Base64 { .. } | Media::FileId(_) => self.tokens += tokens,
        }
    }

    fn part(&mut self, part: &Part) {
        match &part.body {
            PartBody::Text(text) | PartBody::Refusal(text) | PartBody::Reasoning { text, .. } => self.text(text),
            PartBody::Image(media) => self.media(media, IMAGE_TOKENS),
            PartBody::File { media, .. } => self.media(media, DOCUMENT_TOKENS),
            PartBody::Audio(media) => self.media(media, AUDIO_TOKENS),
            PartBody::RedactedReasoning(opaque) => self.text(opaque),
            PartBody::ToolCall(call) => {
                self.tokens += TURN_TOKENS;
                self.text(&call.name);
                self.text(&call.arguments);
            }
            PartBody::ToolResult { content, .. } => {
                self.tokens += TURN_TOKENS;
                content.iter().for_each(|part| self.part(part));
            }
            PartBody::Foreign { value, .. } => self.json(value),
        }
    }
}

impl io::Write for &mut Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.quarters += quarters(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::Extra;
    use gateway_core::chat::{Item, Place, Role, Tool, Turn};
    use proptest::prelude::*;
    use serde_json::json;

    const PLACE: Place = Place { message: Some(0), item: Item::Whole };

    fn request(parts: Vec<PartBody>) -> ChatRequest {
        let parts = parts.into_iter().map(|body| Part::new(body, PLACE)).collect();
        let turn = Turn { role: Role::User, parts, name: None, index: Some(0), extra: Extra::new() };
        ChatRequest { turns: vec![turn], ..ChatRequest::default() }
    }

    #[test]
    fn each_script_has_its_rule() {
        for (sample, tokens) in
            [("", 0), ("a", 1), ("abcdefgh", 2), ("привет", 3), ("日本語", 3), ("🙂", 2), ("naïve", 2)]
        {
            assert_eq!(text(sample.as_bytes()), tokens, "{sample}");
        }
    }

    #[test]
    fn a_prompt_is_its_text_its_tools_and_its_pictures() {
        let mut chat_request = request(vec![PartBody::Text("abcdefgh".into())]);
        assert_eq!(chat(&chat_request), TURN_TOKENS + 2);

        let schema = json!({"type": "object"}); // {"type":"object"} is 17 bytes
        let body = ToolBody::Function { name: "now".into(), description: None, schema: Some(schema), strict: None };
        chat_request.tools.push(Tool { body, extra: Extra::new() });
        assert_eq!(chat(&chat_request), 2 * TURN_TOKENS + (8 + 3 + 17_u64).div_ceil(4));
    }

    #[test]
    fn the_bytes_of_an_image_do_not_count_as_text() {
        let image = Media::Base64 { media_type: "image/png".into(), data: "A".repeat(1 << 20) };
        let in_result = PartBody::ToolResult {
            id: "1".into(),
            content: vec![Part::new(PartBody::Image(image), PLACE)],
            is_error: false,
        };
        assert_eq!(chat(&request(vec![in_result])), 2 * TURN_TOKENS + IMAGE_TOKENS);

        let letter = PartBody::File { media: Media::Text("abcd".into()), name: None };
        assert_eq!(chat(&request(vec![letter])), TURN_TOKENS + 1, "a document of plain text is text");
    }

    #[test]
    fn the_least_is_half_of_the_texts_alone() {
        let image = Media::Base64 { media_type: "image/png".into(), data: "A".repeat(1 << 20) };
        let prompt = request(vec![PartBody::Text("a".repeat(8_000)), PartBody::Image(image)]);
        assert_eq!((at_least(&prompt), chat(&prompt)), (1_000, 2_000 + IMAGE_TOKENS + TURN_TOKENS));
    }

    #[test]
    fn an_answer_is_as_long_as_usual_or_as_allowed() {
        assert_eq!(expected_output(USUAL_OUTPUT_TOKENS, None), USUAL_OUTPUT_TOKENS);
        assert_eq!(expected_output(USUAL_OUTPUT_TOKENS, Some(5)), 5);
        assert_eq!(expected_output(7, Some(u64::MAX)), 7);
    }

    #[test]
    fn long_texts_of_the_heaviest_bytes_are_counted_to_the_last() {
        for length in [31, 32, 33, 991, 992, 993, 100_001] {
            assert_eq!(quarters(&vec![0xF0; length]), 8 * length as u64, "{length}");
            assert_eq!(quarters(&vec![b'a'; length]), length as u64, "{length}");
        }
    }

    #[test]
    fn of_long_texts_a_part_speaks_for_the_rest() {
        let line = "Naïve text, as it is: 日本語, привет and 🙂 in every line.\n";
        for lines in [1, 100, 1000, 100_000] {
            let whole = line.repeat(lines);
            let (exact, about) = (text(whole.as_bytes()) as f64, about(whole.as_bytes()) as f64);
            assert!((about / exact - 1.0).abs() < 0.02, "{about} of {exact} in {lines} lines");
        }
        // The worst there can be: what is counted is of one kind, and all that is not of the other.
        for (end, middle) in [("a", "🙂"), ("🙂", "a")] {
            let whole =
                [end.repeat(COUNTED_BYTES / 4), middle.repeat(1_000_000), end.repeat(COUNTED_BYTES / 4)].concat();
            let (exact, about) = (text(whole.as_bytes()) as f64, about(whole.as_bytes()) as f64);
            assert!((0.5..=2.0).contains(&(about / exact)), "{about} of {exact}");
        }
    }

    proptest! {
        #[test]
        fn longer_texts_are_never_smaller_and_cutting_costs_at_most_a_token(a in ".*", b in ".*") {
            let whole = text(format!("{a}{b}").as_bytes());
            let parts = text(a.as_bytes()) + text(b.as_bytes());
            prop_assert!(whole >= text(a.as_bytes()));
            prop_assert!(whole <= parts && parts <= whole + 1);
            let mut count = Count::default();
            [a, b].iter().for_each(|piece| count.add(piece));
            prop_assert_eq!(count.tokens(), whole);
        }
    }
}
