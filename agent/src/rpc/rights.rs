//! Who may call what: each call asks for a role, and each caller has one by the configuration's rules. All of it is decided
//! here, before a call reaches the service.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use nix::unistd::{Uid, User};
use ssts_proto::v1::agent_server::SERVICE_NAME;
use tonic::{
    Request, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
};
use tower::Layer;
use tracing::warn;

use super::{
    peer::Peer,
    rates::Rates,
    tls::{self, Client},
};
use crate::{
    audit::{self, Audit, Entry},
    config::{Role, Rule, Subject, TlsConfig},
};

/// What each call asks for. One that is not here asks for the greatest role.
static NEEDED: [(&str, Role); 19] = [
    ("Describe", Role::Viewer),
    ("ListRuns", Role::Viewer),
    ("GetRun", Role::Viewer),
    ("Watch", Role::Viewer),
    ("ReadRecord", Role::Viewer),
    ("Clock", Role::Viewer),
    ("Stop", Role::Halter),
    ("Release", Role::Halter),
    // Lifting one asks for more: see `lift_halt`.
    ("Halt", Role::Halter),
    ("Start", Role::Operator),
    ("Prepare", Role::Operator),
    ("Begin", Role::Operator),
    ("Pause", Role::Operator),
    ("Resume", Role::Operator),
    ("RenewLease", Role::Operator),
    ("FreezeRecord", Role::Operator),
    ("NoteDrill", Role::Operator),
    // It tells what folders and devices there are, as a refused start does.
    ("Plan", Role::Operator),
    ("Recover", Role::Admin),
];

/// These are never too many.
static TAKES_LOAD_OFF: [&str; 3] = ["Stop", "Release", "Halt"];

/// The rules of the configuration.
#[derive(Debug, Clone)]
pub struct Rights {
    rules: Arc<[Rule]>,
    /// The user that this daemon runs as.
    own_uid: u32,
    /// How often clients over TCP may call.
    rates: Arc<Rates>,
    /// Where refusals are noted.
    audit: Option<Audit>,
}

/// Somebody who calls, and what they may do. In the extensions of every request.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    who: Who,
    role: Option<Role>,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
enum Who {
    Unknown,
    /// Of a Unix socket.
    Here(Arc<Peer>),
    /// Of a connection over TLS.
    There(Arc<Client>),
}

/// A service behind the rules.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    rights: Rights,
    service: S,
}

impl Rights {
    /// With those rules. None: whoever can open the socket may do all.
    pub fn new(rules: Vec<Rule>) -> Self {
        let rates = Arc::new(Rates::new(TlsConfig::default().max_calls_per_s));
        Self { rules: rules.into(), own_uid: nix::unistd::geteuid().as_raw(), rates, audit: None }
    }

    /// With a bound for clients over TCP: calls a second of each.
    #[must_use]
    pub fn with_rate(self, calls_per_s: u32) -> Self {
        Self { rates: Arc::new(Rates::new(calls_per_s)), ..self }
    }

    /// With a place for refusals.
    #[must_use]
    pub fn with_audit(self, audit: Audit) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// The rules are about those of a Unix socket: a client over TLS has what its certificate or the configuration gives it.
    fn caller(&self, who: Who) -> Caller {
        let role = match &who {
            Who::There(client) => client.role,
            _ if self.rules.is_empty() => Some(Role::Admin),
            Who::Here(peer) => self.role_of(peer),
            Who::Unknown => None,
        };
        Caller { who, role }
    }

    /// Whether this call may go on to the service.
    fn admit(&self, caller: &Caller, path: &str) -> Result<(), Status> {
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
        let needed = match &caller.who {
            _ if service == SERVICE_NAME => needed(method),
            // What there is to call here is no stranger's business.
            Who::There(_) => Role::Viewer,
            // Health and reflection tell nothing of this host.
            Who::Here(_) | Who::Unknown => return Ok(()),
        };
        let verdict = caller.require(needed, &words(method));
        let verdict = verdict.and_then(|()| match &caller.who {
            Who::There(client) if !TAKES_LOAD_OFF.contains(&method) && !self.rates.allow(&client.name) => {
                let message = format!("{} calls too often (tls.max_calls_per_s)", caller.named());
                Err(Status::resource_exhausted(message))
            }
            _ => Ok(()),
        });
        verdict.inspect_err(|status| {
            if let Some(audit) = &self.audit {
                audit.refused(Entry::refused(caller.subject(), method, status.message().to_owned()));
            }
        })
    }

