//! Other programs than sstsctl command the agent: what they need is gRPC as everybody speaks it, and the contract.

use std::time::Duration;

use ssts_proto::{
    catalogue,
    v1::{Frame, Schema, WatchRequest, WatchResponse, agent_client::AgentClient, watch_response::Item},
};
use ssts_tests::{Daemon, Ground, Sysfs, connect, soon};
use tokio_stream::StreamExt as _;
use tonic::{Code, Streaming};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

/// As load balancers and Kubernetes ask.
#[tokio::test]
async fn health_is_answered() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let mut client = HealthClient::new(connect(&ground).await);
    for service in ["", "ssts.v1.Agent"] {
        let request = HealthCheckRequest { service: service.into() };
        let response = soon(client.check(request)).await.expect("it is known").into_inner();
        assert_eq!(response.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = soon(client.check(HealthCheckRequest { service: "no.Such".into() })).await;
    assert_eq!(unknown.expect_err("it is unknown").code(), Code::NotFound);
}

/// As `grpcurl` finds out what there is.
#[tokio::test]
async fn reflection_names_the_services_and_describes_them() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let mut client = ServerReflectionClient::new(connect(&ground).await);
    let ask = |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let requests = vec![
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("ssts.v1.Agent".into())),
    ];
    let answers = soon(client.server_reflection_info(tokio_stream::iter(requests)))
        .await
        .expect("it is offered")
        .into_inner();
    let answers: Vec<_> = soon(answers.collect::<Vec<_>>()).await;
    let messages: Vec<_> =
        answers.into_iter().map(|answer| answer.expect("it is answered").message_response).collect();
    let [
        Some(MessageResponse::ListServicesResponse(services)),
        Some(MessageResponse::FileDescriptorResponse(files)),
    ] = &messages[..]
    else {
        panic!("{messages:?}");
    };
    let names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["ssts.v1.Agent", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{name} is missing: {names:?}");
    }
    assert!(!files.file_descriptor_proto.is_empty());
}

/// What a stream of frames shows, checked for form.
struct Frames {
    schema: Schema,
    frames: Vec<Frame>,
}

async fn read_frames(stream: &mut Streaming<WatchResponse>, count: usize) -> Frames {
    let mut schema = None;
    let mut frames = Vec::new();
    while frames.len() < count {
        match soon(stream.message()).await.expect("the stream goes on").expect("it does not end").item {
            // Columns change with the host, when an interrupt is first seen, say.
            Some(Item::Schema(new)) => {
                schema = Some(new);
                frames.clear();
            }
            Some(Item::Frame(frame)) => frames.push(frame),
            other => unreachable!("neither schema nor frame: {other:?}"),
        }
    }
    Frames { schema: schema.expect("a schema comes before the first frame"), frames }
}

impl Frames {
    fn assert_well_formed(&self) {
        let columns = self.schema.columns.len();
        for frame in &self.frames {
            assert_eq!(frame.schema_id, self.schema.id);
            assert_eq!(
                frame.values.len() + frame.absent_columns.len(),
                columns,
                "a value or a reason for each column"
            );
            assert_eq!(frame.absent_columns.len(), frame.absent_reasons.len());
            assert!(
                frame.absent_columns.is_sorted()
                    && frame.absent_columns.iter().all(|column| (*column as usize) < columns)
            );
            assert!(frame.absent_reasons.iter().all(|reason| *reason != 0), "no reason is given: {frame:?}");
            assert!(frame.begin_ns < frame.end_ns);
            for delta in &frame.histograms {
                let column = &self.schema.histograms[delta.column as usize];
                let bounds = &self.schema.layouts[column.layout as usize].upper_bounds;
                assert_eq!(delta.buckets.len(), delta.counts.len());
                assert!(delta.buckets.iter().all(|bucket| (*bucket as usize) < bounds.len()));
            }
        }
        assert!(self.frames.is_sorted_by(|a, b| a.sequence < b.sequence && a.end_ns < b.end_ns));
        for column in &self.schema.columns {
            let metric = catalogue::find(&column.metric).expect(&column.metric);
            let labels: Vec<_> = column.labels.iter().map(|label| label.name.as_str()).collect();
            assert_eq!(
                (column.unit.as_str(), &labels[..]),
                (metric.unit, metric.labels),
                "{}",
                column.metric
            );
        }
    }
}

/// Everything, at every tick.
#[tokio::test]
async fn frames_hold_what_their_schema_names() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let mut client = AgentClient::new(connect(&ground).await).max_decoding_message_size(16 << 20);
    let request = WatchRequest { frames: true, ..WatchRequest::default() };
    let mut stream = soon(client.watch(request)).await.expect("it is offered").into_inner();
    let frames = read_frames(&mut stream, 5).await;
    frames.assert_well_formed();
    let names: Vec<_> = frames.schema.columns.iter().map(|column| column.metric.as_str()).collect();
    for name in ["host.cpu.time", "host.memory.available", "agent.cpu_time"] {
        assert!(names.contains(&name), "{name} is missing");
    }
}

/// Two names' beginnings, twice a second, and a sensor that breaks meanwhile: its column is absent, with a reason.
#[tokio::test]
async fn a_filter_and_a_rate_are_kept_and_what_is_absent_has_a_reason() {
    let ground = Ground::new();
    let sysfs = Sysfs::new(&ground, 40);
    ground.configure(&sysfs.config());
    let _daemon = Daemon::start(&ground);
    let mut client = AgentClient::new(connect(&ground).await);
    let request = WatchRequest {
        frames: true,
        max_rate_hz: Some(2.0),
        metric_prefixes: vec!["host.memory.".into(), "host.temperature".into()],
        ..WatchRequest::default()
    };
    let mut stream = soon(client.watch(request)).await.expect("it is offered").into_inner();
    let before = read_frames(&mut stream, 3).await;
    before.assert_well_formed();
    let foreign = |column: &&ssts_proto::v1::Column| {
        !column.metric.starts_with("host.memory.") && column.metric != "host.temperature"
    };
    assert_eq!(before.schema.columns.iter().find(foreign), None);
    for pair in before.frames.windows(2) {
        let apart = Duration::from_nanos(pair[1].end_ns - pair[0].end_ns);
        assert!(apart >= Duration::from_millis(390), "two a second were asked for: {apart:?}");
    }
    let sensor = before
        .schema
        .columns
        .iter()
        .position(|column| column.metric == "host.temperature")
        .expect("it is there");
    assert!(before.frames.iter().all(|frame| !frame.absent_columns.contains(&(sensor as u32))));

    sysfs.break_sensor();
    let mut absent = false;
    for _ in 0..10 {
        let Some(Item::Frame(frame)) =
            soon(stream.message()).await.expect("it goes on").expect("it does not end").item
        else {
            continue;
        };
        absent |= frame.absent_columns.contains(&(sensor as u32));
        assert!(frame.absent_reasons.iter().all(|reason| *reason != 0), "{frame:?}");
        if absent {
            return;
        }
    }
    assert!(absent, "a sensor that is gone still has a reading");
}
