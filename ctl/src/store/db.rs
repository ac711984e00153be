//! The two databases behind one face. The statements are the same in both: `$1`, `$2` … stand for values, and only what
//! both understand is used (`schema` has what differs).

use super::{
    keep::rows_of,
    postgres::Postgres,
    sqlite::Sqlite,
    value::{Row, Value},
};
use crate::error::Failure;

/// A connection.
#[derive(Debug)]
pub(super) enum Db {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Db {
    /// Carries a statement out; gives the number of rows that it changed.
    pub(super) async fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.execute(sql, values),
            Self::Postgres(postgres) => postgres.execute(sql, values).await,
        }
    }

    /// All rows of an answer.
    pub(super) async fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.query(sql, values),
            Self::Postgres(postgres) => postgres.query(sql, values).await,
        }
    }

    /// Adds figures of a run: the numbers of their series, and their values.
    pub(super) async fn add_figures(&mut self, run_key: i64, figures: &[(i64, f64)]) -> Result<(), Failure> {
        match self {
            Self::Sqlite(sqlite) => {
                let sql = format!(
                    "INSERT INTO figure (run_key, series_id, value) VALUES {} ON CONFLICT DO NOTHING",
                    rows_of(figures.len(), 3)
                );
                let row = |(series, value): &(i64, f64)| [run_key.into(), (*series).into(), (*value).into()];
                let rows: Vec<_> = figures.iter().map(row).collect();
                sqlite.execute(&sql, rows.as_flattened()).map(drop)
            }
            Self::Postgres(postgres) => postgres.add_figures(run_key, figures).await,
        }
    }

    /// Makes room for runs that started in the month of this instant, where that is needed. In a transaction.
    pub(super) async fn make_room(&mut self, started_at_ns: i64) -> Result<(), Failure> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(postgres) => postgres.make_room(started_at_ns).await,
        }
    }

    /// Gives the room of what was removed back.
    pub(super) async fn shrink(&mut self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.shrink(),
            Self::Postgres(postgres) => postgres.shrink().await,
        }
    }

    /// Does all of it, or nothing.
    pub(super) async fn transaction<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let begin = match self {
            // A writer from its first statement: one that becomes a writer later can't wait for another.
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        };
        self.execute(begin, &[]).await?;
        match work(self).await {
            Ok(done) => {
                self.execute("COMMIT", &[]).await?;
                Ok(done)
            }
            Err(failure) => {
                // Where it fails, too, the connection is gone, and the transaction with it.
                let _ = self.execute("ROLLBACK", &[]).await;
                Err(failure)
            }
        }
    }
}
