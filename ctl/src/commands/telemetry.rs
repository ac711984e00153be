//! `telemetry`: what an agent keeps beside results.

use std::io;

use crate::{
    connect::Agent,
    error::Failure,
    output::{Format, Output},
    record::{CsvWriter, Frames, Source, fetch},
};

/// `telemetry [RUN]`.
pub(super) fn telemetry(
    run: Option<String>,
    prefixes: Vec<String>,
    follow: bool,
    frozen: bool,
) -> impl AsyncFnOnce(&mut Agent, &mut Output, Format) -> Result<(), Failure> {
    async move |agent, output, format| {
        if format == Format::Json {
            return Err(Failure::usage(
                "telemetry comes as comma-separated values, not as one object",
                "leave --output json out; `sstsctl report RUN` has each metric's summary as JSON",
            ));
        }
        let source = match run {
            None => Source::Flight,
            Some(id) if follow => Source::RunToItsEnd(id),
            Some(id) => Source::Run(id),
        };
        let frames = if frozen { Frames::Frozen } else { Frames::OfRun };
        let mut writer = CsvWriter::new(Results(output), prefixes, frames)?;
        let fetched = fetch(&mut agent.client, &source, |item| writer.take(item)).await?;
        let windows = writer.windows();
        writer.finish()?;
        if frozen && windows == 0 {
            output.message("no window was frozen into the record of this run");
        }
        if fetched.torn_bytes > 0 {
            output.message("the record ends within an item: the agent died while it wrote it");
        }
        Ok(())
    }
}

/// Standard output, whose reader may go away at any time.
struct Results<'a>(&'a mut Output);

impl io::Write for Results<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.bytes(bytes).map_err(|failure| io::Error::other(failure.problems[0].message.clone()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
