//! In which form something is reported, and whereto.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Of the report of a run.
#[derive(Debug, Args)]
pub(crate) struct ReportForm {
    /// In which form; without it as `--output` says.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<ReportFormat>,
    /// Into this file, which is there whole or not at all; without it to standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
}

/// Of a comparison or a trend.
#[derive(Debug, Args)]
pub(crate) struct Form {
    /// In which form; without it as `--output` says.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<ComparisonForm>,
    /// Into this file, which is there whole or not at all; without it to standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people at a terminal.
    Text,
    /// Markdown.
    Md,
    /// As `--output json`.
    Json,
    /// One page with plots, for a browser; it needs no network.
    Html,
    /// JUnit's XML, for CI servers: one test case for each burner, phase and threshold.
    Junit,
    /// Every figure on a line, as comma-separated values.
    Csv,
    /// For the files; its font is in it.
    Pdf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComparisonForm {
    /// For people at a terminal.
    Text,
    /// Markdown.
    Md,
    /// As `--output json`.
    Json,
    /// One page with plots, for a browser; it needs no network.
    Html,
    /// JUnit's XML, for CI servers: one test case for each number that was judged.
    Junit,
    /// Every number on a line, as comma-separated values.
    Csv,
    /// For the files; its font is in it.
    Pdf,
}
