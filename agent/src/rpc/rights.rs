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

use super::peer::Peer;
use crate::config::{Role, Rule, Subject};

/// What each call asks for. One that is not here asks for the greatest role.
static NEEDED: [(&str, Role); 15] = [
    ("Describe", Role::Viewer),
    ("ListRuns", Role::Viewer),
    ("GetRun", Role::Viewer),
    ("Watch", Role::Viewer),
    ("ReadRecord", Role::Viewer),
    ("Stop", Role::Halter),
    // Lifting one asks for more: see `lift_halt`.
    ("Halt", Role::Halter),
    ("Start", Role::Operator),
    ("Pause", Role::Operator),
    ("Resume", Role::Operator),
    ("RenewLease", Role::Operator),
    ("FreezeRecord", Role::Operator),
    ("NoteDrill", Role::Operator),
    // It tells what folders and devices there are, as a refused start does.
    ("Plan", Role::Operator),
    ("Recover", Role::Admin),
];

/// The rules of the configuration.
#[derive(Debug, Clone)]
pub struct Rights {
    rules: Arc<[Rule]>,
    /// The user that this daemon runs as.
    own_uid: u32,
}

/// Somebody who calls, and what they may do. In the extensions of every request.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    peer: Option<Arc<Peer>>,
    role: Option<Role>,
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
        Self { rules: rules.into(), own_uid: nix::unistd::geteuid().as_raw() }
    }

    fn caller(&self, peer: Option<Arc<Peer>>) -> Caller {
        let role = match &peer {
            _ if self.rules.is_empty() => Some(Role::Admin),
            Some(peer) => self.role_of(peer),
            None => None,
        };
        Caller { peer, role }
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
        request.extensions().get().cloned().unwrap_or(Self { peer: None, role: None })
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

    /// With the user's name, for people.
    fn named(&self) -> String {
        let Some(peer) = &self.peer else { return "whoever this is".to_owned() };
        let name = User::from_uid(Uid::from_raw(peer.uid)).ok().flatten().map(|user| user.name);
        name.map_or_else(|| format!("uid {}", peer.uid), |name| format!("user {name} (uid {})", peer.uid))
    }
}

/// As in records: `uid 0 (pid 1)`.
impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.peer {
            Some(peer) => peer.fmt(f),
            None => f.write_str("unknown"),
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
        let peer = request.extensions().get::<Option<Arc<Peer>>>().cloned().flatten();
        let caller = self.rights.caller(peer);
        // Health and reflection tell nothing of this host.
        let method = request.uri().path().trim_start_matches('/').split_once('/');
        if let Some((_, method)) = method.filter(|(service, _)| *service == SERVICE_NAME)
            && let Err(status) = caller.require(needed(method), &words(method))
        {
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
        let rights = Rights {
            rules: [
                rule(Subject::User(7), Role::Viewer),
                rule(Subject::Group(70), Role::Operator),
                rule(Subject::Group(71), Role::Halter),
            ]
            .into(),
            own_uid: 99,
        };
        let role = |uid, groups: &[u32]| {
            rights.caller(Some(Arc::new(Peer { uid, groups: groups.to_vec(), pid: None }))).role
        };
        assert_eq!(role(7, &[1]), Some(Role::Viewer));
        assert_eq!(role(7, &[70, 71]), Some(Role::Operator));
        assert_eq!(role(8, &[71]), Some(Role::Halter));
        assert_eq!(role(8, &[1]), None);
        assert_eq!([role(0, &[]), role(99, &[])], [Some(Role::Admin); 2]);
        assert_eq!(rights.caller(None).role, None);
        let all = Rights::new(Vec::new());
        assert_eq!(all.caller(None).role, Some(Role::Admin));
    }

    #[test]
    fn a_refusal_names_the_user_what_they_have_and_what_it_takes() {
        let caller = Caller {
            peer: Some(Arc::new(Peer { uid: 0, groups: Vec::new(), pid: None })),
            role: Some(Role::Halter),
        };
        assert!(caller.require(Role::Halter, "call Stop").is_ok());
        let status = caller.lift_halt().unwrap_err();
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        assert_eq!(status.message(), "user root (uid 0) has the role halter, and needs admin to lift a halt");
    }
}
