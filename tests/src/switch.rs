//! Several network namespaces of the story's own, each with a cable to one switch: as many hosts as a story needs.

use std::{
    path::{Path, PathBuf},
    process::{self, Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::Ground;

/// Removed, with its namespaces and whatever was set on them, when dropped.
#[derive(Debug)]
pub struct Switch {
    name: String,
    hosts: usize,
}

impl Switch {
    /// With so many hosts, at most 200. Nothing outside is touched but names of namespaces.
    pub fn new(hosts: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sstsw{}x{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let switch = Self { name, hosts };
        let middle = switch.middle();
        ip(&["netns", "add", &middle]);
        ip(&["-n", &middle, "link", "add", "switch", "type", "bridge"]);
        ip(&["-n", &middle, "link", "set", "switch", "up"]);
        for host in 0..hosts {
            let (namespace, port) = (switch.namespace(host), format!("port{host}"));
            ip(&["netns", "add", &namespace]);
            ip(&[
                "link", "add", "wire", "netns", &namespace, "type", "veth", "peer", "name", &port, "netns",
                &middle,
            ]);
            ip(&["-n", &middle, "link", "set", &port, "master", "switch", "up"]);
            ip(&["-n", &namespace, "addr", "add", &format!("{}/24", switch.address(host)), "dev", "wire"]);
            ip(&["-n", &namespace, "link", "set", "lo", "up"]);
            ip(&["-n", &namespace, "link", "set", "wire", "up"]);
        }
        switch
    }

    /// Of a host, from 0 on: 10.78.0.1 is the first one's.
    pub fn address(&self, host: usize) -> String {
        format!("10.78.0.{}", host + 1)
    }

    /// By its name.
    pub fn namespace(&self, host: usize) -> String {
        format!("{}h{host}", self.name)
    }

    /// A program that runs another one at this host: what `Daemon::start_program` takes.
    pub fn program(&self, ground: &Ground, host: usize, program: &Path) -> PathBuf {
        let namespace = self.namespace(host);
        let lines = format!(
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin exec ip netns exec {namespace} {} \"$@\"",
            program.display()
        );
        ground.script("at-the-switch", &lines)
    }

    /// Makes a command one that runs at this host.
    pub fn move_to(&self, host: usize, command: &mut Command) {
        let mut moved = Command::new("ip");
        moved
            .args(["netns", "exec", &self.namespace(host)])
            .arg(command.get_program())
            .args(command.get_args());
        moved.env_clear();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                moved.env(name, value);
            }
        }
        moved.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(process::Stdio::null());
        *command = moved;
    }

    /// Runs a shell's command at this host.
    pub fn shell(&self, host: usize, command: &str) -> Output {
        Command::new("ip")
            .args(["netns", "exec", &self.namespace(host), "bash", "-c", command])
            .output()
            .expect("ip can be executed")
    }

    /// What goes from one host to another goes no faster, such as `20mbit`; the other way, and to all others, it does.
    pub fn slow_down(&self, from: usize, to: usize, rate: &str) {
        for command in [
            "qdisc add dev wire root handle 1: htb default 1".to_owned(),
            "class add dev wire parent 1: classid 1:1 htb rate 100gbit quantum 200000".to_owned(),
            format!("class add dev wire parent 1: classid 1:2 htb rate {rate} quantum 200000"),
            "qdisc add dev wire parent 1:2 pfifo limit 100".to_owned(),
            format!(
                "filter add dev wire parent 1: protocol ip u32 match ip dst {}/32 flowid 1:2",
                self.address(to)
            ),
        ] {
            let output = self.shell(from, &format!("PATH=/usr/sbin:/sbin:$PATH tc {command}"));
            assert!(output.status.success(), "tc {command}: {output:?}");
        }
    }

    /// Takes a host's cable out, or puts it back.
    pub fn set_up(&self, host: usize, up: bool) {
        let port = format!("port{host}");
        ip(&["-n", &self.middle(), "link", "set", &port, if up { "up" } else { "down" }]);
    }

    fn middle(&self) -> String {
        format!("{}m", self.name)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let all = (0..self.hosts).map(|host| self.namespace(host)).chain([self.middle()]);
        for namespace in all {
            // The interfaces go with their namespaces.
            let _best_effort = Command::new("ip").args(["netns", "del", &namespace]).output();
        }
    }
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip can be executed");
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
