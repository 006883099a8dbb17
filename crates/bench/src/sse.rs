//! Recognises streamed content in the generator. Deliberately not the gateway's decoder: a judge brings its own ruler.

/// Longest event line kept, in bytes; the rest of a longer one is ignored.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Splits a byte stream into the payloads of its `data:` lines.
#[derive(Debug, Default)]
pub(crate) struct DataLines {
    line: Vec<u8>,
}

impl DataLines {
    pub(crate) fn push(&mut self, mut input: &[u8], mut on_data: impl FnMut(&[u8])) {
        while let Some(end) = memchr::memchr(b'\n', input) {
            self.extend(&input[..end]);
            if let Some(data) = self.line.strip_prefix(b"data:") {
                on_data(data.trim_ascii());
            }
            self.line.clear();
            input = &input[end + 1..];
        }
        self.extend(input);
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = MAX_LINE_BYTES - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// What one `data:` payload is to somebody who waits for text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Carries generated text: a chunk.
    Content,
    /// Ends the stream properly: `[DONE]`, or Anthropic's `message_stop`.
    End,
    /// Role, usage, finish reason, block boundaries, pings.
    Frame,
}

/// Works on the bytes, since parsing JSON here would take the upstream's time. Both dialects say `"content":"…"` or
/// `"text":"…"`; the empty string is a frame.
pub(crate) fn classify(data: &[u8]) -> Payload {
    if data == b"[DONE]" || memchr::memmem::find(data, b"\"message_stop\"").is_some() {
        return Payload::End;
    }
    let has_text = |key: &[u8]| {
        memchr::memmem::find_iter(data, key).any(|at| {
            let value = data[at + key.len()..].trim_ascii_start();
            value.first() == Some(&b'"') && value.get(1).is_some_and(|&byte| byte != b'"')
        })
    };
    if has_text(b"\"content\":") || has_text(b"\"text\":") { Payload::Content } else { Payload::Frame }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_at_every_cut() {
        let stream = b": ping\r\n\r\ndata: {\"a\":1}\n\nevent: x\ndata:[DONE]\r\n\n";
        for step in 1..=stream.len() {
            let (mut lines, mut seen) = (DataLines::default(), Vec::new());
            for piece in stream.chunks(step) {
                lines.push(piece, |data| seen.push(String::from_utf8_lossy(data).into_owned()));
            }
            assert_eq!(seen, ["{\"a\":1}", "[DONE]"], "step {step}");
        }
    }

    #[test]
    fn text_is_told_from_frames_in_both_dialects() {
        for (data, payload) in [
            (r#"{"choices":[{"delta":{"content":"Hi"}}]}"#, Payload::Content),
            (r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#, Payload::Frame),
            (r#"{"choices":[{"delta":{"content": "Hi"}}]}"#, Payload::Content),
            (r#"{"choices":[],"usage":{"total_tokens":3}}"#, Payload::Frame),
            ("[DONE]", Payload::End),
            (r#"{"type":"message_start","message":{"content":[]}}"#, Payload::Frame),
            (r#"{"type":"content_block_start","content_block":{"type":"text","text":""}}"#, Payload::Frame),
            (r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hi"}}"#, Payload::Content),
            (r#"{"type":"message_stop"}"#, Payload::End),
        ] {
            assert_eq!(classify(data.as_bytes()), payload, "{data}");
        }
    }
}
