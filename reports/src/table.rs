//! Aligned tables for a terminal: columns of least weight are left out and long texts are cut where
//! it is too narrow.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Narrowest that a text which may be cut becomes.
const NARROWEST: usize = 12;

/// What a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns of text.
    pub width: usize,
    /// Whether it shows colours.
    pub colour: bool,
}

impl Default for Look {
    /// 80 columns without colours: what every terminal and every log can show.
    fn default() -> Self {
        Self { width: 80, colour: false }
    }
}

impl Look {
    /// So many columns, without colours.
    pub fn plain(width: usize) -> Self {
        Self { width, colour: false }
    }

    /// The text in a colour (an SGR code such as `1;31`), or as it is where there are none.
    pub fn paint(self, text: &str, code: &str) -> String {
        if self.colour && !code.is_empty() && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    header: &'static str,
    right: bool,
    drop_order: u8,
    cut: bool,
}

impl Column {
    /// A column of text that is never left out or cut.
    pub const fn new(header: &'static str) -> Self {
        Self { header, right: false, drop_order: 0, cut: false }
    }

    /// Sets the column to the right, as numbers are.
    #[must_use]
    pub const fn right(mut self) -> Self {
        self.right = true;
        self
    }

    /// Says that the column may be left out: 1 goes first, then 2, and so on.
    #[must_use]
    pub const fn optional(mut self, drop_order: u8) -> Self {
        self.drop_order = drop_order;
        self
    }

    /// Says that its texts may be cut.
    #[must_use]
    pub const fn cut(mut self) -> Self {
        self.cut = true;
        self
    }
}

/// Colours of words that stand alone in a cell.
fn code_of(cell: &str) -> &'static str {
    match cell {
        "gold" => "33",
        "silver" => "37",
        "bronze" => "38;5;173",
        "down" | "invalid" | "no submission" => "31",
        "up" => "32",
        "unfinished" => "2",
        lost if lost.ends_with("(infrastructure)") => "35",
        _ => "",
    }
}

/// Renders a table that fits the look's width if leaving out optional columns and cutting texts can
/// achieve it; nothing without rows.
pub fn render(columns: &[Column], rows: &[Vec<String>], look: Look) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            let cells = rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.width());
            cells.max().unwrap_or(0).max(column.header.width())
        })
        .collect();
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let total = |shown: &[usize], widths: &[usize]| {
        shown.iter().map(|&i| widths[i] + 2).sum::<usize>().saturating_sub(2)
    };
    // The widest text gives way first, then whole columns do.
    loop {
        let over = total(&shown, &widths).saturating_sub(look.width);
        if over == 0 {
            break;
        }
        let room = |i: &usize| widths[*i].saturating_sub(NARROWEST.max(columns[*i].header.width()));
        let cut = shown.iter().copied().filter(|&i| columns[i].cut).max_by_key(|i| room(i));
        let optional = shown.iter().copied().filter(|&i| columns[i].drop_order > 0);
        let least = optional.min_by_key(|&i| columns[i].drop_order);
        match (cut.filter(|i| room(i) > 0), least) {
            (Some(i), _) => widths[i] -= over.min(room(&i)).min(widths[i] / 4 + 1),
            (None, Some(dropped)) => shown.retain(|&i| i != dropped),
            (None, None) => break,
        }
    }
    let mut text = String::new();
    let mut line = |cell: &dyn Fn(usize) -> String, code: &dyn Fn(&str) -> &'static str| {
        let mut line = String::new();
        for (at, &i) in shown.iter().enumerate() {
            let cell = fit(&cell(i), widths[i]);
            let padding = " ".repeat(widths[i] - cell.width());
            let painted = look.paint(&cell, code(&cell));
            let last = at + 1 == shown.len();
            let _ = match (columns[i].right, last) {
                (true, _) => write!(line, "{padding}{painted}{}", if last { "" } else { "  " }),
                (false, false) => write!(line, "{painted}{padding}  "),
                (false, true) => write!(line, "{painted}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(&|i| columns[i].header.to_owned(), &|_| "1");
    for row in rows {
        line(&|i| row.get(i).cloned().unwrap_or_default(), &code_of);
    }
    text
}

/// The text, or its beginning and an ellipsis where it is wider than `width`.
fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 1;
    for c in text.chars() {
        taken += c.width().unwrap_or(0);
        if taken > width {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

/// The text in lines of at most `width` columns, broken at blanks; lines after the first begin with
/// `indent` blanks. A longer word has a line of its own.
pub fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        if used > 0 && used + 1 + word.width() > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            used = indent;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += word.width();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    fn at(width: usize) -> Look {
        Look { width, colour: false }
    }

    #[test]
    fn columns_line_up_by_what_a_terminal_shows() {
        let columns = [Column::new("a"), Column::new("n").right()];
        let table = render(&columns, &rows(&[&["x", "10"], &["長い", "5"]]), at(80));
        assert_eq!(table, "a      n\nx     10\n長い   5\n");
    }

    #[test]
    fn texts_are_cut_before_columns_are_left_out() {
        let columns = [
            Column::new("ID").cut(),
            Column::new("KIND").optional(2),
            Column::new("SIZE").right().optional(1),
        ];
        let rows = rows(&[&["a-name-of-twenty-four-let", "x", "10"]]);
        assert_eq!(
            render(&columns, &rows, at(26)).lines().nth(1),
            Some("a-name-of-twe…  x       10")
        );
        assert_eq!(render(&columns, &rows, at(20)).lines().next(), Some("ID            KIND"));
        assert_eq!(render(&columns, &rows, at(3)), "ID\na-name-of-t…\n");
        for width in 30..90 {
            assert!(render(&columns, &rows, at(width)).lines().all(|line| line.width() <= width));
        }
    }

    #[test]
    fn colours_are_shown_where_they_are_wanted() {
        let columns = [Column::new("medal")];
        let look = Look { width: 80, colour: true };
        let table = render(&columns, &rows(&[&["gold"], &["none"]]), look);
        assert_eq!(table, "\u{1b}[1mmedal\u{1b}[0m\n\u{1b}[33mgold\u{1b}[0m\nnone\n");
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(wrap("one two three", 7, 2), "one two\n  three");
        assert_eq!(wrap("", 7, 2), "");
    }
}
