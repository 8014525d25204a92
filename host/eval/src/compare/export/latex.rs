//! A tabular with the rules of the package booktabs.

use host_files::text;

use crate::compare::Compared;

pub(super) fn table(compared: &Compared) -> String {
    let rows = compared.rows(str::to_owned);
    let columns = rows.first().map_or(0, Vec::len);
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().map(|cell| escape(cell)).collect();
        format!("{} \\\\\n", cells.join(" & "))
    };
    // A line break would end the comment.
    let legend: Vec<String> =
        compared.legend().iter().map(|line| text::line(line).into_owned()).collect();
    let head: String = rows.iter().take(1).map(line).collect();
    let body: String = rows.iter().skip(1).map(line).collect();
    format!(
        "% {}\n% \\usepackage{{booktabs}}\n\\begin{{tabular}}{{l{}}}\n\\toprule\n{head}\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n",
        legend.join("\n% "),
        "r".repeat(columns.saturating_sub(1))
    )
}

/// Characters that mean something to LaTeX.
fn escape(cell: &str) -> String {
    let mut escaped = String::with_capacity(cell.len());
    for letter in text::line(cell).chars() {
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => escaped.extend(['\\', letter]),
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '±' => escaped.push_str("$\\pm$"),
            other => escaped.push(other),
        }
    }
    // A minus is one, and no hyphen.
    match escaped.strip_prefix('-') {
        Some(number) if number.starts_with(|c: char| c.is_ascii_digit()) => format!("$-${number}"),
        _ => escaped,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_of_a_cell_is_a_command() {
        assert_eq!(super::escape("a_b 5% ± 1"), "a\\_b 5\\% $\\pm$ 1");
        assert_eq!(super::escape("\\input{x}"), "\\textbackslash{}input\\{x\\}");
        assert_eq!(super::escape("-0.5"), "$-$0.5");
        assert_eq!(super::escape("-"), "-");
        assert_eq!(super::escape("a\n\u{1b}"), "a\\textbackslash{}n\\textbackslash{}u\\{1b\\}");
    }
}
