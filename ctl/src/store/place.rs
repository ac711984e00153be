//! Where the history is.

use std::{env, fmt, path::PathBuf};

use nix::unistd::{Uid, User};

use super::postgres::Database;
use crate::error::Failure;

/// As `--store` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing is kept.
    Nowhere,
    /// An SQLite file.
    File(PathBuf),
    /// A team's, in PostgreSQL.
    Database(Box<Database>),
}

impl Place {
    /// `none`, a path, or the URL of a PostgreSQL database.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("it is empty; name a file, or 'none' to keep nothing".into()),
            "none" => Ok(Self::Nowhere),
            _ => match text.split_once("://") {
                None => Ok(Self::File(text.into())),
                Some(("postgres" | "postgresql", _)) => {
                    Database::parse(text).map(|database| Self::Database(Box::new(database)))
                }
                Some((scheme, _)) => {
                    Err(format!("no scheme '{scheme}' is known; name a file, or a postgres:// URL"))
                }
            },
        }
    }

    /// Where the user's own history is if nobody says otherwise: `history.db` below `$XDG_DATA_HOME/ssts`.
    pub(crate) fn of_user() -> Result<Self, Failure> {
        let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        // Services and jobs of cron have no HOME.
        let home = || {
            let user = User::from_uid(Uid::effective()).ok().flatten()?;
            Some(user.dir).filter(|home| home.is_absolute())
        };
        let home = absolute("HOME").or_else(home);
        let data = absolute("XDG_DATA_HOME").or_else(|| home.map(|home| home.join(".local/share")));
        data.map(|data| Self::File(data.join("ssts/history.db"))).ok_or_else(|| {
            Failure::usage(
                "there is no place for the history: neither XDG_DATA_HOME nor HOME is set, and the user has no home",
                "set one, name a file with --store, or keep nothing with --store none",
            )
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("none"),
            Self::File(path) => path.display().fmt(f),
            Self::Database(database) => f.write_str(database.shown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_or_none() {
        assert_eq!(Place::parse("none"), Ok(Place::Nowhere));
        assert_eq!(Place::parse("./none"), Ok(Place::File("./none".into())));
        assert_eq!(Place::parse("runs.db"), Ok(Place::File("runs.db".into())));
        for (text, told) in [("", "empty"), ("mysql://x/y", "no scheme 'mysql'"), ("file://x", "'file'")] {
            let refusal = Place::parse(text).unwrap_err();
            assert!(refusal.contains(told), "{refusal}");
        }
    }
}
