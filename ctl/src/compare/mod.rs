//! Judges whether runs have become worse: [figures](figures) of results, or [windows](windows) within single runs, of two
//! [sides](side), [judged](judge) together, and [shown](show).

mod figures;
mod form;
mod judge;
mod show;
mod side;
mod windows;

#[cfg(test)]
mod bars;

pub(crate) use self::{
    figures::{Key, keyed, without_unasked},
    form::{comparison_bars, comparison_csv, comparison_junit},
    judge::{Change, Comparison, Judgement, Method, Settings, judge},
    show::{comparison_document, p_words},
    side::{Item, Side, SideRun, read_results, result_files},
    windows::Windows,
};
