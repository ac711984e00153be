//! The tables, and how those of older versions become those of this one. Forward only: each step is there for good, and a
//! change is a new step.
//!
//! `run.key` is the instant at which a run started, in ns since 1970, counted up where two runs started in the same one:
//! it keeps runs in order, and is what a team's tables are partitioned by.

/// One version's step from the version before.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

/// Version 1 is the first.
pub(super) const STEPS: &[Step] = &[
    Step { sqlite: SQLITE_1, postgres: POSTGRES_1 },
    // The contract's `Run`, compressed by gzip: what reports are made from. Absent of runs that were kept before, or imported.
    Step {
        sqlite: "ALTER TABLE result ADD COLUMN message BLOB;",
        postgres: "ALTER TABLE ssts.result ADD COLUMN message BYTEA;",
    },
];

/// The version that this program writes.
pub(super) fn latest() -> i64 {
    STEPS.len() as i64
}

/// Says that a file is ours: "SSTS".
pub(super) const SQLITE_APPLICATION_ID: i64 = 0x5353_5453;

const SQLITE_1: &str = "
CREATE TABLE run (
    key INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    scenario TEXT NOT NULL,
    duration_ns INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    cause TEXT,
    cause_message TEXT,
    receipt TEXT,
    -- In decimal: it has 64 bits and no sign.
    seed TEXT NOT NULL,
    client_version TEXT NOT NULL,
    kept_at_ns INTEGER NOT NULL,
    -- Of what is kept of the run, about.
    bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX run_by_scenario ON run (scenario, key);

CREATE TABLE run_host (
    run_key INTEGER NOT NULL,
    host TEXT NOT NULL,
    verdict TEXT,
    kernel_release TEXT,
    agent_version TEXT,
    PRIMARY KEY (run_key, host)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_host_by_host ON run_host (host, run_key);

-- What `--output json` printed, compressed by gzip.
CREATE TABLE result (
    run_key INTEGER PRIMARY KEY,
    document BLOB NOT NULL
) STRICT;

CREATE TABLE tag (
    run_key INTEGER NOT NULL,
    tag TEXT NOT NULL,
    PRIMARY KEY (run_key, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_tag ON tag (tag, run_key);

CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    metric TEXT NOT NULL,
    -- A JSON object, names in order.
    labels TEXT NOT NULL,
    statistic TEXT NOT NULL,
    unit TEXT NOT NULL,
    UNIQUE (host, metric, labels, statistic, unit)
) STRICT;
CREATE INDEX series_by_metric ON series (metric, statistic);

CREATE TABLE figure (
    run_key INTEGER NOT NULL,
    series_id INTEGER NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (run_key, series_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE baseline (
    name TEXT PRIMARY KEY,
    run_key INTEGER NOT NULL,
    set_at_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// As in SQLite, with partitions, and texts in the order of their bytes.
const POSTGRES_1: &str = r#"
CREATE TABLE ssts.run (
    key BIGINT PRIMARY KEY,
    run_id TEXT COLLATE "C" NOT NULL,
    scenario TEXT COLLATE "C" NOT NULL,
    duration_ns BIGINT NOT NULL,
    verdict TEXT COLLATE "C" NOT NULL,
    cause TEXT,
    cause_message TEXT,
    receipt TEXT,
    seed TEXT NOT NULL,
    client_version TEXT NOT NULL,
    kept_at_ns BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    UNIQUE (run_id, key)
) PARTITION BY RANGE (key);
CREATE INDEX run_by_scenario ON ssts.run (scenario, key);

CREATE TABLE ssts.run_host (
    run_key BIGINT NOT NULL,
    host TEXT COLLATE "C" NOT NULL,
    verdict TEXT,
    kernel_release TEXT,
    agent_version TEXT,
    PRIMARY KEY (run_key, host)
);
CREATE INDEX run_host_by_host ON ssts.run_host (host, run_key);

CREATE TABLE ssts.result (
    run_key BIGINT PRIMARY KEY,
    document BYTEA NOT NULL
) PARTITION BY RANGE (run_key);

CREATE TABLE ssts.tag (
    run_key BIGINT NOT NULL,
    tag TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (run_key, tag)
);
CREATE INDEX tag_by_tag ON ssts.tag (tag, run_key);

CREATE TABLE ssts.series (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host TEXT COLLATE "C" NOT NULL,
    metric TEXT COLLATE "C" NOT NULL,
    labels TEXT COLLATE "C" NOT NULL,
    statistic TEXT COLLATE "C" NOT NULL,
    unit TEXT COLLATE "C" NOT NULL,
    UNIQUE (host, metric, labels, statistic, unit)
);
CREATE INDEX series_by_metric ON ssts.series (metric, statistic);

CREATE TABLE ssts.figure (
    run_key BIGINT NOT NULL,
    series_id BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (run_key, series_id)
) PARTITION BY RANGE (run_key);

CREATE TABLE ssts.baseline (
    name TEXT COLLATE "C" PRIMARY KEY,
    run_key BIGINT NOT NULL,
    set_at_ns BIGINT NOT NULL
);

CREATE TABLE ssts.setting (
    name TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
);
"#;
