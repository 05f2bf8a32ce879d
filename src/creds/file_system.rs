//! Who serves a file system: the kernel itself, a program, or another machine (rule S8).
//!
//! Programs and other machines can block their readers, whom no signal can interrupt then.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag};
use nix::sys::statfs::fstatfs;

use crate::config::Caches;

/// Who serves the files of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// The kernel, from memory or a disk.
    Kernel,
    /// A program, perhaps the user's.
    Fuse,
    /// Another machine.
    Network,
}

/// FUSE_SUPER_MAGIC (linux/magic.h), also virtiofs's.
const FUSE: u32 = 0x6573_5546;
/// File systems of other machines, by their numbers in linux/magic.h and statfs(2).
const NETWORK: [u32; 16] = [
    0x0000_6969, // NFS
    0x0000_517b, // SMB
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x0000_564c, // NCP
    0x5346_414f, // OpenAFS
    0x6b41_4653, // AFS
    0x7375_7245, // Coda
    0x0102_1997, // 9P
    0x00c3_6400, // Ceph
    0x0bd0_0bd0, // Lustre
    0x4750_4653, // GPFS
    0x1983_0326, // BeeGFS
    0xaad7_aaea, // PanFS
    0x2003_0528, // OrangeFS
    0x786f_4256, // VirtualBox shared folders
];

/// Types of the same in the table of mounts, and autofs, which mounts them on access.
const NETWORK_TYPES: [&str; 22] = [
    "nfs", "nfs4", "smb", "smb3", "smbfs", "cifs", "ncpfs", "afs", "openafs", "coda", "9p", "ceph", "lustre",
    "gpfs", "beegfs", "panfs", "pvfs2", "orangefs", "vboxsf", "wekafs", "ocfs2", "autofs",
];

/// The file type of an inode.
pub(super) fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits())
}

/// Why a file system that this server serves may not be used.
pub(super) fn offence(server: Server, allowed: &Caches) -> Option<&'static str> {
    match server {
        Server::Fuse if !allowed.allow_fuse => {
            Some("is on a FUSE file system, which caches.allow_fuse in lgss.toml would allow")
        }
        Server::Network if !allowed.allow_network => {
            Some("is on a network file system, which caches.allow_network in lgss.toml would allow")
        }
        _ => None,
    }
}

/// Who serves a file system of that type, as the table of mounts names it.
pub(super) fn of_type(name: &str) -> Server {
    match name {
        _ if ["fuse", "fuseblk", "virtiofs"].contains(&name) || name.starts_with("fuse.") => Server::Fuse,
        _ if NETWORK_TYPES.contains(&name) => Server::Network,
        _ => Server::Kernel,
    }
}

/// Who serves the file system of an open file, for which O_PATH is enough.
///
/// # Errors
/// Those of fstatfs(2).
pub(crate) fn serving(file: BorrowedFd<'_>) -> Result<Server, Errno> {
    // The width of the type differs between architectures; the numbers have 32 bits.
    let number =
        u32::try_from(fstatfs(file)?.filesystem_type().0 & 0xffff_ffff).map_err(|_| Errno::EOVERFLOW)?;
    Ok(server(number))
}

fn server(number: u32) -> Server {
    match number {
        FUSE => Server::Fuse,
        number if NETWORK.contains(&number) => Server::Network,
        _ => Server::Kernel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_kernels_own_file_systems_are_told_as_such() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        assert_eq!(serving(file.as_fd()), Ok(Server::Kernel));
        assert_eq!(server(0x0102_1994), Server::Kernel);
    }

    #[test]
    fn network_file_systems_are_told_by_their_numbers() {
        for number in [0x6969, 0xff53_4d42, 0x0bd0_0bd0, 0x00c3_6400] {
            assert_eq!(server(number), Server::Network, "{number:#x}");
        }
        assert_eq!(server(0x6573_5546), Server::Fuse);
    }

    #[test]
    fn types_in_the_table_of_mounts_say_the_same() {
        for (name, server) in [
            ("ext4", Server::Kernel),
            ("fuse.sshfs", Server::Fuse),
            ("nfs4", Server::Network),
            ("lustre", Server::Network),
            ("autofs", Server::Network),
        ] {
            assert_eq!(of_type(name), server, "{name}");
        }
    }
}
