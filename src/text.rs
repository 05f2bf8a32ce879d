//! Text that somebody else has written, made fit for a line of the log and for a terminal (rule S10): names of caches
//! and principals, messages of libraries, what a worker says.
//!
//! Invariant: what comes out of here has no character that moves the cursor, breaks a line, turns the direction of
//! writing or cannot be seen, and a quoted name cannot pass for words of ours.
#![forbid(unsafe_code)]

use std::borrow::Cow;
#[cfg(any(feature = "tools", test))]
use std::fmt::Write;

use unicode_general_category::{GeneralCategory, get_general_category};

/// Letters and marks that leave no trace when they are shown (Unicode, Default_Ignorable_Code_Point; those of the
/// category Cf are told by that).
const INVISIBLE: [(char, char); 8] = [
    ('\u{34f}', '\u{34f}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{e0100}', '\u{e01ef}'),
];

/// Whether a character shows itself as what it is, the blank included.
pub(crate) fn is_plain(c: char) -> bool {
    use GeneralCategory as Category;
    match get_general_category(c) {
        Category::Control
        | Category::Format
        | Category::LineSeparator
        | Category::ParagraphSeparator
        | Category::PrivateUse
        | Category::Surrogate
        | Category::Unassigned => false,
        Category::SpaceSeparator => c == ' ',
        _ => c.is_ascii() || !INVISIBLE.iter().any(|&(first, last)| (first..=last).contains(&c)),
    }
}

/// The text with an escape in the place of every character that is not plain: `\n`, `\u{202e}`.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_plain(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    Cow::Owned(shown)
}

/// A name as it is, or between quotation marks if something in it could be taken for what stands around a name.
pub(crate) fn quoted(name: &str) -> Cow<'_, str> {
    let could_mislead = |c: char| c.is_whitespace() || "\"'\\;,".contains(c) || !is_plain(c);
    if !name.is_empty() && !name.contains(could_mislead) {
        return Cow::Borrowed(name);
    }
    let mut shown = String::with_capacity(name.len() + 16);
    shown.push('"');
    for c in name.chars() {
        match c {
            '"' | '\\' => shown.extend(['\\', c]),
            c if is_plain(c) => shown.push(c),
            c => shown.extend(c.escape_default()),
        }
    }
    shown.push('"');
    Cow::Owned(shown)
}

/// Longest line that is kept, in bytes: who wrote it is not trusted to be brief.
pub(crate) const LINE_LIMIT: usize = 500;

/// Printable, on one line, cut at [`LINE_LIMIT`].
pub(crate) fn one_line(text: &str) -> String {
    cut(&escaped(text), LINE_LIMIT).into_owned()
}

/// So much of the text as fits into that many bytes, with a mark if that is not all.
pub(crate) fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    const MARK: char = '…';
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let room = limit.saturating_sub(MARK.len_utf8());
    let end = (0..=room).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let mut part = text.get(..end).unwrap_or_default().to_owned();
    part.push(MARK);
    Cow::Owned(part)
}

/// JSON whose strings have escapes in the place of characters that are not plain: the same data, fit for a terminal.
#[cfg(any(feature = "tools", test))]
pub(crate) fn plain_json(json: &str) -> Cow<'_, str> {
    // Outside of strings there is nothing but ASCII, with line breaks.
    let stays = |c: char| c == '\n' || is_plain(c);
    if json.chars().all(stays) {
        return Cow::Borrowed(json);
    }
    let mut plain = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if stays(c) {
            plain.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(plain, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every one that a terminal or a reader of logs is known to act on, and relatives.
    const UNPLAIN: &str = "\0\x07\x08\t\n\r\x1b\x7f\u{80}\u{85}\u{9b}\u{a0}\u{ad}\u{34f}\u{61c}\u{115f}\u{180e}\u{2003}\
        \u{200b}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{206f}\u{3000}\u{3164}\
        \u{e000}\u{fe0f}\u{feff}\u{fff9}\u{ffff}\u{1d173}\u{e0001}\u{e0041}\u{e0100}\u{f0000}\u{10ffff}";

    #[test]
    fn nothing_that_hides_breaks_or_turns_a_line_is_left() {
        for c in UNPLAIN.chars() {
            let shown = escaped(&format!("a{c}b")).into_owned();
            assert!(shown.is_ascii() && !shown.contains(char::is_control), "{c:?}: {shown:?}");
            assert!(shown.starts_with("a\\") && shown.ends_with('b'), "{c:?}: {shown:?}");
        }
        for text in ["", "José Łukasz 山田 Ελλάς x\u{301}", "FILE:/tmp/krb5cc_1000: no (really)"] {
            assert_eq!(escaped(text), text);
        }
        assert_eq!(escaped("a\u{202e}b\nc"), "a\\u{202e}b\\nc");
    }

    #[test]
    fn what_was_escaped_is_not_escaped_again() {
        let once = escaped(UNPLAIN).into_owned();
        assert_eq!(escaped(&once), once);
    }

    #[test]
    fn a_name_that_could_be_taken_for_words_of_ours_is_quoted() {
        for name in
            ["FILE:/tmp/krb5cc_1000", "alice/admin@EXAMPLE.COM", "KCM:", "KEYRING:persistent:1000:krb"]
        {
            assert_eq!(quoted(name), name);
        }
        for (name, shown) in [
            ("", "\"\""),
            ("FILE:/tmp/krb5cc_1: ticket expired", "\"FILE:/tmp/krb5cc_1: ticket expired\""),
            ("x;y", "\"x;y\""),
            ("x,y", "\"x,y\""),
            ("a\"; chosen: \"b", "\"a\\\"; chosen: \\\"b\""),
            ("a\\/b@R", "\"a\\\\/b@R\""),
            ("a\u{2028}b", "\"a\\u{2028}b\""),
        ] {
            assert_eq!(quoted(name), shown);
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("ééé", 6), "ééé");
        for limit in 0..20 {
            let text = "é".repeat(10);
            let shown = cut(&text, limit);
            assert!(shown.len() <= limit.max('…'.len_utf8()), "{limit}: {shown}");
        }
    }

    #[test]
    fn json_for_a_terminal_is_the_same_data() {
        let data = serde_json::json!({ "cache": format!("x{UNPLAIN}\"\\y"), "é": ["z"] });
        let json = serde_json::to_string_pretty(&data).unwrap();
        let plain = plain_json(&json);
        assert!(plain.chars().all(|c| c == '\n' || is_plain(c)), "{plain:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&plain).unwrap(), data);
    }
}
