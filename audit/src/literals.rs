//! Answers and ids of test rows that are written down in code.
//!
//! One pass over the tokens keeps what each open bracket holds directly: pairs of a key and a value, rows
//! of a few values, and single values. What a bracket holds is judged when it closes.

use std::collections::HashSet;

use crate::finding::{Confidence, Finding, Rule};
use crate::setting::{Ids, Setting};
use crate::source::Parsed;
use crate::token::{Kind, Token};

/// Names that say what a list holds.
const NAMES: [&str; 9] =
    ["pred", "answer", "label", "target", "submission", "truth", "solution", "result", "class_of"];
/// Names that say so and that a person made it.
const BY_HAND: [&str; 7] = [
    "manual_label",
    "hand_label",
    "manual_pred",
    "hardcoded",
    "hard_coded",
    "labels_by_hand",
    "my_labels",
];
/// Functions that unpack a text.
const UNPACKS: [&str; 6] =
    ["b64decode", "b85decode", "a85decode", "unhexlify", "decompress", "fromhex"];
/// Brackets in brackets that are looked into.
const DEEPEST: usize = 100;
/// Values from which a list is long.
const LONG: usize = 30;
/// Ids in code that no accident brings there.
pub(crate) const MANY: usize = 5;

/// What an open bracket holds directly.
#[derive(Default)]
struct Group<'a> {
    line: u32,
    /// The name that it is given, or of the function that it is handed to.
    name: &'a str,
    pairs: Vec<(&'a str, &'a str, u32)>,
    single: Vec<&'a str>,
    /// Pairs of first and last value of the small groups in it.
    rows: Vec<(&'a str, &'a str, u32)>,
    /// Values since the last comma.
    now: Vec<&'a str>,
    has_colon: bool,
    /// Something that is no value stood since the last comma.
    other: bool,
    /// Whether it is compared with a column of ids.
    of_ids: bool,
}

impl<'a> Group<'a> {
    /// Takes what stood between two commas.
    fn element(&mut self, line: u32) {
        match (self.now.as_slice(), self.has_colon, self.other) {
            ([key, value], true, false) => self.pairs.push((key, value, line)),
            ([value], false, false) => self.single.push(value),
            _ => {}
        }
        self.now.clear();
        (self.has_colon, self.other) = (false, false);
    }

    /// First and last value, if it is a small group of nothing but values.
    fn as_row(&self) -> Option<(&'a str, &'a str, u32)> {
        if let [first, .., last] = self.single.as_slice()
            && self.single.len() <= 8
            && self.pairs.is_empty()
        {
            return Some((first, last, self.line));
        }
        match self.pairs.as_slice() {
            [first, .., last] if self.pairs.len() <= 8 => Some((first.1, last.1, self.line)),
            _ => None,
        }
    }
}

/// Looks for both rules.
pub(crate) fn findings(code: &Parsed<'_>, setting: &Setting) -> Vec<Finding> {
    let unpacks = code.tokens.iter().any(|token| UNPACKS.contains(&token.text));
    let mut judge = Judge { code, setting, unpacks, found: Vec::new(), loose: Vec::new() };
    judge.walk();
    judge.loose_ids();
    judge.ranges();
    judge.found
}

