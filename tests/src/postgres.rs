//! A PostgreSQL server of a story's own.

use std::{
    fs::{self, File, Permissions},
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use tempfile::TempDir;

use crate::{Certificate, Programs, daemon::pid, outside, possible};

/// Debian's and most others' `nobody`: the server does not run as root.
const NOBODY: u32 = 65_534;

/// Stopped, and all it has written removed, when dropped.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    folder: TempDir,
    port: Option<u16>,
}

impl Postgres {
    /// On a socket, for whoever may enter its folder. None where it is not installed; in CI it must be.
    pub fn start() -> Option<Self> {
        Self::start_with(|_| None)
    }

    /// On a port of 127.0.0.1, for `ssts` with a password, through TLS alone.
    pub fn start_encrypted(password: &str) -> Option<Self> {
        Self::start_with(|folder| {
            Certificate::new(folder);
            for name in ["cert.pem", "key.pem"] {
                let path = folder.join(name);
                fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
                give(&path);
            }
            let file = folder.join("password");
            fs::write(&file, password).expect("the folder is ours");
            give(&file);
            // Free a moment ago; on loopback nobody else takes it so quickly.
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
            Some(listener.local_addr().expect("it is bound").port())
        })
    }

    fn start_with(prepare: impl FnOnce(&Path) -> Option<u16>) -> Option<Self> {
        let programs = programs()?;
        // Short, for the socket: unix(7).
        let folder =
            tempfile::Builder::new().prefix("ssts-pg-").tempdir_in("/tmp").expect("/tmp takes a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("the folder is ours");
        give(folder.path());
        let port = prepare(folder.path());
        let data = folder.path().join("data");
        let mut initdb = as_nobody(&programs.join("initdb"), folder.path());
        initdb.args(["--username=ssts", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"]);
        match port {
            Some(_) => initdb
                .arg("--auth=scram-sha-256")
                .arg(format!("--pwfile={}/password", folder.path().display())),
            None => initdb.arg("--auth=trust"),
        };
        let made = initdb.arg("-D").arg(&data).output().expect("initdb can be executed");
        assert!(
            made.status.success(),
            "{}{}",
            String::from_utf8_lossy(&made.stdout),
            String::from_utf8_lossy(&made.stderr)
        );
        let log = File::create(folder.path().join("log")).expect("the folder is ours");
        let mut postgres = as_nobody(&programs.join("postgres"), folder.path());
        postgres.arg("-D").arg(&data).arg("-k").arg(folder.path()).args(["-c", "fsync=off"]).stderr(log);
        match port {
            Some(port) => {
                let file = |name: &str| format!("{}/{name}", folder.path().display());
                fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 scram-sha-256\n")
                    .expect("root may");
                postgres
                    .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={port}"), "-c", "ssl=on"])
                    .args(["-c", &format!("ssl_cert_file={}", file("cert.pem"))])
                    .args(["-c", &format!("ssl_key_file={}", file("key.pem"))]);
            }
            None => {
                postgres.args(["-c", "listen_addresses="]);
            }
        }
        let child = postgres.spawn().expect("postgres can be executed");
        let mut server = Self { child, folder, port };
        let ready = || {
            // The last line of this file says so: PM_STATUS_READY of src/include/utils/pidfile.h.
            let status = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            status.lines().any(|line| line.trim() == "ready")
                || server.child.try_wait().is_ok_and(|end| end.is_some())
        };
        let came = outside::within(Duration::from_secs(30), ready);
        let is_up = came.is_some() && server.child.try_wait().is_ok_and(|end| end.is_none());
        assert!(is_up, "{}", server.log());
        Some(server)
    }

    /// Its database, as `--store` takes it.
    pub fn url(&self) -> String {
        let folder = self.folder.path().display();
        match self.port {
            Some(port) => {
                format!(
                    "postgres://ssts@127.0.0.1:{port}/postgres?sslmode=require&sslrootcert={folder}/cert.pem"
                )
            }
            None => format!("postgres:///postgres?user=ssts&host={folder}"),
        }
    }

    /// What a query gives, a line a row.
    pub fn query(&self, sql: &str) -> String {
        let mut single = Command::new("psql");
        single
            .args(["-X", "-A", "-t", "-U", "ssts", "-d", "postgres", "-h"])
            .arg(self.folder.path())
            .args(["-c", sql]);
        let output = single.output().expect("psql can be executed");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, without waiting for clients; it removes its shared memory, which SIGKILL would leave.
        let _best_effort = kill(Pid::from_raw(pid(&self.child)), Signal::SIGQUIT);
        if outside::within(Duration::from_secs(10), || self.child.try_wait().is_ok_and(|end| end.is_some()))
            .is_none()
        {
            let _best_effort = self.child.kill();
            let _best_effort = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("---- PostgreSQL ----\n{}----", self.log());
        }
    }
}

/// The folder of its programs: of a package, or unpacked by `make setup`.
fn programs() -> Option<PathBuf> {
    let unpacked = Programs::built().target.join("tools/postgresql/usr/lib/postgresql");
    let mut versions: Vec<_> = ["/usr/lib/postgresql".into(), unpacked]
        .iter()
        .flat_map(fs::read_dir)
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .chain(["/usr/bin".into()])
        .filter(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file())
        .collect();
    let found = if versions.is_empty() { None } else { Some(versions.remove(0)) };
    possible(found.is_some(), "no PostgreSQL server is installed; run `make setup`").then_some(found)?
}

/// Where we are root, somebody else; the server refuses to run as root.
fn as_nobody(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn give(path: &Path) {
    if geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
    }
}
