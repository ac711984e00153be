use simple_dns::{
    CLASS, Name, Packet, PacketFlag, RCODE, ResourceRecord,
    rdata::{RData, SRV},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

use super::*;
use crate::error::Exit;

/// What fits into a datagram without EDNS: RFC 1035, 4.2.1.
const MOST_BYTES: usize = 512;

/// A nameserver on the loopback that knows one name. It is gone when dropped.
struct Nameserver {
    address: SocketAddr,
    _answering: JoinSet<()>,
}

impl Nameserver {
    async fn with(records: Vec<SRV<'static>>) -> Self {
        // One port of both protocols, as clients expect it.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let mut answering = JoinSet::new();
        let known = records.clone();
        answering.spawn(async move {
            let mut bytes = [0; 4096];
            loop {
                let (count, from) = udp.recv_from(&mut bytes).await.unwrap();
                // Somebody else's comes first.
                udp.send_to(b"no message at all", from).await.unwrap();
                let mut reply = answer(&bytes[..count], &known);
                if reply.len() > MOST_BYTES {
                    reply = answer(&bytes[..count], &[]);
                    // The bit that says so: RFC 1035, 4.1.1.
                    reply[2] |= 2;
                }
                udp.send_to(&reply, from).await.unwrap();
            }
        });
        answering.spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                while let Ok(count) = stream.read_u16().await {
                    let mut bytes = vec![0; usize::from(count)];
                    stream.read_exact(&mut bytes).await.unwrap();
                    let reply = answer(&bytes, &records);
                    stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
                    stream.write_all(&reply).await.unwrap();
                }
            }
        });
        Self { address, _answering: answering }
    }

    async fn ask(&self, name: &str) -> Result<Fleet, Failure> {
        hosts(name, Some(self.address)).await
    }
}

fn answer(query: &[u8], records: &[SRV<'static>]) -> Vec<u8> {
    let query = Packet::parse(query).unwrap();
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
    for question in &query.questions {
        reply.questions.push(question.clone());
        if question.qname.to_string().starts_with("_ssts._tcp.") {
            let record = |srv: &SRV<'static>| {
                ResourceRecord::new(question.qname.clone(), CLASS::IN, 60, RData::SRV(srv.clone()))
            };
            reply.answers.extend(records.iter().map(record));
        } else {
            *reply.rcode_mut() = RCODE::NameError;
        }
    }
    reply.build_bytes_vec().unwrap()
}

fn srv(target: &str, port: u16) -> SRV<'static> {
    let target = match target {
        "." => Name::new_with_labels(&[]),
        target => Name::new(target).unwrap().into_owned(),
    };
    SRV { priority: 10, weight: 5, port, target }
}

#[tokio::test]
async fn the_records_of_a_domain_are_hosts() {
    let server = Nameserver::with(vec![
        srv("db2.example.org", 7443),
        srv("db1.example.org", 7443),
        srv("db1.example.org", 7444),
        srv(".", 7443),
    ])
    .await;
    let fleet = server.ask("_ssts._tcp.example.org").await.unwrap();
    let told: Vec<_> =
        fleet.members.iter().map(|member| format!("{} {}", member.name, member.host)).collect();
    assert_eq!(
        told,
        [
            "db1.example.org:7443 https://db1.example.org:7443",
            "db1.example.org:7444 https://db1.example.org:7444",
            "db2.example.org https://db2.example.org:7443"
        ]
    );
    assert_eq!(fleet.members[0].labels["priority"], "10");
    assert_eq!(fleet.members[0].labels["weight"], "5");
}

#[tokio::test]
async fn more_records_than_a_datagram_holds_come_over_tcp() {
    let records = (0..300).map(|number| srv(&format!("node{number:03}.example.org"), 7443)).collect();
    let server = Nameserver::with(records).await;
    let fleet = server.ask("_ssts._tcp.example.org").await.unwrap();
    assert_eq!(fleet.members.len(), 300);
    assert_eq!(fleet.members[299].name, "node299.example.org");
}

#[tokio::test]
async fn what_there_is_not_is_told_with_the_mend() {
    let server = Nameserver::with(vec![srv(".", 0)]).await;
    for (name, words) in
        [("_none._tcp.example.org", "there are no such records"), ("_ssts._tcp.example.org", "name no host")]
    {
        let failure = server.ask(name).await.expect_err(name);
        assert_eq!(failure.exit, Exit::Usage);
        let told = failure.to_string();
        assert!(told.contains(words) && told.contains("?server="), "{told}");
    }
}
