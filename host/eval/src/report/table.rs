//! Tables for people.

use comfy_table::{CellAlignment, ContentArrangement, presets};
use host_files::{Page, text};

/// Longest cell, in characters.
const CELL: usize = 400;

/// A table whose cells are lines, whatever stands in them.
pub struct Table(comfy_table::Table);

impl Table {
    /// Reads well on a terminal and as Markdown.
    pub fn plain() -> Self {
        Self::with(presets::ASCII_MARKDOWN)
    }

    /// With rules and no bars: for a terminal.
    pub(crate) fn ruled() -> Self {
        Self::with(presets::UTF8_HORIZONTAL_ONLY)
    }

    fn with(preset: comfy_table::TableStyle) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(preset);
        Self(table)
    }

    /// Sets the names of the columns.
    pub fn header(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        self.0.set_header(shown(cells));
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        self.0.add_row(shown(cells));
    }

    /// Aligns the columns behind the first `left` to the right.
    pub fn align_right(&mut self, left: usize) {
        for column in self.0.column_iter_mut().skip(left) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }

    /// Its lines. Where there are only so many columns of characters, as on a terminal, the
    /// cells are broken into several lines.
    pub fn page(&mut self, width: Option<usize>) -> Page {
        if let Some(width) = width.and_then(|width| u16::try_from(width).ok()) {
            self.0.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        self.0.lines().collect()
    }
}

fn shown(cells: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    cells.into_iter().map(|cell| text::brief(cell.as_ref(), CELL)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_whatever_is_in_it() {
        let mut table = Table::plain();
        table.header(["policy", "risk\u{1b}[8m"]);
        table.row(["probe\n| other | 0.0 |", "0.5"]);
        table.align_right(1);
        let page = table.page(None).to_string();
        assert_eq!(page.lines().count(), 3, "{page}");
        assert!(!page.contains('\u{1b}'), "{page}");
        assert!(page.contains("probe\\n"), "{page}");
    }

    #[test]
    fn a_table_keeps_to_the_width_that_there_is() {
        let mut table = Table::plain();
        table.header(["", "before", "plain fine-tuning"]);
        table.row(["harmful requests refused", "93.8% [86-97] (75/80)", "0.0% [0-5] (0/80)"]);
        let natural = table.page(None).to_string();
        assert_eq!(table.page(Some(120)).to_string(), natural);
        for width in [40, 60] {
            let page = table.page(Some(width)).to_string();
            assert!(page.lines().all(|line| line.chars().count() <= width), "{page}");
            assert!(page.contains("75/80"), "{page}");
        }
    }
}
