//! A pipe table.

use comfy_table::CellAlignment;

use crate::compare::Compared;
use crate::report::plain_table;

pub(super) fn table(compared: &Compared) -> String {
    let mut table = plain_table();
    let escaped = |row: Vec<String>| row.into_iter().map(|cell| cell.replace('|', "\\|"));
    let mut rows = compared.rows().into_iter().map(escaped);
    table.set_header(rows.next().into_iter().flatten());
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n\n{}\n", compared.legend().join("\n\n"))
}
