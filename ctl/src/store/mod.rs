//! The history: what `sstsctl` keeps of each run that ended, in an SQLite file of the user's or in a team's PostgreSQL.
//!
//! A run is kept once and whole: its result as `--output json` prints it, columns for what runs are filtered by, and a
//! table of figures, from which runs are compared without reading results. Whatever ails a store, it spoils no run.

mod db;
mod document;
mod edit;
mod figures;
mod filter;
mod keep;
mod known;
mod of_fleet;
mod passfile;
mod place;
mod postgres;
mod queries;
mod retention;
mod schema;
mod sqlite;
mod tls;
mod transfer;
mod value;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    document::{Document, on_host},
    edit::{Baseline, baseline_name, label},
    figures::{Figure, FigureQuery, KeptFigure, of_result as figures_of},
    filter::RunFilter,
    keep::NewRun,
    known::KnownRuns,
    place::Place,
    queries::{KeptHost, KeptRun},
    retention::{Pruned, Retention},
    transfer::Imported,
};
use std::time::{SystemTime, UNIX_EPOCH};

use self::{db::Db, postgres::Postgres, sqlite::Sqlite};
use crate::error::{Failure, Problem};

/// What stands before a baseline's name where a run's id could stand, too.
pub(crate) const BASELINE: &str = "baseline:";

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing is made: where there is no store yet, there are no runs.
    Read,
    /// It is made where it is missing.
    Write,
}

/// A history that is open.
#[derive(Debug)]
pub(crate) struct Store {
    db: Db,
    /// Those that were met.
    series: keep::KnownSeries,
}

impl Store {
    /// Opens it, and brings its schema up to date.
    ///
    /// # Errors
    /// It can't be reached, is no history, is damaged, or was made by a newer version.
    pub(crate) async fn open(place: &Place, access: Access) -> Result<Self, Failure> {
        let db = match place {
            Place::Nowhere => {
                return Err(Failure::usage(
                    "there is no history: the store is 'none'",
                    "name one with --store PATH, or leave --store and SSTSCTL_STORE out",
                ));
            }
            Place::File(path) => Db::Sqlite(Sqlite::open(path, access)?),
            Place::Database(database) => {
                let mut postgres = Postgres::connect(database).await?;
                if access == Access::Read && postgres.version().await? == 0 {
                    Db::Sqlite(Sqlite::empty()?)
                } else {
                    postgres.prepare().await?;
                    Db::Postgres(postgres)
                }
            }
        };
        Ok(Self { db, series: keep::KnownSeries::default() })
    }
}

/// By the clock on the wall, since 1970.
fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A run that the history does not have.
pub(crate) fn unknown(reference: &str) -> Failure {
    if let Some(name) = reference.strip_prefix(BASELINE) {
        return Failure::usage(
            format!("no baseline is named '{name}'"),
            format!("`sstsctl runs baseline` lists them; `sstsctl runs baseline RUN {name}` makes a run one"),
        );
    }
    Failure::usage(
        format!("the history has no run '{reference}'"),
        "`sstsctl runs` lists them; name one by its id, the beginning of it, a baseline's name, or 'latest'",
    )
}

fn damaged(what: impl Into<String>) -> Failure {
    Failure {
        exit: crate::error::Exit::Internal,
        problems: vec![Problem::new(
            what,
            "the store is damaged: restore it from a copy, or set it aside and import an export",
        )],
    }
}
