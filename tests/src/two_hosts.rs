//! Two hosts, as far as the kernel is concerned: one that burns and one with a sink, at the ends of a cable.

use serde_json::Value;

use crate::{Ctl, Daemon, Ground, Side, Wire, outside, privileged, tools};

/// What the sink allows unless a story says otherwise.
pub const OPEN_SINK: &str = "listen = [\"10.77.0.2:7471\"]\nallowed_peers = [\"10.77.0.1/32\"]\n";

/// Daemons at both ends.
#[derive(Debug)]
pub struct TwoHosts {
    // Dropped in this order: daemons, then the cable, then folders.
    /// Whose burners load the sink.
    pub near_daemon: Daemon,
    /// Whose sink it is.
    pub far_daemon: Daemon,
    /// Between them.
    pub wire: Wire,
    /// Of the near daemon.
    pub near: Ground,
    /// Of the far daemon.
    pub far: Ground,
}

impl TwoHosts {
    /// With that in the far host's `[network.sink]`. Nothing where the story can't be told.
    pub fn new(sink: &str) -> Option<Self> {
        if !privileged() || !tools(&["ip", "ss", "tc", "bash", "prlimit"]) {
            return None;
        }
        let wire = Wire::new();
        let near = Ground::new();
        let far = Ground::beside(&near);
        near.configure("[observe]\nprobes = false\n[network]\nallowed_peers = [\"10.77.0.0/24\"]\n");
        far.configure(&format!("[observe]\nprobes = false\n[network.sink]\n{sink}"));
        let start = |ground: &Ground, side| {
            let program = wire.program(ground, side, &ground.programs().sstsd);
            Daemon::start_program(ground, &program, |_| {})
        };
        let (near_daemon, far_daemon) = (start(&near, Side::Near), start(&far, Side::Far));
        Some(Self { near_daemon, far_daemon, wire, near, far })
    }

    /// From the near host to the far one's sink.
    pub fn burn(&self, flags: &str) -> Ctl {
        let tolerance = tolerance_of(flags);
        Ctl::new(&self.near).words(&format!("burn network --peer 10.77.0.2 {flags} {tolerance}"))
    }

    /// The only burner of a run that passes.
    pub fn burner(&self, flags: &str) -> Value {
        let mut result = self.burn(flags).json();
        assert_eq!(result["verdict"], "pass", "{result:#}");
        result["hosts"][0]["burners"][0].take()
    }

    /// The sink's process.
    pub fn sink(&self) -> Option<outside::Process> {
        self.far_daemon.burners().first().copied()
    }
}

/// What a burner with a rate is let miss of it, where a story does not say: the machines that tell them stand still at times,
/// and what that costs a short phase is no story's subject but one's.
pub fn tolerance_of(flags: &str) -> &'static str {
    let is_let = flags.contains("--rate") && !flags.contains("--tolerance");
    if is_let { "--tolerance 60" } else { "" }
}

/// A figure of a burner's, by its name.
pub fn figure(burner: &Value, name: &str) -> u64 {
    let value = &burner["figures"][name]["value"];
    assert!(value.is_number(), "no {name}: {burner:#}");
    value.as_f64().unwrap_or_default() as u64
}

/// A count that all burners have.
pub fn count(burner: &Value, name: &str) -> u64 {
    assert!(burner[name].is_u64(), "no {name}: {burner:#}");
    burner[name].as_u64().unwrap_or_default()
}
