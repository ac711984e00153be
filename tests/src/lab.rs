//! The laboratory: a virtual machine with another kernel and hardware to torment. Slow, so for behaviour and never for
//! figures.

use std::{
    collections::HashMap,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{Programs, note};

/// What a script says with: `section NAME COMMAND...` prints a head line, what the command prints, and its exit status.
const SECTION: &str = r#"
export XDG_STATE_HOME=/tmp/state HOME=/tmp
section() { local name=$1 status=0; shift; echo "=== $name"; "$@" 2>"/tmp/$name.err" || status=$?; echo "=== $status"; ((status == 0)) || cat "/tmp/$name.err" >&2; }
"#;

/// What one command of the script printed.
#[derive(Debug)]
pub struct Section {
    /// On standard output.
    pub text: String,
    /// Its exit status.
    pub status: i32,
}

impl Section {
    /// The one object that it printed.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect(&self.text)
    }
}

/// The sections of a script that came to its end; it knows the programs as `$SSTSD` and `$SSTSCTL`. A machine whose emulated
/// processor stalled proves nothing about what runs in it, and is booted once more.
pub fn carry_out(script: &str) -> HashMap<String, Section> {
    carry_out_in(&[], script)
}

/// The same as a service of a real systemd, which is the machine's first process.
pub fn carry_out_under_systemd(script: &str) -> HashMap<String, Section> {
    carry_out_in(&[("LAB_SYSTEMD", "1")], script)
}

/// The same in a machine that is made otherwise: the variables of tests/lab/vm.
pub fn carry_out_in(machine: &[(&str, &str)], script: &str) -> HashMap<String, Section> {
    let (mut stdout, mut stderr, mut status) = boot(script, machine);
    if status == Some(124) && stderr.contains("detected stall") {
        note(format_args!("the emulated processor stalled, booting once more: {stderr}"));
        (stdout, stderr, status) = boot(script, machine);
    }
    note(format_args!("{stderr}"));
    assert_eq!(status, Some(0), "{stdout}\n{stderr}");
    sections(&stdout)
}

/// What the script said on standard output and error, and the status of the laboratory.
fn boot(script: &str, machine: &[(&str, &str)]) -> (String, String, Option<i32>) {
    let programs = Programs::built();
    // The machine has an environment of its own: what the script is to know stands in it.
    // An emulated probe costs a hundred times what a real one does: there is no budget for that.
    let known = format!(
        "SSTSD='{}' SSTSCTL='{}'\n\
         export SSTSD_OBSERVE__PROBE_BUDGET_CORE_PERCENT=100.0 SSTSD_OBSERVE__PROBE_BUDGET_HOST_PERCENT=100.0\n",
        programs.sstsd.display(),
        programs.sstsctl.display()
    );
    let output = Command::new(Programs::repository().join("tests/lab/vm"))
        .arg(known + SECTION + script)
        .env("LAB_SECONDS", "420")
        .envs(machine.iter().copied())
        .current_dir(Programs::repository())
        .stdin(Stdio::null())
        .output()
        .expect("it can be executed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

fn sections(text: &str) -> HashMap<String, Section> {
    let mut found = HashMap::new();
    let mut parts = text.split("=== ").skip(1);
    while let (Some(begin), Some(end)) = (parts.next(), parts.next()) {
        let (name, text) = begin.split_once('\n').expect("a head line ends");
        let status = end.trim().parse().expect(end);
        found.insert(name.to_owned(), Section { text: text.to_owned(), status });
    }
    found
}
