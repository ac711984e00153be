//! Two network namespaces of the story's own with a cable between them: each end as good as a host of its own.

use std::{
    path::{Path, PathBuf},
    process::{self, Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use crate::Ground;

/// One end of the cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// 10.77.0.1.
    Near,
    /// 10.77.0.2.
    Far,
}

/// Removed, with its namespaces and whatever was set on it, when dropped.
#[derive(Debug)]
pub struct Wire {
    name: String,
}

impl Wire {
    /// A new one. Nothing on the host is touched but two names of namespaces.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let wire = Self { name: format!("ssts{}x{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed)) };
        for side in [Side::Near, Side::Far] {
            ip(&["netns", "add", &wire.namespace(side)]);
        }
        let (near, far) = (wire.namespace(Side::Near), wire.namespace(Side::Far));
        let veth =
            ["link", "add", "wire", "netns", &near, "type", "veth", "peer", "name", "wire", "netns", &far];
        ip(&veth);
        for side in [Side::Near, Side::Far] {
            let namespace = wire.namespace(side);
            let address = format!("{}/24", wire.address(side));
            ip(&["-n", &namespace, "addr", "add", &address, "dev", "wire"]);
            ip(&["-n", &namespace, "link", "set", "lo", "up"]);
            ip(&["-n", &namespace, "link", "set", "wire", "up"]);
        }
        wire
    }

    /// Of the end of the cable.
    pub fn address(&self, side: Side) -> &'static str {
        match side {
            Side::Near => "10.77.0.1",
            Side::Far => "10.77.0.2",
        }
    }

    /// A program that runs another one at this end: what `Daemon::start_program` takes.
    pub fn program(&self, ground: &Ground, side: Side, program: &Path) -> PathBuf {
        let namespace = self.namespace(side);
        let lines = format!(
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin exec ip netns exec {namespace} {} \"$@\"",
            program.display()
        );
        ground.script("at-the-wire", &lines)
    }

    /// Runs a shell's command at this end.
    pub fn shell(&self, side: Side, command: &str) -> Output {
        let namespace = self.namespace(side);
        Command::new("ip")
            .args(["netns", "exec", &namespace, "bash", "-c", command])
            .output()
            .expect("ip can be executed")
    }

    /// What the kernel counted at this end's interface, such as `tx` `bytes`.
    pub fn counter(&self, side: Side, direction: &str, what: &str) -> u64 {
        let output = self.shell(side, "ip -j -s link show dev wire");
        let links: Value = serde_json::from_slice(&output.stdout).expect("ip prints JSON");
        links[0]["stats64"][direction][what].as_u64().expect("it is counted")
    }

    /// Takes the cable out, or puts it back.
    pub fn set_up(&self, up: bool) {
        let namespace = self.namespace(Side::Near);
        ip(&["-n", &namespace, "link", "set", "wire", if up { "up" } else { "down" }]);
    }

    /// By its name.
    pub fn namespace(&self, side: Side) -> String {
        match side {
            Side::Near => format!("{}a", self.name),
            Side::Far => format!("{}b", self.name),
        }
    }
}

impl Default for Wire {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for side in [Side::Near, Side::Far] {
            // The interfaces go with their namespaces.
            let _best_effort = Command::new("ip").args(["netns", "del", &self.namespace(side)]).output();
        }
    }
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip can be executed");
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
