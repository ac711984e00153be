//! A tick that allocates can wait for memory, just when the host has none. So the tick allocates only when the host changes,
//! and this counts every allocation of the process to prove it.
#![expect(unsafe_code, reason = "a counting allocator")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ssts_agent::{
    burn::control::ControlBlock,
    host::HostRoots,
    observe::{
        burners::{BoardEntry, BurnerBoard, Burners},
        frame::Frame,
        own::{Own, TickCost},
        probes::{self, ProbeSettings},
        procfs,
        ring::FrameRing,
        schema::Schema,
        sysfs,
    },
};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that `System` wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn sampling_and_publishing_allocate_nothing_in_steady_state() {
    let roots = HostRoots::default();
    let board = Arc::new(BurnerBoard::default());
    let block = Arc::new(ControlBlock::create(2, 2, Duration::from_secs(60)).unwrap());
    let entry = |run: &str| BoardEntry {
        run: run.into(),
        id: "0.0".into(),
        kind: "disk",
        has_target: true,
        latencies: &["read", "write"],
        block: block.clone(),
    };
    board.set("one", vec![entry("one")]);
    board.set("another", vec![entry("another")]);
    let mut sources = procfs::sources(&roots, &["".into()]);
    let second = Duration::from_secs(1);
    sources.extend(sysfs::sources(&roots, Duration::from_millis(100), second).unwrap());
    // Without privileges there are none, and then there is nothing of them to test.
    sources.extend(probes::load(&roots, &ProbeSettings::default()).sources);
    sources.push(Box::new(Burners::new(board)));
    sources.push(Box::new(Own::new(Arc::new(TickCost::default()))));
    let mut schema = Schema::new(1);
    // Those with threads of their own find out beside the tick what there is.
    while schema.columns.is_empty() || sources.iter().any(|source| source.changed()) {
        schema = Schema::new(1);
        sources.iter_mut().for_each(|source| source.describe(&mut schema));
        std::thread::sleep(Duration::from_millis(300));
    }
    let schema = Arc::new(schema);
    let ring = FrameRing::default();
    let mut frame = Frame::default();
    let mut tick = |sequence: u64| {
        // Every bucket of the burner's histogram gains in turn, so that frames differ as they do in a run.
        block.latency(0, 0)[sequence as usize % 8].fetch_add(1, Ordering::Relaxed);
        frame.reset(&schema, sequence);
        sources.iter_mut().for_each(|source| source.sample(&mut frame));
        ring.publish(&schema, &frame);
    };
    // The ring's slots and the buffers of files get their sizes.
    (0..200).for_each(&mut tick);
    // On a busy host histograms may gain in more buckets than ever before, and then the frame and the ring's slots grow once.
    // A source that allocates does so at every tick.
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (200..300).for_each(&mut tick);
    let allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert!(allocated <= 80, "{allocated} allocations in 100 ticks");
}
