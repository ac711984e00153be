//! The connections that are open, so that one whose certificate does not hold any more can be cut.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustls::{
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};
use tokio::sync::oneshot;
use tracing::warn;

use super::identity::Client;

#[derive(Debug)]
struct Held {
    client: Arc<Client>,
    chain: Vec<CertificateDer<'static>>,
    /// Dropping it cuts the connection, too.
    cut: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    held: HashMap<u64, Held>,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenConnections(Arc<Mutex<Table>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    all: OpenConnections,
    number: u64,
}

impl OpenConnections {
    fn table(&self) -> MutexGuard<'_, Table> {
        // What a thread that panicked left is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With what ends it from outside.
    pub(super) fn register(
        &self,
        client: Arc<Client>,
        chain: Vec<CertificateDer<'static>>,
    ) -> (Registered, oneshot::Receiver<()>) {
        let (cut, is_cut) = oneshot::channel();
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        table.held.insert(number, Held { client, chain, cut });
        (Registered { all: self.clone(), number }, is_cut)
    }

    /// Cuts those whose certificate does not hold; gives whose they were, and why.
    pub(super) fn cut_off(&self, verifier: &dyn ClientCertVerifier) -> Vec<(Arc<Client>, String)> {
        let now = UnixTime::now();
        let mut cut_off = Vec::new();
        let mut table = self.table();
        let bad: Vec<(u64, String)> = table
            .held
            .iter()
            .filter_map(|(number, held)| {
                let (own, between) = held.chain.split_first()?;
                let error = verifier.verify_client_cert(own, between, now).err()?;
                Some((*number, error.to_string()))
            })
            .collect();
        for (number, why) in bad {
            if let Some(Held { client, cut, .. }) = table.held.remove(&number) {
                warn!(%client, why, "a connection is cut off");
                // Gone already, otherwise.
                let _ = cut.send(());
                cut_off.push((client, why));
            }
        }
        cut_off
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.all.table().held.remove(&self.number);
    }
}
