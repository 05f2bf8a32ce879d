//! Acts, or forwards to the program that may act.

use super::forward::{forward, greet_helper};
use super::operation::{AskedBy, Delegable, Delegated, RootRights, Undone};

/// Acts with the rights of this process. Without them it forwards the request, unless that has been forwarded already.
///
/// # Errors
/// [`Undone`]: neither this process nor the helper may do it, or it was not possible.
pub(crate) fn perform<O: Delegable>(request: Delegated<O>) -> Result<O::Answer, Undone> {
    match (RootRights::of_process(), request.origin) {
        (Some(rights), _) => request.operation.act(&rights.used_for(request.caller)),
        (None, AskedBy::Command) => forward(&request.operation),
        (None, AskedBy::Pipe) => Err(Undone::new(
            "lgss_helper has not got the rights of root",
            "give it to root with mode 4750, on a file system without nosuid; and start lgss where no_new_privs is not set",
        )),
    }
}

/// Whether this process or the helper has the rights for an operation; `as_root` is the command that does it as root.
///
/// # Errors
/// [`Undone`], as of [`perform`].
pub(crate) fn permitted(as_root: &str) -> Result<(), Undone> {
    if RootRights::of_process().is_some() { Ok(()) } else { greet_helper(as_root) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize)]
    struct Nothing {}

    class::classes!(Nothing {});

    impl Delegable for Nothing {
        const METHOD: &'static str = "nothing";
        type Answer = ();

        fn act(self, _: &RootRights) -> Result<(), Undone> {
            Ok(())
        }

        fn words(&self) -> String {
            "nothing".to_owned()
        }

        fn outcome((): &()) -> String {
            "done".to_owned()
        }

        fn as_root(&self) -> String {
            "true".to_owned()
        }
    }

    #[test]
    fn what_was_forwarded_is_done_with_rights_and_never_forwarded_again() {
        let done = perform(Delegated::forwarded(Nothing {}));
        match RootRights::of_process() {
            Some(_) => assert_eq!(done, Ok(())),
            None => assert!(done.unwrap_err().cause.contains("has not got the rights")),
        }
    }
}
