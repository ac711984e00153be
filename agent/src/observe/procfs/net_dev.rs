//! `/proc/net/dev`: what each interface moved. proc_pid_net(5).

use ssts_proto::{catalogue as metrics, catalogue::Metric, v1::AbsenceReason};

use super::table::Table;
use crate::{
    host::HostRoots,
    observe::{
        frame::Frame,
        kernel_file::{KernelFile, lines, numbers},
        schema::Schema,
        source::Source,
    },
};

static COLUMNS: [&Metric; 8] = [
    &metrics::HOST_NETWORK_RECEIVED_BYTES,
    &metrics::HOST_NETWORK_RECEIVED_PACKETS,
    &metrics::HOST_NETWORK_RECEIVE_ERRORS,
    &metrics::HOST_NETWORK_RECEIVE_DROPS,
    &metrics::HOST_NETWORK_SENT_BYTES,
    &metrics::HOST_NETWORK_SENT_PACKETS,
    &metrics::HOST_NETWORK_SEND_ERRORS,
    &metrics::HOST_NETWORK_SEND_DROPS,
];
/// Where each of [`COLUMNS`] stands among a line's numbers: 8 of receiving, then 8 of sending.
const FIELDS: [usize; COLUMNS.len()] = [0, 1, 2, 3, 8, 9, 10, 11];

/// Reads `/proc/net/dev`.
#[derive(Debug)]
pub struct NetDev {
    file: KernelFile,
    table: Table,
    changed: bool,
}

impl NetDev {
    /// Of the procfs among `roots`.
    pub fn new(roots: &HostRoots) -> Self {
        Self { file: KernelFile::open(roots.proc("net/dev")), table: Table::default(), changed: false }
    }
}

impl Source for NetDev {
    fn describe(&mut self, schema: &mut Schema) {
        self.changed = false;
        self.table = Table::default();
        for (name, _) in lines(self.file.read().unwrap_or_default()).filter_map(interface_line) {
            self.table.add(name, &COLUMNS, schema);
        }
    }

    fn sample(&mut self, frame: &mut Frame) {
        let content = self.file.read();
        let gone = content.err().unwrap_or(AbsenceReason::Gone);
        for (name, fields) in lines(content.unwrap_or_default()).filter_map(interface_line) {
            let Some(columns) = self.table.find(name) else {
                self.changed = true;
                continue;
            };
            let mut values = numbers(fields).enumerate();
            for (column, field) in columns.iter().zip(FIELDS) {
                let value = values.find(|(index, _)| *index == field).map(|(_, value)| value as f64);
                frame.set(*column, value.ok_or(AbsenceReason::Malformed));
            }
        }
        self.changed |= self.table.finish(gone, frame) && gone == AbsenceReason::Gone;
    }

    fn changed(&self) -> bool {
        self.changed
    }
}

/// `  eth0: 1 2 3…`; nothing for the two lines of titles.
fn interface_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((line[..colon].trim_ascii_start(), &line[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    const TITLES: &str = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n";

    #[test]
    fn both_directions_of_each_interface_are_read() {
        let text = TITLES.to_owned()
            + "    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\nwlan0.5:21 22 23 24 0 0 0 0 29 30 31 32 0 0 0 0\n";
        let tree = TestTree::new(&[("proc/net/dev", &text)]);
        let (schema, frame) = tree.sample(&mut NetDev::new(&tree.roots()));
        for (metric, lo, wlan) in [
            ("host.network.received_bytes", 1.0, 21.0),
            ("host.network.receive_drops", 4.0, 24.0),
            ("host.network.sent_bytes", 9.0, 29.0),
            ("host.network.send_drops", 12.0, 32.0),
        ] {
            assert_eq!(value(&schema, &frame, metric, &["lo"]), Ok(lo));
            assert_eq!(value(&schema, &frame, metric, &["wlan0.5"]), Ok(wlan));
        }
    }

    #[test]
    fn an_interface_that_goes_is_gone() {
        let tree = TestTree::new(&[(
            "proc/net/dev",
            "lo: 1 2 3 4 5 6 7 8 9 10 11 12\neth0: 1 2 3 4 5 6 7 8 9 10 11 12\n",
        )]);
        let mut source = NetDev::new(&tree.roots());
        let (schema, mut frame) = tree.sample(&mut source);
        tree.write("proc/net/dev", "lo: 5 2 3 4 5 6 7 8 9 10 11 12\n");
        frame.reset(&schema, 2);
        source.sample(&mut frame);
        assert_eq!(value(&schema, &frame, "host.network.sent_bytes", &["eth0"]), Err(AbsenceReason::Gone));
        assert!(source.changed());
    }
}
