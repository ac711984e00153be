//! Turns a scenario into plans that this host can carry out, or says everything that speaks against it. Nothing is started
//! and nothing is left behind.

mod cores;
mod cpu;
mod disk;
mod drilled;
mod file_system;
mod guards;
mod http;
mod memory;
mod network;
mod occupied;
mod others;
mod policy;
mod search;
mod space;
mod thresholds;

use std::{fs, time::Duration};

use ipnet::IpNet;
use ssts_proto::{
    v1::{Burner, Kill, NetworkProtocol, Scenario, Search, Violation, burner, profile},
    validate::{self, Violations},
};

pub(super) use self::others::Others;
use super::{Drilled, guarding::HostGuards};
use crate::{
    burn::plan::Plan,
    clock,
    config::{HttpConfig, LimitsConfig, PolicyConfig},
    guard::{Bounds, GuardSpec},
    host::HostRoots,
    observe::sysfs::sensors,
};

/// A run that can be carried out.
#[derive(Debug)]
pub struct Admitted {
    /// What was asked for, defaults filled in.
    pub scenario: Scenario,
    /// What guards enforce.
    pub bounds: Bounds,
    /// Guards that the run brings beside its host's.
    pub guards: Vec<GuardSpec>,
    /// The scenario's phases, ready to be carried out.
    pub phases: Vec<PlannedPhase>,
    /// When the first phase is to begin, Unix time; as soon as it can where nothing is said.
    pub start_at: Option<Duration>,
}

/// One phase, ready to be carried out.
#[derive(Debug, Default)]
pub struct PlannedPhase {
    /// From the scenario.
    pub name: String,
    /// From the scenario.
    pub duration: Duration,
    /// One for each of its burners.
    pub plans: Vec<Plan>,
    /// The load that is searched for instead of held.
    pub search: Option<Search>,
    /// Burners that die are started anew.
    pub restart: bool,
    /// Burners that are killed on purpose.
    pub kills: Vec<Kill>,
    /// The earlier phase that this one is to settle like; empty for none.
    pub settles_like: String,
}

/// What a host offers, as far as a scenario can ask too much of it.
#[derive(Debug)]
pub(super) struct Offer<'a> {
    /// Where the host shows itself.
    pub roots: &'a HostRoots,
    /// The daemon's own limits.
    pub limits: &'a LimitsConfig,
    /// What the host's administrator allows.
    pub policy: &'a PolicyConfig,
    /// What the runs that are on hold.
    pub others: &'a Others,
    /// The scenario shares its cores with others that do.
    pub shared_cores: bool,
    /// Cores that burners may use.
    pub cores: &'a [u32],
    /// Networks that network burners may load.
    pub allowed_peers: &'a [IpNet],
    /// Services that HTTP burners may load.
    pub http: &'a HttpConfig,
    /// What the latest drill found.
    pub drilled: Drilled,
    /// The host's own.
    pub guards: &'a HostGuards,
}

