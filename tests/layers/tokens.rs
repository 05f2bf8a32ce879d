//! Words and punctuation of Rust source, without comments, strings and characters.
//!
//! Used by tests/layers.rs and tests/api.rs.

/// One token's text.
#[derive(Debug)]
pub(crate) struct Token(pub(crate) String);

impl Token {
    /// Whether it is this word or sign.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.0 == text
    }
}

/// Splits a source.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if let Some(length) = character(rest) {
            length
        } else {
            let length = word_or_sign(rest);
            if !first.is_whitespace() {
                found.push(Token(rest[..length].to_owned()));
            }
            length
        };
        rest = &rest[length..];
    }
    found
}

fn block_comment(text: &str) -> usize {
    let mut nesting = 0;
    let mut at = 0;
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        let step = if here.starts_with(b"/*") {
            nesting += 1;
            2
        } else if here.starts_with(b"*/") {
            nesting -= 1;
            2
        } else {
            1
        };
        at += step;
        if nesting == 0 {
            break;
        }
    }
    at
}

/// `r"…"`, `r#"…"#`, `br…`, `cr…`.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let hashes = text[prefix.len()..].len() - text[prefix.len()..].trim_start_matches('#').len();
    let body = prefix.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text[body..].find(&end).map_or(text.len(), |at| body + at + end.len()))
}

/// Length up to the closing quote; a backslash escapes the next character.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// `'c'`, and not the `'` of a lifetime, which is a sign.
fn character(text: &str) -> Option<usize> {
    let mut characters = text.strip_prefix('\'')?.chars();
    match (characters.next(), characters.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => Some(quoted(text, '\'')),
        _ => None,
    }
}

fn word_or_sign(text: &str) -> usize {
    let word = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let sign = if text.starts_with("::") { 2 } else { text.chars().next().map_or(1, char::len_utf8) };
    word.max(if word == 0 { sign } else { word })
}
