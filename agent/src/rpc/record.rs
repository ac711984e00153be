//! The stream of `ReadRecord`: a record's bytes, and what is added to it while it is written.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    sync::Arc,
};

use ssts_proto::{record::MAGIC, v1::ReadRecordResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::record::{Flight, RecordSource};

/// What one message carries at most.
const CHUNK: usize = 64 << 10;
/// Messages that wait for a caller who reads slowly.
const WAITING: usize = 4;

/// What `ReadRecord` returns.
pub(super) type RecordStream = ReceiverStream<Result<ReadRecordResponse, Status>>;

type Sender = mpsc::Sender<Result<ReadRecordResponse, Status>>;

/// Streams a record from `offset` on, to its end as it is now, or, with `follow`, until nothing is added any more.
pub(super) fn of_run(source: RecordSource, offset: u64, follow: bool) -> RecordStream {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        if let Err(error) = send_file(source, offset, follow, &sender).await {
            // The caller may have gone: nobody is left to tell.
            let _gone =
                sender.send(Err(Status::internal(format!("the record can't be read: {error}")))).await;
        }
    });
    ReceiverStream::new(receiver)
}

/// Streams what the flight recorder has.
pub(super) fn of_flight(flight: &Arc<Flight>) -> RecordStream {
    let (sender, receiver) = mpsc::channel(WAITING);
    let blocks = flight.since(std::time::Duration::ZERO);
    tokio::spawn(async move {
        let mut offset = 0;
        let mut data = MAGIC.to_vec();
        let mut schema: Option<&Arc<[u8]>> = None;
        for block in &blocks {
            if schema.is_none_or(|known| !Arc::ptr_eq(known, &block.schema)) {
                data.extend_from_slice(&block.schema);
                schema = Some(&block.schema);
            }
            data.extend_from_slice(&block.block);
            if data.len() >= CHUNK {
                let length = data.len() as u64;
                let message = ReadRecordResponse { offset, data: std::mem::take(&mut data) };
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
                offset += length;
            }
        }
        let _gone = sender.send(Ok(ReadRecordResponse { offset, data })).await;
    });
    ReceiverStream::new(receiver)
}

async fn send_file(source: RecordSource, mut offset: u64, follow: bool, sender: &Sender) -> io::Result<()> {
    let mut file = File::open(&source.path)?;
    let Some(mut extent) = source.extent else {
        let end = file.metadata()?.len();
        return send(&mut file, &mut offset, end, sender).await;
    };
    loop {
        let now = *extent.borrow_and_update();
        send(&mut file, &mut offset, now.bytes, sender).await?;
        if now.closed || !follow {
            return Ok(());
        }
        tokio::select! {
            changed = extent.changed() => if changed.is_err() {
                // Closed, and the last it said may not have been seen.
                let end = extent.borrow().bytes;
                return send(&mut file, &mut offset, end, sender).await;
            },
            () = sender.closed() => return Ok(()),
        }
    }
}

/// Sends what lies between `offset` and `end`.
async fn send(file: &mut File, offset: &mut u64, end: u64, sender: &Sender) -> io::Result<()> {
    while *offset < end {
        let length = usize::try_from(end - *offset).map_or(CHUNK, |left| left.min(CHUNK));
        let data = tokio::task::block_in_place(|| {
            let mut data = vec![0; length];
            file.seek(SeekFrom::Start(*offset))?;
            file.read_exact(&mut data)?;
            io::Result::Ok(data)
        })?;
        if sender.send(Ok(ReadRecordResponse { offset: *offset, data })).await.is_err() {
            return Ok(());
        }
        *offset += length as u64;
    }
    Ok(())
}
