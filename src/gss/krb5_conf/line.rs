//! One line of krb5.conf, parsed as libkrb5's profile library does.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Longest piece of a line that is quoted.
const QUOTE_LIMIT: usize = 40;

/// A line by its first word and by whether a section has begun.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ConfLine<'a> {
    /// `include FILE`
    Include(PathBuf),
    /// `includedir DIRECTORY`
    IncludeDirectory(PathBuf),
    /// `module FILE:REST`, which must come before all sections. Without the first word.
    Module(&'a [u8]),
    /// Ignored, since no section has begun. In quotes.
    Before(String),
    /// Blank, or a comment.
    Nothing,
    /// Starts a section or belongs to one.
    In(&'a [u8]),
}

/// Where a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum LinePlace {
    /// Before the first section.
    #[default]
    Before,
    /// In a section, or between two.
    Within,
}

/// A line of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `[name]`
    Section,
    /// `name = value`
    Relation,
    /// `name = {`
    Subsection,
    /// `name =`, with the brace on the following line.
    Awaiting,
    /// `}`
    Close,
    /// Blank, or a comment.
    Nothing,
}

pub(super) fn parse(line: &[u8], place: LinePlace) -> ConfLine<'_> {
    // Directives start in the first column.
    let path = |rest: &[u8]| PathBuf::from(OsStr::from_bytes(stripped(skip_blanks(rest))));
    if let Some(rest) = directive(line, b"include") {
        return ConfLine::Include(path(rest));
    }
    if let Some(rest) = directive(line, b"includedir") {
        return ConfLine::IncludeDirectory(path(rest));
    }
    if place == LinePlace::Within || line.first() == Some(&b'[') {
        return ConfLine::In(line);
    }
    if let Some(rest) = directive(line, b"module") {
        return ConfLine::Module(stripped(skip_blanks(rest)));
    }
    match skip_blanks(stripped(line)) {
        [] | [b'#' | b';', ..] => ConfLine::Nothing,
        text => ConfLine::Before(quoted(text)),
    }
}

/// Whether the line starts with the brace that the previous line lacks.
pub(super) fn is_brace(line: &[u8]) -> bool {
    skip_blanks(line).starts_with(b"{")
}

/// # Errors
/// In words.
pub(super) fn syntax(line: &[u8]) -> Result<Syntax, String> {
    let line = skip_blanks(line);
    if matches!(line.first(), Some(b'#' | b';')) {
        return Ok(Syntax::Nothing);
    }
    let line = stripped(line);
    match line {
        [] => Ok(Syntax::Nothing),
        [b'[', rest @ ..] => section(rest),
        [b'}', ..] => Ok(Syntax::Close),
        _ => relation(line),
    }
}

fn section(rest: &[u8]) -> Result<Syntax, String> {
    let Some(end) = rest.iter().position(|&byte| byte == b']') else {
        return Err(format!("] is missing after {}", quoted(&[b"[", rest].concat())));
    };
    let (name, after) = rest.split_at(end);
    let after = after.get(1..).unwrap_or_default();
    let after = skip_blanks(after.strip_prefix(b"*").unwrap_or(after));
    if !after.is_empty() {
        return Err(format!("{} follows [{}]", quoted(after), String::from_utf8_lossy(name)));
    }
    Ok(Syntax::Section)
}

fn relation(line: &[u8]) -> Result<Syntax, String> {
    let Some(equals) = line.iter().position(|&byte| byte == b'=') else {
        return Err(format!("= is missing in {}", quoted(line)));
    };
    let (name, value) = line.split_at(equals);
    let value = skip_blanks(value.get(1..).unwrap_or_default());
    let mut words = name.split(|&byte| is_space(byte)).filter(|word| !word.is_empty());
    match (name, words.next(), words.next()) {
        ([], ..) => return Err(format!("there is no name before = in {}", quoted(line))),
        (_, Some(first), Some(_)) => {
            return Err(format!("more than one word before =: {} {}", quoted(first), quoted(line)));
        }
        _ => {}
    }
    Ok(match value {
        [] => Syntax::Awaiting,
        [b'{', rest @ ..] if skip_blanks(rest).is_empty() => Syntax::Subsection,
        _ => Syntax::Relation,
    })
}

/// Whether a [`Syntax::Section`] has this name.
pub(super) fn is_section(line: &[u8], name: &[u8]) -> bool {
    let after = skip_blanks(line).strip_prefix(b"[").unwrap_or_default();
    after.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"]"))
}

/// Name and value of a [`Syntax::Relation`], the value without quotes and without blanks at its end.
pub(super) fn pair(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = skip_blanks(stripped(line));
    let equals = line.iter().position(|&byte| byte == b'=')?;
    let (name, value) = line.split_at(equals);
    let value = skip_blanks(value.get(1..)?).trim_ascii_end();
    let value = match value.strip_prefix(b"\"") {
        Some(quoted) => quoted.split(|&byte| byte == b'"').next()?,
        None => value,
    };
    Some((name.trim_ascii_end(), value))
}

/// Whether `includedir` includes a file of this name.
pub(super) fn is_included(name: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    !name.starts_with(b".") && (name.ends_with(b".conf") || name.iter().all(plain))
}

fn directive<'a>(line: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(word).filter(|rest| rest.first().is_some_and(|&byte| is_space(byte)))
}

/// isspace(3) in the C locale.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|&&byte| is_space(byte)).count();
    text.get(blanks..).unwrap_or_default()
}

/// The text without its line end.
fn stripped(text: &[u8]) -> &[u8] {
    let ends = text.iter().rev().take_while(|&&byte| byte == b'\n' || byte == b'\r').count();
    text.get(..text.len().saturating_sub(ends)).unwrap_or_default()
}

fn quoted(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let shown: String = text.trim_end().chars().take(QUOTE_LIMIT).collect();
    format!("{shown:?}")
}
