//! Aligned tables for people: columns of least weight are left out where the terminal is too
//! narrow.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// What stands above it.
    pub header: &'static str,
    /// Numbers are set to the right.
    pub right: bool,
    /// Columns of the highest weight are the last to be left out; 0 is never left out.
    pub drop_order: u8,
}

impl Column {
    /// A column of text that is never left out.
    pub const fn new(header: &'static str) -> Self {
        Self { header, right: false, drop_order: 0 }
    }

    /// Sets the column to the right.
    pub const fn right(mut self) -> Self {
        self.right = true;
        self
    }

    /// Says that the column may be left out: 1 goes first, then 2, and so on.
    pub const fn optional(mut self, drop_order: u8) -> Self {
        self.drop_order = drop_order;
        self
    }
}

/// Renders a table at most `width` characters wide, if leaving out optional columns can achieve it.
pub fn render(columns: &[Column], rows: &[Vec<String>], width: usize) -> String {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.width());
            cells.max().unwrap_or(0).max(column.header.width())
        })
        .collect();
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let total = |shown: &[usize]| {
        shown.iter().map(|&index| widths[index] + 2).sum::<usize>().saturating_sub(2)
    };
    while total(&shown) > width {
        let optional = shown.iter().copied().filter(|&index| columns[index].drop_order > 0);
        let Some(dropped) = optional.min_by_key(|&index| columns[index].drop_order) else { break };
        shown.retain(|&index| index != dropped);
    }
    let mut text = String::new();
    let mut line = |cell: &dyn Fn(usize) -> String| {
        let mut line = String::new();
        for &index in &shown {
            let (cell, width) = (cell(index), widths[index]);
            let padding = " ".repeat(width - cell.width());
            let (before, after) =
                if columns[index].right { (padding.as_str(), "") } else { ("", padding.as_str()) };
            let _ = write!(line, "{before}{cell}{after}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(&|index| columns[index].header.to_owned());
    for row in rows {
        line(&|index| row.get(index).cloned().unwrap_or_default());
    }
    text
}

/// How wide output may be: `COLUMNS`, else the terminal on stdout, else no limit (a pipe or a
/// file).
pub fn output_width() -> usize {
    let stated = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .filter(|&columns| columns > 0);
    stated
        .or_else(|| {
            terminal_size::terminal_size_of(std::io::stdout())
                .map(|(width, _)| usize::from(width.0))
        })
        .unwrap_or(usize::MAX)
}

/// Breaks a text at blanks into lines of at most `width` characters; a longer word has a line of
/// its own.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("it starts with one line and only grows");
        if line.is_empty() {
            line.push_str(word);
        } else if line.width() + 1 + word.width() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_left_out_in_their_order() {
        let columns = [
            Column::new("ID"),
            Column::new("KIND").optional(2),
            Column::new("SIZE").right().optional(1),
        ];
        let rows =
            [vec!["alpha".to_owned(), "x".to_owned(), "10".to_owned()], vec!["b".to_owned()]];
        assert_eq!(render(&columns, &rows, 80), "ID     KIND  SIZE\nalpha  x       10\nb\n");
        assert_eq!(render(&columns, &rows, 16), "ID     KIND\nalpha  x\nb\n");
        assert_eq!(render(&columns, &rows, 3), "ID\nalpha\nb\n");
    }

    #[test]
    fn wide_characters_take_two_places() {
        let columns = [Column::new("ID"), Column::new("SIZE").right()];
        let rows = [vec!["猫".to_owned(), "1".to_owned()], vec!["é".to_owned(), "20".to_owned()]];
        assert_eq!(render(&columns, &rows, 80), "ID  SIZE\n猫     1\né     20\n");
    }

    #[test]
    fn long_words_keep_a_line() {
        assert_eq!(wrap("a bb cccccc d", 4), ["a bb", "cccccc", "d"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
