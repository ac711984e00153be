//! The service over TCP: TLS 1.3 with client certificates, always. Who gets no further than the handshake costs little: what is
//! shaken hands with at once is bounded, and so is how long it takes.

mod connection;
mod files;
mod handshakes;
mod identity;
mod limits;
mod open;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{info, warn};

pub use connection::Connection;
pub use files::TlsError;
use files::{Stamp, Trust};
use handshakes::{Handshake, Handshakes};
pub(super) use identity::Client;
use limits::{Counted, Full, canonical};
use open::OpenConnections;

use crate::{
    audit::{Audit, Entry, Subject},
    config::TlsConfig,
};

/// For a whole handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// At once: in all, and from one address. Beyond, an older one gives way.
const HANDSHAKES: usize = 64;
const HANDSHAKES_OF_ONE: usize = 16;
/// Connections that wait in the kernel.
const BACKLOG: u32 = 1_024;
/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at the certificates of connections that are open: they run out.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// After a failure of accept(2): out of descriptors, it fails at once and again.
const REST: Duration = Duration::from_millis(100);
/// Connections that wait to be answered.
const WAITING: usize = 16;

/// What connections over TCP share: files, limits, who is there. Nothing is listened on before it is there.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: TlsConfig,
    audit: Audit,
    trust: RwLock<Trust>,
    /// When the files were last read.
    stamp: RwLock<Stamp>,
    open: OpenConnections,
    handshakes: Handshakes,
    connections: Counted<String>,
}

/// An address that is listened on.
#[derive(Debug)]
pub struct TlsListener {
    tls: Tls,
    listener: TcpListener,
}

/// Checks the files of a configuration that listens on TCP; one that does not needs none.
///
/// # Errors
/// See [`TlsError`].
pub fn check(config: &TlsConfig) -> Result<(), TlsError> {
    if config.listen.is_empty() { Ok(()) } else { Trust::read(config).map(|_| ()) }
}

