//! The keys of scenario files as types, for the JSON Schema that editors check files by while they are written. None is ever
//! made: files are read key by key, with everything that is wrong told at its place. A test holds the two to each other.
#![expect(dead_code, reason = "types that are there for their schema alone")]

mod burners;
mod values;

use std::collections::BTreeMap;

use schemars::{JsonSchema, generate::SchemaSettings};

use self::{
    burners::Burner,
    values::{
        AfterFailure, Aggregate, Amount, AtLast, Celsius, Duration, LastStep, Missing, Name, OneOrMany,
        Otherwise, Percent, Portion, Reaction, Sensors, Signal, Size, Text, TrendKind, VariableType, Watts,
        Whole, YesOrNo,
    },
};

/// A scenario file of SSTS: phases in sequence, with what has to hold and what must have been measured.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Scenario of SSTS")]
struct ScenarioFile {
    /// A name. It may come from a file that is included.
    name: Option<Name>,
    /// One line for people, at most 1,024 bytes.
    description: Option<Text>,
    /// Start of every pseudo-random sequence.
    seed: Option<Whole>,
    /// Its workers may be on cores that another run uses which says the same.
    shared_cores: Option<YesOrNo>,
    /// Limits that stop the run.
    limits: Option<Limits>,
    /// How the run ends where a decision winds it down.
    wind_down: Option<WindDown>,
    /// In which waves it comes over a fleet, and what must hold of the fleet as a whole.
    fleet: Option<Fleet>,
    /// Limits with a reaction, on any metric.
    guards: Option<Vec<Guard>>,
    /// What must have been measured in the whole run.
    threshold: Option<Vec<Threshold>>,
    /// How what is measured must go on.
    trend: Option<Vec<Trend>>,
    /// Names for values, used as `${NAME}`.
    variables: Option<BTreeMap<String, Variable>>,
    /// Lists that phases are repeated for.
    matrix: Option<BTreeMap<String, List>>,
    /// Files that this one is put on top of.
    include: Option<OneOrMany<Text>>,
    /// Phases in sequence.
    phase: Option<Vec<PhaseEntry>>,
}

/// Limits that stop the run: each at most as loose as the agent's own.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Limits {
    /// The whole run, preparation, waits and pauses included.
    max_duration: Option<Duration>,
    /// Of the hottest sensor.
    max_temperature: Option<Celsius>,
    /// Memory that stays available.
    min_available_memory: Option<Size>,
}

/// How the run ends where a decision winds it down.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct WindDown {
    /// In which loads go down to nothing.
    duration: Duration,
}

/// In which waves a run comes over a fleet, and what must hold of the fleet as a whole.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Fleet {
    /// How many of all hosts have run after each wave: [1, "10%", "100%"].
    waves: Option<OneOrMany<Portion>>,
    /// Of hosts with one value of a label at most so many at once.
    max_per: Option<BTreeMap<String, Portion>>,
    /// What may be drawn at once, of the whole fleet or per label's value.
    max_watts: Option<MaxWatts>,
    /// Failed hosts that are borne before later waves stay where they are.
    max_failures: Option<Portion>,
    /// What must hold of the fleet as a whole.
    threshold: Option<Vec<FleetThreshold>>,
}

/// Watts of the whole fleet, or of domains.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum MaxWatts {
    Whole(Watts),
    Domains(BTreeMap<String, Watts>),
}

/// What must hold of the fleet as a whole.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct FleetThreshold {
    /// `p95 across hosts of host.temperature.max < 85`, or `hosts failed <= 1%`.
    that: Text,
    /// Which of the metric's columns.
    labels: Option<BTreeMap<String, Text>>,
}

