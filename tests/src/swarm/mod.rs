//! Many agents in one process, for what one machine has no room for otherwise: the real service over real TLS, each at a port of
//! its own, with burners that only tell. What they tell of a host is what a real agent told.

mod agent;
mod run;
mod serve;
mod template;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{net::TcpListener, runtime::Runtime};

pub use self::template::Template;
use self::{agent::SimulatedAgent, serve::Identity};
use crate::Pki;

/// They end when this is dropped.
#[derive(Debug)]
pub struct Swarm {
    agents: Vec<(SimulatedAgent, SocketAddr)>,
    client: PathBuf,
    runtime: Option<Runtime>,
}

impl Swarm {
    /// So many, with the host's certificate of `pki`, that tell what the template has; `client` is who commands them.
    pub fn start(pki: &Pki, client: PathBuf, template: Template, count: usize) -> Self {
        make_room();
        let identity = Identity::of(pki);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("swarm")
            .enable_all()
            .build()
            .expect("the machine has threads");
        let template = Arc::new(template);
        let start = |number: usize| {
            let agent = SimulatedAgent::new(format!("sim-{number:04}"), template.clone());
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port is free");
            let address = listener.local_addr().expect("it is bound");
            runtime.spawn(serve::serve(listener, identity.clone(), agent.clone()));
            (agent, address)
        };
        Self { agents: (1..=count).map(start).collect(), client, runtime: Some(runtime) }
    }

    /// The first so many of them as an inventory, twenty to a rack.
    pub fn inventory(&self, count: usize) -> String {
        let host = |(number, (agent, address)): (usize, &(SimulatedAgent, SocketAddr))| {
            let (name, rack) = (agent.name(), number / 20);
            format!("[[host]]\nname = \"{name}\"\naddress = \"https://{address}\"\nrack = \"r{rack}\"\n")
        };
        self.agents.iter().take(count).enumerate().map(host).collect()
    }

    /// Their names, as they tell them.
    pub fn names(&self) -> Vec<String> {
        self.agents.iter().map(|(agent, _)| agent.name().to_owned()).collect()
    }

    /// The folder of whoever commands them: `--pki`.
    pub fn client(&self) -> &str {
        self.client.to_str().expect("the path is ASCII")
    }

    /// How many of them were called so, such as `Halt`, and answered.
    pub fn reached_by(&self, call: &str) -> usize {
        self.agents.iter().filter(|(agent, _)| agent.last(call).is_some()).count()
    }

    /// When the last of them had answered such a call.
    pub fn last(&self, call: &str) -> Option<Instant> {
        self.agents.iter().filter_map(|(agent, _)| agent.last(call)).max()
    }

    /// When the last of them began to burn, ns since 1970. None where none has.
    pub fn began_at_unix_ns(&self) -> Option<i64> {
        self.agents.iter().filter_map(|(agent, _)| agent.began_at_unix_ns()).max()
    }

    /// How many of them have a run that burns, as far as they tell.
    pub fn burning(&self) -> usize {
        self.agents.iter().filter(|(agent, _)| agent.burns()).count()
    }

    /// How many are halted.
    pub fn halted(&self) -> usize {
        self.agents.iter().filter(|(agent, _)| agent.is_halted()).count()
    }

    /// Forgets runs, halts and calls.
    pub fn forget(&self) {
        self.agents.iter().for_each(|(agent, _)| agent.forget());
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A listener and a connection for each; programs started from here inherit the limit.
fn make_room() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("it is allowed");
}
