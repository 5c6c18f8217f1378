//! What about a file may be behind a refusal: said beside it, since the refusal alone often names
//! a consequence.

use crate::invalid::{InvalidKind, InvalidSubmission};
use crate::table::Table;
use crate::untrusted::Shown;

/// Adds to a refusal what is odd about the submission as a whole.
pub(crate) fn explain(mut invalid: InvalidSubmission, table: &Table) -> InvalidSubmission {
    let columns = matches!(
        invalid.kind,
        InvalidKind::MissingColumn | InvalidKind::ExtraColumn | InvalidKind::ColumnOrder
    );
    let hints = [
        shifted(table),
        stray_return(table),
        index(table).filter(|_| columns),
        separator(table).filter(|_| columns),
        lookalike(&invalid, table).filter(|_| columns),
    ];
    for hint in hints.into_iter().flatten() {
        invalid.message = Shown::message(&format!("{}; {hint}", invalid.message));
    }
    invalid
}

/// Rows that are longer than the header move every column to the left.
pub(crate) fn shifted(table: &Table) -> Option<String> {
    let cells = match table.index_cells() {
        0 => return None,
        1 => "1 cell".to_owned(),
        count => format!("{count} cells"),
    };
    Some(format!(
        "row 1 has {cells} more than the header (a comma at its end?), so that pandas reads every column under \
         the name of the one to its left"
    ))
}

fn stray_return(table: &Table) -> Option<String> {
    let row = table.stray_return()? + 1;
    Some(format!(
        "row {row} ends in a lone carriage return (CR) where others end in line feeds: a text with a line break \
         must be quoted"
    ))
}

fn index(table: &Table) -> Option<String> {
    let name = table.names().first().filter(|name| *name == "Unnamed: 0")?;
    Some(format!("column `{name}` has no name in the file: was it written with `index=True`?"))
}

fn separator(table: &Table) -> Option<String> {
    let [name] = table.names() else { return None };
    let (_, what) = [(';', "`;`"), ('\t', "tabs")].into_iter().find(|(c, _)| name.contains(*c))?;
    Some(format!("its columns seem to be separated by {what}, expected commas"))
}

/// A column whose name is the wanted one to the eye.
fn lookalike(invalid: &InvalidSubmission, table: &Table) -> Option<String> {
    if invalid.kind != InvalidKind::MissingColumn {
        return None;
    }
    let wanted = invalid.column.as_deref()?;
    let found = table.names().iter().find(|name| *name != wanted && alike(name, wanted))?;
    let same_case = plain(found).eq(plain(wanted));
    Some(if same_case {
        "one of them differs from it in blanks or characters that cannot be seen".to_owned()
    } else {
        "one of them differs from it in capitals only".to_owned()
    })
}

/// Whether two texts are the same but for capitals, blanks and characters that cannot be seen.
pub(crate) fn alike(a: &str, b: &str) -> bool {
    plain(a).flat_map(char::to_lowercase).eq(plain(b).flat_map(char::to_lowercase))
}

fn plain(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars()
        .filter(|&c| !c.is_whitespace() && !c.is_control() && !crate::untrusted::is_hidden(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Limits;

    fn explained(text: &str, kind: InvalidKind) -> String {
        let table = Table::parse(text.into(), &Limits::default()).unwrap();
        explain(InvalidSubmission::new(kind, "refused").in_column("id"), &table)
            .message
            .into_string()
    }

    #[test]
    fn what_is_odd_about_the_file_is_said() {
        for (text, kind, said) in [
            ("id,x\n1,2\n", InvalidKind::Ids, "refused"),
            ("id,x\n1,2,\n", InvalidKind::Ids, "row 1 has 1 cell more than the header"),
            ("id,x\n1,a\rb\n2,c\n", InvalidKind::RowCount, "row 1 ends in a lone carriage return"),
            (",id,x\n0,1,2\n", InvalidKind::ExtraColumn, "`index=True`"),
            (",id,x\n0,1,2\n", InvalidKind::Ids, "refused"),
            ("id;x\n1;2\n", InvalidKind::MissingColumn, "separated by `;`"),
            ("ID,x\n1,2\n", InvalidKind::MissingColumn, "capitals only"),
            ("id\u{200b},x\n1,2\n", InvalidKind::MissingColumn, "cannot be seen"),
        ] {
            let message = explained(text, kind);
            assert!(message.contains(said), "{text:?}: {message}");
            assert_eq!(message == "refused", said == "refused", "{message}");
        }
    }
}
