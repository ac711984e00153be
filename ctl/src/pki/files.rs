//! Files of the authority: whole or not there at all, and keys for their owner alone.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use crate::error::{Exit, Failure};

/// For keys and what tells of them.
pub(super) const PRIVATE: u32 = 0o600;
/// For certificates.
pub(super) const PUBLIC: u32 = 0o644;

/// Writes a file beside its name, then gives it the name.
pub(super) fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let put = || -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    put().map_err(|error| unusable(path, &error))
}

/// A folder for its owner alone; one that is there stays as it is.
pub(super) fn make_folder(path: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| unusable(path, &error))
}

pub(super) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| unusable(path, &error))
}

/// Reads a key, which others must not be able to read.
pub(crate) fn private_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let about = fs::metadata(path).map_err(|error| unusable(path, &error))?;
    let mode = about.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::usage(
            format!("the key {}: its mode is {mode:04o}, so others may have read it", path.display()),
            format!("make a new one (`sstsctl pki rotate`), or chmod 600 {}", path.display()),
        ));
    }
    fs::read(path).map_err(|error| unusable(path, &error))
}

pub(super) fn unusable(path: &Path, error: &io::Error) -> Failure {
    let mend = match error.kind() {
        ErrorKind::NotFound => {
            "make it with `sstsctl pki init` or `sstsctl pki issue`, or name another folder with --pki"
        }
        ErrorKind::PermissionDenied => "name a folder of your own with --pki",
        _ => "see that there is room, and that it is no other kind of file",
    };
    Failure::new(Exit::Usage, format!("{}: {error}", path.display()), mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_mend() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.key");
        write(&path, "secret", PRIVATE).unwrap();
        assert_eq!(private_file(&path).unwrap(), b"secret");
        for mode in [0o640, 0o604, 0o644, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let failure = private_file(&path).unwrap_err().to_string();
            assert!(failure.contains("chmod 600") && !failure.contains("secret"), "{failure}");
        }
    }
}
