//! Two clients look on, and one of them is slow: it loses frames and is told how many, and neither the other one nor the tick
//! has to wait for it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use ssts_proto::v1::{Frame, WatchRequest, WatchResponse, agent_client::AgentClient, watch_response::Item};
use ssts_tests::{Daemon, Ground, connect, connect_with_window, note, soon};
use tokio::time::sleep;
use tonic::{Streaming, transport::Channel};

const RATE_HZ: u32 = 50;
const INTERVAL: Duration = Duration::from_millis(20);
/// Frames for which the slow one reads nothing: more than the agent, the connection and the client keep together.
const UNREAD: u64 = 600;
/// Smaller than a frame.
const WINDOW: u32 = 1_024;
/// A tick may begin so much later than it should: a debug build, on a machine that others use too.
const LATE: Duration = Duration::from_millis(10);
/// What is fresh when it comes.
const FRESH: Duration = Duration::from_millis(250);

fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).expect("it is there")
}

/// One item, as a slow or a fast reader takes it.
async fn item(stream: &mut Streaming<WatchResponse>) -> Item {
    let message = soon(stream.message()).await.expect("the stream goes on").expect("it does not end");
    message.item.expect("it is known")
}

async fn frames(channel: Channel) -> Streaming<WatchResponse> {
    let mut client = AgentClient::new(channel).max_decoding_message_size(16 << 20);
    let request = WatchRequest { frames: true, ..WatchRequest::default() };
    soon(client.watch(request)).await.expect("it is offered").into_inner()
}

/// What a reader got: each frame's number, with the beginning and the end of its window, and how many were told to be lost before it.
#[derive(Debug, Default)]
struct Got {
    frames: Vec<(u64, Duration, Duration)>,
    /// Before which of the frames, and how many.
    lost: Vec<(usize, u64)>,
}

impl Got {
    fn take(&mut self, item: Item) {
        match item {
            Item::Frame(Frame { sequence, begin_ns, end_ns, .. }) => {
                self.frames.push((sequence, Duration::from_nanos(begin_ns), Duration::from_nanos(end_ns)));
            }
            Item::Lagged(lagged) => self.lost.push((self.frames.len(), lagged.dropped)),
            Item::Schema(_) => {}
            other => unreachable!("only frames were asked for: {other:?}"),
        }
    }

    fn all_lost(&self) -> u64 {
        self.lost.iter().map(|(_, count)| count).sum()
    }

    /// Each frame follows the one before, but for those that were told to be lost in that very place.
    fn assert_complete(&self) {
        for (index, pair) in self.frames.windows(2).enumerate() {
            let told: u64 =
                self.lost.iter().filter(|(before, _)| *before == index + 1).map(|(_, count)| count).sum();
            assert_eq!(pair[1].0 - pair[0].0 - 1, told, "after frame {}: {:?}", pair[0].0, self.lost);
        }
    }
}

/// When this machine's cores did not run what was its turn there, by threads that want to look every millisecond.
struct Standstills {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    gaps: Arc<Mutex<Vec<(Duration, Duration)>>>,
}

impl Standstills {
    fn watch() -> Self {
        const LOOK: Duration = Duration::from_millis(1);
        let (over, gaps) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<_>>>::default());
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let look = |core| {
            let (over, gaps) = (over.clone(), gaps.clone());
            thread::spawn(move || {
                let mut set = CpuSet::new();
                // A core that is not ours to use is nobody's to stand still.
                if set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).is_err() {
                    return;
                }
                while !over.load(Relaxed) {
                    let before = now();
                    thread::sleep(LOOK);
                    let after = now();
                    if after - before > LOOK * 4 {
                        gaps.lock().expect("nobody panicked").push((before, after));
                    }
                }
            })
        };
        let threads = (0..cores).map(look).collect();
        Self { over, threads, gaps }
    }

    /// All of them; the watch is over.
    fn end(self) -> Vec<(Duration, Duration)> {
        self.over.store(true, Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
        std::mem::take(&mut self.gaps.lock().expect("nobody panicked"))
    }
}

