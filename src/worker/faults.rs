//! Failures of a worker before it asks anybody, and what krb5.conf adds to those of asking.

use std::fmt::Display;

use crate::event::{Cause, Failure, Stage};
use crate::gss::configuration::Configuration;
use crate::gss::krb5_conf::ConfFault;

/// The failure for a launch that leaves the worker unusable.
pub(super) fn unusable(error: &dyn Display) -> Failure {
    Failure::new(Stage::Launch, Cause::Setup, error)
}

/// Adds a fault of krb5.conf to a failure that may come from it. The library ignores a file that it cannot read, and then
/// knows no realm, no KDC and no places of caches.
pub(super) fn with_krb5_conf(failure: Failure) -> Failure {
    let may_be = matches!(failure.stage, Stage::Kdc)
        || failure.stage == Stage::Credentials && matches!(failure.cause, Cause::Setup | Cause::NoTicket);
    match Configuration::default().faults().into_iter().next().filter(|_| may_be) {
        Some(fault) => beside(failure, &fault),
        None => failure,
    }
}

/// Puts the fault first if the library failed because of it, that is without a known realm or KDC, or without a context.
/// Else the fault is a remark.
fn beside(failure: Failure, fault: &ConfFault) -> Failure {
    if failure.detail.contains(&fault.what) {
        return failure;
    }
    let fault = format!("krb5.conf: {fault}");
    match failure.cause {
        Cause::UnknownRealm | Cause::Setup => {
            let detail = format_args!("{fault}; {}", failure.detail);
            Failure::new(failure.stage, failure.cause, detail).with_gss_major(failure.gss_major)
        }
        _ => failure.with_remark(&fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gss::krb5_conf::Effect;

    #[test]
    fn a_fault_of_krb5_conf_comes_first_only_where_the_library_has_failed_by_it() {
        let what = "x stands before the first [section], and is ignored".to_owned();
        let fault = ConfFault { file: "/etc/krb5.conf".into(), line: Some(1), what, effect: Effect::Ignored };
        let detail = |cause| beside(Failure::new(Stage::Kdc, cause, "y".repeat(600)), &fault).detail;
        for (cause, leads) in [
            (Cause::UnknownRealm, true),
            (Cause::Setup, true),
            (Cause::KdcDown, false),
            (Cause::KdcSilent, false),
            (Cause::UnknownService, false),
            (Cause::NoTicket, false),
        ] {
            let detail = detail(cause);
            assert_eq!(detail.starts_with("krb5.conf: "), leads, "{cause:?}: {detail}");
            assert!(leads || detail.ends_with("; krb5.conf: /etc/krb5.conf, line 1: x stands before the first [section], and is ignored"), "{detail}");
        }
        // Once is enough.
        let told = Failure::new(Stage::Credentials, Cause::Setup, &fault);
        assert_eq!(beside(told.clone(), &fault), told);
    }
}