    fn role_of(&self, peer: &Peer) -> Option<Role> {
        if peer.uid == 0 || peer.uid == self.own_uid {
            return Some(Role::Admin);
        }
        let fits = |rule: &&Rule| match rule.subject {
            Subject::User(uid) => uid == peer.uid,
            Subject::Group(gid) => peer.groups.contains(&gid),
        };
        self.rules.iter().filter(fits).map(|rule| rule.role).max()
    }
}

impl Caller {
    /// Of a request that came through the rules.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or(Self { who: Who::Unknown, role: None })
    }

    /// What they may do; empty where nothing.
    pub(super) fn role_name(&self) -> &'static str {
        self.role.map_or("", Role::name)
    }

    /// Whether they may lift a halt.
    ///
    /// # Errors
    /// PERMISSION_DENIED.
    pub(super) fn lift_halt(&self) -> Result<(), Status> {
        self.require(Role::Admin, "lift a halt")
    }

    fn require(&self, needed: Role, what: &str) -> Result<(), Status> {
        if self.role.is_some_and(|role| role >= needed) {
            return Ok(());
        }
        let has = self.role.map_or_else(|| "no role".to_owned(), |role| format!("the role {role}"));
        let message = format!("{} has {has}, and needs {needed} to {what}", self.named());
        warn!(caller = %self, %needed, what, "refused");
        Err(Status::permission_denied(message))
    }

    /// As the audit log has them.
    pub(super) fn subject(&self) -> audit::Subject {
        match &self.who {
            Who::Unknown => audit::Subject::default(),
            Who::There(client) => tls::subject(client),
            Who::Here(peer) => audit::Subject {
                uid: Some(peer.uid),
                pid: peer.pid,
                role: self.role.map(Role::name),
                ..audit::Subject::default()
            },
        }
    }

    /// With the user's name, for people.
    fn named(&self) -> String {
        let peer = match &self.who {
            Who::Unknown => return "whoever this is".to_owned(),
            Who::There(client) => return client.to_string(),
            Who::Here(peer) => peer,
        };
        let name = User::from_uid(Uid::from_raw(peer.uid)).ok().flatten().map(|user| user.name);
        name.map_or_else(|| format!("uid {}", peer.uid), |name| format!("user {name} (uid {})", peer.uid))
    }
}

/// As in records: `uid 0 (pid 1)`.
impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.who {
            Who::Here(peer) => peer.fmt(f),
            Who::There(client) => client.fmt(f),
            Who::Unknown => f.write_str("unknown"),
        }
    }
}

impl<S> Layer<S> for Rights {
    type Service = Guarded<S>;

    fn layer(&self, service: S) -> Guarded<S> {
        Guarded { rights: self.clone(), service }
    }
}

impl<S, B> Service<http::Request<B>> for Guarded<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let extensions = request.extensions();
        let who = if let Some(client) = extensions.get::<Arc<Client>>() {
            Who::There(client.clone())
        } else {
            let peer = extensions.get::<Option<Arc<Peer>>>().cloned().flatten();
            peer.map_or(Who::Unknown, Who::Here)
        };
        let caller = self.rights.caller(who);
        if let Err(status) = self.rights.admit(&caller, request.uri().path()) {
            return Box::pin(async move { Ok(status.into_http()) });
        }
        request.extensions_mut().insert(caller);
        Box::pin(self.service.call(request))
    }
}

fn needed(method: &str) -> Role {
    NEEDED.iter().find(|(known, _)| *known == method).map_or(Role::Admin, |(_, role)| *role)
}

