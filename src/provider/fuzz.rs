//! Checks for the fuzz targets (docs/fuzzing.md): what comes by the pipe to the helper and from it, and lines of the log.

use super::contexts::ListContexts;
use super::contexts::ending::EndContexts;
use super::hooks::RunHook;
use super::log::{ReadLog, shown_lines};
use super::operation::{Delegable, Undone};
use super::pipe::{HelperReply, PipeText};
use super::programs::{CheckInstallation, ShowCaches};
use super::shared_keys::{ListSharedKeys, LoadSharedKey};
use crate::text::is_plain;

/// Requests to the helper: what is accepted is the same when it is written and read again, and its words for the log are plain.
pub fn requests(data: &[u8]) {
    let text = PipeText::of(data);
    let _ = (text.method(), text.ping());
    request::<ListContexts>(&text);
    request::<EndContexts>(&text);
    request::<ShowCaches>(&text);
    request::<CheckInstallation>(&text);
    request::<ReadLog>(&text);
    request::<ListSharedKeys>(&text);
    request::<LoadSharedKey>(&text);
    request::<RunHook>(&text);
}

fn request<O: Delegable>(text: &PipeText) {
    let Ok(delegated) = text.operation::<O>() else { return };
    let operation = delegated.operation();
    let words = crate::text::one_line(&operation.words());
    assert!(words.chars().all(is_plain), "{words:?}");
    let written = |operation: &O| operation.over_pipe().map(|payload| PipeText::call(O::METHOD, &payload));
    let Ok(once) = written(operation) else { return };
    let again = once.operation::<O>().ok().and_then(|again| written(again.operation()).ok());
    assert!(again.is_some_and(|again| again.bytes() == once.bytes()));
}

/// Answers of the helper.
pub fn answers(data: &[u8]) {
    let text = PipeText::of(data);
    if let Ok(HelperReply::Refusal(Undone { cause, remedy })) = text.reply::<()>() {
        let line = crate::text::one_line(&format!("{cause}{}", remedy.unwrap_or_default()));
        assert!(line.chars().all(is_plain), "{line:?}");
    }
    let _ = text.reply::<<ListContexts as Delegable>::Answer>();
    let _ = text.reply::<<EndContexts as Delegable>::Answer>();
    let _ = text.reply::<<ListSharedKeys as Delegable>::Answer>();
}

/// A log, of which only lines of our programs are shown.
pub fn log_lines(data: &[u8]) {
    for line in shown_lines(&String::from_utf8_lossy(data)) {
        assert!(line.chars().all(is_plain) && line.contains("lgss"), "{line:?}");
    }
}
