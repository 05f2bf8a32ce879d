//! Checks for the fuzz targets (docs/fuzzing.md): texts of requests, payloads of keys, lists of keys.

use super::lustre::{LustreCallout, LustreDescription, LustreMechanism};
use super::payload::user;
use super::request::{CALLOUT_LIMIT, Callout};
use super::visible::serials;
use super::{Context, Description, HANDLE_LIMIT, State};
use crate::text::{SHOWN_LIMIT, one_line};

/// A program's callout.
pub fn callout(data: &[u8]) {
    let Some(read) = text_of::<Callout>(data) else { return };
    let written = read.to_string();
    assert!(written.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{written:?}");
    // The fields that it left out are written, too.
    if written.len() <= CALLOUT_LIMIT {
        assert_eq!(written.parse::<Callout>(), Ok(read));
    }
}

/// A program's description, which has one form only.
pub fn description(data: &[u8]) {
    if let Some(read) = text_of::<Description>(data) {
        assert_eq!(read.to_string().as_bytes(), data);
    }
}

/// Lustre's callout.
pub fn lustre_callout(data: &[u8]) {
    let Some(read) = text_of::<LustreCallout>(data) else { return };
    assert_eq!(written(&read).parse::<LustreCallout>(), Ok(read.clone()));
    let shown = read.to_string();
    assert_eq!(one_line(&shown), shown);
}

/// Lustre's description.
pub fn lustre_description(data: &[u8]) {
    if let Some(read) = text_of::<LustreDescription>(data) {
        assert_eq!(format!("{}@{:x}", read.uid, read.secid).parse::<LustreDescription>(), Ok(read));
    }
}

fn text_of<T: std::str::FromStr>(data: &[u8]) -> Option<T> {
    std::str::from_utf8(data).ok()?.parse().ok()
}

/// As the kernel writes it.
fn written(callout: &LustreCallout) -> String {
    let mechanism = match callout.mechanism {
        LustreMechanism::Krb5 => "krb5",
        LustreMechanism::Gssnull => "gssnull",
        LustreMechanism::Sk => "sk",
    };
    let letters = [(callout.roles.root, "r"), (callout.roles.mdt, "m"), (callout.roles.ost, "o")];
    let roles: String = letters.into_iter().filter(|(has, _)| *has).map(|(_, letter)| letter).collect();
    let level = callout.level.map_or("-".to_owned(), |level| level.to_string());
    let LustreCallout { secid, uid, gid, target, pid, .. } = callout;
    let (server, peer, myself) = (callout.server.number(), callout.peer.raw(), callout.myself.raw());
    let client = callout.client.as_deref().unwrap_or_default();
    format!(
        "{secid}:{mechanism}:{uid}:{gid}:{roles}:{level}:{server}:{peer:#x}:{target}:{myself:#x}:{pid}:{client}"
    )
}

/// The payload of a `user` key.
pub fn user_payload(data: &[u8]) {
    match user::parse(data) {
        Ok(State::Established(context)) => established(&context),
        Ok(State::Failed(failed)) => {
            assert!(failed.errno.0 as i32 > 0);
            let reason = failed.reason.iter();
            reason.flat_map(|said| [&said.stage, &said.cause, &said.detail, &said.remedy]).for_each(is_shown);
            is_plain(&failed.to_string());
        }
        Ok(State::InProgress) | Err(_) => {}
    }
}

fn established(context: &Context) {
    assert!((1..=HANDLE_LIMIT).contains(&context.handle.as_bytes().len()) && context.window.count() > 0);
    if let Some(initiator) = &context.initiator {
        is_shown(initiator.principal.as_str());
        initiator.unmet.iter().for_each(is_shown);
    }
    let Ok(written) = user::established(context) else { return };
    let read = user::parse(written.as_slice());
    assert!(matches!(&read, Ok(State::Established(read)) if is_same(read, context)), "{read:?} {context:?}");
}

/// Whether two contexts agree in everything, keys included. An empty remark is none.
pub(crate) fn is_same(one: &Context, other: &Context) -> bool {
    let fields = |context: &Context| {
        let key = context.base_key.secret().expose().to_vec();
        let principal = context.initiator.as_ref().map(|initiator| initiator.principal.clone());
        let unmet = context.initiator.as_ref().and_then(|initiator| initiator.unmet.clone());
        let parts = (context.window, context.handle.clone(), context.base_key.enctype(), context.key_origin);
        let numbers = (context.endtime, context.send_sequence);
        (parts, numbers, key, principal, unmet.filter(|text| !text.is_empty()))
    };
    fields(one) == fields(other)
}

fn is_shown(text: impl AsRef<str>) {
    assert!(text.as_ref().len() <= SHOWN_LIMIT, "{} bytes", text.as_ref().len());
    is_plain(text.as_ref());
}

fn is_plain(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// The serial numbers in /proc/keys.
pub fn key_serials(data: &[u8]) {
    assert!(serials(data).all(|serial| serial.raw() > 0));
}
