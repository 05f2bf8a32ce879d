//! `lgss_negotiate --self-test`: reports what the worker would find, as one JSON object (src/selftest/trial.rs).
//!
//! `lgss config check` starts it, as an account without rights. The words after the first are pairs: the library's name for a
//! keytab, and its display name. No KDC and no name service is asked.

use std::io::Write;
use std::process::ExitCode;

use nix::unistd::geteuid;

use super::exit_status::{MISUSED, NOT_REPORTED, REPORTED};
use super::sandbox;
use crate::config::Enctypes;
use crate::creds::source_list::CONTRACT;
use crate::gss::keytab::Keytab;
use crate::gss::krb5::Library;
use crate::identity::unprivileged::Unprivileged;
use crate::selftest::trial::{BUILD_VERSION, KeytabReport, SelfTestReport, WORKER};

/// Most entries of a keytab that are read.
const TESTED_ENTRY_LIMIT: usize = 4096;

pub(super) fn run(words: &[String]) -> ExitCode {
    if geteuid().is_root() {
        let advice = "not as root; run lgss config check, which tries it as the upcall would";
        let _ = writeln!(std::io::stderr(), "lgss_negotiate: {advice}");
        return ExitCode::from(MISUSED);
    }
    let told = serde_json::to_string(&report(words)).map(|text| writeln!(std::io::stdout(), "{text}"));
    ExitCode::from(if matches!(told, Ok(Ok(()))) { REPORTED } else { NOT_REPORTED })
}

fn report(words: &[String]) -> SelfTestReport {
    let rights = match Unprivileged::prove() {
        Ok(proof) => sandbox::close(&proof).err().map(|failure| failure.detail),
        Err(error) => Some(error.to_string()),
    };
    let mut report = SelfTestReport {
        program: WORKER.to_owned(),
        version: BUILD_VERSION.to_owned(),
        contract: Some(CONTRACT),
        uid: geteuid().as_raw(),
        rights,
        krb5_config: None,
        realm: None,
        enctypes: Vec::new(),
        keytabs: Vec::new(),
    };
    match Library::open() {
        Ok(library) => look(&library, words, &mut report),
        Err(error) => report.krb5_config = Some(error.to_string()),
    }
    report
}

fn look(library: &Library, words: &[String], report: &mut SelfTestReport) {
    report.realm = library.default_realm().ok();
    match library.permitted(Enctypes::default().as_slice()) {
        Ok(enctypes) => report.enctypes = enctypes.iter().map(ToString::to_string).collect(),
        Err(error) => report.krb5_config = Some(error.to_string()),
    }
    report.keytabs = words.chunks_exact(2).map(|pair| keytab(library, pair)).collect();
}

fn keytab(library: &Library, pair: &[String]) -> KeytabReport {
    let [found_by, name] = pair else {
        return KeytabReport { name: String::new(), principals: Vec::new(), error: None };
    };
    let entries = Keytab::resolve(library, found_by).and_then(|keytab| keytab.entries(TESTED_ENTRY_LIMIT));
    let mut principals = Vec::new();
    let error = match entries {
        Ok(entries) => {
            principals.extend(entries.iter().map(|entry| entry.principal.to_string()));
            principals.dedup();
            None
        }
        Err(error) => Some(error.message.replace(found_by, name)),
    };
    KeytabReport { name: name.clone(), principals, error }
}
