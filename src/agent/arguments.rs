//! The command line, and what systemd says of a socket that it passes.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::path::PathBuf;

/// The first descriptor that systemd passes (sd_listen_fds(3)).
const FIRST_PASSED: RawFd = 3;

/// What the program is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AgentCommand {
    /// To serve.
    Serve(AgentArguments),
    /// To say what it is.
    Help,
    /// To say of which version it is.
    Version,
}

/// How it serves.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AgentArguments {
    pub(super) intake: IntakeChoice,
    /// The user whose caches these are; `None` for the process's own.
    pub(super) for_uid: Option<u32>,
    /// The settings, unless the default file has them.
    pub(super) config: Option<PathBuf>,
}

/// Where connections are to come from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IntakeChoice {
    /// A socket that is to be made.
    Path(PathBuf),
    /// A listening socket that was passed.
    Passed(RawFd),
    /// The door.
    Door(RawFd),
}

impl IntakeChoice {
    /// The descriptor that was passed.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        match self {
            Self::Path(_) => None,
            Self::Passed(number) | Self::Door(number) => Some(*number),
        }
    }
}

/// What is wrong with the command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misuse {
    #[error("{0:?} is no option")]
    Unknown(OsString),
    #[error("{0} needs a value")]
    NoValue(&'static str),
    #[error("{0} is given twice")]
    Twice(&'static str),
    #[error("{0} needs a number, not {1:?}")]
    NoNumber(&'static str, OsString),
    #[error("--door and --socket exclude each other")]
    TwoWays,
    #[error("without --socket or --door there must be a socket of systemd's (LISTEN_FDS=1)")]
    NoWay,
    #[error("a listening socket takes connections of this user: --for-uid is for --door")]
    ForOthers,
    #[error("systemd passes {0:?} sockets: one is served")]
    PassedCount(OsString),
}

/// The values of options.
#[derive(Debug, Default)]
struct Given {
    socket: Option<OsString>,
    door: Option<OsString>,
    for_uid: Option<OsString>,
    config: Option<OsString>,
}

impl AgentCommand {
    /// From the words after the program's name. `variable` looks into the environment, of which nothing else is heeded.
    ///
    /// # Errors
    /// [`Misuse`].
    pub(super) fn parse(
        words: impl Iterator<Item = OsString>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Misuse> {
        let mut given = Given::default();
        let mut words = words;
        while let Some(word) = words.next() {
            let (name, place) = match word.to_str() {
                Some("--help" | "-h") => return Ok(Self::Help),
                Some("--version" | "-V") => return Ok(Self::Version),
                Some("--socket") => ("--socket", &mut given.socket),
                Some("--door") => ("--door", &mut given.door),
                Some("--for-uid") => ("--for-uid", &mut given.for_uid),
                Some("--config") => ("--config", &mut given.config),
                _ => return Err(Misuse::Unknown(word)),
            };
            let value = words.next().ok_or(Misuse::NoValue(name))?;
            if place.replace(value).is_some() {
                return Err(Misuse::Twice(name));
            }
        }
        given.arguments(variable).map(Self::Serve)
    }
}

impl Given {
    fn arguments(self, variable: impl Fn(&str) -> Option<OsString>) -> Result<AgentArguments, Misuse> {
        let for_uid = self.for_uid.map(|value| number("--for-uid", &value)).transpose()?;
        let intake = match (self.socket, self.door) {
            (Some(_), Some(_)) => return Err(Misuse::TwoWays),
            (Some(path), None) => IntakeChoice::Path(path.into()),
            (None, Some(door)) => IntakeChoice::Door(number("--door", &door)?),
            (None, None) => passed(variable)?,
        };
        if for_uid.is_some() && !matches!(intake, IntakeChoice::Door(_)) {
            return Err(Misuse::ForOthers);
        }
        Ok(AgentArguments { intake, for_uid, config: self.config.map(PathBuf::from) })
    }
}

fn passed(variable: impl Fn(&str) -> Option<OsString>) -> Result<IntakeChoice, Misuse> {
    let own = variable("LISTEN_PID").is_some_and(|pid| pid == *std::process::id().to_string());
    let count = variable("LISTEN_FDS").filter(|_| own).ok_or(Misuse::NoWay)?;
    if count == "1" { Ok(IntakeChoice::Passed(FIRST_PASSED)) } else { Err(Misuse::PassedCount(count)) }
}

fn number<T: std::str::FromStr>(name: &'static str, value: &OsStr) -> Result<T, Misuse> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Misuse::NoNumber(name, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str, variables: &[(&str, &str)]) -> Result<AgentCommand, Misuse> {
        let words = line.split_whitespace().map(OsString::from);
        let variable =
            |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into());
        AgentCommand::parse(words, variable)
    }

    fn serving(intake: IntakeChoice, for_uid: Option<u32>) -> Result<AgentCommand, Misuse> {
        Ok(AgentCommand::Serve(AgentArguments { intake, for_uid, config: None }))
    }

    #[test]
    fn there_is_one_way_by_which_connections_come() {
        let own = std::process::id().to_string();
        assert_eq!(parse("--door 3 --for-uid 0", &[]), serving(IntakeChoice::Door(3), Some(0)));
        assert_eq!(parse("--socket /x", &[]), serving(IntakeChoice::Path("/x".into()), None));
        let passed = [("LISTEN_FDS", "1"), ("LISTEN_PID", own.as_str())];
        assert_eq!(parse("", &passed), serving(IntakeChoice::Passed(3), None));
        // A socket that was passed to another process is not ours.
        assert_eq!(parse("", &[("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]), Err(Misuse::NoWay));
        let two = [("LISTEN_FDS", "2"), ("LISTEN_PID", own.as_str())];
        assert_eq!(parse("", &two), Err(Misuse::PassedCount("2".into())));
    }

    #[test]
    fn misuse_is_named() {
        for (line, misuse) in [
            ("", Misuse::NoWay),
            ("--socket", Misuse::NoValue("--socket")),
            ("--socket /x --socket /y", Misuse::Twice("--socket")),
            ("--socket /x --door 3", Misuse::TwoWays),
            ("--socket /x --for-uid 0", Misuse::ForOthers),
            ("--door three", Misuse::NoNumber("--door", "three".into())),
            ("--door 3 --for-uid -1", Misuse::NoNumber("--for-uid", "-1".into())),
            ("serve", Misuse::Unknown("serve".into())),
        ] {
            assert_eq!(parse(line, &[]), Err(misuse), "{line}");
        }
    }
}
