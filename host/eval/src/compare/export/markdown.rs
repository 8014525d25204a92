//! A pipe table.

use super::PAIRED;
use crate::compare::Compared;
use crate::report::{Table, escape_markdown as escape};

pub(super) fn table(compared: &Compared) -> String {
    let mut table = Table::plain();
    let mut rows = compared.rows(escape).into_iter();
    table.header(rows.next().unwrap_or_default());
    rows.for_each(|row| table.row(row));
    table.align_right(1);
    let legend: Vec<String> = compared.legend().iter().map(|line| escape(line)).collect();
    let main = format!("{}\n\n{}\n", table.page(None), legend.join("\n\n"));
    let mut rows = compared.paired_rows(escape).into_iter();
    let Some(head) = rows.next() else { return main };
    let mut table = Table::plain();
    table.header(head);
    rows.for_each(|row| table.row(row));
    format!("{main}\n{}\n\n{}\n", table.page(None), escape(PAIRED))
}