impl Offer<'_> {
    /// Plans for `scenario`, or all that is wrong with it.
    ///
    /// # Errors
    /// Every violation that was found: of the protocol's bounds, of the daemon's limits, of what the host has.
    pub(super) fn admit(&self, scenario: &Scenario) -> Result<Admitted, Vec<Violation>> {
        let mut found = Violations::default();
        validate::scenario(scenario, &mut found);
        if !found.is_empty() {
            // What follows relies on the protocol's bounds.
            return Err(found.into_vec());
        }
        let bounds = self.bounds(scenario, &mut found);
        drilled::check(self.limits, self.drilled, scenario, &mut found);
        let guards = guards::of(self, scenario, &bounds, &mut found);
        thresholds::check(self, scenario, &mut found);
        let mut resolved = scenario.clone();
        resolved.limits = Some((&bounds).into());
        let mut phases = Vec::new();
        for (phase_index, phase) in resolved.phases.iter_mut().enumerate() {
            phase.burners.iter_mut().for_each(|burner| fill_in_seed(burner, scenario.seed));
            let duration = Duration::from_millis(phase.duration_ms);
            let mut planned = Vec::new();
            for (burner_index, burner) in phase.burners.iter_mut().enumerate() {
                let field = format!("phases[{phase_index}].burners[{burner_index}]");
                let place = (phase_index as u64) << 32 | (burner_index as u64) << 16;
                let seed = scenario.seed.wrapping_add(place);
                self.keep_load(&field, burner, &mut found);
                planned.extend(
                    self.plan(&field, burner, duration, seed, &mut found).map(|plan| (burner_index, plan)),
                );
            }
            let place = format!("phases[{phase_index}]");
            self.keep_load_of_cores(&place, &phase.burners, &planned, &mut found);
            let mut plans: Vec<Plan> = planned.into_iter().map(|(_, plan)| plan).collect();
            memory::keep_floor(&mut plans, bounds.min_available_memory_bytes);
            http::keep_limits(&place, &mut plans, self.http, &mut found);
            file_system::check_shared(&place, &plans, &mut found);
            space::check_disks(&place, &plans, self.limits.disk_reserve_bytes, self.others, &mut found);
            let reserve_bytes = bounds.min_available_memory_bytes;
            space::check_memory(&place, &plans, reserve_bytes, self.roots, self.others, &mut found);
            search::fill_in(self, &place, phase, &mut found);
            let (search, restart, kills) = (phase.search.clone(), phase.restart, phase.kills.clone());
            let (name, settles_like) = (phase.name.clone(), phase.settles_like.clone());
            phases.push(PlannedPhase { name, duration, plans, search, restart, kills, settles_like });
        }
        if found.is_empty() {
            Ok(Admitted { scenario: resolved, bounds, guards, phases, start_at: None })
        } else {
            Err(found.into_vec())
        }
    }

    /// The tighter of what was asked and what the daemon allows; looser ones are violations.
    fn bounds(&self, scenario: &Scenario, found: &mut Violations) -> Bounds {
        let asked = scenario.limits.unwrap_or_default();
        let own = self.limits;
        let asked_duration = asked.max_duration_ms.map(Duration::from_millis);
        if let Some(asked) = asked_duration.filter(|asked| *asked > own.max_duration) {
            found.add(
                "limits.max_duration_ms",
                format!("{asked:?} is longer than the agent's limit of {:?}", own.max_duration),
                "ask for less, or change limits.max_duration in the agent's configuration",
            );
            found.name_rule("limits.max_duration", humantime(asked), humantime(own.max_duration));
        }
        let max_duration = asked_duration.unwrap_or(own.max_duration).min(own.max_duration);
        let whole_ms = scenario.phases.iter().fold(0u64, |sum, phase| sum.saturating_add(phase.duration_ms));
        let whole = Duration::from_millis(whole_ms);
        if whole >= max_duration {
            found.add(
                "phases",
                format!("the phases last {whole:?} together, the limit for the whole run is {max_duration:?}"),
                "shorten the phases, leaving time for preparation and pauses, or raise the limit that applies",
            );
            found.name_rule("limits.max_duration", humantime(whole), humantime(max_duration));
        }
        let max_duration = self.open_for(max_duration, whole, found);
        let memory = asked.min_available_memory_bytes;
        if let Some(asked) = memory.filter(|asked| *asked < own.min_available_memory_bytes) {
            found.add(
                "limits.min_available_memory_bytes",
                format!(
                    "{asked} bytes are less than the agent's limit of {} bytes",
                    own.min_available_memory_bytes
                ),
                "ask for more, or change limits.min_available_memory_bytes in the agent's configuration",
            );
            found.name_rule("limits.min_available_memory_bytes", asked, own.min_available_memory_bytes);
        }
        let celsius = asked.max_temperature_celsius;
        if let Some(asked) = celsius.filter(|asked| *asked > own.max_temperature_celsius) {
            found.add(
                "limits.max_temperature_celsius",
                format!("{asked} °C is hotter than the agent's limit of {} °C", own.max_temperature_celsius),
                "ask for less, or change limits.max_temperature_celsius in the agent's configuration",
            );
            found.name_rule("limits.max_temperature_celsius", asked, own.max_temperature_celsius);
        }
        if celsius.is_some() && !self.has_readable_sensor() {
            found.add(
                "limits.max_temperature_celsius",
                "this host has no temperature sensor that can be read, so the limit could not be kept",
                "leave the limit out, or load the driver of the host's sensors (see `sstsd check`)",
            );
        }
        Bounds {
            max_duration,
            min_available_memory_bytes: memory.unwrap_or(0).max(own.min_available_memory_bytes),
            max_temperature_celsius: celsius
                .map_or(own.max_temperature_celsius, |asked| asked.min(own.max_temperature_celsius)),
            stale_after: own.stale_after,
        }
    }

    fn has_readable_sensor(&self) -> bool {
        sensors::find(self.roots)
            .iter()
            .any(|sensor| fs::read(&sensor.input).is_ok_and(|text| sensors::celsius(&text).is_some()))
    }

    /// A plan for one burner, and its defaults filled in.
    fn plan(
        &self,
        field: &str,
        burner: &mut Burner,
        phase: Duration,
        seed: u64,
        found: &mut Violations,
    ) -> Option<Plan> {
        let rate_tolerance = rate_tolerance(burner);
        match burner.kind.as_mut()? {
            burner::Kind::Cpu(cpu) => cpu::plan(self, field, cpu, seed, found),
            burner::Kind::Disk(disk) => disk::plan(self, field, disk, phase, found),
            burner::Kind::Memory(memory) => memory::plan(self, field, memory, found),
            burner::Kind::Network(network) => network::plan(self, field, network, found),
            burner::Kind::Http(http) => http::plan(self, field, http, found),
        }
        .map(|(cores, load)| Plan { cores, phase, seed, load, rate_tolerance })
    }
}

