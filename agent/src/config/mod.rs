//! The daemon's configuration: a TOML file, the environment over it, flags over both. A key that means nothing is an error
//! with its place, never ignored.

mod audit;
mod environment;
mod guards;
mod hours;
mod http;
mod metrics;
mod network;
mod policy;
mod protect;
mod record;
mod tls;

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de};

pub use self::{
    audit::AuditConfig,
    guards::GuardConfig,
    hours::{Hours, Window},
    http::{AllowedMethod, AllowedUrl, HttpConfig},
    metrics::{MetricsConfig, OtlpConfig},
    network::{NetworkConfig, SinkConfig},
    policy::{NameOrId, PolicyConfig, Role, Rule, Subject, UserRule},
    protect::{AskedUrl, MAX_PROTECTED, ProtectConfig},
    record::RecordConfig,
    tls::{ClientRule, TlsConfig},
};
use crate::{host::HostRoots, observe::probes::HookChoice, sink::SinkPlan};

/// Where the daemon looks for its configuration when it is told nothing.
pub const DEFAULT_PATH: &str = "/etc/ssts/sstsd.toml";

/// Each is some four more files to read at every tick.
const MAX_CGROUPS: usize = 16;

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The file is not what it should be. The message has line, column and the offending text.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        message: String,
    },
    /// A variable of the environment is not what it should be.
    #[error("environment variable {name}: {message}")]
    Environment {
        /// The variable.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A guard can't be carried out.
    #[error("{place}: {message}; {mend}")]
    Guard {
        /// Which, and which part of it.
        place: String,
        /// What is wrong.
        message: String,
        /// What to do instead.
        mend: String,
    },
    /// A value is outside its bounds.
    #[error("{key} = {value}: {mend}")]
    Bounds {
        /// The key, dotted.
        key: &'static str,
        /// What was given.
        value: String,
        /// What can be given.
        mend: &'static str,
    },
}

/// Everything that can be configured. `sstsd.toml` beside this crate's manifest documents each key.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen: `unix:PATH`. Empty: the default socket of the user.
    pub listen: Vec<String>,
    /// Where to be commanded over TCP.
    pub tls: TlsConfig,
    /// How much of the audit log is kept.
    pub audit: AuditConfig,
    /// Where records are kept. Unset: the default folder of the user.
    pub state_dir: Option<PathBuf>,
    /// Whose making halts the host. Unset: `halt` beside the first socket; empty: none.
    pub halt_file: Option<PathBuf>,
    /// What is logged, and how.
    pub log: LogConfig,
    /// How the host is sampled.
    pub observe: ObserveConfig,
    /// How much of what is sampled is kept.
    pub record: RecordConfig,
    /// What no run may exceed.
    pub limits: LimitsConfig,
    /// What the host's administrator allows.
    pub policy: PolicyConfig,
    /// Guards beside those that are shipped, for every run.
    pub guards: Vec<GuardConfig>,
    /// How burners are held.
    pub burners: BurnersConfig,
    /// Whom network burners may load, and what may load this host.
    pub network: NetworkConfig,
    /// Which services HTTP burners may load.
    pub http: HttpConfig,
    /// Where metrics can be read.
    pub metrics: MetricsConfig,
    /// Units that the host works for.
    pub protect: Vec<ProtectConfig>,
    /// Where the kernel shows itself.
    pub roots: RootsConfig,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// A filter such as `info` or `warn,ssts_agent::run=debug`.
    pub filter: String,
    /// Lines for people or objects for programs.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// How the host is sampled.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObserveConfig {
    /// Ticks a second: 1 to 100.
    pub rate_hz: f64,
    /// eBPF probes are loaded.
    pub probes: bool,
    /// How probes are attached.
    pub hooks: HookChoice,
    /// Cgroups, below the version 2 hierarchy's mount point, whose pressure is observed: at most 16.
    pub cgroups: Vec<PathBuf>,
    /// What all probes together may cost, in percent of one core.
    pub probe_budget_core_percent: f64,
    /// The same, in percent of the host's cores; the smaller of the two holds.
    pub probe_budget_host_percent: f64,
}

