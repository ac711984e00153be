//! A file system for one story.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Unmounted when dropped.
#[derive(Debug)]
pub struct Mount(PathBuf);

impl Mount {
    /// A tmpfs of a size on a new folder.
    pub fn tmpfs(folder: PathBuf, bytes: u64) -> Self {
        fs::create_dir(&folder).expect("the folder is new");
        let options = format!("size={bytes}");
        mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .expect("root may mount");
        Self(folder)
    }

    /// The ext4 of a device on a new folder.
    pub fn ext4(folder: PathBuf, device: &Path) -> Self {
        fs::create_dir(&folder).expect("the folder is new");
        mount(Some(device), &folder, Some("ext4"), MsFlags::empty(), None::<&str>).expect("root may mount");
        Self(folder)
    }

    /// The kernel's list of events on a new folder.
    pub fn tracefs(folder: PathBuf) -> Self {
        fs::create_dir(&folder).expect("the folder is new");
        mount(Some("tracefs"), &folder, Some("tracefs"), MsFlags::empty(), None::<&str>)
            .expect("root may mount");
        Self(folder)
    }

    /// Another folder, on a new one, where nothing can be written.
    pub fn read_only(folder: PathBuf, of: &Path) -> Self {
        fs::create_dir(&folder).expect("the folder is new");
        let none = None::<&str>;
        mount(Some(of), &folder, none, MsFlags::MS_BIND, none).expect("root may mount");
        let mounted = Self(folder);
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, &mounted.0, none, flags, none).expect("root may mount");
        mounted
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _best_effort = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
