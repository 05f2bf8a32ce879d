//! Forwards an operation to `lgss_helper`, which the kernel lets only members of its group execute.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Group, User, getgid, getgroups, getuid};

use super::operation::{Delegable, Undone};
use super::pipe::{HelperReply, PING, PIPE_VERSION, Ping, Pipe, PipeError, REPLY_BYTES, REQUEST_BYTES};
use super::place::{Installed, beside};
use crate::class;
use crate::text::{quoted, shell_word};

/// How long the helper may take for its first answer.
const PING_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take for the operation: longer than it gives itself.
const FORWARD_LIMIT: Duration = Duration::from_secs(150);

/// Has the helper do it.
///
/// # Errors
/// [`Undone`]: there is no helper for this user, or what it says.
pub(crate) fn forward<O: Delegable>(operation: &O) -> Result<O::Answer, Undone> {
    with_helper(&operation.as_root(), |pipe| converse(pipe, operation))
}

/// Asks the helper whether it is there for this user and of this version.
///
/// # Errors
/// [`Undone`].
pub(crate) fn greet_helper(as_root: &str) -> Result<(), Undone> {
    with_helper(as_root, greeted)
}

/// One end of the socket that is the helper's input and output.
type HelperPipe<'a> = Pipe<&'a UnixStream, &'a UnixStream>;

fn with_helper<T>(
    as_root: &str,
    talk: impl FnOnce(&mut HelperPipe<'_>) -> Result<T, Undone>,
) -> Result<T, Undone> {
    let (mut child, socket) = start(&beside(Installed::Helper), as_root)?;
    let answer = talk(&mut Pipe::over(&socket, &socket));
    drop(socket);
    // Whatever it does now is of no use to anybody. As the helper it may no longer be ours to kill, and ends by itself.
    let _ = child.kill();
    let _ = child.try_wait();
    answer
}

fn start(helper: &Path, as_root: &str) -> Result<(Child, UnixStream), Undone> {
    const SET_UID: u32 = 0o4000;
    if let Ok(metadata) = fs::metadata(helper)
        && metadata.mode() & SET_UID == 0
    {
        return Err(Undone::new(
            format!(
                "you are not root, and {} lends no rights: its mode is {:04o}",
                helper.display(),
                metadata.mode() & 0o7777
            ),
            format!("{as_root}; lgss config check says how to lend them"),
        ));
    }
    let cannot = |what: &dyn std::fmt::Display| {
        Undone::new(format!("{} cannot be started: {what}", helper.display()), as_root.to_owned())
    };
    let (ours, theirs) = UnixStream::pair().map_err(|error| cannot(&error))?;
    let output = theirs.try_clone().map_err(|error| cannot(&error))?;
    let mut command = Command::new(helper);
    command.env_clear().stdin(OwnedFd::from(theirs)).stdout(OwnedFd::from(output)).stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => Ok((child, ours)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Undone::new(
            "that takes the rights of root; lgss_helper, which lends them to a group, is not installed",
            as_root.to_owned(),
        )),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(without_group(helper, as_root)),
        Err(error) => Err(cannot(&error)),
    }
}

