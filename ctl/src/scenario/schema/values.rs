//! The values of a scenario file, as a schema can know them. Any of them may be, or hold, a variable: `${NAME}`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

/// What a text with a variable in it looks like.
const VARIABLE: &str = r"\$\{";

/// One item, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// A value with a schema of its own.
macro_rules! value {
    ($(#[doc = $doc:literal])+ $name:ident, $schema:expr) => {
        $(#[doc = $doc])+
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema: Schema = $schema;
                schema.insert("description".into(), concat!($($doc),+).trim().into());
                schema
            }
        }
    };
}

/// One of some words.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident, $($word:literal),+) => {
        value!($(#[doc = $doc])+ $name, json_schema!({
            "anyOf": [{ "enum": [$($word),+] }, { "type": "string", "pattern": VARIABLE }]
        }));
    };
}

pub(super) use {value, words};

/// A number of some kind, or a text like that.
pub(super) fn number_or(kind: &Value, pattern: &str) -> Schema {
    let pattern = format!("{pattern}|{VARIABLE}");
    json_schema!({ "anyOf": [kind, { "type": "string", "pattern": pattern }] })
}

/// A text like that.
pub(super) fn text(pattern: &str) -> Schema {
    json_schema!({ "type": "string", "pattern": format!("{pattern}|{VARIABLE}") })
}

const NUMBER: &str = r"[0-9]*\.?[0-9]+";

value!(
    /// Any text.
    Text, json_schema!({ "type": "string" })
);
value!(
    /// 1 to 64 characters of a-z, 0-9 and '-'.
    Name, text("^[a-z0-9-]{1,64}$")
);
value!(
    /// A duration, such as "250ms", "10s" or "1h30m".
    Duration, text(&format!(r"^\s*({NUMBER}\s*(ms|s|m|h|d))+\s*$"))
);
value!(
    /// A size, such as "512MiB", or bytes.
    Size, number_or(&serde_json::json!({ "type": "integer", "minimum": 0 }), &format!(r"^\s*{NUMBER}\s*[A-Za-z]*\s*$"))
);
value!(
    /// A size, such as "512MiB", or "80%" of what is available.
    SizeOrPercent,
    number_or(&serde_json::json!({ "type": "integer", "minimum": 0 }), &format!(r"^\s*{NUMBER}\s*([A-Za-z]*|%)\s*$"))
);
value!(
    /// A number of percent, such as 50 or "50%".
    Percent, number_or(&serde_json::json!({ "type": "number" }), r"^\s*[-+0-9.]+\s*%?\s*$")
);
value!(
    /// A number of hosts, or a share of them, such as "10%".
    Portion,
    number_or(&serde_json::json!({ "type": "integer", "minimum": 0 }), r"^\s*[0-9.]+\s*%?\s*$")
);
value!(
    /// Watts, such as 4000 or "4kW".
    Watts, number_or(&serde_json::json!({ "type": "number", "exclusiveMinimum": 0 }), r"^\s*[0-9.]+\s*[mk]?W?\s*$")
);
value!(
    /// Degrees Celsius, 1 to 150.
    Celsius, number_or(&serde_json::json!({ "type": "number", "minimum": 1, "maximum": 150 }), "^$")
);
value!(
    /// A number.
    Number, number_or(&serde_json::json!({ "type": "number" }), "^$")
);
value!(
    /// A whole number of 0 or more.
    Whole, number_or(&serde_json::json!({ "type": "integer", "minimum": 0 }), "^$")
);
value!(
    /// A whole number of percent, such as 50 or "50%".
    WholePercent,
    number_or(&serde_json::json!({ "type": "integer", "minimum": 0 }), r"^\s*[0-9.]+\s*%?\s*$")
);
value!(
    /// A number in the metric's unit, or a text with one, such as "80 °C" or "20 ms".
    Amount, number_or(&serde_json::json!({ "type": "number" }), r"[0-9]")
);
value!(
    /// true or false.
    YesOrNo, json_schema!({ "anyOf": [{ "type": "boolean" }, { "type": "string", "pattern": VARIABLE }] })
);
value!(
    /// Cores by the kernel's numbers, such as "0-3,8" or [0, 1].
    Cores, json_schema!({ "anyOf": [
        { "type": "string" },
        { "type": "array", "minItems": 1, "items": number_or(&serde_json::json!({ "type": "integer", "minimum": 0 }), "^$") }
    ] })
);

words!(
    /// What sensors can be asked to be.
    Sensors, "fresh"
);
words!(
    /// What is done where a requirement does not hold.
    Otherwise, "skip", "wind-down", "fail"
);
words!(
    /// What is done after a phase that failed.
    AfterFailure, "continue", "repeat", "skip", "wind-down"
);
words!(
    /// What is done after the last repetition.
    AtLast, "continue", "skip", "wind-down"
);
words!(
    /// What readings come to.
    Aggregate, "min", "max", "mean", "sum", "p50", "p90", "p95", "p99", "p999"
);
words!(
    /// What becomes of a guard whose reading is missing.
    Missing, "trip", "ignore"
);
words!(
    /// What a guard does.
    Reaction, "warn", "throttle", "pause", "stop", "halt"
);
words!(
    /// What a burner is killed by.
    Signal, "KILL", "SEGV", "ILL"
);
words!(
    /// How what is measured must go on.
    TrendKind, "leak", "drift", "steady"
);
words!(
    /// What follows a load that was derated to its floor.
    LastStep, "hold", "pause", "stop", "halt"
);

/// What values a variable takes. It can't be one itself.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum VariableType {
    Duration,
    Bytes,
    Percent,
    Number,
    Integer,
    Text,
    List,
}
