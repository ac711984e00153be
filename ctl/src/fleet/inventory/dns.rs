//! One question to the nameservers: which SRV records there are of a name (RFC 2782). Over UDP, and over TCP where the answer is
//! longer than a datagram (RFC 1035, 4.2).

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, TYPE, rdata::RData};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// Where the system says which servers there are: resolv.conf(5).
const CONFIGURATION: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// For the answer of one server, and how often all of them are asked.
const ANSWER_TIME: Duration = Duration::from_secs(3);
const ROUNDS: usize = 2;
/// Of a datagram without EDNS.
const MAX_DATAGRAM_BYTES: usize = 512;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Srv {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    /// Without the dot at its end; empty where the service is not offered.
    pub(super) target: String,
}

/// The servers of the system.
///
/// # Errors
/// The file that names them can't be read.
pub(super) fn servers() -> io::Result<Vec<SocketAddr>> {
    let text = match fs::read(CONFIGURATION) {
        // Then it is the one on this host.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    let found = resolv_conf::Config::parse(text)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{CONFIGURATION}: {error}")))?;
    let mut servers: Vec<_> =
        found.nameservers.into_iter().map(|server| SocketAddr::new(IpAddr::from(server), PORT)).collect();
    if servers.is_empty() {
        servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
    }
    Ok(servers)
}

/// The records of a name; none where it has none.
///
/// # Errors
/// No server gave an answer; why the last one did not.
pub(super) async fn records(name: &str, servers: &[SocketAddr]) -> io::Result<Vec<Srv>> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "there is no nameserver");
    for server in (0..ROUNDS).flat_map(|_| servers) {
        let asked = timeout(ANSWER_TIME, ask(name, *server)).await;
        match asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(records) => return Ok(records),
            Err(error) => last = io::Error::new(error.kind(), format!("the nameserver {server}: {error}")),
        }
    }
    Err(last)
}

async fn ask(name: &str, server: SocketAddr) -> io::Result<Vec<Srv>> {
    let id = fastrand::u16(..);
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let asked = Name::new(name.trim_end_matches('.')).map_err(bad)?;
    query.questions.push(Question::new(asked.clone(), QTYPE::TYPE(TYPE::SRV), CLASS::IN.into(), false));
    let query = query.build_bytes_vec().map_err(bad)?;
    let bytes = over_udp(&query, id, server).await?;
    let answer = Packet::parse(&bytes).map_err(bad)?;
    if !answer.has_flags(PacketFlag::TRUNCATION) {
        return read(&answer, id, &asked);
    }
    let bytes = over_tcp(&query, server).await?;
    read(&Packet::parse(&bytes).map_err(bad)?, id, &asked)
}

async fn over_udp(query: &[u8], id: u16, server: SocketAddr) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Of others nothing is taken.
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut bytes = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        let count = socket.recv(&mut bytes).await?;
        // What was forged may come before the answer.
        if Packet::parse(&bytes[..count]).is_ok_and(|packet| packet.id() == id) {
            bytes.truncate(count);
            return Ok(bytes);
        }
    }
}

async fn over_tcp(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// The records of an answer, whatever aliases led to them.
fn read(answer: &Packet<'_>, id: u16, asked: &Name<'_>) -> io::Result<Vec<Srv>> {
    let is_ours = answer.id() == id
        && answer.has_flags(PacketFlag::RESPONSE)
        && answer.questions.iter().all(|question| is_same(&question.qname, asked));
    if !is_ours {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer is to another question"));
    }
    match answer.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Vec::new()),
        other => return Err(io::Error::other(format!("it answers {other:?}"))),
    }
    let srv = |data: &RData<'_>| match data {
        RData::SRV(srv) => Some(Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.to_string().trim_end_matches('.').to_owned(),
        }),
        _ => None,
    };
    Ok(answer.answers.iter().filter_map(|record| srv(&record.rdata)).collect())
}

fn is_same(a: &Name<'_>, b: &Name<'_>) -> bool {
    a.to_string().eq_ignore_ascii_case(&b.to_string())
}

fn bad(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
