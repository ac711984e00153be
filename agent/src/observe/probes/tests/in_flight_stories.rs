//! More requests in flight at once than the block probe has room for: it says how many it could not follow, and nothing else of
//! it is wrong.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Stdio},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use ssts_agent_ebpf::shared::{IN_FLIGHT_WAYS, identity_of_sector, in_flight_set};
use ssts_proto::catalogue::{BLOCK_IN_FLIGHT, PROBE_LOST};
use tempfile::TempDir;

use super::*;

const MIB: u64 = 1 << 20;
const BLOCK: usize = 4_096;
/// More than one set of slots holds.
const REQUESTS: usize = IN_FLIGHT_WAYS + 4;

/// A file system on a file, until dropped.
struct FileSystem {
    mounted: TempDir,
    _device: LoopDevice,
}

impl FileSystem {
    fn on(file: &Path) -> Option<Self> {
        let device = LoopDevice::over(file)?;
        let made = Command::new("mkfs.ext4").args(["-q", &device.0]).status().ok()?;
        let mounted = TempDir::new().ok()?;
        let none = None::<&str>;
        let is_mounted =
            mount(Some(&*device.0), mounted.path(), Some("ext4"), MsFlags::empty(), none).is_ok();
        (made.success() && is_mounted).then_some(Self { mounted, _device: device })
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        let _ = umount2(self.mounted.path(), MntFlags::MNT_DETACH);
    }
}

/// Nothing can be written to a file system until this is dropped. A process of its own sees to that, whatever becomes of this one.
struct Frozen(Child);

impl Frozen {
    fn new(file_system: &FileSystem) -> Self {
        let script = r#"fsfreeze --freeze "$1" && echo frozen && read -r _; fsfreeze --unfreeze "$1""#;
        let mut keeper = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(file_system.mounted.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut said = String::new();
        let _ = BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said);
        let frozen = Self(keeper);
        assert_eq!(said.trim(), "frozen");
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Blocks of a disk whose requests have their slots in one set, where they are known by their place.
fn blocks_of_one_set(dev: u32, bytes: u64) -> Vec<u64> {
    let mut sets: HashMap<u32, Vec<u64>> = HashMap::new();
    for block in 0..bytes / BLOCK as u64 {
        let identity = identity_of_sector(dev, block * BLOCK as u64 / 512);
        let blocks = sets.entry(in_flight_set(identity)).or_default();
        blocks.push(block);
        if blocks.len() == REQUESTS {
            return blocks.clone();
        }
    }
    unreachable!("there are fewer sets than blocks")
}

fn write(device: &str, block: u64) {
    #[repr(align(4096))]
    struct Page([u8; BLOCK]);
    let file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(device).unwrap();
    file.write_all_at(&Page([1; BLOCK]).0, block * BLOCK as u64).unwrap();
}

fn requests_without_room_are_told(device: &LoopDevice, below: &FileSystem) {
    let Some(mut host) = Host::watched_by(HookChoice::Tracepoint) else { return };
    let name = device.0.trim_start_matches("/dev/").to_owned();
    let disks = disks::scan(&HostRoots::default());
    let dev = disks.iter().find(|disk| *disk.name == *name).unwrap().dev;
    let blocks = blocks_of_one_set(dev, 256 * MIB);
    host.tick();
    let lost = |host: &Host| host.reading(&PROBE_LOST, &["block"]).unwrap();
    let in_flight = |host: &Host| host.reading(&BLOCK_IN_FLIGHT, &[&name]).unwrap();
    let lost_before = lost(&host);
    let followed = thread::scope(|scope| {
        let frozen = Frozen::new(below);
        for block in &blocks {
            scope.spawn(|| write(&device.0, *block));
        }
        let begin = Instant::now();
        while in_flight(&host) + lost(&host) - lost_before < REQUESTS as f64 {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "{} in flight, {} lost",
                in_flight(&host),
                lost(&host)
            );
            thread::sleep(Duration::from_millis(10));
            host.tick();
        }
        drop(frozen);
        in_flight(&host)
    });
    // Others' requests may stand there too.
    assert!((1.0..=IN_FLIGHT_WAYS as f64).contains(&followed), "{followed}");
    let mut counted = 0;
    let begin = Instant::now();
    while counted < followed as u64 || in_flight(&host) > 0.0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "{counted} counted of {followed}");
        thread::sleep(Duration::from_millis(10));
        host.tick();
        counted += total(&host.gained(&BLOCK_LATENCY, &[&name, "write"]));
    }
    assert_eq!(counted, followed as u64, "what was not followed is not counted");
    // There is room again.
    let lost_then = lost(&host);
    blocks.iter().for_each(|block| write(&device.0, *block));
    host.tick();
    assert_eq!(total(&host.gained(&BLOCK_LATENCY, &[&name, "write"])), REQUESTS as u64);
    assert_eq!((lost(&host), in_flight(&host)), (lost_then, 0.0));
}

#[test]
fn requests_in_flight_beyond_the_room_for_them_are_told_as_lost() {
    let folder = tempfile::tempdir_in(env::current_exe().unwrap().parent().unwrap()).unwrap();
    let file = |name: &str, folder: &Path, bytes: u64| {
        let path = folder.join(name);
        fs::File::create(&path).and_then(|file| file.set_len(bytes)).unwrap();
        path
    };
    let Some(below) = FileSystem::on(&file("below", folder.path(), 32 * MIB)) else {
        skipped("no file system can be made on a loop device");
        return;
    };
    // Most of it has no blocks.
    let Some(device) = LoopDevice::over(&file("above", below.mounted.path(), 256 * MIB)) else {
        skipped("no loop device to be had");
        return;
    };
    patiently(|| requests_without_room_are_told(&device, &below));
}
