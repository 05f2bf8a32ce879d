//! A context's key as data, printed as text or JSON by `show`, `list` and `get`.
//!
//! Invariant: it has no place for key bytes.

use std::borrow::Cow;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::crypto::mic::KeyOrigin;
use crate::ctx::client::{ClientError, ContextKey};
use crate::ctx::payload::user::State;
use crate::ctx::request::Description;
use crate::ctx::rings::Doubt;
use crate::ctx::visible::{self, Elsewhere, Visible};
use crate::ctx::{Context, NoContext, OsError};
use crate::key::{KeyDescription, KeySerial};
use crate::time::{Span, now_32};

/// All that is known of a key; the output of `show`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeyReport {
    /// As keyctl(1) names the key.
    pub(crate) serial: i32,
    /// As the log names it.
    pub(crate) key: String,
    /// `None` if the key cannot be read.
    pub(crate) state: Option<ContextState>,
    /// Where the key is, if that is why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) elsewhere: Option<KeyPlace>,
    /// The kernel's description of the key, if it may be viewed.
    #[serde(flatten)]
    pub(crate) label: Option<Label>,
    /// The established context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<ContextReport>,
    /// Why there is no context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<FailureReport>,
}

/// States of a context (lgss(1)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ContextState {
    /// The negotiation goes on.
    InProgress,
    /// The context may be used.
    Established,
    /// The negotiation failed.
    Failed,
    /// The context, or the memory of its failure, has ended.
    Expired,
    /// The key was revoked.
    Revoked,
}

impl ContextState {
    /// The word that JSON has for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Established => "established",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// Place of a key that the caller's keyrings do not lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyPlace {
    /// In another session of the same user.
    AnotherSession,
    /// In a keyring of a program that uses it.
    Program,
    /// In none: its session has ended.
    EndedSession,
}

impl KeyPlace {
    pub(crate) fn of(elsewhere: Elsewhere) -> Self {
        match elsewhere {
            Elsewhere::Session => Self::AnotherSession,
            Elsewhere::Program => Self::Program,
            Elsewhere::Nowhere => Self::EndedSession,
        }
    }

    /// Text shown instead of the key's state.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::AnotherSession => "in another session",
            Self::Program => "used by a program",
            Self::EndedSession => "left by a session that has ended",
        }
    }
}

/// The key's label.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Label {
    /// The owner's uid.
    pub(crate) owner: u32,
    /// The key's type.
    #[serde(rename = "type")]
    pub(crate) key_type: String,
    /// The key's description, made printable.
    pub(crate) description: String,
    /// The service that the description names.
    pub(crate) service: Option<String>,
}

/// The parts of an established context that may be shown.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ContextReport {
    /// The principal that it speaks for, if the key names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) principal: Option<String>,
    /// The wish that was not met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unmet: Option<String>,
    /// RPCSEC_GSS sequence window.
    pub(crate) window: u32,
    /// Length of the server's handle in bytes.
    pub(crate) handle_length: usize,
    /// Encryption type of the base key.
    pub(crate) enctype: String,
    /// Who chose the base key: `acceptor` or `initiator`.
    pub(crate) subkey: Cow<'static, str>,
    /// End of the context, seconds since the epoch.
    pub(crate) endtime: u32,
    /// Seconds until then.
    pub(crate) lifetime_left: u32,
}

/// A failure as the requester may know it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FailureReport {
    /// The errno's name.
    pub(crate) errno: String,
    /// What it means.
    pub(crate) cause: Cow<'static, str>,
    /// What to try.
    pub(crate) remedy: Cow<'static, str>,
    /// GSS major status, 0 if GSS was not involved.
    pub(crate) gss_major: u32,
    /// The failed step. This and the next two are there only if the requester may know them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<String>,
    /// The cause's name for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// The exact reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

/// Why a key cannot be shown in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyObstacle {
    /// There is no such key, or it may not even be viewed.
    NoKey,
    /// Only its possessor may read it.
    NotPossessed,
    /// It is not the caller's, so its content is not trusted.
    NotOwn(Doubt),
    /// It is the key of something else.
    NotAContext,
}

impl KeyReport {
    /// Looks at a key. Returns what could be learned, and the obstacle to learning more.
    pub(crate) fn of(serial: KeySerial) -> (Self, Option<KeyObstacle>) {
        let mut report = Self {
            serial: serial.raw(),
            key: serial.to_string(),
            state: None,
            elsewhere: None,
            label: None,
            context: None,
            failure: None,
        };
        let obstacle = match KeyDescription::of(serial) {
            Ok(description) => report.learn_label(&description).or_else(|| report.learn_state(serial)),
            Err(errno) => report.learn_end(errno, KeyObstacle::NoKey),
        };
        (report, obstacle)
    }

    /// Reports a context that the caller sees; a state that may not be read stays unknown. `None` if the key has gone.
    pub(crate) fn of_visible(context: &Visible) -> Option<Self> {
        let serial = context.key.serial();
        let mut report = Self {
            serial: serial.raw(),
            key: serial.to_string(),
            state: None,
            elsewhere: None,
            label: Some(Label {
                owner: context.owner,
                key_type: "user".to_owned(),
                description: context.description.to_string(),
                service: Some(context.description.service.to_string()),
            }),
            context: None,
            failure: None,
        };
        match context.state() {
            Ok(state) => report.learn_context(state, now_32()),
            Err(ClientError::Read(OsError(Errno::ENOKEY))) => return None,
            Err(ClientError::Read(OsError(errno))) => {
                if report.learn_end(errno, KeyObstacle::NotPossessed).is_some() {
                    report.elsewhere = context.elsewhere().map(KeyPlace::of);
                }
            }
            // Somebody else's key, or not our payload.
            Err(_) => {}
        }
        Some(report)
    }