impl Tls {
    /// Listens as it is configured; on nothing where no address is. Files that change are taken from now on.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn listen(config: &TlsConfig, audit: Audit) -> Result<Vec<TlsListener>, TlsError> {
        if config.listen.is_empty() {
            return Ok(Vec::new());
        }
        let stamp = Stamp::of(config);
        let trust = Trust::read(config)?;
        let tls = Self(Arc::new(Shared {
            config: config.clone(),
            audit,
            trust: RwLock::new(trust),
            stamp: RwLock::new(stamp),
            open: OpenConnections::default(),
            handshakes: Handshakes::new(HANDSHAKES, HANDSHAKES_OF_ONE),
            connections: Counted::new(config.max_connections, config.max_connections_per_client),
        }));
        let mut listeners = Vec::new();
        for address in &config.listen {
            let listener = bind(*address).map_err(|source| TlsError::Listen { address: *address, source })?;
            // Port 0 is whichever is free.
            let address = listener.local_addr().unwrap_or(*address);
            info!(%address, "listening over TLS");
            listeners.push(TlsListener { tls: tls.clone(), listener });
        }
        tokio::spawn(async move { tls.look_at_files().await });
        Ok(listeners)
    }

    fn trust(&self) -> Trust {
        self.0.trust.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn look_at_files(self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut checked = Instant::now();
        loop {
            looks.tick().await;
            let due = checked.elapsed() >= CHECK_EVERY;
            let tls = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                if tls.take_changes() || due {
                    tls.cut_off();
                }
            });
            if due {
                checked = Instant::now();
            }
            // One that panicked is tried again.
            let _ = looked.await;
        }
    }

    /// Whether there were any that can be used.
    fn take_changes(&self) -> bool {
        let Shared { config, trust, stamp, .. } = &*self.0;
        let now = Stamp::of(config);
        if *stamp.read().unwrap_or_else(PoisonError::into_inner) == now {
            return false;
        }
        *stamp.write().unwrap_or_else(PoisonError::into_inner) = now;
        match Trust::read(config) {
            Ok(new) => {
                *trust.write().unwrap_or_else(PoisonError::into_inner) = new;
                info!("certificates and lists of revoked ones were read anew");
                true
            }
            Err(error) => {
                warn!(%error, "certificates were changed and can't be used: those from before stay in force");
                false
            }
        }
    }

    fn cut_off(&self) {
        for (client, why) in self.0.open.cut_off(&*self.trust().verifier) {
            self.0.audit.refused(Entry::refused(subject(&client), "connection", why));
        }
    }

    fn refuse(&self, address: SocketAddr, why: String) {
        let who = Subject { address: Some(address.to_string()), ..Subject::default() };
        self.0.audit.refused(Entry::refused(who, "connection", why));
    }

    /// From the first byte to a connection that may be answered.
    async fn shake_hands(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        mut handshake: Handshake,
    ) -> Option<Connection> {
        // Small messages go at once.
        let _best_effort = stream.set_nodelay(true);
        let trust = self.trust();
        let acceptor = TlsAcceptor::from(trust.server.clone());
        let shaken = tokio::select! {
            shaken = timeout(HANDSHAKE_TIME, acceptor.accept(stream)) => shaken,
            () = handshake.given_way() => {
                self.refuse(address, "too many handshakes at once: it gave way to a newer one".to_owned());
                return None;
            }
        };
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.refuse(address, format!("no handshake: {error}"));
                return None;
            }
            Err(_) => {
                self.refuse(address, format!("no handshake within {HANDSHAKE_TIME:?}"));
                return None;
            }
        };
        let chain: Vec<_> = stream
            .get_ref()
            .1
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|one| one.clone().into_owned())
            .collect();
        let client = chain.first().and_then(|own| Client::of(own, &self.0.config.roles, address));
        let Some(client) = client else {
            self.refuse(address, "the certificate names nobody".to_owned());
            return None;
        };
        let client = Arc::new(client);
        let place = match self.0.connections.take(client.name.clone()) {
            Ok(place) => place,
            Err(full) => {
                let why = match full {
                    Full::One => "too many connections of this client",
                    Full::All => "too many connections",
                };
                self.0.audit.refused(Entry::refused(subject(&client), "connection", why.to_owned()));
                return None;
            }
        };
        let registered = self.0.open.register(client.clone(), chain);
        // It may have been revoked while it was shaken hands with.
        if !Arc::ptr_eq(&trust.server, &self.trust().server) {
            self.cut_off();
        }
        Some(Connection::new(stream, client, place, registered))
    }
}

impl TlsListener {
    /// The connections that come, for tonic. Who is no further than the handshake keeps nobody waiting.
    pub fn incoming(self) -> ReceiverStream<io::Result<Connection>> {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(self.accept(sender));
        ReceiverStream::new(receiver)
    }

    async fn accept(self, sender: mpsc::Sender<io::Result<Connection>>) {
        let Self { tls, listener } = self;
        let mut told = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                // The service is over.
                () = sender.closed() => return,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                // The caller's trouble, and no reason to keep the next one waiting.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    if !told {
                        warn!(%error, "no connection can be taken; it is tried again every {REST:?}");
                        told = true;
                    }
                    sleep(REST).await;
                    continue;
                }
            };
            told = false;
            let ip = canonical(address.ip());
            if !tls.0.config.allowed_networks.iter().any(|network| network.contains(&ip)) {
                tls.refuse(address, "not from an allowed network".to_owned());
                continue;
            }
            let handshake = tls.0.handshakes.begin(ip);
            let (tls, sender) = (tls.clone(), sender.clone());
            tokio::spawn(async move {
                if let Some(connection) = tls.shake_hands(stream, address, handshake).await {
                    // The service is over, otherwise.
                    let _ = sender.send(Ok(connection)).await;
                }
            });
        }
    }
}

/// As the audit log has a client.
pub(super) fn subject(client: &Client) -> Subject {
    Subject {
        client: Some(client.name.clone()),
        serial: Some(client.serial.clone()),
        address: Some(client.address.to_string()),
        role: client.role.map(crate::config::Role::name),
        ..Subject::default()
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    // A daemon that is started again has its port at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
