//! `info` over a fleet: a row a host, with what differs from most of the others marked.

use std::collections::HashMap;

use ssts_proto::v1::{DescribeRequest, DescribeResponse};

use super::{AT_ONCE, Session, ask, exit, print, title};
use crate::{
    error::{Exit, Failure},
    fleet::{Answer, Fleet},
    json::{ComparedInfoOut, FleetHostOut, FleetOut, InfoOut},
    report::{Align, Document, Table},
    status as grpc, text,
};

/// What hosts of one kind should have alike, by the names of its columns.
const COLUMNS: [(&str, Align); 8] = [
    ("kernel", Align::Left),
    ("CPU", Align::Left),
    ("cores", Align::Right),
    ("memory", Align::Right),
    ("microcode", Align::Left),
    ("firmware", Align::Left),
    ("system", Align::Left),
    ("sstsd", Align::Left),
];

type Cells = [String; COLUMNS.len()];

/// `info`.
pub(super) async fn info(fleet: &Fleet, session: &mut Session) -> Result<Exit, Failure> {
    let answers = ask(fleet, AT_ONCE, session, |mut client| async move {
        let described = client.describe(DescribeRequest {}).await;
        Ok(described.map_err(|status| grpc::failure(&status))?.into_inner())
    })
    .await?;
    let compared = Compared::of(&answers);
    if session.wants_json() {
        session.output.json(&compared.json(&answers))?;
    } else {
        print(&compared.document(&answers), &answers, &mut session.output)?;
    }
    Ok(exit(&answers))
}

/// What each host has, and what most have.
struct Compared {
    /// Of the hosts that answered, by their places.
    cells: HashMap<usize, Cells>,
    usual: Cells,
}

impl Compared {
    fn of(answers: &[Answer<DescribeResponse>]) -> Self {
        let answered = answers.iter().enumerate();
        let cells: HashMap<_, _> = answered
            .filter_map(|(index, answer)| Some((index, cells(answer.result.as_ref().ok()?))))
            .collect();
        let usual = std::array::from_fn(|column| {
            most_common((0..answers.len()).filter_map(|index| Some(cells.get(&index)?[column].as_str())))
        });
        Self { cells, usual }
    }

    /// Whether a host has something else there than most.
    fn differs(&self, cells: &Cells, column: usize) -> bool {
        cells[column] != self.usual[column]
    }

    fn json(&self, answers: &[Answer<DescribeResponse>]) -> FleetOut<ComparedInfoOut> {
        let differs = |index: usize| -> Vec<String> {
            let cells = self.cells.get(&index);
            let named = COLUMNS
                .iter()
                .enumerate()
                .filter(|(column, _)| cells.is_some_and(|cells| self.differs(cells, *column)));
            named.map(|(_, (name, _))| name.to_lowercase()).collect()
        };
        let host = |(index, answer): (usize, &Answer<DescribeResponse>)| {
            let out = |described: &DescribeResponse| ComparedInfoOut {
                differs: differs(index),
                info: InfoOut::from(described),
            };
            FleetHostOut::new(&answer.member, answer.result.as_ref().map(out))
        };
        FleetOut::new(answers.iter().enumerate().map(host).collect())
    }

    fn document(&self, answers: &[Answer<DescribeResponse>]) -> Document {
        let mut document = Document::default();
        title(&mut document, answers, "answered");
        let columns: Vec<_> = [("host", Align::Left)].into_iter().chain(COLUMNS).collect();
        let mut table = Table::new(&columns);
        let mut is_marked = false;
        for (index, answer) in answers.iter().enumerate() {
            let name = answer.member.name.clone();
            let Some(cells) = self.cells.get(&index) else {
                table.row([name, "no answer".into()]);
                continue;
            };
            let mut row = vec![name];
            for (column, cell) in cells.iter().enumerate() {
                let differs = self.differs(cells, column);
                is_marked |= differs;
                let shown = if cell.is_empty() { "-" } else { cell };
                row.push(if differs { format!("{shown} *") } else { shown.to_owned() });
            }
            table.row(row);
        }
        document.table(table);
        if is_marked {
            document.line("* most of the others have something else there");
        }
        document
    }
}

fn cells(described: &DescribeResponse) -> Cells {
    let host = described.host.clone().unwrap_or_default();
    let platform = host.platform.unwrap_or_default();
    let firmware = [platform.bios_vendor, platform.bios_version, platform.bios_date].join(" ");
    [
        host.kernel_release,
        host.cpu_model,
        host.cores.len().to_string(),
        text::bytes(host.memory_total_bytes as f64),
        platform.microcode,
        firmware.trim().to_owned(),
        platform.system,
        host.agent_version,
    ]
}

/// Of several that are as common, the one that comes first.
fn most_common<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
    for (place, value) in values.enumerate() {
        counts.entry(value).or_insert((0, place)).0 += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, (count, place))| (*count, std::cmp::Reverse(*place)));
    most.map(|(value, _)| value.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::{Host, Platform};

    use super::*;
    use crate::{cli::Host as Address, fleet::Member};

    fn answer(name: &str, kernel: &str, microcode: &str) -> Answer<DescribeResponse> {
        let host = Host {
            kernel_release: kernel.into(),
            memory_total_bytes: 1 << 30,
            platform: Some(Platform { microcode: microcode.into(), ..Platform::default() }),
            ..Host::default()
        };
        Answer {
            member: member(name),
            result: Ok(DescribeResponse { host: Some(host), ..DescribeResponse::default() }),
        }
    }

    fn member(name: &str) -> Member {
        let host = Address::Tls(name.to_owned(), 7443);
        Member { name: name.to_owned(), host, labels: [].into(), watts: None }
    }

    #[test]
    fn what_most_have_otherwise_is_marked() {
        let dead = Answer { member: member("d"), result: Err(Failure::agent("gone", "")) };
        let answers = [answer("a", "6.1", "0x1"), answer("b", "6.1", ""), answer("c", "6.2", "0x1"), dead];
        let compared = Compared::of(&answers);
        let text = crate::report::to_terminal(&compared.document(&answers), false);
        assert!(text.starts_with("3 of 4 hosts answered\n"), "{text}");
        assert!(text.contains("6.2 *") && text.contains("- *") && !text.contains("6.1 *"), "{text}");
        assert!(text.contains("no answer"), "{text}");
        let json = serde_json::to_value(compared.json(&answers)).unwrap();
        assert_eq!(json["hosts"][1]["answer"]["differs"], serde_json::json!(["microcode"]));
        assert_eq!(json["hosts"][2]["answer"]["differs"], serde_json::json!(["kernel"]));
        assert_eq!(json["hosts"][3]["problems"][0]["message"], "gone");
        assert_eq!((json["answered"].as_u64(), json["failed"].as_u64()), (Some(3), Some(1)));
    }

    #[test]
    fn of_as_many_the_first_is_usual() {
        assert_eq!(most_common(["b", "a", "a", "b"].into_iter()), "b");
        assert_eq!(most_common([].into_iter()), "");
    }
}
