//! YAML text to a [`Node`], with positions. The part of YAML that configuration needs: no anchors, no tags, one document.

use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::{Map, Node, Value, plain};
use crate::config::problem::{Origin, Problem};

/// Deeper than any sensible configuration; keeps recursion bounded.
const DEPTH: usize = 32;

/// Reads one document. `file` is its name in positions. An empty document is an empty map. Problems of syntax end the
/// reading, all others are collected.
pub fn read(file: &str, text: &str) -> Result<Node, Vec<Problem>> {
    let mut reader = Reader {
        file: file.into(),
        parser: Parser::new_from_str(text.trim_start_matches('\u{feff}')),
        problems: Vec::new(),
    };
    match reader.document() {
        Ok(node) if reader.problems.is_empty() => Ok(node),
        Ok(_) => Err(reader.problems),
        Err(problem) => {
            reader.problems.push(problem);
            Err(reader.problems)
        }
    }
}

struct Reader<'a> {
    file: Arc<str>,
    parser: Parser<'a, StrInput<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root.unwrap_or_else(Node::empty)),
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(Problem::new(self.origin(span), "a second document starts here")
                        .hint("write everything in one document, without `---` in between"));
                }
                Event::DocumentStart(_) => {
                    let (event, span) = self.next()?;
                    let node = self.node(event, span, self.origin(span), 0)?;
                    root = Some(if node.value == Value::Null { Node::empty() } else { node });
                }
                _ => return Err(Problem::new(self.origin(span), "is not valid YAML")),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, origin: Origin, depth: usize) -> Result<Node, Problem> {
        if depth > DEPTH {
            return Err(Problem::new(origin, format!("is nested more than {DEPTH} levels deep")));
        }
        let (Event::Scalar(.., tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag)) = &event else {
            return Err(match event {
                Event::Alias(_) => Problem::new(self.origin(span), "YAML aliases (`*name`) are not supported")
                    .hint("write the value out"),
                _ => Problem::new(self.origin(span), "is not valid YAML"),
            });
        };
        if tag.is_some() {
            let problem = Problem::new(self.origin(span), "YAML tags (`!name`) are not supported");
            self.problems.push(problem.hint("leave the tag out; write text that looks like a number in quotes"));
        }
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => plain(&text),
            Event::Scalar(text, ..) => Value::Text(text.into_owned()),
            Event::SequenceStart(..) => Value::List(self.list(depth)?),
            _ => Value::Map(self.map(depth)?),
        };
        Ok(Node::new(value, origin))
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Problem> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(list),
                (event, span) => list.push(self.node(event, span, self.origin(span), depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Map, Problem> {
        let mut map = Map::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(map),
                (Event::Scalar(text, ..), span) => (text.into_owned(), self.origin(span)),
                (_, span) => return Err(Problem::new(self.origin(span), "a key must be plain text")),
            };
            let (name, origin) = key;
            let (event, span) = self.next()?;
            let node = self.node(event, span, origin, depth + 1)?;
            if let Some(first) = map.get(&name) {
                let problem = Problem::new(node.origin, format!("`{name}` is here twice"));
                self.problems.push(problem.hint(format!("the first is at {}; keep one", first.origin)));
            } else {
                map.insert(name, node);
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let origin = self.origin(Span::empty(*error.marker()));
                Err(Problem::new(origin, format!("is not valid YAML: {}", error.info())))
            }
            None => Err(Problem::new(Origin::Default, "ends too early")),
        }
    }

    fn origin(&self, span: Span) -> Origin {
        Origin::File { file: self.file.clone(), line: span.start.line(), column: span.start.col() + 1 }
    }
}
