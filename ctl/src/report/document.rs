//! A document of headings, facts and tables, before it has a form.

use crate::text::printable;

/// The blocks, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Document {
    pub(super) blocks: Vec<Block>,
}

#[derive(Debug, Clone)]
pub(crate) enum Block {
    Title(String, Tone),
    Heading(String),
    /// Names and values.
    Facts(Vec<(String, String)>),
    Table(Table),
    Line(String),
}

/// Whether something is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
    Caution,
}

/// To which side a column is flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of cells, each row as long as the head.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(super) columns: Vec<(String, Align)>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            columns: columns.iter().map(|(name, align)| ((*name).to_owned(), *align)).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Cells beyond the head are dropped, missing ones are empty.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<_> = cells.into_iter().map(|cell| clean(&cell)).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// Names of the columns, and to which side they are flush.
    pub(crate) fn columns(&self) -> &[(String, Align)] {
        &self.columns
    }

    /// The rows, each as long as the head.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[String]> {
        self.rows.iter().map(Vec::as_slice)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Without the columns that are empty in every row.
    fn compacted(mut self) -> Self {
        let keep: Vec<_> =
            (0..self.columns.len()).map(|i| self.rows.iter().any(|row| !row[i].is_empty())).collect();
        let kept = |i: usize| keep[i];
        self.columns = select(self.columns, kept);
        self.rows = self.rows.into_iter().map(|row| select(row, kept)).collect();
        self
    }
}

impl Document {
    /// Its blocks, in order.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter()
    }

    pub(crate) fn title(&mut self, text: &str, tone: Tone) {
        self.blocks.push(Block::Title(clean(text), tone));
    }

    pub(crate) fn heading(&mut self, text: &str) {
        self.blocks.push(Block::Heading(clean(text)));
    }

    /// A fact; those that follow each other stand together. An empty value is left out.
    pub(crate) fn fact(&mut self, name: &str, value: impl AsRef<str>) {
        let value = clean(value.as_ref());
        if value.is_empty() {
            return;
        }
        if let Some(Block::Facts(facts)) = self.blocks.last_mut() {
            facts.push((name.to_owned(), value));
        } else {
            self.blocks.push(Block::Facts(vec![(name.to_owned(), value)]));
        }
    }

    pub(crate) fn line(&mut self, text: &str) {
        self.blocks.push(Block::Line(clean(text)));
    }

    /// A table under a heading; nothing at all where the table is empty.
    pub(crate) fn section(&mut self, heading: &str, table: Table) {
        if !table.is_empty() {
            self.heading(heading);
            self.table(table);
        }
    }

    pub(crate) fn table(&mut self, table: Table) {
        self.blocks.push(Block::Table(table.compacted()));
    }
}

fn clean(text: &str) -> String {
    printable(text).replace(['\n', '\t'], " ")
}

fn select<T>(items: Vec<T>, keep: impl Fn(usize) -> bool) -> Vec<T> {
    items.into_iter().enumerate().filter(|(index, _)| keep(*index)).map(|(_, item)| item).collect()
}