/// What no run may exceed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// A run's longest duration, preparation and pauses included.
    #[serde(deserialize_with = "duration")]
    pub max_duration: Duration,
    /// The least MemAvailable, in bytes.
    pub min_available_memory_bytes: u64,
    /// The hottest that any sensor may get, in °C.
    pub max_temperature_celsius: f64,
    /// How long a reading that a guard needs may be missing.
    #[serde(deserialize_with = "duration")]
    pub stale_after: Duration,
    /// What a disk burner leaves free on its file system, in bytes.
    pub disk_reserve_bytes: u64,
    /// Block devices that disk burners may overwrite.
    pub expendable_devices: Vec<PathBuf>,
    /// Block devices whose file systems disk burners may mount, and unmount, and make files on.
    pub mountable_devices: Vec<PathBuf>,
    /// How long ago a drill must have passed; zero where none is demanded.
    #[serde(deserialize_with = "duration")]
    pub drill_within: Duration,
    /// Only of runs whose phases last longer than this together.
    #[serde(deserialize_with = "duration")]
    pub drill_for_runs_over: Duration,
    /// Shipped guards that don't look.
    pub guards_off: Vec<String>,
}

/// How burners are held.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BurnersConfig {
    /// Burners end by themselves when the daemon has been silent for so long.
    #[serde(deserialize_with = "duration")]
    pub deadline: Duration,
    /// How long a burner may take to stop before it is killed.
    #[serde(deserialize_with = "duration")]
    pub stop_grace: Duration,
}

/// Where the kernel shows itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RootsConfig {
    /// A procfs.
    pub proc: PathBuf,
    /// A sysfs.
    pub sys: PathBuf,
    /// A tracefs.
    pub tracefs: PathBuf,
    /// Device nodes.
    pub dev: PathBuf,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text }
    }
}

impl Default for ObserveConfig {
    fn default() -> Self {
        Self {
            rate_hz: 10.0,
            probes: true,
            hooks: HookChoice::Auto,
            cgroups: Vec::new(),
            probe_budget_core_percent: 1.0,
            probe_budget_host_percent: 0.5,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_duration: Duration::from_secs(24 * 3_600),
            min_available_memory_bytes: 256 << 20,
            max_temperature_celsius: 95.0,
            stale_after: Duration::from_secs(1),
            disk_reserve_bytes: 64 << 20,
            expendable_devices: Vec::new(),
            mountable_devices: Vec::new(),
            drill_within: Duration::ZERO,
            drill_for_runs_over: Duration::from_secs(3_600),
            guards_off: Vec::new(),
        }
    }
}

impl Default for BurnersConfig {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(1), stop_grace: Duration::from_millis(30) }
    }
}

impl Default for RootsConfig {
    fn default() -> Self {
        let HostRoots { proc, sys, tracefs, dev } = HostRoots::default();
        Self { proc, sys, tracefs, dev }
    }
}

impl From<RootsConfig> for HostRoots {
    fn from(config: RootsConfig) -> Self {
        Self { proc: config.proc, sys: config.sys, tracefs: config.tracefs, dev: config.dev }
    }
}

