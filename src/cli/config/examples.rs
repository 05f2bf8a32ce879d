//! Example requests for lines of rules that are not for all: requests that a line's patterns may match.

use super::rules::RuleLine;
use crate::ctx::request::Description;

/// The callout of a request that no rule can be made for in particular.
pub(super) const PROBE_CALLOUT: &str = "lgss1;svc=lgss-config-check@host.invalid;chan=rpc:host.invalid:1,1,1";

/// Example requests that a line's patterns may match: description and callout.
pub(super) fn examples(line: &RuleLine) -> Vec<(String, String)> {
    let mut words = line.text.split_ascii_whitespace().skip(2);
    let (Some(description), Some(callout)) = (words.next(), words.next()) else { return Vec::new() };
    let descriptions = fillings(
        description,
        &[
            "1000:nfs@host.invalid",
            "nfs@host.invalid",
            ":nfs@host.invalid",
            "@host.invalid",
            "host.invalid",
            "",
        ],
        "lgss:1000:nfs@host.invalid:",
    );
    let callouts = fillings(callout, &["", ";x"], PROBE_CALLOUT);
    let callouts: Vec<String> = callouts
        .into_iter()
        .filter(|callout| callout.starts_with("lgss1;"))
        .chain([PROBE_CALLOUT.to_owned()])
        .collect();
    descriptions
        .into_iter()
        .filter(|text| text.parse::<Description>().is_ok())
        .flat_map(|text| callouts.iter().map(move |callout| (text.clone(), callout.clone())))
        .collect()
}

/// Texts that match the pattern: with a filler for its asterisk, or for a leading asterisk with the beginning of a request.
fn fillings(pattern: &str, fillers: &[&str], whole: &str) -> Vec<String> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![pattern.to_owned()] };
    if before.is_empty() {
        return vec![format!("{whole}{after}"), format!("lgss:1000:nfs{after}"), format!("lgss:1000{after}")];
    }
    // After an asterisk inside a word, request-key compares the text's end with the pattern's beginning (rules.rs).
    let end = pattern.get(..after.len()).unwrap_or("");
    fillers.iter().map(|filler| format!("{before}{filler}{end}")).collect()
}