/// What of a burner's rate may be undone at its end, a share of it; none where no rate is asked.
fn rate_tolerance(burner: &Burner) -> Option<f64> {
    let (has_rate, percent) = match burner.kind.as_ref()? {
        burner::Kind::Cpu(_) | burner::Kind::Memory(_) => return None,
        burner::Kind::Disk(disk) => {
            (disk.rate_per_s.is_some() || disk.rate_bytes_per_s.is_some(), disk.rate_tolerance_percent)
        }
        burner::Kind::Network(network) => {
            let has_rate = network.rate_bits_per_s.is_some()
                || network.rate_per_s.is_some()
                // It always has one.
                || network.protocol() == NetworkProtocol::RequestResponse;
            (has_rate, network.rate_tolerance_percent)
        }
        burner::Kind::Http(http) => (http.rate_per_s.is_some(), http.rate_tolerance_percent),
    };
    has_rate.then(|| percent.unwrap_or(validate::DEFAULT_RATE_TOLERANCE_PERCENT) / 100.0)
}

/// Whether the first phase can begin at an instant, which `field` of the request names.
///
/// # Errors
/// It is past, or so far ahead that the run could not come to its end within its limit.
pub(super) fn start_at(field: &str, instant: Duration, admitted: &Admitted) -> Result<(), Box<Violation>> {
    let violation = |message: String, mend: &str| {
        Err(Box::new(Violation { field: field.into(), message, mend: mend.into(), ..Violation::default() }))
    };
    let Some(ahead) = instant.checked_sub(clock::realtime()) else {
        let late = clock::realtime().saturating_sub(instant);
        return violation(
            format!("the start was {late:.1?} ago by this host's clock"),
            "choose a later instant, and compare the clocks",
        );
    };
    let whole: Duration = admitted.phases.iter().map(|phase| phase.duration).sum();
    let limit = admitted.bounds.max_duration;
    if ahead.saturating_add(whole) >= limit {
        return violation(
            format!(
                "the start is {ahead:.1?} ahead and the phases last {whole:?}; the limit for the whole run is {limit:?}"
            ),
            "start earlier, shorten the phases, or raise the limit that applies",
        );
    }
    Ok(())
}

fn humantime(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}

