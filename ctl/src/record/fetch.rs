//! Fetches a record, item by item. Where the connection breaks it goes on from the last whole item.

use std::time::Duration;

use ssts_proto::{
    record::Reader,
    v1::{ReadRecordRequest, record_item::Item},
};
use tonic::Code;

use crate::{connect::Client, error::Failure, status};

/// How often a broken connection is made anew before it is given up; what comes in between begins the count again.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// Which record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Of a run, to its end as it is now.
    Run(String),
    /// Of a run, until it is closed.
    RunToItsEnd(String),
    /// What the flight recorder has.
    Flight,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Items that came.
    pub(crate) items: u64,
    /// Bytes behind the last whole item: what was written when the agent died.
    pub(crate) torn_bytes: usize,
}

/// Gives each item of a record to `take`.
pub(crate) async fn fetch(
    client: &mut Client,
    source: &Source,
    mut take: impl FnMut(Item) -> Result<(), Failure>,
) -> Result<Fetched, Failure> {
    let (run_id, follow) = match source {
        Source::Run(id) => (Some(id.clone()), false),
        Source::RunToItsEnd(id) => (Some(id.clone()), true),
        Source::Flight => (None, false),
    };
    let mut reader = Reader::default();
    let mut items = 0;
    let mut tries = 0;
    loop {
        let request = ReadRecordRequest { run_id: run_id.clone(), offset: reader.offset(), follow };
        let before = reader.offset();
        let broken = match client.read_record(request).await {
            Ok(response) => {
                let mut stream = response.into_inner();
                loop {
                    match stream.message().await {
                        Ok(None) => return Ok(Fetched { items, torn_bytes: reader.pending() }),
                        Ok(Some(piece)) => {
                            reader.feed(&piece.data);
                            while let Some(item) = reader.next_item().map_err(|error| {
                                Failure::agent(
                                    format!("the record can't be read: {error}"),
                                    "what came before it was read; the file on the agent's host may be damaged",
                                )
                            })? {
                                items += 1;
                                take(item)?;
                            }
                        }
                        Err(status) => break status,
                    }
                }
            }
            Err(status) => status,
        };
        if reader.offset() > before {
            tries = 0;
        }
        tries += 1;
        let may_come_back = matches!(broken.code(), Code::Unavailable | Code::Unknown | Code::Cancelled);
        if run_id.is_none() || tries > TRIES || !may_come_back {
            return Err(status::failure(&broken));
        }
        reader.rewind();
        tokio::time::sleep(PAUSE).await;
    }
}
