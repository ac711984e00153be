//! The authority: makes keys and certificates, and takes them back.

use std::{
    fs::{self, File},
    net::IpAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason,
    RevokedCertParams, SanType, SerialNumber,
};
use ssts_proto::audit::sha256;
use time::{Duration, OffsetDateTime};

use super::{
    AUTHORITY, OWN_CLIENT, ROLES, files,
    index::{Index, Issued, Kind},
};
use crate::error::{Exit, Failure};

const KEY: &str = "ca.key";
const REVOKED: &str = "revoked.crl";
const LOCK: &str = "lock";
/// Of the authority itself, and of its lists.
const YEARS: Duration = Duration::days(3_650);
/// Clocks differ.
const BEFORE: Duration = Duration::minutes(5);
const SERIAL_BYTES: usize = 16;

/// What a certificate is to be.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// Of a client.
    pub(crate) role: Option<String>,
    /// Of a host; its name where there are none.
    pub(crate) addresses: Vec<String>,
    pub(crate) valid_for_ms: u64,
    /// Where to write it. None: below the authority's folder.
    pub(crate) into: Option<PathBuf>,
}

/// Its folder, to itself.
#[derive(Debug)]
pub(crate) struct Authority {
    folder: PathBuf,
    index: Index,
    params: CertificateParams,
    _alone: Flock<File>,
}

impl Authority {
    /// Makes one.
    pub(crate) fn init(folder: &Path) -> Result<Self, Failure> {
        files::make_folder(folder)?;
        let alone = lock(folder)?;
        if Index::path(folder).exists() || folder.join(KEY).exists() {
            return Err(Failure::usage(
                format!("{} has an authority already", folder.display()),
                "go on with `sstsctl pki issue`, or name another folder with --pki",
            ));
        }
        let key = KeyPair::generate().map_err(|error| bug(&error))?;
        let name = format!("ssts authority {}", &sha256(key.public_key_raw())[..8]);
        let mut params = authority_params(&name);
        let now = OffsetDateTime::now_utc();
        (params.not_before, params.not_after) = (now - BEFORE, now + YEARS);
        let certificate = params.self_signed(&key).map_err(|error| bug(&error))?;
        files::write(&folder.join(KEY), &key.serialize_pem(), files::PRIVATE)?;
        files::write(&folder.join(AUTHORITY), &certificate.pem(), files::PUBLIC)?;
        let index = Index { authority: name, list_number: 0, issued: Vec::new() };
        let mut authority = Self { folder: folder.to_owned(), index, params, _alone: alone };
        authority.write_list(&key)?;
        Ok(authority)
    }

