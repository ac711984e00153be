//! Builds the kernel side (`agent-ebpf`) and leaves its objects in `OUT_DIR`, for the daemon to embed.
//!
//! It takes a compiler that has its library's source: the one that builds the daemon, else rustup's nightly, else
//! Debian's. Builds of the host for other profiles share its target folder.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// The objects: one for each probe.
const OBJECTS: [&str; 7] = ["block", "drops", "hardware", "irq", "memory", "sched", "tcp"];

const NO_COMPILER: &str = "the eBPF programs need a Rust compiler with its library's source, and there is none. \
    Debian: `apt-get install rustc-web cargo-web rust-web-src`; \
    rustup: `rustup toolchain install nightly --component rust-src`";

const NO_LINKER: &str = "the eBPF programs need bpf-linker, which is not where BPF_LINKER says or, that being unset, neither on PATH nor in target/tools/bin: \
    `make setup`, or `cargo install bpf-linker --version 0.13.0 --no-default-features --features llvm-22 --root target/tools`";

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let agent = path_from("CARGO_MANIFEST_DIR")?;
    let workspace = agent.parent().ok_or("the agent's folder has no parent")?;
    for watched in ["agent-ebpf/src", "agent-ebpf/Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    println!("cargo::rerun-if-env-changed=BPF_LINKER");
    let out = path_from("OUT_DIR")?;
    let toolchain = Toolchain::find().ok_or(NO_COMPILER)?;
    let linker = linker(workspace).ok_or(NO_LINKER)?;
    println!("cargo::rerun-if-changed={}", linker.display());

    let flags = ["-C", "debuginfo=2", "-C", "link-arg=--btf", "-C", &format!("linker={}", linker.display())]
        .join("\x1f");
    let mut cargo = Command::new(&toolchain.cargo);
    // What cargo and rustup set for the build of the host would lead this one astray.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_the_host_build) {
            cargo.env_remove(&name);
        }
    }
    cargo
        .current_dir(workspace)
        .env("RUSTC", &toolchain.rustc)
        // Lets a stable compiler take -Z too.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        // bpf-linker optimises across all crates itself.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--package",
            "ssts-agent-ebpf",
            "--features",
            "kernel",
        ])
        .args(["--bins", "--target", "bpfel-unknown-none", "-Z", "build-std=core", "-Z", "unstable-options"])
        .arg("--target-dir")
        .arg(target_dir(&out).join("ebpf"))
        .arg("--artifact-dir")
        .arg(&out);
    let output = cargo.output().map_err(|e| format!("{}: {e}", toolchain.cargo.display()))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "the eBPF programs did not build: {cargo:?}\\n{}",
            errors.trim().replace('\n', "\\n")
        ));
    }
    match OBJECTS.iter().find(|object| !out.join(object).is_file()) {
        Some(object) => Err(format!("the build of the eBPF programs left no {object} in {}", out.display())),
        None => Ok(()),
    }
}

/// A cargo and a rustc whose library's source is installed.
struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
}

impl Toolchain {
    fn find() -> Option<Self> {
        let own = || Some(Self { cargo: env::var_os("CARGO")?.into(), rustc: env::var_os("RUSTC")?.into() });
        let nightly = || {
            let which =
                |tool| printed(Command::new("rustup").args(["which", "--toolchain", "nightly", tool]));
            Some(Self { cargo: which("cargo")?, rustc: which("rustc")? })
        };
        let debian = || Some(Self { cargo: "/usr/bin/cargo".into(), rustc: "/usr/bin/rustc".into() });
        [&own as &dyn Fn() -> Option<Self>, &nightly, &debian]
            .into_iter()
            .filter_map(|candidate| candidate())
            .find(Self::has_source)
    }

    fn has_source(&self) -> bool {
        printed(Command::new(&self.rustc).args(["--print", "sysroot"]).env_remove("LD_LIBRARY_PATH"))
            .is_some_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file())
            && self.cargo.is_file()
    }
}

/// The path that a command prints, if it succeeds.
fn printed(command: &mut Command) -> Option<PathBuf> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().into())
}

fn linker(workspace: &Path) -> Option<PathBuf> {
    if let Some(given) = env::var_os("BPF_LINKER").map(PathBuf::from) {
        return given.is_file().then_some(given);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([workspace.join("target/tools/bin")])
        .map(|folder| folder.join("bpf-linker"))
        .find(|candidate| candidate.is_file())
}

/// The target folder that `out` lies in: cargo marks it so that backups leave it out.
fn target_dir(out: &Path) -> &Path {
    out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).unwrap_or(out)
}

/// Whether a variable was set for the build that runs this script, and not by the user for all builds.
fn is_of_the_host_build(name: &str) -> bool {
    const OF_THE_USER: [&str; 6] =
        ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];
    const OTHERS: [&str; 6] =
        ["LD_LIBRARY_PATH", "MAKEFLAGS", "MFLAGS", "RUSTUP_TOOLCHAIN", "TARGET", "CLIPPY_ARGS"];
    let of_cargo = name.starts_with("CARGO") && !OF_THE_USER.iter().any(|prefix| name.starts_with(prefix));
    of_cargo || (name.starts_with("RUST") && name != "RUSTUP_HOME") || OTHERS.contains(&name)
}

fn path_from(variable: &str) -> Result<PathBuf, String> {
    env::var_os(variable).map(PathBuf::from).ok_or_else(|| format!("cargo did not set {variable}"))
}