/// Says which of both is missing: root's rights, or the group's.
fn without_group(helper: &Path, as_root: &str) -> Undone {
    let Ok(metadata) = fs::metadata(helper) else {
        return Undone::new(
            "that takes the rights of root, and lgss_helper cannot be looked at",
            as_root.to_owned(),
        );
    };
    let gid = metadata.gid();
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    let name = group.as_ref().map_or_else(|| gid.to_string(), |group| quoted(&group.name).into_owned());
    let user = User::from_uid(getuid()).ok().flatten().map(|user| user.name);
    if gid == 0 {
        return Undone::new(
            "you are not root, and lgss_helper belongs to group root, so it serves root alone",
            format!("{as_root}; lgss config check says how to lend rights to a group"),
        );
    }
    if is_member_now(gid) {
        return Undone::new(
            format!(
                "you are not root; you are in group {name}, but {} may not be executed here",
                helper.display()
            ),
            format!("{as_root}; or see ls -l {}: it needs mode 4750, and no noexec", shell_word(helper)),
        );
    }
    let listed = |user: &String| group.as_ref().is_some_and(|group| group.mem.contains(user));
    match user {
        Some(user) if listed(&user) => Undone::new(
            format!("you are not root, and this login does not know yet that you are in group {name}"),
            format!("log in again, or: newgrp {name}"),
        ),
        user => {
            let user = user.map_or("USER".to_owned(), |user| shell_word(Path::new(&user)));
            Undone::new(
                format!("you are neither root nor in group {name}"),
                format!("{as_root}; or, as root, usermod -aG {name} {user}, for all later logins"),
            )
        }
    }
}

/// Whether the kernel counts this process among the group's.
fn is_member_now(gid: u32) -> bool {
    let gid = Gid::from_raw(gid);
    getgid() == gid || getgroups().is_ok_and(|groups| groups.contains(&gid))
}

fn converse<O: Delegable>(pipe: &mut HelperPipe<'_>, operation: &O) -> Result<O::Answer, Undone> {
    greeted(pipe)?;
    let payload = operation.over_pipe().map_err(|_| Undone::plain("the request cannot be written"))?;
    let deadline = Instant::now() + FORWARD_LIMIT;
    let reply = pipe
        .call(O::METHOD, &payload, deadline)
        .and_then(|()| pipe.receive(REPLY_BYTES, deadline))
        .and_then(|message| message.reply::<O::Answer>());
    match reply {
        Ok(HelperReply::Answer(answer)) => Ok(answer),
        Ok(HelperReply::Refusal(refusal)) => Err(refusal),
        Err(PipeError::Long(limit)) if limit == REQUEST_BYTES => {
            Err(Undone::plain(format!("the request has more than {limit} bytes")))
        }
        Err(error) => Err(Undone::new(format!("lgss_helper: {error}"), "see the log of this machine")),
    }
}

fn greeted(pipe: &mut HelperPipe<'_>) -> Result<(), Undone> {
    greet(pipe).map_err(|error| match error {
        Greeting::Pipe(PipeError::Ended) => Undone::new(
            "lgss_helper has ended without a word",
            "see the log of this machine; it must be ours, with the rights of root: lgss config check",
        ),
        Greeting::Pipe(error) => Undone::plain(format!("lgss_helper: {error}")),
        Greeting::Refused(refusal) => refusal,
    })
}

/// Why a conversation does not begin.
enum Greeting {
    Pipe(PipeError),
    Refused(Undone),
}

fn greet(pipe: &mut HelperPipe<'_>) -> Result<(), Greeting> {
    let deadline = Instant::now() + PING_LIMIT;
    let ping = class::over_pipe(&Ping { version: PIPE_VERSION.to_owned() });
    let ping = ping.map_err(|_| Greeting::Refused(Undone::plain("the request cannot be written")))?;
    let reply = pipe
        .call(PING, &ping, deadline)
        .and_then(|()| pipe.receive(REQUEST_BYTES, deadline))
        .and_then(|message| message.reply::<Ping>())
        .map_err(Greeting::Pipe)?;
    match reply {
        HelperReply::Answer(theirs) if theirs.version == PIPE_VERSION => Ok(()),
        HelperReply::Answer(theirs) => Err(Greeting::Refused(other_version("lgss_helper", &theirs.version))),
        HelperReply::Refusal(refusal) => Err(Greeting::Refused(refusal)),
    }
}

/// The refusal of a program of another version.
pub(crate) fn other_version(program: &str, version: &str) -> Undone {
    Undone::new(
        format!("{program} is of version {}, and this is {PIPE_VERSION}", quoted(version)),
        "install both from one package",
    )
}
