//! A sysfs of the story's own.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::Ground;

/// With one hwmon chip that has one temperature sensor, `hwmon0/temp1`, beside the host's own devices and cores.
#[derive(Debug)]
pub struct Sysfs {
    root: PathBuf,
}

impl Sysfs {
    /// On the ground, at a temperature in °C.
    pub fn new(ground: &Ground, celsius: u32) -> Self {
        let root = ground.path("sys");
        let chip = root.join("class/hwmon/hwmon0");
        fs::create_dir_all(&chip).expect("the folder is new");
        fs::write(chip.join("name"), "teststub\n").expect("the folder is ours");
        fs::write(chip.join("temp1_label"), "Core\n").expect("the folder is ours");
        fs::write(chip.join("temp1_crit"), "100000\n").expect("the folder is ours");
        let sysfs = Self { root };
        fs::write(sysfs.sensor(), line(celsius)).expect("the folder is ours");
        sysfs
    }

    /// The daemon's configuration that makes it look here.
    pub fn config(&self) -> String {
        format!("[roots]\nsys = \"{}\"\n", self.root.display())
    }

    /// Heats or cools the sensor, in place, as the kernel does: a reader that keeps the file open sees it.
    pub fn heat(&self, celsius: u32) {
        let file = fs::File::options().write(true).open(self.sensor()).expect("the sensor is there");
        file.write_all_at(line(celsius).as_bytes(), 0).expect("the file is ours");
    }

    /// Makes the sensor unreadable, as a chip that falls off its bus is.
    pub fn break_sensor(&self) {
        let file = fs::File::options().write(true).open(self.sensor()).expect("the sensor is there");
        file.set_len(0).expect("the file is ours");
        fs::remove_file(self.sensor()).expect("the file is ours");
    }

    fn sensor(&self) -> PathBuf {
        self.root.join(Path::new("class/hwmon/hwmon0/temp1_input"))
    }
}

/// Of one length, so that a write in place never leaves a rest.
fn line(celsius: u32) -> String {
    format!("{:06}\n", celsius * 1_000)
}