/// A limit with a reaction.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Guard {
    /// A name.
    name: Name,
    /// Of the catalogue, such as `host.temperature`.
    metric: Text,
    /// Which of the metric's columns.
    labels: Option<BTreeMap<String, Text>>,
    /// It trips above.
    above: Option<Amount>,
    /// It trips below.
    below: Option<Amount>,
    /// It trips where the metric rises by so much within the window.
    rises: Option<Amount>,
    /// It trips so near to the metric's own critical value.
    headroom: Option<Amount>,
    /// How far it has to come back to be clear again.
    hysteresis: Option<Amount>,
    /// Over which readings are taken together.
    window: Option<Duration>,
    /// For how long the limit has to be broken.
    r#for: Option<Duration>,
    /// Readings that the window needs.
    min_samples: Option<Whole>,
    /// What readings come to.
    aggregate: Option<Aggregate>,
    /// What becomes of it where readings are missing.
    missing: Option<Missing>,
    /// What it does.
    reaction: Reaction,
    /// Of throttle: percent of the load that each step takes.
    step: Option<Whole>,
    /// Of throttle: between two steps.
    hold: Option<Duration>,
    /// Of throttle: percent of the load that is left at least.
    floor: Option<Whole>,
    /// Of throttle: what follows at the floor.
    then: Option<LastStep>,
    /// Of pause: how often, before it stops the run.
    max_pauses: Option<Whole>,
    /// It looks at what others do, and not at the run's own burners.
    others_only: Option<YesOrNo>,
}

/// What must have been measured for the run to pass.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Threshold {
    /// A metric, a statistic, a comparison and a value: `host.temperature.max < 85`.
    that: Text,
    /// Which of the metric's columns.
    labels: Option<BTreeMap<String, Text>>,
    /// Single readings are judged, and fail once they have broken it for so long.
    r#for: Option<Duration>,
    /// Left out at the beginning.
    grace: Option<Duration>,
    /// The run ends as soon as it fails.
    abort_on_fail: Option<YesOrNo>,
}

/// How what is measured must go on while the load lasts.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Trend {
    /// Of the catalogue, or of what burners of a kind do, such as `disk.operations`.
    metric: Text,
    /// Which of the metric's columns.
    labels: Option<BTreeMap<String, Text>>,
    /// The name of a phase; the whole run unless it is said.
    phase: Option<Name>,
    /// What it must not do, or must come to.
    kind: TrendKind,
    /// What is let be: of a leak in a minute, of a drift percent an hour.
    tolerate: Option<Amount>,
}

/// A name for a value.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Variable {
    /// What values it takes. Needed, but for a variable of an included file.
    r#type: Option<VariableType>,
    /// Its value where none is set; without one it has to be set.
    default: Option<serde_json::Value>,
    /// One line for people.
    description: Option<Text>,
}

/// Values of a matrix, or a variable that is a list.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum List {
    Items(Vec<serde_json::Value>),
    Variable(Text),
}

/// A phase, or the phases of a file in its place.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum PhaseEntry {
    Phase(Box<Phase>),
    Included(Included),
}

/// The phases of a file, in this place.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Included {
    /// The file, or a list of files.
    include: OneOrMany<Text>,
}

/// Burners side by side for a duration.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Phase {
    /// A name that no other phase has.
    name: Name,
    /// From when every burner is ready.
    duration: Duration,
    /// In which its loads come from those of the phase before.
    ramp: Option<Duration>,
    /// Later phases may compare with what is measured in it.
    baseline: Option<YesOrNo>,
    /// What has to hold before it begins.
    require: Option<Require>,
    /// What is done when it failed.
    then: Option<Then>,
    /// What burns in it; none for a phase that only observes.
    burner: Option<Vec<Burner>>,
    /// What must have been measured in it.
    threshold: Option<Vec<Threshold>>,
    /// Its load is searched for.
    search: Option<Search>,
    /// Burners that die are started anew.
    restart: Option<YesOrNo>,
    /// Burners that are killed on purpose.
    kill: Option<Vec<Kill>>,
    /// The name of an earlier phase: how soon the host is as it was in that.
    settles_like: Option<Name>,
}

