//! A sysfs of the drill's own: the host's, with sensors and error counters that the drill moves. The host's own are not
//! touched, and what is written here is read by the private agent alone.

use std::{
    fs, io,
    os::unix::fs::{FileExt as _, symlink},
    path::{Path, PathBuf},
};

/// What it reads before anything goes wrong, °C.
const COOL: f64 = 40.0;

/// Links to the host's sysfs around one temperature sensor and one memory controller.
#[derive(Debug)]
pub(super) struct FakeSysfs {
    root: PathBuf,
}

impl FakeSysfs {
    /// In a new folder.
    pub(super) fn new(root: PathBuf) -> io::Result<Self> {
        // A host's own sensors could trip a guard that is not drilled, and its controllers are replaced.
        let own: [(&str, &[&str]); 4] = [
            ("", &["class", "devices"]),
            ("class", &["hwmon", "thermal"]),
            ("devices", &["system"]),
            ("devices/system", &["edac"]),
        ];
        for (folder, left_out) in own {
            link(&Path::new("/sys").join(folder), &root.join(folder), left_out)?;
        }
        let sysfs = Self { root };
        let chip = sysfs.chip();
        fs::create_dir_all(&chip)?;
        fs::write(chip.join("name"), "drill\n")?;
        fs::create_dir_all(sysfs.controller())?;
        fs::write(sysfs.controller().join("mc_name"), "drill\n")?;
        sysfs.set_celsius(COOL)?;
        sysfs.count_errors("ce_count", 0)?;
        sysfs.count_errors("ue_count", 0)?;
        Ok(sysfs)
    }

    /// Where it is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Heats or cools the sensor, in place, as the kernel does: a reader that keeps the file open sees it.
    pub(super) fn set_celsius(&self, celsius: f64) -> io::Result<()> {
        // Of one length, so that a write never leaves a rest.
        self.set(&self.sensor(), &format!("{:07}\n", (celsius * 1_000.0) as i64))
    }

    /// Takes the sensor away, as a chip that falls off its bus is.
    pub(super) fn remove_sensor(&self) -> io::Result<()> {
        fs::File::options().write(true).open(self.sensor())?.set_len(0)?;
        fs::remove_file(self.sensor())
    }

    /// Sets a counter of the memory controller: `ce_count` or `ue_count`.
    pub(super) fn count_errors(&self, counter: &str, count: u32) -> io::Result<()> {
        self.set(&self.controller().join(counter), &format!("{count:07}\n"))
    }

    fn set(&self, path: &Path, line: &str) -> io::Result<()> {
        let file = fs::File::options().create(true).truncate(false).write(true).open(path)?;
        file.write_all_at(line.as_bytes(), 0)
    }

    fn chip(&self) -> PathBuf {
        self.root.join("class/hwmon/hwmon0")
    }

    fn sensor(&self) -> PathBuf {
        self.chip().join("temp1_input")
    }

    fn controller(&self) -> PathBuf {
        self.root.join("devices/system/edac/mc/mc0")
    }
}

/// Links to all that a folder holds but what is left out.
fn link(from: &Path, to: &Path, left_out: &[&str]) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if !left_out.iter().any(|name| entry.file_name() == *name) {
            symlink(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_shines_through_around_what_the_drill_moves() {
        let folder = tempfile::tempdir().unwrap();
        let sysfs = FakeSysfs::new(folder.path().join("sys")).unwrap();
        let read = |below: &str| fs::read_to_string(sysfs.root().join(below)).unwrap();
        assert_eq!(
            read("devices/system/cpu/online"),
            fs::read_to_string("/sys/devices/system/cpu/online").unwrap()
        );
        assert_eq!(read("class/hwmon/hwmon0/temp1_input"), "0040000\n");
        sysfs.set_celsius(105.5).unwrap();
        assert_eq!(read("class/hwmon/hwmon0/temp1_input"), "0105500\n");
        sysfs.count_errors("ue_count", 3).unwrap();
        assert_eq!(read("devices/system/edac/mc/mc0/ue_count"), "0000003\n");
        sysfs.remove_sensor().unwrap();
        assert!(!sysfs.sensor().exists());
    }
}