/// The fast one reads all the while, and counts what it has.
async fn read_all(mut stream: Streaming<WatchResponse>, count: Arc<AtomicU64>, over: Arc<AtomicBool>) -> Got {
    let mut got = Got::default();
    while !over.load(Relaxed) {
        got.take(item(&mut stream).await);
        count.store(got.frames.len() as u64, Relaxed);
    }
    got
}

#[tokio::test]
async fn who_reads_slowly_loses_frames_and_is_told_and_nobody_waits_for_it() {
    let ground = Ground::alone();
    // Without probes the columns stay the same, and a debug build keeps up.
    ground.configure(&format!("[observe]\nrate_hz = {RATE_HZ}\nprobes = false\n"));
    let _daemon = Daemon::start(&ground);
    let standstills = Standstills::watch();
    let (count, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let stream = frames(connect(&ground).await).await;
    let fast = tokio::spawn(read_all(stream, count.clone(), over.clone()));

    // The slow one gets its first frames, and then reads nothing while the fast one gets hundreds.
    let mut stream = frames(connect_with_window(&ground, WINDOW).await).await;
    let mut slow = Got::default();
    while slow.frames.len() < 3 {
        slow.take(item(&mut stream).await);
    }
    assert_eq!(slow.lost, [], "it was not slow yet");
    let until = count.load(Relaxed) + UNREAD;
    let began = now();
    while count.load(Relaxed) < until {
        assert!(
            now() - began < INTERVAL * 4 * UNREAD as u32,
            "the fast one is held up: {count:?} of {until}"
        );
        sleep(INTERVAL).await;
    }

    // It reads on: first what had been on its way, then that it lost some, then what is new.
    let resumed = now();
    let is_fresh = |(_, _, end): &(u64, Duration, Duration)| *end > resumed && now() - *end < FRESH;
    while !slow.frames.last().is_some_and(is_fresh) {
        assert!(now() - resumed < Duration::from_secs(20), "it gets nothing fresh: {:?}", slow.frames.last());
        slow.take(item(&mut stream).await);
    }
    // And keeps up from now on.
    let lost = slow.all_lost();
    let len = slow.frames.len();
    while slow.frames.len() < len + RATE_HZ as usize {
        slow.take(item(&mut stream).await);
    }
    over.store(true, Relaxed);
    let fast = soon(fast).await.expect("it does not panic");
    let stood_still = standstills.end();

    note(format_args!(
        "the slow one lost {:?}, {} of {} frames",
        slow.lost,
        lost,
        lost + slow.frames.len() as u64
    ));
    assert!(lost > 0, "of {UNREAD} frames that it did not read none was lost");
    assert_eq!(slow.all_lost(), lost, "it reads as fast as they come, and loses more: {:?}", slow.lost);
    slow.assert_complete();
    let [first, .., last] = &slow.frames[..] else { unreachable!("there were more than three") };
    assert_eq!(
        slow.frames.len() as u64 + lost,
        last.0 - first.0 + 1,
        "received and lost are all that was sent"
    );

    assert_eq!(fast.lost, [], "the fast one waits for nobody");
    fast.assert_complete();
    let late: Vec<_> = fast
        .frames
        .windows(2)
        .filter_map(|pair| {
            let (before, after) = (pair[0].1, pair[1].1);
            let still: Duration = stood_still
                .iter()
                .map(|(begin, end)| (*end).min(after).saturating_sub((*begin).max(before)))
                .sum();
            let gap = after - before;
            (gap > INTERVAL + LATE + still).then_some((pair[1].0, gap, still))
        })
        .collect();
    note(format_args!("late: {late:?}; the machine stood still {} times", stood_still.len()));
    assert_eq!(late, [], "ticks, the time since the one before, and how long the machine stood still in it");
    // Standstills or not: most were on time.
    let mut gaps: Vec<_> = fast.frames.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    gaps.sort_unstable();
    let p90 = gaps[gaps.len() * 9 / 10];
    assert!(p90 < INTERVAL + LATE, "one of ten ticks comes {p90:?} after the one before");
}
