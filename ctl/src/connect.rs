//! Finds the agent and dials it.

use std::{
    env,
    error::Error as StdError,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use ssts_proto::v1::agent_client::AgentClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::{
    cli::{Global, Host},
    error::Failure,
    fleet::{Fleet, Member},
    local::PrivateAgent,
    output::Output,
    pki,
    tls::{Refusal, ToAgent},
};

/// Where a system's agent listens.
const SYSTEM_SOCKET: &str = "/run/ssts/sstsd.sock";
const NO_AGENT: &str = "no sstsd listens on this host: starting a private one for this command";
/// A schema of a host with many devices and histograms is large; a result of a long run is, too.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// For the answer to one call. Stopping a run takes the longest.
const CALL_TIME: Duration = Duration::from_secs(30);
/// An agent that does not answer a ping for so long hangs, or is gone.
const PING_EVERY: Duration = Duration::from_secs(2);
const PING_ANSWER_TIME: Duration = Duration::from_secs(5);

/// The generated client on our channel.
pub(crate) type Client = AgentClient<Channel>;

/// What happens where no agent listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// A private agent is started.
    Private,
    /// It is an error: the command is about an agent that runs.
    Refuse,
}

/// How an agent is reached.
#[derive(Debug, Clone)]
pub(crate) enum Line {
    Unix(PathBuf),
    Tls(ToAgent),
}

impl Line {
    /// To a host that the user named.
    ///
    /// # Errors
    /// The certificates in the folder `pki`, or the usual one, can't be used.
    pub(crate) fn to(host: &Host, pki: Option<&PathBuf>) -> Result<Self, Failure> {
        match host {
            Host::Unix(socket) => Ok(Self::Unix(socket.clone())),
            Host::Tls(name, port) => ToAgent::new(name, *port, &pki::folder(pki)?).map(Self::Tls),
        }
    }

    /// Connects.
    pub(crate) async fn dial(&self) -> io::Result<Client> {
        match self {
            Self::Unix(socket) => dial(socket).await,
            Self::Tls(to_agent) => dial_tls(to_agent).await,
        }
    }
}

/// An agent that answers.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) client: Client,
    pub(crate) host: Host,
    /// For more connections to it.
    pub(crate) line: Line,
    /// Set where it was started for this one command.
    private: Option<PrivateAgent>,
}

impl Agent {
    /// Connects to the agent that the command line, the environment or the default names.
    pub(crate) async fn find(
        global: &Global,
        fallback: Fallback,
        output: &mut Output,
    ) -> Result<Self, Failure> {
        if let Some(fleet) = Fleet::asked(global).await? {
            return Self::of_member(&fleet.only()?, global).await;
        }
        match (&global.host[..], global.local) {
            ([], true) => Self::start_private(global).await,
            ([], false) => {
                for socket in default_sockets() {
                    match dial(&socket).await {
                        Ok(client) => return Ok(Self::at(client, socket, None)),
                        Err(error) if nobody_listens(&error) => {}
                        Err(error) => return Err(cannot_reach(&Host::Unix(socket), &error)),
                    }
                }
                match fallback {
                    Fallback::Private => {
                        if !global.quiet {
                            output.message(NO_AGENT);
                        }
                        Self::start_private(global).await
                    }
                    Fallback::Refuse => Err(Failure::agent(
                        format!("no sstsd listens on {}", listed(&default_sockets())),
                        "start it with `systemctl start sstsd`, or name another with --host unix:PATH",
                    )),
                }
            }
            ([_], true) => {
                Err(Failure::usage("--local and --host exclude each other", "leave one of them out"))
            }
            ([host], false) => Self::on(host, Line::to(host, global.pki.as_ref())?).await,
            ([_, _, ..], _) => Err(Failure::usage(
                "this command is about one host, and several are named",
                "name one of them with --host",
            )),
        }
    }

    /// Connects to the agent of a host of a fleet.
    pub(crate) async fn of_member(member: &Member, global: &Global) -> Result<Self, Failure> {
        Self::on(&member.host, member.line(global.pki.as_ref())?).await
    }

    async fn on(host: &Host, line: Line) -> Result<Self, Failure> {
        match line.dial().await {
            Ok(client) => Ok(Self { client, host: host.clone(), line, private: None }),
            Err(error) => Err(cannot_reach(host, &error)),
        }
    }

    /// Whether it lives only for this command.
    pub(crate) fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Ends a private agent and returns when it is gone.
    pub(crate) async fn close(self) {
        if let Some(private) = self.private {
            private.stop().await;
        }
    }

