//! `odd`.

use serde_json::Value;

use super::{
    Session,
    form::{put, put_json, put_pdf},
    report::fetch,
    sides::{may_be_an_agents, open},
};
use crate::{
    cli::{OddFlags, OddFormat},
    compare::{Item, read_results},
    connect::{Agent, Fallback},
    error::{Exit, Failure},
    fleet::{OddOnes, OddSettings, Readings, odd_csv, odd_document, odd_ones},
    json::{OddOut, ResultOut},
    output::{Format, Output},
    page::to_plotted_html,
    report::{to_markdown, to_pdf, to_terminal},
    store::{KeptRun, RunFilter, Store, unknown},
};

/// `odd RUN...`.
pub(super) async fn odd(flags: OddFlags, session: &mut Session) -> Result<Exit, Failure> {
    let mut readings = Readings::default();
    let mut store = None;
    for item in &flags.runs {
        match item {
            Item::Path(path) => read_results(path)?.into_iter().for_each(|result| readings.take(result)),
            Item::Tag(tag) => {
                let store = opened(&mut store, session).await?;
                let filter = RunFilter { tags: vec![tag.clone()], ..RunFilter::default() };
                let runs = store.runs(&filter).await?;
                if runs.is_empty() {
                    return Err(Failure::usage(
                        format!("no run of the history has the tag '{tag}'"),
                        "`sstsctl runs` lists the runs and their tags",
                    ));
                }
                for run in &runs {
                    readings.take(kept(store, run).await?);
                }
            }
            Item::Run(reference) => run(reference, &mut store, &mut readings, session).await?,
        }
    }
    let settings = OddSettings { change: flags.change / 100.0, sure: flags.sure / 100.0 };
    let found = odd_ones(&readings, settings);
    print(&found, &flags, session)?;
    match (found.tells_something(), found.odd().next()) {
        (true, None) => Ok(Exit::Pass),
        (true, Some(_)) => Ok(Exit::ThresholdFailed),
        (false, _) => Err(Failure::usage(
            "nothing could be told: no host, and no part of one, has four peers",
            "compare five hosts or more that did the same",
        )),
    }
}

/// Of the history, all hosts that it was on; of an agent where that does not have it.
async fn run(
    reference: &str,
    store: &mut Option<Store>,
    readings: &mut Readings,
    session: &mut Session,
) -> Result<(), Failure> {
    match opened(store, session).await {
        Ok(store) => {
            let runs = store.of_fleet(reference).await?;
            for (run, host) in &runs {
                let result = kept(store, run).await?;
                match host {
                    Some(host) => readings.take_as(host, result),
                    None => readings.take(result),
                }
            }
            if !runs.is_empty() {
                return Ok(());
            }
        }
        Err(failure) if !may_be_an_agents(reference) => return Err(failure),
        Err(_) => {}
    }
    if !may_be_an_agents(reference) {
        return Err(unknown(reference));
    }
    let mut result = Value::Null;
    let ask = async |agent: &mut Agent, _: &mut Output, _: Format| {
        let run = match fetch(&mut agent.client, reference).await {
            Ok(run) => run,
            Err(failure) if failure.exit == Exit::Usage => return Err(unknown(reference)),
            Err(failure) => return Err(failure),
        };
        result = value(&ResultOut::from(&run))?;
        Ok(())
    };
    session.with_agent(Fallback::Private, ask).await?;
    readings.take(result);
    Ok(())
}

fn value(result: &ResultOut) -> Result<Value, Failure> {
    serde_json::to_value(result)
        .map_err(|error| Failure::new(Exit::Internal, format!("can't read a result: {error}"), ""))
}

async fn opened<'a>(store: &'a mut Option<Store>, session: &Session) -> Result<&'a mut Store, Failure> {
    if store.is_none() {
        *store = Some(open(session).await?);
    }
    store.as_mut().ok_or_else(|| Failure::new(Exit::Internal, "a store was opened and is not there", ""))
}

async fn kept(store: &mut Store, run: &KeptRun) -> Result<Value, Failure> {
    serde_json::from_str(&store.result(run).await?)
        .map_err(|error| Failure::new(Exit::Internal, format!("the kept result is no JSON: {error}"), ""))
}

fn print(odd: &OddOnes, flags: &OddFlags, session: &mut Session) -> Result<(), Failure> {
    let form = flags.format.unwrap_or(match session.global.output {
        Format::Text => OddFormat::Text,
        Format::Json => OddFormat::Json,
    });
    let (output, to) = (&mut session.output, flags.to.as_deref());
    let document = || odd_document(odd, flags.all);
    match form {
        OddFormat::Text => {
            let in_color = output.in_color() && to.is_none();
            put(to_terminal(&document(), in_color).as_bytes(), to, output)
        }
        OddFormat::Md => put(to_markdown(&document()).as_bytes(), to, output),
        OddFormat::Json => put_json(&OddOut::from(odd), to, output),
        OddFormat::Html => put(to_plotted_html(&document(), &[]).as_bytes(), to, output),
        OddFormat::Csv => put(odd_csv(odd)?.as_bytes(), to, output),
        OddFormat::Pdf => {
            put_pdf("odd RUN", || to_pdf(&document(), &ssts_proto::v1::Run::default()), to, output)
        }
    }
}
