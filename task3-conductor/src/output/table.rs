//! Tables: the published columns come first, for scripts that cut them.

use super::escape::without_control_characters;

/// Rows of cells as text; each cell but a row's last is padded to its column's width.
///
/// Control characters in cells are escaped: a host name or command in a container may contain some.
pub fn table(widths: &[usize], header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    std::iter::once(&header).chain(rows).map(|row| line(widths, row)).collect()
}

fn line(widths: &[usize], row: &[String]) -> String {
    let mut line = String::new();
    for (index, cell) in row.iter().enumerate() {
        let cell = without_control_characters(cell);
        match widths.get(index) {
            Some(width) if index + 1 < row.len() => line.push_str(&format!("{cell:<width$} ")),
            _ => line.push_str(&cell),
        }
    }
    line.truncate(line.trim_end().len());
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_where_scripts_expect_them_and_escape_codes_do_not_act() {
        let rows = [vec!["eg".to_owned(), "2026-01-02".to_owned(), "\x1b[2J".to_owned()]];
        assert_eq!(
            table(&[20, 10], &["Name", "Date", "Command"], &rows),
            "Name                 Date       Command\neg                   2026-01-02 \\u{1b}[2J\n"
        );
    }
}