/// `call Start`.
fn words(method: &str) -> String {
    format!("call {method}")
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_call_has_its_role() {
        let set = FileDescriptorSet::decode(ssts_proto::FILE_DESCRIPTOR_SET).unwrap();
        let services = set.file.iter().flat_map(|file| &file.service);
        let methods: Vec<_> = services
            .filter(|service| service.name() == "Agent")
            .flat_map(|service| service.method.iter().map(|method| method.name().to_owned()))
            .collect();
        assert!(!methods.is_empty());
        for method in methods {
            assert!(NEEDED.iter().any(|(known, _)| *known == method), "{method} has no role");
        }
    }

    #[test]
    fn the_greatest_role_that_fits_holds_and_strangers_have_none() {
        let rule = |subject, role| Rule { subject, role };
        let rules = vec![
            rule(Subject::User(7), Role::Viewer),
            rule(Subject::Group(70), Role::Operator),
            rule(Subject::Group(71), Role::Halter),
        ];
        let rights = Rights { own_uid: 99, ..Rights::new(rules) };
        let role = |uid, groups: &[u32]| {
            let peer = Peer { uid, groups: groups.to_vec(), pid: None };
            rights.caller(Who::Here(Arc::new(peer))).role
        };
        assert_eq!(role(7, &[1]), Some(Role::Viewer));
        assert_eq!(role(7, &[70, 71]), Some(Role::Operator));
        assert_eq!(role(8, &[71]), Some(Role::Halter));
        assert_eq!(role(8, &[1]), None);
        assert_eq!([role(0, &[]), role(99, &[])], [Some(Role::Admin); 2]);
        assert_eq!(rights.caller(Who::Unknown).role, None);
        let all = Rights::new(Vec::new());
        assert_eq!(all.caller(Who::Unknown).role, Some(Role::Admin));
    }

    fn client(role: Option<Role>) -> Who {
        let address = std::net::SocketAddr::from(([10, 0, 0, 7], 4_711));
        Who::There(Arc::new(Client { name: "alice".into(), role, serial: "5f".into(), address }))
    }

    /// Whoever may open the Unix socket: that says nothing of TCP.
    #[test]
    fn a_client_over_tls_has_the_role_of_its_certificate_and_none_by_default() {
        let rights = Rights::new(Vec::new());
        let may = |role, path: &str| {
            rights.admit(&rights.caller(client(role)), path).map_err(|status| status.code())
        };
        let denied = Err(tonic::Code::PermissionDenied);
        let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        for path in [
            "/ssts.v1.Agent/Describe",
            "/ssts.v1.Agent/Halt",
            reflection,
            "/grpc.health.v1.Health/Check",
            "/x",
            "",
        ] {
            assert_eq!(may(None, path), denied, "{path}");
        }
        assert_eq!(may(Some(Role::Viewer), reflection), Ok(()));
        let set = FileDescriptorSet::decode(ssts_proto::FILE_DESCRIPTOR_SET).unwrap();
        let methods = set.file.iter().flat_map(|file| &file.service).flat_map(|service| &service.method);
        for method in methods {
            let path = format!("/{SERVICE_NAME}/{}", method.name());
            for role in [Role::Viewer, Role::Halter, Role::Operator, Role::Admin] {
                let expected = if role >= needed(method.name()) { Ok(()) } else { denied };
                assert_eq!(may(Some(role), &path), expected, "{path} {role}");
            }
        }
        assert_eq!(may(Some(Role::Operator), "/ssts.v1.Agent/NoSuch"), denied);
        assert_eq!(may(Some(Role::Admin), "/ssts.v1.Agent/NoSuch"), Ok(()));
    }

    #[test]
    fn a_client_that_calls_too_often_can_still_halt() {
        let rights = Rights::new(Vec::new()).with_rate(3);
        let caller = rights.caller(client(Some(Role::Halter)));
        let refused = (0..10).filter_map(|_| rights.admit(&caller, "/ssts.v1.Agent/Describe").err());
        let codes: Vec<_> = refused.map(|status| status.code()).collect();
        assert!(
            codes.len() >= 6 && codes.iter().all(|code| *code == tonic::Code::ResourceExhausted),
            "{codes:?}"
        );
        assert!((0..10).all(|_| rights.admit(&caller, "/ssts.v1.Agent/Halt").is_ok()));
    }

    #[test]
    fn a_refusal_names_the_user_what_they_have_and_what_it_takes() {
        let caller = Caller {
            who: Who::Here(Arc::new(Peer { uid: 0, groups: Vec::new(), pid: None })),
            role: Some(Role::Halter),
        };
        assert!(caller.require(Role::Halter, "call Stop").is_ok());
        let status = caller.lift_halt().unwrap_err();
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        assert_eq!(status.message(), "user root (uid 0) has the role halter, and needs admin to lift a halt");
    }
}
