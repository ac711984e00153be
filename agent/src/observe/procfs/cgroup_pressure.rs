//! How long the tasks of cgroups waited for a resource: `*.pressure` of each run's own cgroup and of those that the
//! configuration names. Documentation/accounting/psi.rst of the kernel, "Cgroup2 interface".

use std::path::{Path, PathBuf};

use ssts_proto::catalogue::CGROUP_PRESSURE_STALLED;

use super::pressure::{RESOURCES, SHARES, note};
use crate::{
    host::{self, HostRoots},
    observe::{
        frame::Frame,
        kernel_file::KernelFile,
        schema::{Column, Schema},
        source::Source,
    },
};

/// Reads the pressure of some cgroups.
#[derive(Debug)]
pub struct CgroupPressure {
    roots: HostRoots,
    configured: Vec<PathBuf>,
    files: Vec<(KernelFile, Vec<Column>)>,
}

impl CgroupPressure {
    /// Of the runs' cgroups, and of `configured` ones, named as below the mount point of version 2.
    pub fn new(roots: &HostRoots, configured: &[PathBuf]) -> Self {
        Self { roots: roots.clone(), configured: configured.to_vec(), files: Vec::new() }
    }

    /// `run`: whose own it is, empty where it is nobody's.
    fn add(&mut self, folder: &Path, run: &str, label: &str, schema: &mut Schema) {
        for resource in RESOURCES {
            let path = folder.join(format!("{resource}.pressure"));
            let columns = SHARES
                .iter()
                .map(|share| schema.column(&CGROUP_PRESSURE_STALLED, &[run, label, resource, share]));
            self.files.push((KernelFile::open(path), columns.collect()));
        }
    }
}

impl Source for CgroupPressure {
    /// A run that begins or ends brings a new schema by its burners.
    fn describe(&mut self, schema: &mut Schema) {
        self.files.clear();
        for (run, folder) in host::run_folders(&self.roots) {
            self.add(&folder, &run, "run", schema);
        }
        let Ok(mount) = host::cgroup_mount(&self.roots) else { return };
        for cgroup in self.configured.clone() {
            self.add(&mount.join(&cgroup), "", &cgroup.to_string_lossy(), schema);
        }
    }

    fn sample(&mut self, frame: &mut Frame) {
        for (file, columns) in &mut self.files {
            note(file.read(), columns, frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::AbsenceReason;

    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    #[test]
    fn a_runs_own_cgroup_and_configured_ones_are_read() {
        let tree = TestTree::new(&[("proc/self/cgroup", "0::/ssts.service\n")]);
        let mount = tree.roots().sys("fs/cgroup");
        tree.write(
            "proc/self/mountinfo",
            &format!("30 24 0:27 / {} rw - cgroup2 cgroup2 rw\n", mount.display()),
        );
        let some = "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n";
        let run = |id| format!("sys/fs/cgroup/ssts.service/ssts-{}-{id}", std::process::id());
        tree.write(format!("{}/memory.pressure", run("run-1")), some);
        tree.write(format!("{}/cpu.pressure", run("run-2")), some);
        tree.write("sys/fs/cgroup/system.slice/io.pressure", some);
        // What a check of the host makes for a moment is no run.
        tree.write(format!("sys/fs/cgroup/ssts.service/ssts-{}-check_0/x", std::process::id()), "");
        let configured = ["system.slice".into(), "none.slice".into()];
        let (schema, frame) = tree.sample(&mut CgroupPressure::new(&tree.roots(), &configured));
        let read = |labels: &[&str]| value(&schema, &frame, "cgroup.pressure.stalled", labels);
        assert_eq!(read(&["run-1", "run", "memory", "some"]), Ok(2.5));
        assert_eq!(read(&["run-2", "run", "cpu", "some"]), Ok(2.5));
        assert_eq!(read(&["", "system.slice", "io", "some"]), Ok(2.5));
        assert_eq!(read(&["run-1", "run", "memory", "full"]), Err(AbsenceReason::Unsupported));
        assert_eq!(read(&["", "none.slice", "io", "some"]), Err(AbsenceReason::Unsupported));
    }
}
