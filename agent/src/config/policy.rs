//! What the host's administrator allows, whoever asks. Other sections have what belongs to their subjects: `limits` the
//! duration, the reserves and the devices, `network` the peers, `http` the services.

use std::{fmt, path::PathBuf};

use nix::unistd::{Group, User};
use serde::Deserialize;

use super::{
    ConfigError,
    hours::{Hours, Window},
};

/// More at once would only be in each other's way, and each costs the tick its share.
const MOST_RUNS: usize = 16;
/// What an affinity mask of the C library holds: sched_setaffinity(2), CPU_SETSIZE.
const MOST_CORES: u32 = 1_024;

/// What the host's administrator allows.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// Runs at once.
    pub max_runs: usize,
    /// The most that may be asked of a core.
    pub max_load_percent: f64,
    /// Cores that no worker and no sink is put on.
    pub never_cores: Vec<u32>,
    /// Folders below which disk burners may make files.
    pub paths: Vec<PathBuf>,
    /// When runs may be on, local time.
    pub hours: Vec<Window>,
    /// Who may do what. Empty: whoever can open the socket may do all.
    pub users: Vec<UserRule>,
}

/// What one user, or the members of a group, may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRule {
    /// A user.
    pub user: Option<NameOrId>,
    /// A group.
    pub group: Option<NameOrId>,
    /// What they may do.
    pub role: Role,
}

/// As /etc/passwd and /etc/group have them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum NameOrId {
    /// Such as 1000.
    Id(u32),
    /// Such as `alice`.
    Name(String),
}

/// What somebody may do. Each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything, changes nothing.
    Viewer,
    /// Takes load off: stops runs, halts the host.
    Halter,
    /// Starts, pauses, resumes runs.
    Operator,
    /// Lifts halts, and whatever else.
    Admin,
}

/// A rule with its names looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Whom it is about.
    pub subject: Subject,
    /// What they may do.
    pub role: Role,
}

/// Whom a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A user by id.
    User(u32),
    /// The members of a group by id.
    Group(u32),
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            max_runs: 4,
            max_load_percent: 100.0,
            never_cores: Vec::new(),
            paths: vec!["/".into()],
            hours: vec![Window::ALWAYS],
            users: Vec::new(),
        }
    }
}

impl PolicyConfig {
    /// When runs may be on.
    pub fn hours(&self) -> Hours<'_> {
        Hours(&self.hours)
    }

    /// The users' rules, names looked up in this host's databases.
    ///
    /// # Errors
    /// [`ConfigError::Bounds`] names one that is unknown here.
    pub fn rules(&self) -> Result<Vec<Rule>, ConfigError> {
        self.users.iter().map(UserRule::resolve).collect()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bounds = |key, value: String, good: bool, mend| {
            if good { Ok(()) } else { Err(ConfigError::Bounds { key, value, mend }) }
        };
        bounds(
            "policy.max_runs",
            self.max_runs.to_string(),
            (1..=MOST_RUNS).contains(&self.max_runs),
            "use 1 to 16",
        )?;
        bounds(
            "policy.max_load_percent",
            self.max_load_percent.to_string(),
            (1.0..=100.0).contains(&self.max_load_percent),
            "use 1 to 100 percent of a core",
        )?;
        bounds(
            "policy.never_cores",
            format!("{:?}", self.never_cores),
            self.never_cores.iter().all(|core| *core < MOST_CORES),
            "use numbers of cores below 1024",
        )?;
        bounds(
            "policy.paths",
            format!("{:?}", self.paths),
            self.paths.iter().all(|path| path.is_absolute()),
            "use absolute paths; [\"/\"] allows all",
        )?;
        bounds(
            "policy.hours",
            "[]".into(),
            !self.hours.is_empty(),
            "name the hours; [\"Mon-Sun 00:00-24:00\"] allows all",
        )?;
        self.rules().map(|_| ())
    }
}

impl UserRule {
    fn resolve(&self) -> Result<Rule, ConfigError> {
        let wrong = |value: String, mend| ConfigError::Bounds { key: "policy.users", value, mend };
        let subject = match (&self.user, &self.group) {
            (Some(user), None) => {
                let uid = match user {
                    NameOrId::Id(uid) => Some(*uid),
                    NameOrId::Name(name) => {
                        User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
                    }
                };
                uid.map(Subject::User)
                    .ok_or_else(|| wrong(format!("user {user}"), "name a user of this host, or an id"))?
            }
            (None, Some(group)) => {
                let gid = match group {
                    NameOrId::Id(gid) => Some(*gid),
                    NameOrId::Name(name) => {
                        Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
                    }
                };
                gid.map(Subject::Group)
                    .ok_or_else(|| wrong(format!("group {group}"), "name a group of this host, or an id"))?
            }
            _ => return Err(wrong(format!("{self:?}"), "give each rule a user or a group, and not both")),
        };
        Ok(Rule { subject, role: self.role })
    }
}

impl fmt::Display for NameOrId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Role {
    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Halter, Self::Operator, Self::Admin].into_iter().find(|role| role.name() == name)
    }

    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Halter => "halter",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(text: &str) -> Result<Vec<Rule>, ConfigError> {
        toml::from_str::<PolicyConfig>(text).unwrap().rules()
    }

    #[test]
    fn users_and_groups_are_named_or_numbered() {
        let rules = users("users = [{ user = \"root\", role = \"admin\" }, { user = 7, role = \"halter\" }, { group = 9, role = \"viewer\" }]").unwrap();
        let subjects: Vec<_> = rules.iter().map(|rule| (rule.subject, rule.role)).collect();
        assert_eq!(
            subjects,
            [
                (Subject::User(0), Role::Admin),
                (Subject::User(7), Role::Halter),
                (Subject::Group(9), Role::Viewer)
            ]
        );
    }

    #[test]
    fn a_rule_about_nobody_or_two_is_refused() {
        for text in [
            "users = [{ user = \"no-such-user\", role = \"viewer\" }]",
            "users = [{ group = \"no-such-group\", role = \"viewer\" }]",
            "users = [{ role = \"viewer\" }]",
            "users = [{ user = 1, group = 1, role = \"viewer\" }]",
        ] {
            let message = users(text).unwrap_err().to_string();
            assert!(message.contains("policy.users"), "{message}");
        }
        assert!(toml::from_str::<PolicyConfig>("users = [{ user = 1, role = \"king\" }]").is_err());
    }

    #[test]
    fn each_role_may_what_the_lesser_may() {
        assert!(Role::Viewer < Role::Halter && Role::Halter < Role::Operator && Role::Operator < Role::Admin);
    }
}