/// A random walk without a seed of its own begins with the scenario's.
fn fill_in_seed(burner: &mut Burner, seed: u64) {
    let profile = match &mut burner.kind {
        Some(burner::Kind::Cpu(cpu)) => cpu.load.as_mut(),
        Some(burner::Kind::Memory(memory)) => memory.load.as_mut().or(memory.used.as_mut()),
        Some(burner::Kind::Disk(disk)) => disk.load.as_mut(),
        Some(burner::Kind::Network(network)) => network.load.as_mut(),
        Some(burner::Kind::Http(_)) | None => None,
    };
    if let Some(profile::Shape::RandomWalk(walk)) = profile.and_then(|profile| profile.shape.as_mut()) {
        walk.seed.get_or_insert(seed);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::{Arc, atomic::Ordering},
    };

    use ssts_proto::{
        http_url::HttpUrl,
        v1::{
            Constant, CpuBurner, CpuIsa, DiskAccess, DiskBurner, HttpBurner, HttpHeader, HttpMethod, Limits,
            MemoryBurner, NetworkBurner, Phase, Profile, memory_burner::Size,
        },
    };

    use super::*;
    use crate::{
        burn::{control::ControlBlock, plan::Load},
        config::AllowedUrl,
        observe::burners::BoardEntry,
    };

    fn admit(kind: burner::Kind, limits: Limits) -> Result<Admitted, Vec<Violation>> {
        admit_with(kind, limits, &PolicyConfig::default())
    }

    fn admit_with(
        kind: burner::Kind,
        limits: Limits,
        policy: &PolicyConfig,
    ) -> Result<Admitted, Vec<Violation>> {
        let phase = Phase {
            name: "one".into(),
            duration_ms: 5_000,
            burners: vec![Burner { kind: Some(kind) }],
            ..Phase::default()
        };
        let scenario = Scenario {
            name: "test".into(),
            phases: vec![phase],
            limits: Some(limits),
            ..Scenario::default()
        };
        let tree = crate::observe::procfs::test_tree::TestTree::new(&[(
            "proc/meminfo",
            "MemTotal: 9000000 kB\nMemFree: 1 kB\nBuffers: 1 kB\nCached: 1 kB\nSwapCached: 0 kB\nActive: 1 kB\nInactive: 1 kB\nMemAvailable: 1000000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nDirty: 0 kB\nWriteback: 0 kB\nSlab: 0 kB\nCommitted_AS: 0 kB\nVmallocTotal: 0 kB\nVmallocUsed: 0 kB\nVmallocChunk: 0 kB\n",
        )]);
        let limits = LimitsConfig { max_duration: Duration::from_secs(60), ..LimitsConfig::default() };
        let allowed_peers = ["10.0.0.0/8".parse().unwrap()];
        let http = HttpConfig {
            allow: ["http://127.0.0.1:8080/api", "https://127.0.0.1"]
                .map(|url| AllowedUrl(HttpUrl::parse(url).unwrap()))
                .into(),
            max_rate_per_s: 1_000,
            max_connections: 20,
            ..HttpConfig::default()
        };
        let offer = Offer {
            roots: &tree.roots(),
            limits: &limits,
            policy,
            others: &Others::default(),
            shared_cores: false,
            cores: &[0, 1, 4],
            allowed_peers: &allowed_peers,
            http: &http,
            drilled: Drilled::Never,
            guards: &HostGuards::new(&limits, &[], Path::new("/tmp")),
        };
        offer.admit(&scenario)
    }

    fn refused(kind: burner::Kind, limits: Limits) -> (String, String) {
        let violation = admit(kind, limits).unwrap_err().remove(0);
        assert!(!violation.mend.is_empty());
        (violation.field, violation.message)
    }

    fn cpu(cores: &[u32]) -> burner::Kind {
        burner::Kind::Cpu(CpuBurner { cores: cores.to_vec(), ..CpuBurner::default() })
    }

    fn disk(path: &Path, size_bytes: u64) -> burner::Kind {
        let access = DiskAccess::Randread.into();
        let path = path.to_str().unwrap().into();
        burner::Kind::Disk(DiskBurner { path, size_bytes, access, ..DiskBurner::default() })
    }

    #[test]
    fn a_peer_outside_the_allowed_networks_is_refused_with_the_rule() {
        let network = |peer: &str| {
            burner::Kind::Network(NetworkBurner { peer: peer.into(), ..NetworkBurner::default() })
        };
        let (field, message) = refused(network("11.0.0.1:80"), Limits::default());
        assert!(
            field.ends_with(".peer") && message.contains("network.allowed_peers = [10.0.0.0/8]"),
            "{message}"
        );
        assert!(refused(network("::ffff:11.0.0.1"), Limits::default()).1.contains("11.0.0.1"));
        let admitted = admit(network("10.0.0.1"), Limits::default()).unwrap();
        let Some(burner::Kind::Network(resolved)) = &admitted.scenario.phases[0].burners[0].kind else {
            panic!()
        };
        assert_eq!((resolved.streams, resolved.packet_bytes), (Some(1), Some(1 << 20)));
        assert_eq!(admitted.phases[0].plans[0].cores, [4]);
    }

    fn http(url: &str) -> HttpBurner {
        HttpBurner { url: url.into(), ..HttpBurner::default() }
    }

    #[test]
    fn a_service_that_is_not_allowed_is_refused_with_the_rule() {
        for (burner, key, part) in [
            (
                http("http://127.0.0.1:8080/apis"),
                "url",
                "http.allow = [http://127.0.0.1:8080/api, https://127.0.0.1/]",
            ),
            (http("http://localhost:8080/api"), "url", "http.allow"),
            (http("https://127.0.0.1:8080/api"), "url", "http.allow"),
            (
                HttpBurner { method: HttpMethod::Delete.into(), ..http("http://127.0.0.1:8080/api") },
                "method",
                "http.methods = [GET, HEAD]",
            ),
            (HttpBurner { insecure: true, ..http("https://127.0.0.1/") }, "insecure", "http.allow_insecure"),
            (
                HttpBurner { rate_per_s: Some(1_001), ..http("http://127.0.0.1:8080/api") },
                "burners",
                "http.max_rate_per_s = 1000",
            ),
            (
                HttpBurner { connections: Some(21), ..http("http://127.0.0.1:8080/api") },
                "burners",
                "21 connections",
            ),
        ] {
            let (field, message) = refused(burner::Kind::Http(burner), Limits::default());
            assert!(field.ends_with(&format!(".{key}")) && message.contains(part), "{field}: {message}");
        }
    }

    #[test]
    fn a_service_that_is_allowed_is_planned_and_secrets_are_not_kept() {
        let header = |name: &str| HttpHeader { name: name.into(), value: "v".into() };
        let headers = vec![header("Authorization"), header("Accept")];
        let burner = HttpBurner { headers, ..http("http://127.0.0.1:8080/api/x?y") };
        let admitted = admit(burner::Kind::Http(burner), Limits::default()).unwrap();
        let Some(burner::Kind::Http(resolved)) = &admitted.scenario.phases[0].burners[0].kind else {
            panic!()
        };
        assert_eq!((resolved.connections, resolved.retries), (Some(16), Some(0)));
        assert_eq!(resolved.headers[0].value, "(not kept)");
        assert_eq!(resolved.headers[1].value, "v");
        let Load::Http(load) = &admitted.phases[0].plans[0].load else { panic!() };
        assert_eq!(load.addresses, ["127.0.0.1:8080".parse().unwrap()]);
        assert_eq!(load.headers[0].1, "v");
        assert_eq!(load.most_per_s, 1_000);
    }

    #[test]
    fn what_waited_is_caught_up_with_within_what_is_allowed() {
        for (rate_per_s, most_per_s) in [(300, 600), (800, 1_000), (1_000, 1_000)] {
            let burner = HttpBurner { rate_per_s: Some(rate_per_s), ..http("http://127.0.0.1:8080/api") };
            let admitted = admit(burner::Kind::Http(burner), Limits::default()).unwrap();
            let Load::Http(load) = &admitted.phases[0].plans[0].load else { panic!() };
            assert_eq!(load.most_per_s, most_per_s);
        }
    }

    #[test]
    fn defaults_are_filled_in() {
        let admitted = admit(cpu(&[]), Limits::default()).unwrap();
        assert_eq!(admitted.phases[0].plans[0].cores, [0, 1, 4]);
        assert_eq!(admitted.bounds.max_duration, Duration::from_secs(60));
        let Some(burner::Kind::Cpu(resolved)) = &admitted.scenario.phases[0].burners[0].kind else {
            panic!()
        };
        assert_ne!(resolved.isa(), CpuIsa::Unspecified);
    }

    #[test]
    fn cores_outside_the_cpuset_are_named_with_those_inside() {
        let (field, message) = refused(cpu(&[0, 2, 3]), Limits::default());
        assert_eq!(field, "phases[0].burners[0].cores");
        assert!(message.contains("2-3") && message.contains("0-1,4"), "{message}");
    }

    #[test]
    fn a_limit_looser_than_the_agents_is_refused_with_both_numbers() {
        for (limits, asked, own) in [
            (Limits { max_duration_ms: Some(61_000), ..Limits::default() }, "61s", "60s"),
            (Limits { min_available_memory_bytes: Some(5), ..Limits::default() }, "5 bytes", "268435456"),
            (Limits { max_temperature_celsius: Some(99.0), ..Limits::default() }, "99", "95"),
        ] {
            let (_, message) = refused(cpu(&[]), limits);
            assert!(message.contains(asked) && message.contains(own), "{message}");
        }
    }

    #[test]
    fn a_temperature_limit_without_a_sensor_is_refused() {
        let (_, message) =
            refused(cpu(&[]), Limits { max_temperature_celsius: Some(60.0), ..Limits::default() });
        assert!(message.contains("no temperature sensor"), "{message}");
    }

    #[test]
    fn phases_longer_than_the_limit_are_refused() {
        let (field, message) =
            refused(cpu(&[]), Limits { max_duration_ms: Some(4_000), ..Limits::default() });
        assert!(field == "phases" && message.contains("5s") && message.contains("4s"), "{message}");
    }

    #[test]
    fn folders_that_can_not_be_used_are_refused_and_nothing_is_left_in_those_that_can() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(
            refused(disk(&dir.path().join("none"), 4_096), Limits::default()).1.contains("does not exist")
        );
        assert!(refused(disk(&file, 4_096), Limits::default()).1.contains("no folder"));
        let (field, message) = refused(disk(dir.path(), 1 << 60), Limits::default());
        assert!(field.ends_with("size_bytes") && message.contains(&(1u64 << 60).to_string()), "{message}");
        admit(disk(dir.path(), 4_096), Limits::default()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_run_has_taken_is_no_longer_promised() {
        const MIB: u64 = 1 << 20;
        let memory = |bytes| {
            let size = Some(Size::SizeBytes(bytes));
            burner::Kind::Memory(MemoryBurner { cores: vec![0, 1], size, ..MemoryBurner::default() })
        };
        let admitted = admit(memory(100 * MIB), Limits::default()).unwrap();
        let promised = |burning: &[BoardEntry]| {
            let mut others = Others::default();
            others.add("a", &admitted, burning);
            others.promised_memory().bytes / MIB
        };
        assert_eq!(promised(&[]), 100);
        let block = Arc::new(ControlBlock::create(2, 0, Duration::from_secs(1)).unwrap());
        let entry = BoardEntry {
            run: "a".into(),
            id: "0.0".into(),
            kind: "memory",
            has_target: false,
            latencies: &[],
            block: block.clone(),
        };
        let is_done = |ppm: [u32; 2]| {
            for (worker, ppm) in ppm.into_iter().enumerate() {
                block.slot(worker).prepared_ppm.store(ppm, Ordering::Relaxed);
            }
            promised(std::slice::from_ref(&entry))
        };
        assert_eq!([is_done([0, 0]), is_done([500_000, 0]), is_done([1_000_000; 2])], [100, 75, 0]);
    }

    #[test]
    fn a_load_is_filled_in_or_refused_by_the_policy() {
        let policy = PolicyConfig { max_load_percent: 40.0, never_cores: vec![9], ..PolicyConfig::default() };
        let try_it = |load_percent: Option<f64>, cores: &[u32]| {
            let shape = load_percent.map(|load_percent| profile::Shape::Constant(Constant { load_percent }));
            let load = shape.map(|shape| Profile { shape: Some(shape), ..Profile::default() });
            let cpu = CpuBurner { cores: cores.to_vec(), load, ..CpuBurner::default() };
            admit_with(burner::Kind::Cpu(cpu), Limits::default(), &policy)
        };
        let admitted = try_it(None, &[0]).unwrap();
        let Some(burner::Kind::Cpu(cpu)) = &admitted.scenario.phases[0].burners[0].kind else { panic!() };
        let shape = cpu.load.as_ref().and_then(|load| load.shape.clone());
        assert_eq!(shape, Some(profile::Shape::Constant(Constant { load_percent: 40.0 })));
        assert!(try_it(Some(40.0), &[0]).is_ok());
        let violation = try_it(Some(41.0), &[0]).unwrap_err().remove(0);
        let told = [violation.rule, violation.asked, violation.allowed];
        assert_eq!(told, ["policy.max_load_percent", "a load of 41 %", "40"]);
        let violation = try_it(None, &[9]).unwrap_err().remove(0);
        assert_eq!([violation.rule, violation.allowed], ["policy.never_cores", "9"]);
    }
}
