//! Texts with `{column}` in them: paths of files and values of columns.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text with placeholders, each of which stands for a value of a row.
///
/// `{id}` is the value of the column `id` as it is printed, `{id[0]}` its first character, `{id:04}`
/// the value with zeros before it up to four characters; `{{` and `}}` are braces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    pieces: Vec<Piece>,
}

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text that stays as it is.
    Literal(String),
    /// The value of a column.
    Field(Field),
}

/// A placeholder of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The column.
    pub name: String,
    /// One character of the value alone, counted from 0.
    pub index: Option<usize>,
    /// Zeros are put before the value up to this many characters.
    pub width: Option<usize>,
}

impl Field {
    /// Zeros beyond any number there is.
    const WIDEST: usize = 40;

    fn parse(text: &str) -> Self {
        let (text, width) = match text.rsplit_once(":0") {
            Some((name, digits))
                if digits.parse().is_ok_and(|width: usize| width <= Self::WIDEST) =>
            {
                (name, digits.parse().ok())
            }
            _ => (text, None),
        };
        let indexed = text.strip_suffix(']').and_then(|text| text.rsplit_once('['));
        if let Some((name, index)) = indexed.and_then(|(name, i)| Some((name, i.parse().ok()?))) {
            return Self { name: name.to_owned(), index: Some(index), width };
        }
        Self { name: text.to_owned(), index: None, width }
    }

    /// Appends what stands for the placeholder where the column has `value`. Nothing stands for a
    /// character that the value does not have.
    pub fn render(&self, value: &str, out: &mut String) {
        let start = match self.index {
            None => 0,
            Some(index) => match value.char_indices().nth(index) {
                Some((start, _)) => start,
                None => return,
            },
        };
        let value = match self.index {
            None => value,
            Some(_) => {
                value[start..].chars().next().map_or("", |c| &value[start..start + c.len_utf8()])
            }
        };
        let missing = self.width.unwrap_or(0).saturating_sub(value.chars().count());
        out.extend(std::iter::repeat_n('0', missing));
        out.push_str(value);
    }
}

impl Template {
    /// A text in which braces are nothing but braces.
    pub fn literal(text: &str) -> Self {
        let mut template = Self::default();
        template.push_literal(text);
        template
    }

