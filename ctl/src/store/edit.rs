//! What users put to runs that are kept: tags and baselines.

use super::{KeptRun, Store, now_ns};
use crate::error::{Failure, Problem};

/// Of a tag or a baseline's name, in characters.
const LONGEST: usize = 64;

/// A run that others are measured by, under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Baseline {
    pub(crate) name: String,
    pub(crate) run_id: String,
    pub(crate) scenario: String,
    /// Ns since 1970.
    pub(crate) set_at_ns: i64,
}

impl Store {
    /// Adds tags; those that it has stay.
    pub(crate) async fn tag(&mut self, run: &KeptRun, tags: &[String]) -> Result<(), Failure> {
        let add = "INSERT INTO tag (run_key, tag) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        self.for_each_tag(run, tags, add).await
    }

    /// Takes tags off; those that it does not have are none.
    pub(crate) async fn untag(&mut self, run: &KeptRun, tags: &[String]) -> Result<(), Failure> {
        self.for_each_tag(run, tags, "DELETE FROM tag WHERE run_key = $1 AND tag = $2").await
    }

    async fn for_each_tag(&mut self, run: &KeptRun, tags: &[String], sql: &str) -> Result<(), Failure> {
        self.db
            .transaction(async |db| {
                for tag in tags {
                    db.execute(sql, &[run.key.into(), tag.as_str().into()]).await?;
                }
                Ok(())
            })
            .await
    }

    /// Makes a run the baseline of that name; another one of that name is none any more.
    pub(crate) async fn set_baseline(&mut self, run: &KeptRun, name: &str) -> Result<(), Failure> {
        let sql = "INSERT INTO baseline (name, run_key, set_at_ns) VALUES ($1, $2, $3)
                   ON CONFLICT (name) DO UPDATE SET run_key = excluded.run_key, set_at_ns = excluded.set_at_ns";
        self.db.execute(sql, &[name.into(), run.key.into(), now_ns().into()]).await.map(drop)
    }

    /// Makes a run a baseline under the names that no other has.
    pub(super) async fn add_baselines(&mut self, run_id: &str, names: &[String]) -> Result<(), Failure> {
        for name in names {
            let sql = "INSERT INTO baseline (name, run_key, set_at_ns) SELECT $1, key, $2 FROM run WHERE run_id = $3
                       ON CONFLICT DO NOTHING";
            self.db.execute(sql, &[name.as_str().into(), now_ns().into(), run_id.into()]).await?;
        }
        Ok(())
    }

    /// Forgets a baseline's name; the run stays.
    pub(crate) async fn remove_baseline(&mut self, name: &str) -> Result<(), Failure> {
        match self.db.execute("DELETE FROM baseline WHERE name = $1", &[name.into()]).await? {
            0 => Err(Failure::usage(
                format!("no baseline is named '{name}'"),
                "`sstsctl runs baseline` lists them",
            )),
            _ => Ok(()),
        }
    }

    /// All baselines, by name.
    pub(crate) async fn baselines(&mut self) -> Result<Vec<Baseline>, Failure> {
        let sql =
            "SELECT name, run_id, scenario, set_at_ns FROM baseline JOIN run ON run.key = baseline.run_key
                   ORDER BY name";
        let mut baselines = Vec::new();
        for mut row in self.db.query(sql, &[]).await? {
            baselines.push(Baseline {
                name: row.text()?,
                run_id: row.text()?,
                scenario: row.text()?,
                set_at_ns: row.int()?,
            });
        }
        Ok(baselines)
    }
}

/// A tag, or a baseline's name: what can be typed without quotes.
pub(crate) fn label(text: &str) -> Result<String, Problem> {
    const MEND: &str =
        "use letters, digits and . _ : / + = @ -, at most 64 of them, such as nightly or rack=7";
    let is_good = |c: char| c.is_alphanumeric() || "._:/+=@-".contains(c);
    let why = if text.is_empty() {
        "it is empty".to_owned()
    } else if text.chars().count() > LONGEST {
        "it is too long".to_owned()
    } else if text.starts_with('-') {
        "it begins with -".to_owned()
    } else if let Some(bad) = text.chars().find(|c| !is_good(*c)) {
        format!("{bad:?} can't be in it")
    } else {
        return Ok(text.to_owned());
    };
    Err(Problem::new(format!("'{text}' is no name: {why}"), MEND))
}

/// A baseline's name: not one that means a run otherwise.
pub(crate) fn baseline_name(text: &str) -> Result<String, Problem> {
    let name = label(text)?;
    if name == "latest" {
        return Err(Problem::new("'latest' means a run already", "use another name, such as golden"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_typed() {
        for good in ["nightly", "rack=7", "größe", "a.b_c:d/e+f@g-h"] {
            assert_eq!(label(good).as_deref(), Ok(good));
        }
        for (bad, told) in [
            ("", "empty"),
            ("a b", "' '"),
            ("a\u{1b}[2J", "can't be in it"),
            ("-x", "begins with -"),
            (&"x".repeat(65), "too long"),
        ] {
            let problem = label(bad).unwrap_err();
            assert!(problem.message.contains(told), "{problem:?}");
        }
        assert!(baseline_name("latest").unwrap_err().message.contains("means a run"));
        assert_eq!(baseline_name("golden").as_deref(), Ok("golden"));
    }
}