/// Searches for the greatest load at which an objective holds.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Search {
    /// A threshold on single readings: `http.request.latency.p99 < 10ms`.
    objective: Text,
    /// Which of its metric's columns.
    labels: Option<BTreeMap<String, Text>>,
    /// The least load, percent of a core.
    from: Option<Percent>,
    /// The greatest one.
    to: Option<Percent>,
    /// How close the bounds of the knee come, percentage points.
    precision: Option<Percent>,
    /// How long a load is watched at most.
    hold: Option<Duration>,
    /// After a load that was too much, at least.
    rest: Option<Duration>,
}

/// A burner that is killed on purpose.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Kill {
    /// After so long.
    at: Option<Duration>,
    /// Again and again.
    every: Option<Duration>,
    /// By what.
    signal: Option<Signal>,
    /// Which one, counted from 0; each in turn unless it is said.
    burner: Option<Whole>,
}

/// What has to hold before a phase begins: at least one condition.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Require {
    /// Every temperature sensor was read in time, and there is one.
    sensors: Option<Sensors>,
    /// Memory that is available, at least.
    memory: Option<Size>,
    /// Room on file systems.
    disk: Option<OneOrMany<Room>>,
    /// The hottest sensor is below.
    temperature_below: Option<Celsius>,
    /// Hardware errors, wrong results and failed I/Os since the start of the run, at most.
    errors: Option<Whole>,
    /// Conditions on what the host shows, as thresholds have them.
    that: Option<OneOrMany<Condition>>,
    /// Over which these are judged; 3 s unless it is said.
    window: Option<Duration>,
    /// For how long it may not hold yet.
    wait: Option<Duration>,
    /// What is done where it does not hold in time; to skip the phase unless it is said.
    otherwise: Option<Otherwise>,
}

/// Room on a file system.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Room {
    /// An absolute path.
    path: Text,
    /// At least.
    free: Size,
}

/// A condition, with labels or without.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Condition {
    Text(Text),
    Labelled(Labelled),
}

/// A condition on some of a metric's columns.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Labelled {
    /// Such as `host.temperature.mean < 60`.
    that: Text,
    /// Which of the metric's columns.
    labels: Option<BTreeMap<String, Text>>,
}

/// What is done after a phase that failed.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Then {
    /// What is done.
    on_fail: AfterFailure,
    /// With repeat: how often at most, 1 to 100.
    repeat: Option<Whole>,
    /// With repeat: what is done when the last repetition failed, too.
    otherwise: Option<AtLast>,
}

/// The JSON Schema of scenario files, as text.
pub(crate) fn schema() -> String {
    // As files are read, and not as something would be written: what may be left out is not required.
    let generator = SchemaSettings::draft07().into_generator();
    let schema = generator.into_root_schema_for::<ScenarioFile>();
    let mut schema = schema.to_value();
    // What may be left out is absent and never null: TOML has none.
    without_null(&mut schema);
    let whole = serde_json::json!([{ "required": ["name", "phase"] }, { "required": ["include"] }]);
    if let Some(object) = schema.as_object_mut() {
        object.insert("anyOf".into(), whole);
    }
    // A schema that was just generated is plain data: there is nothing in it that could not be written.
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

/// Takes null from the choices: TOML has none.
pub(crate) fn without_null(schema: &mut serde_json::Value) {
    use serde_json::Value;
    match schema {
        Value::Object(object) => {
            let is_null = |value: &Value| value["type"] == "null";
            if let Some(Value::Array(kinds)) = object.get_mut("type") {
                kinds.retain(|kind| kind != "null");
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| !is_null(choice));
            }
            object.values_mut().for_each(without_null);
            if let Some(Value::Array(choices)) = object.get("anyOf")
                && let [only] = &choices[..]
                && let Some(only) = only.as_object().cloned()
            {
                object.remove("anyOf");
                for (key, value) in only {
                    object.entry(key).or_insert(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