    async fn start_private(global: &Global) -> Result<Self, Failure> {
        let mut private = PrivateAgent::spawn(global.verbose)?;
        let client = loop {
            match dial(private.socket()).await {
                Ok(client) => break client,
                Err(error) => private.wait_on(&error).await?,
            }
        };
        Ok(Self::at(client, private.socket().to_owned(), Some(private)))
    }

    fn at(client: Client, socket: PathBuf, private: Option<PrivateAgent>) -> Self {
        Self { client, host: Host::Unix(socket.clone()), line: Line::Unix(socket), private }
    }
}

/// Connects to the socket.
pub(crate) async fn dial(socket: &Path) -> io::Result<Client> {
    let socket = socket.to_owned();
    let connector = service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    endpoint()?.connect_with_connector(connector).await.map(client).map_err(io_cause)
}

async fn dial_tls(to_agent: &ToAgent) -> io::Result<Client> {
    let to_agent = to_agent.clone();
    let connector = service_fn(move |_| {
        let to_agent = to_agent.clone();
        async move { to_agent.connect().await.map(TokioIo::new) }
    });
    endpoint()?.connect_with_connector(connector).await.map(client).map_err(io_cause)
}

/// The address is never used: the connector knows where to go.
fn endpoint() -> io::Result<Endpoint> {
    Ok(Endpoint::from_static("http://[::]:0")
        .user_agent(concat!("sstsctl/", env!("CARGO_PKG_VERSION")))
        .map_err(io::Error::other)?
        .timeout(CALL_TIME)
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER_TIME))
}

fn client(channel: Channel) -> Client {
    AgentClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// The failed system call at the bottom of the client's error.
fn io_cause(error: tonic::transport::Error) -> io::Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(io_error) = current.downcast_ref::<io::Error>() {
            if let Some(refusal) = io_error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
                return io::Error::other(refusal.clone());
            }
            return match io_error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(io_error.kind(), io_error.to_string()),
            };
        }
        cause = current.source();
    }
    io::Error::other(error)
}

/// Where an agent listens if nobody says otherwise: a user's own first.
fn default_sockets() -> Vec<PathBuf> {
    let own = env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute() && !nix::unistd::geteuid().is_root())
        .map(|folder| folder.join("ssts/sstsd.sock"));
    own.into_iter().chain([PathBuf::from(SYSTEM_SOCKET)]).collect()
}

fn nobody_listens(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory)
}

pub(crate) fn cannot_reach(host: &Host, error: &io::Error) -> Failure {
    if let Some(Refusal(problem)) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return Failure::agent(problem.message.clone(), problem.mend.clone());
    }
    if matches!(host, Host::Tls(..)) {
        return Failure::agent(
            format!("can't reach {host}: {error}"),
            "see that [tls] of the agent's configuration listens there, and that no firewall is between",
        );
    }
    match error.kind() {
        ErrorKind::PermissionDenied => Failure::agent(
            format!("permission denied on {host}"),
            "add yourself to its group (`sudo usermod -aG ssts $USER`, then log in anew), or run as root",
        ),
        _ if nobody_listens(error) => Failure::agent(
            format!("no sstsd listens on {host}: {error}"),
            "start it with `systemctl start sstsd`, or leave --host out to use a private one",
        ),
        _ => Failure::agent(format!("can't reach {host}: {error}"), "see that it is the socket of an sstsd"),
    }
}

fn listed(sockets: &[PathBuf]) -> String {
    sockets.iter().map(|socket| socket.display().to_string()).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixListener};

    use super::*;
    use crate::error::Exit;

    async fn reach(socket: PathBuf) -> Failure {
        let error = dial(&socket).await.expect_err("it was reached");
        cannot_reach(&Host::Unix(socket), &error)
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_there_is_an_error_of_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let missing = reach(folder.path().join("none.sock")).await;
        assert_eq!(missing.exit, Exit::AgentFailed);
        assert!(missing.to_string().contains("no sstsd listens"), "{missing}");

        let stale = folder.path().join("stale.sock");
        drop(UnixListener::bind(&stale).unwrap());
        assert!(reach(stale).await.to_string().contains("no sstsd listens"));

        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(reach(file).await.exit, Exit::AgentFailed);
    }

    #[test]
    fn a_socket_without_permission_is_named_with_the_mend() {
        let host = Host::Unix("/run/x.sock".into());
        let failure = cannot_reach(&host, &ErrorKind::PermissionDenied.into());
        assert_eq!(failure.exit, Exit::AgentFailed);
        assert!(failure.to_string().contains("usermod -aG ssts"), "{failure}");
    }
}
