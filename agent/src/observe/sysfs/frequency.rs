//! What cpufreq says: Documentation/admin-guide/pm/cpufreq.rst of the kernel. All of it in kHz.

use ssts_proto::catalogue::{HOST_CPU_FREQUENCY, HOST_CPU_FREQUENCY_LIMIT};

use super::{
    attributes::{Attribute, Attributes, whole},
    topology::cpus,
};
use crate::host::HostRoots;

/// The present frequency of each core, and the highest that it may have.
pub(super) fn frequencies(roots: &HostRoots) -> Attributes {
    Attributes::new(roots, find)
}

fn find(roots: &HostRoots) -> Vec<Attribute> {
    let files = [("scaling_cur_freq", &HOST_CPU_FREQUENCY), ("scaling_max_freq", &HOST_CPU_FREQUENCY_LIMIT)];
    let of = |cpu: &super::topology::Cpu| {
        let (folder, labels) = (cpu.folder.join("cpufreq"), vec![cpu.cpu.to_string()]);
        files.map(|(name, metric)| Attribute {
            path: folder.join(name),
            metric,
            labels: labels.clone(),
            parse: hertz,
        })
    };
    cpus(roots).iter().flat_map(of).filter(|attribute| attribute.path.exists()).collect()
}

fn hertz(text: &[u8]) -> Option<f64> {
    whole(text).map(|khz| khz * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    #[test]
    fn khz_become_hz_and_cores_without_cpufreq_have_no_column() {
        let tree = TestTree::new(&[
            ("sys/devices/system/cpu/cpu1/topology/core_id", "1\n"),
            ("sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq", "2400000\n"),
            ("sys/devices/system/cpu/cpu3/cpufreq/scaling_max_freq", "<unknown>\n"),
        ]);
        let (schema, frame) = tree.sample(&mut frequencies(&tree.roots()));
        assert_eq!(value(&schema, &frame, "host.cpu.frequency", &["3"]), Ok(2.4e9));
        let limit = value(&schema, &frame, "host.cpu.frequency_limit", &["3"]);
        assert_eq!(limit, Err(ssts_proto::v1::AbsenceReason::Malformed));
        assert_eq!(schema.columns.len(), 2);
    }
}