pub(crate) struct Judge<'a, 'b> {
    pub(crate) code: &'b Parsed<'a>,
    pub(crate) setting: &'b Setting,
    /// Whether the code unpacks texts.
    pub(crate) unpacks: bool,
    pub(crate) found: Vec<Finding>,
    /// Ids that stand alone, with their lines.
    loose: Vec<(&'a str, u32)>,
}

impl<'a> Judge<'a, '_> {
    fn walk(&mut self) {
        let tokens = &self.code.tokens;
        let mut open: Vec<Group<'a>> = Vec::new();
        let mut deeper = 0u32;
        for (at, token) in tokens.iter().enumerate() {
            match token.kind {
                Kind::Op(b'(' | b'[' | b'{') if open.len() == DEEPEST => deeper += 1,
                Kind::Op(b'(' | b'[' | b'{') => open.push(self.open(at)),
                Kind::Op(b')' | b']' | b'}') if deeper > 0 => deeper -= 1,
                Kind::Op(b')' | b']' | b'}') => {
                    let Some(mut group) = open.pop() else { continue };
                    group.element(token.line);
                    let row = group.as_row();
                    if let Some(outer) = open.last_mut() {
                        match row {
                            Some(row) => outer.rows.push(row),
                            None => outer.other = true,
                        }
                    }
                    self.judge(&group);
                }
                Kind::Op(b',') => {
                    if let Some(group) = open.last_mut() {
                        group.element(token.line);
                    }
                }
                Kind::Op(b':') => {
                    if let Some(group) = open.last_mut() {
                        group.has_colon = true;
                    }
                }
                Kind::Op(b'-' | b'+') => {}
                Kind::Text | Kind::Number => {
                    self.literal(token, at, open.is_empty());
                    match open.last_mut() {
                        Some(group) if group.now.len() < 3 => group.now.push(token.text),
                        Some(group) => group.other = true,
                        None => {}
                    }
                }
                _ => {
                    if let Some(group) = open.last_mut() {
                        group.other = true;
                    }
                }
            }
        }
    }

