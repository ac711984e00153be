//! The two places where text goes: results to standard output, all else to standard error. A reader that has gone
//! away is no error: what it no longer wants is dropped.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
};

use serde::Serialize;

use crate::error::{Exit, Failure};

/// In which form results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one object on standard output.
    Json,
}

/// Whether colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// Where results and messages go.
pub(crate) struct Output {
    results: Box<dyn Write + Send>,
    messages: Box<dyn Write + Send>,
    results_in_color: bool,
    messages_on_terminal: bool,
    results_closed: bool,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("results_closed", &self.results_closed).finish_non_exhaustive()
    }
}

impl Output {
    /// The process's own standard output and error.
    pub(crate) fn standard(color: Color) -> Self {
        let results_in_color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                io::stdout().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        Self {
            results: Box::new(io::stdout()),
            messages: Box::new(io::stderr()),
            results_in_color,
            messages_on_terminal: io::stderr().is_terminal(),
            results_closed: false,
        }
    }

    /// Into the hands of a test.
    #[cfg(test)]
    pub(crate) fn captured(
        results: impl Write + Send + 'static,
        messages: impl Write + Send + 'static,
    ) -> Self {
        Self {
            results: Box::new(results),
            messages: Box::new(messages),
            results_in_color: false,
            messages_on_terminal: false,
            results_closed: false,
        }
    }

    /// Whether results may carry colours.
    pub(crate) fn in_color(&self) -> bool {
        self.results_in_color
    }

    /// Whether messages go to a terminal, so that a display can be drawn there.
    pub(crate) fn on_terminal(&self) -> bool {
        self.messages_on_terminal
    }

    /// Whether the reader of the results has gone away.
    pub(crate) fn results_closed(&self) -> bool {
        self.results_closed
    }

    /// Prints a result.
    pub(crate) fn result(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Prints a part of a result.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.results_closed {
            return Ok(());
        }
        let written = self.results.write_all(bytes).and_then(|()| self.results.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.results_closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::new(
                Exit::Internal,
                format!("can't write to standard output: {error}"),
                "see that what it is redirected to can be written to and isn't full",
            )),
            Ok(()) => Ok(()),
        }
    }

    /// Prints a result as one JSON object.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::new(Exit::Internal, format!("can't write JSON: {error}"), ""))?;
        self.result(&(text + "\n"))
    }

    /// Prints one line that is no result. Nobody is left to tell where this fails.
    pub(crate) fn message(&mut self, line: &str) {
        let _ = self.messages.write_all(format!("{line}\n").as_bytes());
    }

    /// Prints what is wrong.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        let _ = self.messages.write_all(failure.to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let mut output = Output::captured(Broken(io::ErrorKind::BrokenPipe), io::sink());
        assert_eq!(output.result("one"), Ok(()));
        assert!(output.results_closed());
    }

    #[test]
    fn a_full_disk_under_standard_output_is_an_error() {
        let mut output = Output::captured(Broken(io::ErrorKind::StorageFull), io::sink());
        assert_eq!(output.result("one").map_err(|failure| failure.exit), Err(Exit::Internal));
    }
}