    /// One that is there.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        // A folder that isn't there is told by what is missing in it.
        let index = Index::read(folder)?;
        let alone = lock(folder)?;
        // Another one may have written it meanwhile.
        let index = Index::read(folder).unwrap_or(index);
        let params = authority_params(&index.authority);
        Ok(Self { folder: folder.to_owned(), index, params, _alone: alone })
    }

    /// Everything that was issued, the oldest first.
    pub(crate) fn issued(&self) -> &[Issued] {
        &self.index.issued
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a key and a certificate.
    pub(crate) fn issue(&mut self, wanted: &Wanted) -> Result<Issued, Failure> {
        let Wanted { kind, name, role, addresses, valid_for_ms, into } = wanted;
        check_name(name)?;
        if let Some(role) = role.as_deref().filter(|role| !ROLES.contains(role)) {
            return Err(Failure::usage(
                format!("'{role}' is no role"),
                "use viewer, halter, operator or admin",
            ));
        }
        let authority_key = self.key()?;
        let key = KeyPair::generate().map_err(|error| bug(&error))?;
        let serial = serial(&key);
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let now = OffsetDateTime::now_utc();
        let valid_for = Duration::milliseconds(i64::try_from(*valid_for_ms).unwrap_or(i64::MAX));
        let not_after = now.checked_add(valid_for).filter(|end| *end <= now + YEARS).ok_or_else(|| {
            Failure::usage("it would outlive its authority", "use less than ten years for --valid-for")
        })?;
        (params.not_before, params.not_after) = (now - BEFORE, not_after);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let mut addresses = addresses.clone();
        let uri = |text: String| text.try_into().map(SanType::URI).map_err(|error| bug(&error));
        params.subject_alt_names = match kind {
            Kind::Host => {
                if addresses.is_empty() {
                    addresses.push(name.clone());
                }
                addresses.iter().map(|address| alternative(address)).collect::<Result<_, _>>()?
            }
            Kind::Client => {
                let role = role.as_deref().unwrap_or_default();
                vec![uri(format!("ssts:client/{name}"))?, uri(format!("ssts:role/{role}"))?]
            }
        };
        params.extended_key_usages = vec![match kind {
            Kind::Host => ExtendedKeyUsagePurpose::ServerAuth,
            Kind::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let issuer = Issuer::from_params(&self.params, &authority_key);
        let certificate = params.signed_by(&key, &issuer).map_err(|error| bug(&error))?;
        let below = format!("{}s", kind.name());
        let folder = into.clone().unwrap_or_else(|| self.folder.join(below).join(name));
        files::make_folder(&folder)?;
        let issued = Issued {
            serial: hex(&serial),
            name: name.clone(),
            kind: *kind,
            role: role.clone(),
            addresses,
            valid_for_ms: *valid_for_ms,
            not_after_s: not_after.unix_timestamp(),
            folder: std::path::absolute(&folder).unwrap_or_else(|_| folder.clone()),
            revoked_at_s: None,
        };
        // Noted first: what is not in the index can't be revoked.
        self.index.issued.push(issued.clone());
        self.index.write(&self.folder)?;
        let file = |end: &str| folder.join(format!("{}.{end}", kind.name()));
        files::write(&file("key"), &key.serialize_pem(), files::PRIVATE)?;
        files::write(&file("crt"), &certificate.pem(), files::PUBLIC)?;
        files::write(&folder.join(AUTHORITY), &files::read(&self.folder.join(AUTHORITY))?, files::PUBLIC)?;
        match kind {
            Kind::Host => self.give_list(&folder)?,
            Kind::Client => self.be_own_client(&folder),
        }
        Ok(issued)
    }

    /// A new key and certificate of the same kind, in the same place. The old certificate holds until its end.
    pub(crate) fn rotate(&mut self, name: &str) -> Result<Issued, Failure> {
        let last = self
            .index
            .issued
            .iter()
            .rev()
            .find(|issued| issued.name == name && issued.revoked_at_s.is_none());
        let Some(Issued { kind, role, addresses, valid_for_ms, folder, .. }) = last.cloned() else {
            return Err(nobody(name));
        };
        self.issue(&Wanted { kind, name: name.to_owned(), role, addresses, valid_for_ms, into: Some(folder) })
    }

    /// Takes back every certificate of that name, or the one of that number, and writes the list of revoked ones to where hosts'
    /// certificates were written. Gives those, and the folders.
    pub(crate) fn revoke(&mut self, which: &str) -> Result<(Vec<Issued>, Vec<PathBuf>), Failure> {
        let key = self.key()?;
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let mut revoked = Vec::new();
        for issued in &mut self.index.issued {
            if (issued.name == which || issued.serial == which) && issued.revoked_at_s.is_none() {
                issued.revoked_at_s = Some(now);
                revoked.push(issued.clone());
            }
        }
        if revoked.is_empty() {
            return Err(nobody(which));
        }
        self.write_list(&key)?;
        let mut folders: Vec<PathBuf> = Vec::new();
        for host in self.index.issued.iter().filter(|issued| issued.kind == Kind::Host) {
            if host.folder.is_dir() && !folders.contains(&host.folder) {
                self.give_list(&host.folder)?;
                folders.push(host.folder.clone());
            }
        }
        Ok((revoked, folders))
    }

    fn write_list(&mut self, key: &KeyPair) -> Result<(), Failure> {
        self.index.list_number += 1;
        let now = OffsetDateTime::now_utc();
        let of = |issued: &Issued| {
            let at = OffsetDateTime::from_unix_timestamp(issued.revoked_at_s?).ok()?;
            Some(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&unhex(&issued.serial)?),
                revocation_time: at,
                reason_code: Some(RevocationReason::Unspecified),
                invalidity_date: None,
            })
        };
        let params = CertificateRevocationListParams {
            this_update: now - BEFORE,
            next_update: now + YEARS,
            crl_number: SerialNumber::from(self.index.list_number),
            issuing_distribution_point: None,
            revoked_certs: self.index.issued.iter().filter_map(of).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&Issuer::from_params(&self.params, key)).map_err(|error| bug(&error))?;
        let pem = list.pem().map_err(|error| bug(&error))?;
        self.index.write(&self.folder)?;
        files::write(&self.folder.join(REVOKED), &pem, files::PUBLIC)
    }

    fn give_list(&self, folder: &Path) -> Result<(), Failure> {
        files::write(&folder.join(REVOKED), &files::read(&self.folder.join(REVOKED))?, files::PUBLIC)
    }

    /// The first client is whoever keeps the authority. Where that can't be linked, `--pki` names the folder.
    fn be_own_client(&self, folder: &Path) {
        let link = self.folder.join(OWN_CLIENT);
        if fs::symlink_metadata(&link).is_err() {
            let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
            let _best_effort = symlink(absolute, link);
        }
    }

    fn key(&self) -> Result<KeyPair, Failure> {
        let path = self.folder.join(KEY);
        let text = files::private_file(&path)?;
        // The reader's words could hold some of it.
        let key = std::str::from_utf8(&text).ok().and_then(|text| KeyPair::from_pem(text).ok());
        key.ok_or_else(|| {
            Failure::usage(format!("{} is no key", path.display()), "put it back from a backup")
        })
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn alternative(address: &str) -> Result<SanType, Failure> {
    if let Ok(ip) = address.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(ip));
    }
    let wrong = || {
        Failure::usage(
            format!("'{address}' is neither a host's name nor an address"),
            "give --address as clients will write it in --host, without the port",
        )
    };
    let good = rustls::pki_types::DnsName::try_from(address).is_ok();
    if good { address.try_into().map(SanType::DnsName).map_err(|_| wrong()) } else { Err(wrong()) }
}