    fn open(&self, at: usize) -> Group<'a> {
        let tokens = &self.code.tokens;
        let name =
            |place: usize| tokens.get(place).filter(|t| t.kind == Kind::Name).map(|t| t.text);
        let before = at.checked_sub(1).and_then(|place| {
            if tokens[place].is(b'=') || tokens[place].is(b'(') {
                place.checked_sub(1).and_then(|place| match tokens[place].kind {
                    Kind::Op(b']') => place.checked_sub(1).map(|place| tokens[place].text),
                    _ => name(place),
                })
            } else {
                name(place)
            }
        });
        let is_call = before.is_some_and(|name| matches!(name, "isin" | "in" | "loc" | "drop"));
        let of_ids = is_call && self.names_ids(at);
        Group {
            line: tokens[at].line,
            name: before.unwrap_or_default(),
            of_ids,
            ..Group::default()
        }
    }

    /// Whether the statement at a place names a column of ids.
    fn names_ids(&self, at: usize) -> bool {
        let range = self.code.statement(at);
        self.code.tokens[range].iter().any(|token| self.is_id_column(token))
    }

    fn is_id_column(&self, token: &Token<'_>) -> bool {
        matches!(token.kind, Kind::Name | Kind::Text)
            && self.setting.id_columns.iter().any(|column| column.eq_ignore_ascii_case(token.text))
    }

    fn find(&mut self, rule: Rule, line: u32, confidence: Confidence, says: String) {
        self.found.push(self.code.finding(rule, line, confidence, says));
    }

    fn judge(&mut self, group: &Group<'a>) {
        let by_hand = BY_HAND.iter().any(|word| group.name.to_ascii_lowercase().contains(word));
        let named =
            by_hand || NAMES.iter().any(|word| group.name.to_ascii_lowercase().contains(word));
        for list in [&group.pairs, &group.rows] {
            match &self.setting.ids {
                Some(ids) => self.pairs_of_ids(ids, list),
                None => self.pairs_alone(list, by_hand, group.line),
            }
        }
        match &self.setting.ids {
            Some(ids) => {
                self.list_of_answers(ids, group, named);
                self.list_of_ids(ids, group);
            }
            None if named => self.list_alone(group, by_hand),
            None => {}
        }
    }

    /// Pairs whose keys are ids of test rows.
    fn pairs_of_ids(&mut self, ids: &Ids, pairs: &[(&'a str, &'a str, u32)]) {
        let mut seen = HashSet::new();
        let (mut agree, mut first) = (0, None);
        for (key, value, line) in pairs {
            if let Some(row) = ids.row(key)
                && seen.insert(row)
            {
                first.get_or_insert(*line);
                agree += usize::from(ids.answer(row).is_some_and(|answer| same(answer, value)));
            }
        }
        let (hits, Some(line)) = (seen.len(), first) else { return };
        // Keys that are small numbers may count something else: then only answers tell.
        let common = ids.are_common_numbers();
        let right = agree as f64 > hits as f64 * (ids.commonest() + 1.0) / 2.0;
        let confidence = match (hits, common) {
            (MANY.., false) => Confidence::High,
            (20.., true) if ids.has_answers() && right => Confidence::High,
            (20.., true) if hits * 2 >= ids.len() && !ids.has_answers() => Confidence::Medium,
            (3.., false) => Confidence::Medium,
            _ => return,
        };
        let mut says = format!("{hits} ids of test rows have a value each in the code");
        if ids.has_answers() {
            says.push_str(&format!(", and {agree} of these are the answers"));
        }
        self.find(Rule::HardCodedAnswers, line, confidence, says);
    }

    /// Pairs, where no id of a test row is known.
    fn pairs_alone(&mut self, pairs: &[(&'a str, &'a str, u32)], by_hand: bool, line: u32) {
        let keys: HashSet<&str> =
            pairs.iter().map(|pair| pair.0).filter(|key| looks_like_id(key)).collect();
        let values: HashSet<&str> = pairs.iter().map(|pair| pair.1).collect();
        // Names of classes have a value of their own each; labels come again.
        let labels = values.len() * 3 <= keys.len();
        if keys.len() >= 8 && keys.len() * 10 >= pairs.len() * 8 && (labels || by_hand) {
            let says = format!("{} keys that look like ids have a value each", keys.len());
            let confidence = if by_hand { Confidence::Medium } else { Confidence::Low };
            self.find(Rule::HardCodedAnswers, line, confidence, says);
        }
    }

    /// A list that is as long as the test data.
    fn list_of_answers(&mut self, ids: &Ids, group: &Group<'a>, named: bool) {
        let count = group.single.len();
        let is_ids = group.single.iter().take(50).filter(|text| ids.row(text).is_some()).count();
        if count < 20
            || count != ids.len()
            || is_ids * 2 > count.min(50) && !ids.are_common_numbers()
        {
            return;
        }
        // Names of columns and of classes are all different.
        let names = group.single.iter().all(|text| text.parse::<f64>().is_err());
        let distinct: HashSet<&&str> = group.single.iter().collect();
        if is_sequence(&group.single) || names && distinct.len() * 10 > count * 9 {
            return;
        }
        let answers = ids.answers().iter().zip(&group.single);
        let agree = answers.filter(|(answer, value)| same(answer, value)).count();
        let right = agree as f64 > count as f64 * (ids.commonest() + 1.0) / 2.0;
        let confidence = match ids.has_answers() {
            true if right => Confidence::High,
            _ if named => Confidence::High,
            _ => Confidence::Medium,
        };
        let says = format!("a list of {count} values is as long as the test data");
        self.find(Rule::HardCodedAnswers, group.line, confidence, says);
    }

    /// A long list of labels with a telling name, where the test data are not known.
    fn list_alone(&mut self, group: &Group<'a>, by_hand: bool) {
        let count = group.single.len();
        let distinct: HashSet<&&str> = group.single.iter().collect();
        // Names of columns and classes are all different.
        if count >= LONG && distinct.len() * 2 < count && !is_sequence(&group.single) {
            let says = format!("`{}` gets a list of {count} values", group.name);
            let confidence = if by_hand { Confidence::Medium } else { Confidence::Low };
            self.find(Rule::HardCodedAnswers, group.line, confidence, says);
        }
    }

    /// A list of ids of test rows.
    fn list_of_ids(&mut self, ids: &Ids, group: &Group<'a>) {
        let distinct: HashSet<u32> = group.single.iter().filter_map(|text| ids.row(text)).collect();
        let (hits, count) = (distinct.len(), group.single.len());
        let confidence = match ids.are_common_numbers() {
            false if hits >= MANY => Confidence::High,
            false if hits >= 3 => Confidence::Medium,
            true if group.of_ids && hits >= 3 && hits == count => Confidence::Medium,
            _ => return,
        };
        let says = format!("{hits} ids of test rows stand in the code");
        self.find(Rule::MemorisedIds, group.line, confidence, says);
    }

    fn literal(&mut self, token: &Token<'a>, at: usize, outside: bool) {
        if let Some(ids) = &self.setting.ids
            && !ids.are_common_numbers()
            && ids.row(token.text).is_some()
            && (outside || self.stands_alone(at))
        {
            self.loose.push((token.text, token.line));
        }
        if token.kind == Kind::Text && token.text.len() >= LONG {
            crate::packed::look(self, token);
        }
    }

    /// Whether a literal in a bracket is compared or an index, and no element of a list, which is judged as
    /// one.
    fn stands_alone(&self, at: usize) -> bool {
        let tokens = &self.code.tokens;
        let after = tokens.get(at + 1).is_none_or(|t| !t.is(b',') && !t.is(b':'));
        let before = at == 0 || !tokens[at - 1].is(b',');
        after && before
    }

    /// Ids that stand in the code one by one.
    fn loose_ids(&mut self) {
        let distinct: HashSet<&str> = self.loose.iter().map(|(id, _)| *id).collect();
        let confidence = match distinct.len() {
            0..3 => return,
            3..MANY => Confidence::Medium,
            _ => Confidence::High,
        };
        let says = format!("{} ids of test rows are compared with, one by one", distinct.len());
        let line = self.loose[0].1;
        self.find(Rule::MemorisedIds, line, confidence, says);
    }

    /// Rows that are picked by the range of their ids, and given values.
    fn ranges(&mut self) {
        let Some((low, high)) = self.setting.ids.as_ref().and_then(Ids::range) else { return };
        let (mut lines, mut last) = (Vec::new(), 0);
        for (at, token) in self.code.tokens.iter().enumerate() {
            // Bounds that divide test from training data mean nothing.
            let inner = |number: i64| number > low + 1 && number < high - 1;
            let is_bound = token.kind == Kind::Number && token.text.parse().is_ok_and(inner);
            if is_bound && token.line != last && self.is_range_of_ids(at) {
                last = token.line;
                lines.push(token.line);
            }
        }
        let Some(first) = lines.first() else { return };
        let confidence = if lines.len() >= 2 { Confidence::High } else { Confidence::Medium };
        let says = format!(
            "values are set by the range of ids in {} statement{}",
            lines.len(),
            if lines.len() == 1 { "" } else { "s" }
        );
        self.find(Rule::MemorisedIds, *first, confidence, says);
    }

    /// Whether a number is compared with a column of ids in a statement that sets a value.
    fn is_range_of_ids(&self, at: usize) -> bool {
        let tokens = &self.code.tokens;
        let from = at.saturating_sub(6);
        let near = &tokens[from..at];
        let column = near.iter().rposition(|token| self.is_id_column(token));
        let Some(column) = column else { return false };
        let compares = tokens[from + column + 1..at].iter().any(|token| {
            token.is(b'<') || token.is(b'>') || token.is_name("between") || token.is_name("range")
        });
        if !compares {
            return false;
        }
        let statement = self.code.statement(at);
        let end = statement.end;
        let sets = tokens[at..end].windows(2).any(|pair| {
            let plain =
                pair[1].is(b'=') && !matches!(pair[0].kind, Kind::Op(b'<' | b'>' | b'=' | b'!'));
            plain && !pair[0].is(b'(') && pair[0].kind != Kind::Name
        });
        let branch = tokens[statement]
            .first()
            .is_some_and(|token| token.is_name("if") || token.is_name("elif"));
        sets || branch
    }
}

/// Whether two cells say the same.
fn same(answer: &str, value: &str) -> bool {
    answer == value
        || matches!((answer.parse::<f64>(), value.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}

/// Whether values are numbers at even distances, as of `range` or `linspace`.
fn is_sequence(values: &[&str]) -> bool {
    let numbers: Option<Vec<f64>> = values.iter().map(|text| text.parse().ok()).collect();
    numbers.is_some_and(|numbers| {
        let steps: Vec<f64> = numbers.windows(2).map(|pair| pair[1] - pair[0]).collect();
        steps.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 1e-9)
    })
}

/// Whether a text looks like the id of a row: digits, or a file's name with digits.
fn looks_like_id(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    digits >= 3 && text.len() <= 64 && !text.contains(' ')
}