    /// The service, for people.
    pub(crate) fn service(&self) -> &str {
        self.label.as_ref().and_then(|label| label.service.as_deref()).unwrap_or("?")
    }

    /// The owner, if the key may be viewed.
    pub(crate) fn owner(&self) -> Option<u32> {
        self.label.as_ref().map(|label| label.owner)
    }

    fn learn_label(&mut self, key: &KeyDescription) -> Option<KeyObstacle> {
        let text = String::from_utf8_lossy(&key.description);
        let parsed: Option<Description> = (key.key_type == "user").then(|| text.parse().ok()).flatten();
        let obstacle = if parsed.is_some() { None } else { Some(KeyObstacle::NotAContext) };
        self.label = Some(Label {
            owner: key.uid,
            key_type: key.key_type.clone(),
            description: text.clone().into_owned(),
            service: parsed.map(|description| description.service.to_string()),
        });
        obstacle
    }

    fn learn_state(&mut self, serial: KeySerial) -> Option<KeyObstacle> {
        match ContextKey::of(serial).state() {
            Ok(state) => {
                self.learn_context(state, now_32());
                None
            }
            Err(ClientError::Read(OsError(errno))) => self.learn_refusal(serial, errno),
            Err(ClientError::NotOwn(doubt)) => Some(KeyObstacle::NotOwn(doubt)),
            Err(_) => Some(KeyObstacle::NotAContext),
        }
    }

    /// Reading a key that the upcall has refused gives the refusal's errno, which may as well be that of the reading;
    /// `list` and `flush` distinguish the two in the same way.
    fn learn_refusal(&mut self, serial: KeySerial, errno: Errno) -> Option<KeyObstacle> {
        let seen = visible::contexts().into_iter().find(|context| context.key.serial() == serial);
        match seen.map(|context| context.state()) {
            Some(Ok(state)) => {
                self.learn_context(state, now_32());
                None
            }
            _ if errno == Errno::ENOKEY => Some(KeyObstacle::NoKey),
            _ => self.learn_end(errno, KeyObstacle::NotPossessed),
        }
    }

    pub(crate) fn learn_context(&mut self, state: State, now: u32) {
        self.state = Some(match state {
            State::InProgress => ContextState::InProgress,
            State::Established(context) => {
                let ended = context.endtime <= now;
                self.context = Some(ContextReport::of(&context, now));
                if ended { ContextState::Expired } else { ContextState::Established }
            }
            State::Failed(no_context) => {
                self.failure = Some(FailureReport::of(&no_context));
                ContextState::Failed
            }
        });
    }

    /// Learns from the errno of looking at the key: some mean a state, the others are the obstacle `otherwise`.
    pub(crate) fn learn_end(&mut self, errno: Errno, otherwise: KeyObstacle) -> Option<KeyObstacle> {
        self.state = match errno {
            Errno::EKEYEXPIRED => Some(ContextState::Expired),
            Errno::EKEYREVOKED => Some(ContextState::Revoked),
            _ => None,
        };
        if self.state.is_some() { None } else { Some(otherwise) }
    }

    /// The state in one word, with the error of a failure.
    pub(crate) fn state_text(&self) -> String {
        match (self.state, &self.failure) {
            (Some(ContextState::Failed), Some(failure)) => format!("failed: {}", failure.errno),
            (Some(state), _) => state.word().to_owned(),
            (None, _) => self.elsewhere.map_or("unknown", KeyPlace::words).to_owned(),
        }
    }
}

impl ContextReport {
    pub(crate) fn of(context: &Context, now: u32) -> Self {
        let initiator = context.initiator.as_ref();
        Self {
            principal: initiator.map(|initiator| initiator.principal.to_string()),
            unmet: initiator.and_then(|initiator| initiator.unmet.clone()),
            window: context.window.count(),
            handle_length: context.handle.as_bytes().len(),
            enctype: context.base_key.enctype().to_string(),
            subkey: match context.key_origin {
                KeyOrigin::AcceptorSubkey => "acceptor".into(),
                KeyOrigin::Initiator => "initiator".into(),
            },
            endtime: context.endtime,
            lifetime_left: context.endtime.saturating_sub(now),
        }
    }
}

impl FailureReport {
    /// Takes the words in the key; without them the errno's meaning.
    pub(crate) fn of(no_context: &NoContext) -> Self {
        let reason = no_context.reason.as_ref();
        Self {
            errno: no_context.errno.name(),
            cause: no_context.cause().into(),
            remedy: no_context.remedy().to_owned().into(),
            gss_major: no_context.gss_major,
            stage: reason.map(|reason| reason.stage.clone()),
            code: reason.map(|reason| reason.cause.clone()),
            detail: reason.map(|reason| reason.detail.clone()),
        }
    }

    /// `stage: detail`, if they are known.
    pub(crate) fn in_full(&self) -> Option<String> {
        Some(format!("{}: {}", self.stage.as_ref()?, self.detail.as_ref()?))
    }
}

/// An established context on one line, for people.
pub(crate) fn one_line_summary(context: &Context) -> String {
    let ContextReport { principal, window, handle_length, enctype, lifetime_left, .. } =
        ContextReport::of(context, now_32());
    let left = Span(lifetime_left.into());
    let who = principal.map(|principal| format!("as {principal}, ")).unwrap_or_default();
    format!("{who}window {window}, handle {handle_length} bytes, {enctype}, {left} left")
}
