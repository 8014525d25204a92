//! For a terminal.

use comfy_table::{CellAlignment, Table, presets};

use crate::compare::Compared;

pub(super) fn table(compared: &Compared) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let mut rows = compared.rows().into_iter();
    table.set_header(rows.next().unwrap_or_default());
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n{}\n", compared.legend().join("\n"))
}