    /// The parts in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The placeholders in order.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Field(field) => Some(field),
        })
    }

    /// Whether there is a placeholder.
    pub fn has_fields(&self) -> bool {
        self.fields().next().is_some()
    }

    /// Whether there is a placeholder of this name.
    pub fn names(&self, column: &str) -> bool {
        self.fields().any(|field| field.name == column)
    }

    /// The column, if the text is one whole placeholder and nothing else.
    pub fn whole_column(&self) -> Option<&str> {
        match &self.pieces[..] {
            [Piece::Field(Field { name, index: None, width: None })] => Some(name),
            _ => None,
        }
    }

    /// The text, if there is no placeholder in it.
    pub fn as_literal(&self) -> Option<&str> {
        match &self.pieces[..] {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The template with a value in the place of one placeholder.
    #[must_use]
    pub fn with(&self, column: &str, value: &str) -> Self {
        let mut filled = Self::default();
        for piece in &self.pieces {
            match piece {
                Piece::Field(field) if field.name == column => {
                    let mut text = String::new();
                    field.render(value, &mut text);
                    filled.push_literal(&text);
                }
                Piece::Field(field) => filled.pieces.push(Piece::Field(field.clone())),
                Piece::Literal(text) => filled.push_literal(text),
            }
        }
        filled
    }

    /// This template, and another behind it.
    #[must_use]
    pub fn then(&self, other: &Self) -> Self {
        let mut joined = self.clone();
        for piece in &other.pieces {
            match piece {
                Piece::Literal(text) => joined.push_literal(text),
                Piece::Field(field) => joined.pieces.push(Piece::Field(field.clone())),
            }
        }
        joined
    }

    /// The text before the first placeholder.
    pub fn prefix(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Literal(text)) => text,
            _ => "",
        }
    }

    /// As a path: what stands behind the last `/` that no value brings along.
    #[must_use]
    pub fn file_name(&self) -> Self {
        let mut name = Self::default();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => match text.rsplit_once('/') {
                    Some((_, text)) => {
                        name.pieces.clear();
                        name.push_literal(text);
                    }
                    None => name.push_literal(text),
                },
                Piece::Field(field) => name.pieces.push(Piece::Field(field.clone())),
            }
        }
        name
    }

    /// As a path: whether it ends with `/` and so means a folder.
    pub fn is_folder(&self) -> bool {
        matches!(self.pieces.last(), Some(Piece::Literal(text)) if text.ends_with('/'))
    }

    fn push_literal(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Literal(before)) => before.push_str(text),
            _ => self.pieces.push(Piece::Literal(text.to_owned())),
        }
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut template = Self::default();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            template.push_literal(&rest[..at]);
            let brace = &rest[at..=at];
            let behind = &rest[at + 1..];
            if behind.starts_with(brace) {
                template.push_literal(brace);
                rest = &behind[1..];
                continue;
            }
            let field = if brace == "{" { behind.split_once('}') } else { None };
            match field {
                Some((name, behind)) if !name.is_empty() && !name.contains('{') => {
                    template.pieces.push(Piece::Field(Field::parse(name)));
                    rest = behind;
                }
                _ => {
                    return Err(format!(
                        "`{text}` has a `{brace}` that is no part of `{{COLUMN}}`; `{brace}{brace}` stands for the brace itself"
                    ));
                }
            }
        }
        template.push_literal(rest);
        Ok(template)
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.to_string()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Piece::Field(Field { name, index, width }) => {
                    write!(f, "{{{name}")?;
                    if let Some(index) = index {
                        write!(f, "[{index}]")?;
                    }
                    if let Some(width) = width {
                        write!(f, ":0{width}")?;
                    }
                    f.write_str("}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rendered(template: &str, value: &str) -> String {
        let mut out = String::new();
        for piece in template.parse::<Template>().unwrap().pieces() {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Field(field) => field.render(value, &mut out),
            }
        }
        out
    }

    #[test]
    fn placeholders_stand_for_values() {
        for (template, value, expected) in [
            ("train/{id}.png", "a1", "train/a1.png"),
            ("{id[0]}/{id[1]}/{id}", "äb", "ä/b/äb"),
            ("{id[5]}|", "ab", "|"),
            ("clip_{n:08}.wav", "12", "clip_00000012.wav"),
            ("{n:02}", "123", "123"),
            ("{{id}}", "x", "{id}"),
        ] {
            assert_eq!(rendered(template, value), expected, "{template}");
        }
    }

    #[test]
    fn a_brace_without_its_other_half_is_refused() {
        for wrong in ["{", "}", "a{b", "a}b", "{}", "{}}", "{a{b}"] {
            let message = wrong.parse::<Template>().unwrap_err();
            assert!(message.starts_with(&format!("`{wrong}` has a `")), "{message}");
        }
    }

    #[test]
    fn one_placeholder_may_be_filled_before_the_others() {
        let template: Template = "public/{part}/{id}.png".parse().unwrap();
        let filled = template.with("part", "train");
        assert_eq!(filled.to_string(), "public/train/{id}.png");
        assert!(filled.names("id") && !filled.names("part"));
        assert_eq!(filled.pieces().len(), 3);
    }

    #[test]
    fn paths_end_with_a_name_or_a_folder() {
        let template = |text: &str| text.parse::<Template>().unwrap();
        for (path, name, is_folder) in [
            ("train/{id}/a_{id}.png", "a_{id}.png", false),
            ("a.csv", "a.csv", false),
            ("train/{id}/", "", true),
            ("{id}", "{id}", false),
        ] {
            assert_eq!(template(path).file_name().to_string(), name, "{path}");
            assert_eq!(template(path).is_folder(), is_folder, "{path}");
        }
        assert_eq!(
            Template::literal("public/").then(&template("a/{id}")).to_string(),
            "public/a/{id}"
        );
    }

    proptest! {
        #[test]
        fn a_template_prints_as_it_was_written(text in "[a-z{}\\[\\]0-9:/]{0,12}") {
            if let Ok(template) = text.parse::<Template>() {
                prop_assert_eq!(template.to_string().parse::<Template>().unwrap(), template);
            }
        }
    }
}
