//! Reads what a requester's environment says about its credentials, from its open `/proc/<pid>/environ` (rule S7).

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

/// Most of an environment that is searched, in bytes.
const ENVIRONMENT_BYTES: usize = 256 * 1024;
/// One page.
const PAGE_BYTES: usize = 4096;

/// The variables that Kerberos uses to choose a cache, if they are text and not empty. All are wishes: none makes a
/// request fail, and none proves who the requester is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// `KRB5CCNAME`: the cache.
    pub cache: Option<String>,
    /// `HOME`: where `.k5identity` is.
    pub home: Option<String>,
    /// `TMPDIR`: stands for `%{TEMP}`.
    pub temporary: Option<String>,
    /// `LOGNAME`, else `USER`: stands for `%{username}` if the host's /etc/passwd does not know the user.
    pub user: Option<String>,
}

impl Environment {
    /// Takes a function that returns the value of a variable.
    pub(crate) fn of(mut value: impl FnMut(&str) -> Option<String>) -> Self {
        let mut value = |name: &str| value(name).filter(|value| !value.is_empty());
        Self {
            cache: value("KRB5CCNAME"),
            home: value("HOME"),
            temporary: value("TMPDIR"),
            user: value("LOGNAME").or_else(|| value("USER")),
        }
    }

    /// The environment of a process.
    pub(super) fn read(environment: BorrowedFd<'_>) -> Self {
        let content = content(environment).unwrap_or_default();
        Self::of(|name| {
            let mut variables = content.split(|&byte| byte == 0);
            let value =
                variables.find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
            std::str::from_utf8(value).ok().map(str::to_owned)
        })
    }
}

fn content(environment: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let file = File::from(environment.try_clone_to_owned().ok()?);
    let (mut content, mut piece) = (Vec::new(), [0; PAGE_BYTES]);
    // A read of such a file returns a page at most.
    while content.len() < ENVIRONMENT_BYTES {
        match file.read_at(&mut piece, content.len() as u64) {
            Ok(0) | Err(_) => break,
            Ok(read) => content.extend_from_slice(piece.get(..read)?),
        }
    }
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::Environment;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn of_each_variable_the_first_value_counts_if_it_is_text() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(
            b"XKRB5CCNAME=no\0KRB5CCNAME=KCM:\0KRB5CCNAME=x\0HOME=\0TMPDIR=\xff\0USER=u\0LOGNAME=l",
        )
        .unwrap();
        let expected = Environment {
            cache: Some("KCM:".to_owned()),
            user: Some("l".to_owned()),
            ..Environment::default()
        };
        assert_eq!(Environment::read(file.as_fd()), expected);
    }
}
