//! For a terminal.

use host_files::Page;

use super::PAIRED;
use crate::compare::Compared;
use crate::report::Table;

pub(super) fn table(compared: &Compared, width: Option<usize>) -> Page {
    let mut table = Table::ruled();
    let mut rows = compared.rows(str::to_owned).into_iter();
    table.header(rows.next().unwrap_or_default());
    rows.for_each(|row| table.row(row));
    table.align_right(1);
    let mut page = table.page(width);
    page.lines(compared.legend());
    let mut rows = compared.paired_rows(str::to_owned).into_iter();
    if let Some(head) = rows.next() {
        let mut table = Table::ruled();
        table.header(head);
        rows.for_each(|row| table.row(row));
        page.line("");
        page.append(&table.page(width));
        page.line(PAIRED);
    }
    page
}
