//! A file system that is mounted for its holder alone: in no folder and in no mount namespace, so that nobody else can come
//! to use it, and unmounted with its last descriptor, whatever its holder dies of (fsmount(2), Linux 5.2).

use std::{
    fs::File,
    io::{self, Read as _},
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, unlinkat},
};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};
use serde::{Deserialize, Serialize};

use super::{buffer::AlignedBuffer, file::open_claimed};

/// How long a device may stay in use by a file system whose last descriptor was closed, or by who probes new devices.
pub const BUSY_AT_MOST: Duration = Duration::from_secs(10);
/// What is read of a device to know its file system: btrfs has its superblock at 64 KiB.
const HEAD_BYTES: usize = 128 << 10;

/// Kinds that files without a name, and without the page cache, can be made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// ext4, ext3.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs, of one device.
    Btrfs,
    /// F2FS.
    F2fs,
}

impl Kind {
    /// As fsopen(2) takes it.
    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::F2fs => "f2fs",
        }
    }
}

/// The file system of a block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystem {
    /// Its node.
    pub device: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Tells it from another one that a node of the same name leads to later.
    pub uuid: [u8; 16],
}

impl FileSystem {
    /// What is on a device that nobody uses; nothing where it is none of the [`Kind`]s.
    ///
    /// # Errors
    /// What open(2) and read(2) say; `EBUSY` while it is mounted or otherwise in use.
    pub fn on(device: &Path) -> io::Result<Option<Self>> {
        let claimed = open_claimed(device, BUSY_AT_MOST)?;
        let mut head = AlignedBuffer::new(HEAD_BYTES)?;
        match claimed.read_exact_at(head.as_mut_slice(), 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            outcome => outcome?,
        }
        Ok(recognize(head.as_slice()).map(|(kind, uuid)| Self { device: device.to_owned(), kind, uuid }))
    }

    /// Mounts it.
    ///
    /// # Errors
    /// The kernel's, with what the file system said about it.
    pub fn mount(&self) -> io::Result<Mounted> {
        let context = fsopen(self.kind.name(), FsOpenFlags::FSOPEN_CLOEXEC)?;
        let configured = fsconfig_set_string(&context, "source", &self.device)
            .and_then(|()| fsconfig_create(&context))
            .and_then(|()| {
                let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
                    | MountAttrFlags::MOUNT_ATTR_NODEV
                    | MountAttrFlags::MOUNT_ATTR_NOEXEC;
                fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            });
        match configured {
            Ok(root) => Ok(Mounted(root.into())),
            Err(errno) => Err(explained(errno.into(), context)),
        }
    }

    /// Waits until no mount of it is left anywhere.
    ///
    /// # Errors
    /// `EBUSY` when somebody else still uses it.
    pub(super) fn wait_until_unmounted(&self) -> io::Result<()> {
        // A mounted file system claims its device: whoever gets it knows that the file system is gone, its caches too.
        open_claimed(&self.device, BUSY_AT_MOST).map(drop)
    }
}

/// A mount; unmounted when it and all files that were opened through it are closed.
#[derive(Debug)]
pub struct Mounted(File);

impl Mounted {
    /// Its root folder.
    pub fn root(&self) -> &File {
        &self.0
    }

    /// A file without a name.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unnamed_file(&self) -> io::Result<File> {
        self.open_file(".", OFlag::O_TMPFILE)
    }

    /// A new file.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        self.open_file(name, OFlag::O_CREAT | OFlag::O_EXCL)
    }

    /// A file that is there.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn open(&self, name: &str) -> io::Result<File> {
        self.open_file(name, OFlag::O_NOFOLLOW)
    }

    /// Removes a file, durably; whether there was one.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn remove(&self, name: &str) -> io::Result<bool> {
        match unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => {
                // The mount's own descriptor names a place and can't be synced.
                let root = openat(&self.0, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
                File::from(root).sync_all().map(|()| true)
            }
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn open_file(&self, name: &str, how: OFlag) -> io::Result<File> {
        let flags = how | OFlag::O_RDWR | OFlag::O_CLOEXEC;
        Ok(openat(&self.0, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?.into())
    }
}

/// A burner's file, which must have a name to outlive the mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFile {
    /// Where.
    pub file_system: FileSystem,
    /// In its root folder.
    pub name: String,
}

impl NamedFile {
    /// Removes what a burner left that was killed; whether there was something.
    ///
    /// # Errors
    /// The kernel's; another file system is there now.
    pub fn remove(&self) -> io::Result<bool> {
        let Self { file_system, name } = self;
        if FileSystem::on(&file_system.device)?.as_ref() != Some(file_system) {
            return Err(io::Error::other("another file system is there now"));
        }
        file_system.mount()?.remove(name)
    }
}

/// What the file system told the mount's context beyond an errno: lines that begin with `e ` (fs/fsopen.c).
fn explained(error: io::Error, context: OwnedFd) -> io::Error {
    let mut context = File::from(context);
    let mut told = Vec::new();
    let mut line = [0; 1_024];
    while let Ok(read @ 1..) = context.read(&mut line) {
        if let Some(text) = String::from_utf8_lossy(&line[..read]).strip_prefix("e ") {
            told.push(text.trim().to_owned());
        }
    }
    if told.is_empty() {
        error
    } else {
        io::Error::new(error.kind(), format!("{error}: {}", told.join("; ")))
    }
}

/// By the magic numbers of fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h, include/uapi/linux/btrfs_tree.h and
/// include/linux/f2fs_fs.h.
fn recognize(head: &[u8]) -> Option<(Kind, [u8; 16])> {
    let known: [(Kind, usize, &[u8], usize); 4] = [
        (Kind::Xfs, 0, b"XFSB", 32),
        (Kind::Ext4, 1_024 + 0x38, &[0x53, 0xef], 1_024 + 0x68),
        (Kind::F2fs, 1_024, &[0x10, 0x20, 0xf5, 0xf2], 1_024 + 108),
        (Kind::Btrfs, 0x1_0040, b"_BHRfS_M", 0x1_0020),
    ];
    known.into_iter().find_map(|(kind, place, magic, uuid)| {
        let is_there = head.get(place..)?.starts_with(magic);
        let uuid = head.get(uuid..uuid + 16)?.try_into().ok()?;
        is_there.then_some((kind, uuid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_known_by_their_superblocks() {
        let mut head = vec![0; HEAD_BYTES];
        assert_eq!(recognize(&head), None);
        head[1_024 + 0x38..1_024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
        head[1_024 + 0x68] = 7;
        let (kind, uuid) = recognize(&head).unwrap();
        assert_eq!((kind, uuid[0]), (Kind::Ext4, 7));
        head[..4].copy_from_slice(b"XFSB");
        assert_eq!(recognize(&head).unwrap().0, Kind::Xfs);
        assert_eq!(recognize(&head[..16]), None, "a device that ends before its superblock has none");
    }
}
