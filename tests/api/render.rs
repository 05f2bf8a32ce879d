//! Words of a declaration as one line.

/// Joins them as rustfmt does, without a comma at the end of a list.
pub(crate) fn render(words: &[String]) -> String {
    let mut line = String::new();
    let mut before = "";
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1).map_or("", String::as_str);
        if word == "," && [")", "]", "}", ">", ""].contains(&next) {
            continue;
        }
        if !line.is_empty() && is_apart(before, word) {
            line.push(' ');
        }
        line.push_str(word);
        before = word;
    }
    line
}

fn is_apart(before: &str, word: &str) -> bool {
    let is_word = |text: &str| text.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    match (before, word) {
        ("(" | "[" | "<" | "::" | "&" | "'" | "?" | "." | "#" | "!", _) => false,
        (_, "?") => [":", "+"].contains(&before),
        (_, ")" | "]" | ">" | "," | ";" | ":" | "::" | ".") => false,
        ("mut" | "dyn" | "impl" | "in" | "where", _) => true,
        (_, "(" | "<" | "!") => !is_word(before) && before != ">",
        _ => true,
    }
}
