//! How fast telemetry is kept: packed, written and synced, by one thread.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    time::Instant,
};

use ssts_proto::{
    record::{BlockBuilder, append},
    v1::{Frame, record_item::Item},
};
use ssts_tests::Ground;

use crate::{
    ROUNDS,
    table::{Figure, Pair, Table},
};

/// A host of many cores: as many scalar columns at 100 Hz are a million points a second.
const COLUMNS: usize = 10_000;
const FRAMES_A_BLOCK: usize = 100;
const BLOCKS: usize = 10;
/// What every host must be able to keep, points a second.
const LEAST: f64 = 500_000.0;

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    let path = ground.disk().join("record");
    let mut file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut rate, mut size) = (Pair::default(), Pair::default());
    // As hosts have them: counters that grow unevenly, gauges that wander, much that stands still.
    let values: Vec<Vec<f64>> = (0..FRAMES_A_BLOCK)
        .map(|frame| {
            (0..COLUMNS)
                .map(|column| match column % 4 {
                    0 => (column * 1_000 + frame * (column % 97 + 1)) as f64,
                    1 => 40.0 + ((frame * 7 + column * 13) % 32) as f64 * 0.25,
                    _ => column as f64,
                })
                .collect()
        })
        .collect();
    for _ in 0..ROUNDS {
        let (mut builder, mut items, mut bytes) = (BlockBuilder::default(), Vec::new(), 0);
        let begin = Instant::now();
        for block in 0..BLOCKS {
            for (frame, values) in values.iter().enumerate() {
                let header = Frame {
                    schema_id: 1,
                    sequence: (block * FRAMES_A_BLOCK + frame) as u64,
                    ..Frame::default()
                };
                builder.push(&header, values.iter().copied().map(Ok), std::iter::empty());
            }
            items.clear();
            append(Item::Block(builder.finish()), &mut items);
            bytes += items.len();
            let written = file.write_all(&items).and_then(|()| file.sync_data());
            written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        let points = (COLUMNS * FRAMES_A_BLOCK * BLOCKS) as f64;
        rate.ours.push(points / begin.elapsed().as_secs_f64());
        rate.peer.push(LEAST);
        size.ours.push(bytes as f64 / points);
        file.seek(SeekFrom::Start(0)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    drop(file);
    std::fs::remove_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    table.add_figure(Figure {
        more_is_better: true,
        bar: Some(1.0),
        ..Figure::new("telemetry kept, one thread", "points/s", "what must be had", rate)
    });
    table.add("its size on disk", "B/point", "", size);
}
