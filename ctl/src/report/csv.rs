//! Every figure of a result on a line of its own, for spreadsheets and data frames.

use ::csv::Writer;

use crate::{
    compare::SideRun,
    error::{Exit, Failure},
};

const HEADING: [&str; 8] = ["run_id", "scenario", "host", "metric", "labels", "statistic", "unit", "value"];

/// The lines, after a heading.
pub(crate) fn to_csv(run: &SideRun) -> Result<String, Failure> {
    let failure = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Internal, format!("can't write comma-separated values: {error}"), "")
    };
    let mut lines = Writer::from_writer(Vec::new());
    lines.write_record(HEADING).map_err(|error| failure(&error))?;
    for (key, value) in &run.figures {
        let line = [
            &*run.id,
            &run.scenario,
            &run.host,
            &key.metric,
            &key.labels(),
            &key.statistic,
            &key.unit,
            &value.to_string(),
        ];
        lines.write_record(line).map_err(|error| failure(&error))?;
    }
    let bytes = lines.into_inner().map_err(|error| failure(&error))?;
    String::from_utf8(bytes).map_err(|error| failure(&error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_figure_is_a_line() {
        let result = json!({
            "run_id": "r", "scenario": "s", "duration_s": 1.5,
            "hosts": [{"host": "a, b", "burners": [], "telemetry": {
                "host.temperature": [{"labels": {"sensor": "x"}, "unit": "Cel", "mean": 40.25}]
            }}]
        });
        let run = SideRun::of_result(&result, "a test").unwrap();
        let expected = "\
run_id,scenario,host,metric,labels,statistic,unit,value
r,s,\"a, b\",host.temperature,sensor=x,mean,Cel,40.25
r,s,\"a, b\",result.duration,,value,s,1.5
";
        assert_eq!(to_csv(&run).unwrap(), expected);
    }
}