/// It is a file's name, too.
fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
    if (1..=64).contains(&name.len()) && name.chars().all(plain) && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    Err(Failure::usage(
        format!("'{name}' can't be a name"),
        "use 1 to 64 characters of A-Z, a-z, 0-9, '.', '-', '_', '@'",
    ))
}

fn nobody(which: &str) -> Failure {
    Failure::usage(
        format!("no certificate of the name or number '{which}' is in force"),
        "`sstsctl pki list` lists them",
    )
}

/// Of the key: as random as it is. Its first byte is neither negative nor zero, so it stands in the certificate as it is.
fn serial(key: &KeyPair) -> Vec<u8> {
    let digest = unhex(&sha256(key.public_key_raw())).unwrap_or_default();
    let mut serial: Vec<u8> = digest.into_iter().take(SERIAL_BYTES).collect();
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    serial
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

fn lock(folder: &Path) -> Result<Flock<File>, Failure> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(|error| files::unusable(&path, &error))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| files::unusable(&path, &errno.into()))
}

fn bug(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, format!("no certificate could be made: {error}"), "")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn wanted(kind: Kind, name: &str) -> Wanted {
        Wanted {
            kind,
            name: name.into(),
            role: (kind == Kind::Client).then(|| "viewer".into()),
            addresses: vec![],
            valid_for_ms: 60_000,
            into: None,
        }
    }

    #[test]
    fn keys_are_for_their_owner_and_an_authority_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("pki");
        let mut authority = Authority::init(&folder).unwrap();
        let host = authority.issue(&wanted(Kind::Host, "db1")).unwrap();
        let client = authority.issue(&wanted(Kind::Client, "alice")).unwrap();
        assert_eq!(host.addresses, ["db1"]);
        for key in [folder.join("ca.key"), host.folder.join("host.key"), client.folder.join("client.key")] {
            assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600, "{}", key.display());
        }
        assert!(folder.join("client/client.crt").is_file() && host.folder.join("revoked.crl").is_file());
        drop(authority);
        assert_eq!(Authority::init(&folder).unwrap_err().exit, Exit::Usage);
        fs::set_permissions(folder.join("ca.key"), fs::Permissions::from_mode(0o644)).unwrap();
        let mut authority = Authority::open(&folder).unwrap();
        let refusal = authority.issue(&wanted(Kind::Host, "db2")).unwrap_err().to_string();
        assert!(refusal.contains("chmod 600"), "{refusal}");
    }

    #[test]
    fn what_is_rotated_is_new_and_what_is_revoked_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        let mut authority = Authority::init(&dir.path().join("pki")).unwrap();
        let host = authority.issue(&wanted(Kind::Host, "db1")).unwrap();
        let first = authority.issue(&wanted(Kind::Client, "alice")).unwrap();
        let second = authority.rotate("alice").unwrap();
        assert!(first.serial != second.serial && first.folder == second.folder);
        let list = fs::read(host.folder.join("revoked.crl")).unwrap();
        let (revoked, folders) = authority.revoke(&first.serial).unwrap();
        assert_eq!((revoked.len(), folders), (1, vec![host.folder.clone()]));
        assert_ne!(fs::read(host.folder.join("revoked.crl")).unwrap(), list);
        assert_eq!(authority.revoke("alice").unwrap().0[0].serial, second.serial);
        assert!(authority.revoke("alice").is_err() && authority.rotate("alice").is_err());
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut authority = Authority::init(&dir.path().join("pki")).unwrap();
        for name in ["", "../x", "a/b", ".x", "-x", "é", &"x".repeat(65)] {
            assert!(authority.issue(&wanted(Kind::Client, name)).is_err(), "{name}");
        }
        let bad = Wanted { addresses: vec!["10.0.0.1:7443".into()], ..wanted(Kind::Host, "db1") };
        assert!(authority.issue(&bad).is_err());
        let king = Wanted { role: Some("king".into()), ..wanted(Kind::Client, "bob") };
        assert!(authority.issue(&king).is_err());
        assert!(authority.issued().is_empty());
    }
}
