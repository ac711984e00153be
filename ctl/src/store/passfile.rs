//! The password for PostgreSQL, from where its own programs take it: PGPASSWORD, or the file that PGPASSFILE names, or
//! `~/.pgpass` (postgresql.org/docs/current/libpq-pgpass.html).

use std::{env, fs, io::ErrorKind, os::unix::fs::MetadataExt as _, path::PathBuf};

use tokio_postgres::{Config, config::Host};

use crate::error::Failure;

/// The password, if there is one.
///
/// # Errors
/// The file can be read by others, or can't be read although it was named.
pub(super) fn password(config: &Config) -> Result<Option<String>, Failure> {
    if let Ok(password) = env::var("PGPASSWORD") {
        return Ok(Some(password));
    }
    let named = env::var_os("PGPASSFILE").map(PathBuf::from);
    let default = || Some(PathBuf::from(env::var_os("HOME")?).join(".pgpass"));
    let Some(path) = named.clone().or_else(default) else { return Ok(None) };
    let refused = |why: &str, mend: String| {
        Failure::usage(format!("the password file {}: {why}", path.display()), mend)
    };
    let read = fs::metadata(&path).and_then(|about| Ok((about.mode(), fs::read_to_string(&path)?)));
    match read {
        Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(&error.to_string(), "name one that you may read with PGPASSFILE".into())),
        Ok((mode, _)) if mode & 0o077 != 0 => {
            Err(refused("other users may read it", format!("chmod 600 {}", path.display())))
        }
        Ok((_, text)) => Ok(find(&text, &wanted(config))),
    }
}

/// Host, port, database and user, as the file has them.
fn wanted(config: &Config) -> [String; 4] {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        // "localhost" stands for a socket in the default folder.
        Some(Host::Unix(folder))
            if matches!(folder.to_str(), Some("/run/postgresql" | "/var/run/postgresql" | "/tmp")) =>
        {
            "localhost".into()
        }
        Some(Host::Unix(folder)) => folder.display().to_string(),
        None => config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432).to_string();
    let user = config.get_user().map_or_else(|| env::var("USER").unwrap_or_default(), str::to_owned);
    let database = config.get_dbname().map_or_else(|| user.clone(), str::to_owned);
    [host, port, database, user]
}

/// The password of the first line that fits.
fn find(text: &str, wanted: &[String; 4]) -> Option<String> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut fields = fields(line).into_iter();
        let fits =
            wanted.iter().all(|wanted| fields.next().is_some_and(|field| field == "*" || field == *wanted));
        fields.next().filter(|_| fits)
    })
}

/// Between colons; a backslash takes the next character as it is.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let is_password = fields.len() == 5;
        let Some(last) = fields.last_mut() else { break };
        match character {
            '\\' => last.extend(characters.next()),
            ':' if !is_password => fields.push(String::new()),
            other => last.push(other),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let wanted = ["db", "5432", "ssts", "me"].map(str::to_owned);
        let file = "# a comment\nother:5432:ssts:me:no\ndb:*:*:me:s3\\:cret:x\n*:*:*:*:last\n";
        assert_eq!(find(file, &wanted).as_deref(), Some("s3:cret:x"));
        let wanted = ["else", "1", "d", "u"].map(str::to_owned);
        assert_eq!(find(file, &wanted).as_deref(), Some("last"));
        assert_eq!(find("db:5432:ssts", &wanted), None);
    }
}
