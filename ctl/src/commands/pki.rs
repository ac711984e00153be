//! `pki`: a small authority, so that the safe way is the easy way.

use jiff::Timestamp;

use super::Session;
use crate::{
    cli::{Issue, Pki},
    error::{Exit, Failure},
    json::{CertificateOut, CertificatesOut, RevokedOut},
    pki::{self, Authority, Issued, Kind, Wanted},
    report::{Align, Document, Table, Tone, to_terminal},
};

/// Fewer days are shown as a warning.
const SOON_DAYS: i64 = 7;
const DAY_S: i64 = 24 * 3_600;

pub(super) fn pki(command: Pki, session: &mut Session) -> Result<Exit, Failure> {
    let folder = pki::folder(session.global.pki.as_ref())?;
    match command {
        Pki::Init => {
            let authority = Authority::init(&folder)?;
            if session.wants_json() {
                return certificates(&authority, session);
            }
            let words = format!(
                "An authority is in {0}. {0}/ca.key is what everything rests on: keep a copy where nobody else gets at it.\n",
                authority.folder().display()
            );
            session.output.result(&words).map(|()| Exit::Pass)
        }
        Pki::Issue(issue) => {
            let issued = Authority::open(&folder)?.issue(&wanted(issue))?;
            made(&issued, session)
        }
        Pki::Rotate { name } => {
            let issued = Authority::open(&folder)?.rotate(&name)?;
            made(&issued, session)
        }
        Pki::Revoke { which } => {
            let (revoked, folders) = Authority::open(&folder)?.revoke(&which)?;
            if session.wants_json() {
                let out = RevokedOut {
                    revoked: revoked.iter().map(out).collect(),
                    lists: folders
                        .iter()
                        .map(|folder| folder.join("revoked.crl").display().to_string())
                        .collect(),
                };
                return session.output.json(&out).map(|()| Exit::Pass);
            }
            let mut words: String = revoked
                .iter()
                .map(|issued| {
                    format!("{} {} ({}) is revoked\n", issued.kind.name(), issued.name, issued.serial)
                })
                .collect();
            words += &format!("The new list is {}/revoked.crl", folder.display());
            for folder in &folders {
                words += &format!(", and in {}", folder.display());
            }
            words += ". Copy it to the hosts: they take it within a second.\n";
            session.output.result(&words).map(|()| Exit::Pass)
        }
        Pki::List => {
            let authority = Authority::open(&folder)?;
            certificates(&authority, session)
        }
    }
}

fn wanted(issue: Issue) -> Wanted {
    match issue {
        Issue::Host { name, addresses, valid_for, place } => Wanted {
            kind: Kind::Host,
            name,
            role: None,
            addresses,
            valid_for_ms: valid_for,
            into: place.into,
        },
        Issue::Client { name, role, valid_for, place } => Wanted {
            kind: Kind::Client,
            name,
            role: Some(role),
            addresses: Vec::new(),
            valid_for_ms: valid_for,
            into: place.into,
        },
    }
}

fn made(issued: &Issued, session: &mut Session) -> Result<Exit, Failure> {
    if session.wants_json() {
        return session.output.json(&out(issued)).map(|()| Exit::Pass);
    }
    let folder = issued.folder.display();
    let next = match issued.kind {
        Kind::Host => format!(
            "Copy what is in {folder} to /etc/ssts/tls on {0}, and set `listen` of [tls] in its /etc/ssts/sstsd.toml.\n",
            issued.name
        ),
        Kind::Client => format!("Whoever has {folder} is {}: `sstsctl --pki` takes it.\n", issued.name),
    };
    let words =
        format!("{} {} until {}\n{next}", issued.kind.name(), issued.name, instant(issued.not_after_s));
    session.output.result(&words).map(|()| Exit::Pass)
}

fn certificates(authority: &Authority, session: &mut Session) -> Result<Exit, Failure> {
    if session.wants_json() {
        let out = CertificatesOut {
            folder: authority.folder().display().to_string(),
            certificates: authority.issued().iter().map(out).collect(),
        };
        return session.output.json(&out).map(|()| Exit::Pass);
    }
    let mut table = Table::new(&[
        ("name", Align::Left),
        ("for", Align::Left),
        ("until", Align::Left),
        ("state", Align::Left),
        ("number", Align::Left),
    ]);
    for issued in authority.issued() {
        let what = match (&issued.role, issued.kind) {
            (Some(role), _) => format!("client, {role}"),
            (None, kind) => format!("{}, {}", kind.name(), issued.addresses.join(", ")),
        };
        table.row([
            issued.name.clone(),
            what,
            instant(issued.not_after_s),
            state(issued).to_owned(),
            issued.serial.clone(),
        ]);
    }
    let mut document = Document::default();
    let count = authority.issued().len();
    document.title(&format!("{count} certificates of {}", authority.folder().display()), Tone::Good);
    document.table(table);
    session.output.result(&to_terminal(&document, session.output.in_color())).map(|()| Exit::Pass)
}

fn state(issued: &Issued) -> &'static str {
    let left_s = issued.not_after_s - Timestamp::now().as_second();
    match (issued.revoked_at_s, left_s) {
        (Some(_), _) => "revoked",
        (None, ..=0) => "expired",
        (None, left) if left < SOON_DAYS * DAY_S => "ends soon",
        (None, _) => "in force",
    }
}

fn out(issued: &Issued) -> CertificateOut {
    CertificateOut {
        serial: issued.serial.clone(),
        name: issued.name.clone(),
        kind: issued.kind.name().to_owned(),
        role: issued.role.clone(),
        addresses: issued.addresses.clone(),
        not_after: instant(issued.not_after_s),
        state: state(issued).replace(' ', "_"),
        folder: issued.folder.display().to_string(),
    }
}

/// RFC 3339.
fn instant(unix_s: i64) -> String {
    // Certificates end within times that jiff knows.
    Timestamp::from_second(unix_s).map_or_else(|_| unix_s.to_string(), |at| at.to_string())
}
