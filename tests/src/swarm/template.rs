//! What simulated agents tell of their hosts: what a real agent told of this one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ssts_proto::v1::{
    Burner, CpuBurner, DescribeRequest, DescribeResponse, Frame, GetRunRequest, HistogramDelta, Phase, Run,
    RunState, Scenario, Schema, StartRequest, WatchRequest, agent_client::AgentClient, burner,
    watch_response::Item,
};
use tokio::time::{sleep, timeout};

use crate::{Ground, connect};

/// Frames that are kept, and told again and again.
const FRAMES: usize = 10;
const PATIENCE: Duration = Duration::from_secs(60);
const RUN: &str = "template";

/// A real agent's words.
#[derive(Debug)]
pub struct Template {
    pub(super) described: DescribeResponse,
    pub(super) run: Run,
    schema: Schema,
    frames: Vec<Frame>,
    /// For those who ask for some metrics: most ask for the same.
    views: Mutex<HashMap<Vec<String>, Arc<View>>>,
}

/// Columns that somebody asked for, and frames of them.
#[derive(Debug)]
pub(super) struct View {
    pub(super) schema: Schema,
    pub(super) frames: Vec<Frame>,
}

impl Template {
    /// Has the agent on the ground run a little, and takes down what it tells.
    pub fn of(ground: &Ground) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("the machine has threads");
        let taken = async { timeout(PATIENCE, Self::taken(ground)).await };
        runtime.block_on(taken).expect("the agent takes too long")
    }

    async fn taken(ground: &Ground) -> Self {
        let mut agent = AgentClient::new(connect(ground).await).max_decoding_message_size(16 << 20);
        let described = agent.describe(DescribeRequest {}).await.expect("it answers").into_inner();
        let cpu = CpuBurner { cores: vec![0], ..CpuBurner::default() };
        let burner = Burner { kind: Some(burner::Kind::Cpu(cpu)) };
        let phase =
            Phase { name: "one".into(), duration_ms: 2_000, burners: vec![burner], ..Phase::default() };
        let scenario = Scenario { name: RUN.into(), phases: vec![phase], ..Scenario::default() };
        let request =
            StartRequest { run_id: RUN.into(), scenario: Some(scenario), ..StartRequest::default() };
        agent.start(request).await.expect("nothing else runs");
        let request =
            WatchRequest { run_id: Some(RUN.into()), frames: true, states: true, ..WatchRequest::default() };
        let mut stream = agent.watch(request).await.expect("it is known").into_inner();
        let (mut schema, mut frames) = (Schema::default(), Vec::new());
        while let Ok(Some(message)) = stream.message().await {
            match message.item {
                Some(Item::Schema(next)) if frames.len() < FRAMES => {
                    frames.clear();
                    schema = next;
                }
                Some(Item::Frame(frame)) if frame.schema_id == schema.id && frames.len() < FRAMES => {
                    frames.push(frame);
                }
                _ => {}
            }
        }
        assert!(!frames.is_empty(), "no frames came");
        let run = loop {
            let request = GetRunRequest { run_id: RUN.into() };
            let run = agent.get_run(request).await.expect("it is known").into_inner().run.unwrap_or_default();
            if run.summary.as_ref().is_some_and(|summary| summary.state() == RunState::Finished) {
                break run;
            }
            sleep(Duration::from_millis(20)).await;
        };
        Self { described, run, schema, frames, views: Mutex::default() }
    }

    /// Of metrics whose names begin so; of all where none is named.
    pub(super) fn view(&self, prefixes: &[String]) -> Arc<View> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.entry(prefixes.to_vec()).or_insert_with(|| Arc::new(self.cut(prefixes))).clone()
    }

    fn cut(&self, prefixes: &[String]) -> View {
        let wanted = |name: &str| prefixes.is_empty() || prefixes.iter().any(|it| name.starts_with(it));
        let columns: Vec<bool> = self.schema.columns.iter().map(|column| wanted(&column.metric)).collect();
        let numbered = self.schema.histograms.iter().enumerate().filter(|(_, it)| wanted(&it.metric));
        let histograms: BTreeMap<u32, u32> =
            numbered.enumerate().map(|(new, (old, _))| (old as u32, new as u32)).collect();
        let mut schema = self.schema.clone();
        let mut kept = columns.iter();
        schema.columns.retain(|_| kept.next() == Some(&true));
        schema.histograms.retain(|histogram| wanted(&histogram.metric));
        View { schema, frames: self.frames.iter().map(|frame| cut(frame, &columns, &histograms)).collect() }
    }
}

fn cut(frame: &Frame, columns: &[bool], histograms: &BTreeMap<u32, u32>) -> Frame {
    let absent: HashMap<u32, i32> =
        frame.absent_columns.iter().copied().zip(frame.absent_reasons.iter().copied()).collect();
    let mut values = frame.values.iter();
    let mut new = Frame { schema_id: frame.schema_id, ..Frame::default() };
    let mut number = 0;
    for (column, wanted) in columns.iter().enumerate() {
        let reason = absent.get(&(column as u32));
        let value = if reason.is_none() { values.next() } else { None };
        if !wanted {
            continue;
        }
        match (reason, value) {
            (Some(reason), _) => {
                new.absent_columns.push(number);
                new.absent_reasons.push(*reason);
            }
            (None, value) => new.values.extend(value),
        }
        number += 1;
    }
    let renumbered = |delta: &HistogramDelta| {
        Some(HistogramDelta { column: *histograms.get(&delta.column)?, ..delta.clone() })
    };
    new.histograms = frame.histograms.iter().filter_map(renumbered).collect();
    new
}
