//! One record of the kernel's log, and what kind of trouble it tells of.

/// By number, 0 to 4: syslog(2). Less grave ones are not counted.
pub const LEVEL_NAMES: [&str; 5] = ["emerg", "alert", "crit", "err", "warning"];

/// Kinds of trouble, in the order of [`KINDS`].
pub const KIND_NAMES: [&str; KINDS.len()] = {
    let mut names = [""; KINDS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = KINDS[index].0;
        index += 1;
    }
    names
};

/// The kind of what hardware told the kernel to be wrong, corrected or not.
pub const MACHINE_CHECK: &str = "machine_check";

/// Words of the kernel's messages that tell of a kind of trouble, whatever their level. In brackets where they are logged.
const KINDS: [(&str, &[&str]); 10] = [
    // kernel/hung_task.c
    ("hung_task", &["blocked for more than"]),
    // kernel/watchdog.c, kernel/rcu/tree_stall.h
    ("lockup", &["soft lockup", "hard LOCKUP", "detected stall", "self-detected stall"]),
    // mm/oom_kill.c, mm/page_alloc.c
    ("out_of_memory", &["Out of memory", "oom-kill:", "page allocation failure"]),
    // arch/x86/kernel/cpu/mce, drivers/acpi/apei/ghes.c, mm/memory-failure.c. Each of these is an error, and counts as one; so
    // no "mce: ", which also begins what is said of a core that comes up.
    (
        MACHINE_CHECK,
        &[
            "[Hardware Error]",
            "Machine check",
            "machine check",
            "Uncorrected hardware memory error",
            "Memory failure:",
        ],
    ),
    // drivers/edac: errors, which it also counts, and drivers that come and go.
    ("edac", &["EDAC "]),
    // drivers/pci/pcie/aer.c
    ("pcie", &["AER: ", "PCIe Bus Error"]),
    // drivers/ata/libata-eh.c, drivers/nvme/host, drivers/scsi
    (
        "link_reset",
        &[
            "hard resetting link",
            "soft resetting link",
            "resetting controller",
            "reset controller",
            "I/O timeout",
            "NIC Link is Down",
            "Link is Down",
            "link down",
            "NETDEV WATCHDOG",
            "Reset adapter",
        ],
    ),
    // block/blk-core.c, fs/buffer.c, file systems
    (
        "io_error",
        &[
            "I/O error",
            "EXT4-fs error",
            "critical medium error",
            "metadata I/O error",
            "Remounting filesystem read-only",
        ],
    ),
    // arch/x86/kernel/cpu/mce/therm_throt.c, drivers/thermal
    ("thermal", &["temperature above threshold", "cpu clock throttled", "critical temperature reached"]),
    // kernel/panic.c, arch/x86/kernel/dumpstack.c
    ("oops", &["BUG: ", "Oops: ", "general protection fault", "------------[ cut here ]"]),
];

/// Of the kernel itself, and of somebody who wrote to `/dev/kmsg` without naming another: syslog(3).
const FACILITY_KERNEL: u64 = 0;
const FACILITY_USER: u64 = 1;

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// 0 (emergency) to 7 (debug).
    pub level: usize,
    /// Who logged it: 0 is the kernel.
    pub facility: u64,
    /// Counts all records since the host started.
    pub sequence: u64,
    /// When, by the kernel's own clock, about CLOCK_MONOTONIC.
    pub at_us: u64,
    /// Without the dictionary that may follow it.
    pub message: &'a str,
    /// An index into [`KIND_NAMES`].
    pub kind: Option<usize>,
}

impl<'a> Record<'a> {
    /// `6,339,5140900,-;NET: Registered protocol family 10`, then lines of a dictionary.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (head, rest) = text.split_once(';')?;
        let mut fields = head.split(',');
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (priority, sequence, at_us) = (number()?, number()?, number()?);
        let message = rest.lines().next().unwrap_or_default();
        let is_told = |words: &&[&str]| words.iter().any(|word| message.contains(word));
        let kind = KINDS.iter().position(|(_, words)| is_told(words));
        // The lowest three bits are the level.
        Some(Self { level: (priority & 7) as usize, facility: priority >> 3, sequence, at_us, message, kind })
    }

    /// Whether somebody who stresses the host should know of it.
    pub fn is_of_interest(&self) -> bool {
        let is_grave = self.level < LEVEL_NAMES.len();
        matches!(self.facility, FACILITY_KERNEL | FACILITY_USER) && (is_grave || self.kind.is_some())
    }

    /// The name of its level, `info` for all that are not grave.
    pub fn level_name(&self) -> &'static str {
        LEVEL_NAMES.get(self.level).copied().unwrap_or("info")
    }

    /// The name of its kind, where it has one.
    pub fn kind_name(&self) -> Option<&'static str> {
        self.kind.map(|kind| KIND_NAMES[kind])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Documentation/ABI/testing/dev-kmsg, and others as kernels wrote them.
    #[test]
    fn records_are_read_and_sorted_by_kind() {
        let plain = Record::parse("6,339,5140900,-;NET: Registered protocol family 10\n").unwrap();
        assert_eq!((plain.level, plain.sequence, plain.at_us), (6, 339, 5_140_900));
        assert_eq!(plain.message, "NET: Registered protocol family 10");
        assert!(!plain.is_of_interest());
        let kind = |text| Record::parse(text).and_then(|record| record.kind_name());
        let message =
            "3,1,1,-;INFO: task dd:123 blocked for more than 120 seconds.\n SUBSYSTEM=x\n DEVICE=b8:0\n";
        assert_eq!(kind(message), Some("hung_task"));
        assert_eq!(kind("6,1,1,-;ata1: hard resetting link"), Some("link_reset"));
        assert_eq!(kind("6,1,1,-;e1000e 0000:00:1f.6 eth0: NIC Link is Down"), Some("link_reset"));
        assert_eq!(kind("3,1,1,-;blk_update_request: I/O error, dev sda, sector 1"), Some("io_error"));
        assert_eq!(kind("4,1,1,-;{1}[Hardware Error]: It has been corrected"), Some("machine_check"));
        assert_eq!(kind("6,1,1,-;mce: [Hardware Error]: Machine check events logged"), Some("machine_check"));
        assert_eq!(kind("6,1,1,-;mce: CPU supports 9 MCE banks"), None);
        assert_eq!(kind("6,1,1,-;EDAC MC0: Giving out device to module i10nm_edac"), Some("edac"));
        assert_eq!(kind("4,1,1,-;something else"), None);
    }

    #[test]
    fn link_resets_are_of_interest_whatever_their_level_and_other_programs_are_not() {
        let interest = |text| Record::parse(text).unwrap().is_of_interest();
        assert!(interest("6,1,1,-;ata1: hard resetting link"));
        assert!(interest("12,1,1,-;a user's warning"));
        // Facility 3, a daemon's.
        assert!(!interest("28,1,1,-;systemd: a warning"));
        assert!(Record::parse("nonsense").is_none() && Record::parse("x,1,2,-;y").is_none());
    }
}