impl Config {
    /// Reads `path`, or [`DEFAULT_PATH`] where it exists, and lays the variables of `environment` over it.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let (path, required) = path.map_or((Path::new(DEFAULT_PATH), false), |path| (path, true));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => String::new(),
            Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
        };
        let in_file = |message: String| ConfigError::File { path: path.to_owned(), message };
        // Alone first, so that what is wrong in it is told with its line.
        let _file_alone: Self = toml::from_str(&text).map_err(|error| in_file(error.to_string()))?;
        let table = toml::from_str(&text).map_err(|error| in_file(error.to_string()))?;
        let config = environment::overlay(table, environment)?;
        config.check()?;
        Ok(config)
    }

    /// What the sink is told; none where it has nothing to listen on. Of `cores` it gets those that the policy leaves it.
    pub fn sink_plan(&self, cores: &[u32]) -> Option<SinkPlan> {
        let mut plan = self.network.sink.plan()?;
        let never = &self.policy.never_cores;
        // Left to the kernel, it would be on all.
        if plan.cores.is_empty() && !never.is_empty() {
            plan.cores = cores.iter().copied().filter(|core| !never.contains(core)).collect();
        }
        Some(plan)
    }

    /// The length of a tick.
    pub fn tick(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.observe.rate_hz)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let bounds = |key, value: String, good: bool, mend| {
            if good { Ok(()) } else { Err(ConfigError::Bounds { key, value, mend }) }
        };
        let Self { observe, limits, burners, .. } = self;
        bounds(
            "observe.rate_hz",
            observe.rate_hz.to_string(),
            (1.0..=100.0).contains(&observe.rate_hz),
            "use 1 to 100 ticks a second",
        )?;
        for (key, percent) in [
            ("observe.probe_budget_core_percent", observe.probe_budget_core_percent),
            ("observe.probe_budget_host_percent", observe.probe_budget_host_percent),
        ] {
            let good = percent > 0.0 && percent <= 100.0;
            bounds(key, percent.to_string(), good, "use more than 0 and at most 100 percent")?;
        }
        bounds(
            "observe.cgroups",
            format!("{} of them", observe.cgroups.len()),
            observe.cgroups.len() <= MAX_CGROUPS,
            "name at most 16",
        )?;
        let outside = |path: &&PathBuf| !path.components().all(|part| matches!(part, Component::Normal(_)));
        if let Some(path) = observe.cgroups.iter().find(outside) {
            let value = path.display().to_string();
            let mend = "name it as below the cgroup2 mount point, such as system.slice";
            return Err(ConfigError::Bounds { key: "observe.cgroups", value, mend });
        }
        bounds(
            "limits.max_duration",
            format!("{:?}", limits.max_duration),
            (Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 3_600)).contains(&limits.max_duration),
            "use 1s to a year",
        )?;
        bounds(
            "limits.max_temperature_celsius",
            limits.max_temperature_celsius.to_string(),
            (1.0..=150.0).contains(&limits.max_temperature_celsius),
            "use 1 to 150 °C",
        )?;
        bounds(
            "limits.stale_after",
            format!("{:?}", limits.stale_after),
            limits.stale_after <= Duration::from_secs(60),
            "use at most 60s",
        )?;
        let deadlines = (self.tick() * 3).max(Duration::from_millis(100))..=Duration::from_secs(60);
        bounds(
            "burners.deadline",
            format!("{:?}", burners.deadline),
            deadlines.contains(&burners.deadline),
            "use at least 100ms and three ticks, at most 60s",
        )?;
        bounds(
            "burners.stop_grace",
            format!("{:?}", burners.stop_grace),
            burners.stop_grace <= Duration::from_secs(10),
            "use at most 10s",
        )?;
        let never = |core: &&u32| self.policy.never_cores.contains(core);
        if let Some(core) = self.network.sink.cores.iter().find(never) {
            let mend = "take the core out of it, or out of policy.never_cores";
            return Err(ConfigError::Bounds { key: "network.sink.cores", value: core.to_string(), mend });
        }
        self.policy.check()?;
        guards::check(&self.guards, limits)?;
        self.record.check()?;
        self.network.sink.check()?;
        protect::check(&self.protect)?;
        self.metrics.check()?;
        self.tls.check()?;
        self.audit.check()?;
        self.http.check()
    }
}

/// `250ms`, `10s`, `1h 30m`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        de::Error::custom(format!("'{text}' is no duration ({error}); write 250ms, 10s, 90m or 24h"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../sstsd.toml");

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(Some(file.path()), environment)
    }

    #[test]
    fn the_shipped_example_says_the_defaults_and_names_every_key() {
        // Every key stands commented out with its default.
        let uncommented: String =
            EXAMPLE.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n").collect();
        let mut config = load(&uncommented, &[]).unwrap();
        assert_eq!(config.listen, ["unix:/run/ssts/sstsd.sock"]);
        assert_eq!(config.state_dir, Some("/var/lib/ssts".into()));
        assert_eq!(config.halt_file, Some("/run/ssts/halt".into()));
        (config.listen, config.state_dir, config.halt_file) = (Vec::new(), None, None);
        assert_eq!(config, Config::default());
        assert_eq!(load(EXAMPLE, &[]).unwrap(), Config::default());
        let keys = "listen state_dir halt_file filter format rate_hz probes hooks \
                    probe_budget_core_percent probe_budget_host_percent max_duration \
                    min_available_memory_bytes max_temperature_celsius stale_after disk_reserve_bytes guards_off \
                    expendable_devices mountable_devices drill_within drill_for_runs_over deadline stop_grace \
                    max_run_bytes max_total_bytes flight_bytes frozen_before \
                    allowed_peers data_ports max_rate_bits_per_s max_streams cores allow methods max_rate_per_s max_connections \
                    max_runs max_load_percent never_cores paths hours users \
                    allow_insecure ca_files beyond_loopback max_series endpoint interval headers proc sys tracefs dev cgroups protect \
                    certificate key clients_ca revoked allowed_networks roles max_connections_per_client max_calls_per_s \
                    max_message_bytes max_file_bytes max_files";
        for key in keys.split_whitespace() {
            assert!(EXAMPLE.contains(&format!("#: {key} = ")), "{key}");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_line_and_column() {
        let message = load("[observe]\nrate_hz = 10\nrate_herz = 5\n", &[]).unwrap_err().to_string();
        assert!(message.contains("line 3, column 1") && message.contains("rate_herz"), "{message}");
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let config =
            load("[observe]\nrate_hz = 20\n", &[("SSTSD_OBSERVE__RATE_HZ", "50"), ("OTHER", "x")]).unwrap();
        assert!((config.observe.rate_hz - 50.0).abs() < f64::EPSILON);
        let config = load("", &[("SSTSD_LOG__FILTER", "debug"), ("SSTSD_LISTEN", "unix:/a")]).unwrap();
        assert_eq!(config.log.filter, "debug");
        assert!(load("", &[("SSTSD_METRICS__LISTEN", "")]).unwrap().metrics.listen.is_empty());
        assert_eq!(config.listen, ["unix:/a"]);
    }

    #[test]
    fn a_bad_variable_is_named() {
        for (name, value) in
            [("SSTSD_OBSERVE__RATE_HERZ", "5"), ("SSTSD_OBSERVE__RATE_HZ", "x"), ("SSTSD_LISTEN__X", "5")]
        {
            let message = load("listen = []", &[(name, value)]).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn a_unit_is_protected_by_its_name() {
        let text =
            "[[protect]]\nunit = \"nginx.service\"\nhealth_url = \"http://127.0.0.1/\"\nevery = \"500ms\"\n";
        let config = load(text, &[]).unwrap();
        assert_eq!(config.protect[0].unit, "nginx.service");
        assert_eq!(config.protect[0].every, Duration::from_millis(500));
        assert!(load("[[protect]]\nunit = \"system.slice/x\"\n", &[]).is_ok());
    }

    #[test]
    fn values_outside_their_bounds_are_refused() {
        for text in [
            "[observe]\nrate_hz = 0\n",
            "[observe]\nrate_hz = 101\n",
            "[observe]\nprobe_budget_core_percent = 0\n",
            "[observe]\nprobe_budget_host_percent = 101\n",
            "[limits]\nmax_duration = \"0s\"\n",
            "[limits]\nmax_temperature_celsius = nan\n",
            "[burners]\ndeadline = \"10ms\"\n",
            "[network]\nallowed_peers = [\"10.0.0.0/33\"]\n",
            "[network.sink]\nlisten = [\"10.0.0.1\"]\n",
            "[network.sink]\nmax_streams = 0\n",
            "[network.sink]\ncores = [1024]\n",
            "[network.sink]\ndata_ports = [9, 8]\n",
            "[network.sink]\nmax_duration = \"0s\"\n",
            "[network.sink]\nmax_rate_bits_per_s = 0\n",
            "[http]\nallow = [\"h/\"]\n",
            "[http]\nallow = [\"http://user@h/\"]\n",
            "[http]\nallow = [\"http://h/?q\"]\n",
            "[http]\nmethods = [\"get\"]\n",
            "[http]\nmax_rate_per_s = 0\n",
            "[http]\nmax_connections = 0\n",
            "[http]\nca_files = [\"ca.pem\"]\n",
            "[metrics]\nlisten = [\"localhost:9464\"]\n",
            "[metrics]\nlisten = [\"0.0.0.0:9464\"]\n",
            "[metrics]\nlisten = [\"[::ffff:10.0.0.1]:9464\"]\n",
            "[metrics]\nmax_series = 0\n",
            "[tls]\nlisten = [\"localhost:7443\"]\n",
            "[tls]\nkey = \"host.key\"\n",
            "[tls]\nallowed_networks = [\"10.0.0.0/33\"]\n",
            "[tls]\nmax_connections = 0\n",
            "[tls]\nmax_message_bytes = 1\n",
            "[tls]\nroles = [{ client = \"\", role = \"viewer\" }]\n",
            "[tls]\nroles = [{ client = \"a\", role = \"viewer\" }, { client = \"a\", role = \"admin\" }]\n",
            "[tls]\nroles = [{ client = \"a\", role = \"king\" }]\n",
            "[audit]\nmax_file_bytes = 1\n",
            "[audit]\nmax_files = 1\n",
            "[[protect]]\n",
            "[[protect]]\nunit = \"nginx\"\n",
            "[[protect]]\nunit = \"../x.service\"\n",
            "[[protect]]\nunit = \"/system.slice/x\"\n",
            "[[protect]]\nunit = \"x.service\"\nquery = \"up\"\n",
            "[[protect]]\nunit = \"x.service\"\nevery = \"1ms\"\n",
            "[[protect]]\nunit = \"x.service\"\nhealth_url = \"x\"\n",
            "[[protect]]\nunit = \"x.service\"\n[[protect]]\nunit = \"x.service\"\n",
            "[burners]\ndeadline = 5\n",
            "[limits]\nmax_duration = \"5parsecs\"\n",
        ] {
            assert!(load(text, &[]).is_err(), "{text}");
        }
    }
}
