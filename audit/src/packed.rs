//! Tables inside a text of the code: as CSV, as one digit a row, or packed.

use std::collections::HashSet;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::{GzDecoder, ZlibDecoder};

use crate::finding::{Confidence, Rule};
use crate::literals::{Judge, MANY};
use crate::setting::Ids;
use crate::token::Token;

/// Most of what a text unpacks to that is looked at.
const UNPACKED: u64 = 4 << 20;
/// The longest text that is unpacked.
const LONGEST: usize = 8 << 20;
/// The shortest text that is taken for packed.
const PACKED: usize = 160;
/// Lines of a text that are looked at.
const LINES: usize = 10_000;

/// Looks at a long text of the code.
pub(crate) fn look(judge: &mut Judge<'_, '_>, token: &Token<'_>) {
    let text = token.text;
    if let Some(ids) = judge.setting.ids.as_ref().filter(|ids| !ids.are_common_numbers())
        && !text.contains('\n')
    {
        let count = ids_in(text, ids);
        if count >= MANY {
            let says = format!("a text names {count} ids of test rows");
            let finding =
                judge.code.finding(Rule::MemorisedIds, token.line, Confidence::High, says);
            judge.found.push(finding);
            return;
        }
    }
    if let Some((confidence, says)) = plain(text, judge.setting.ids.as_ref()) {
        push(judge, token.line, confidence, says);
        return;
    }
    if text.len() < PACKED || text.len() > LONGEST {
        return;
    }
    let Some(bytes) = decode(text) else { return };
    // What is packed is told in any case; what is only encoded may be a picture.
    let (what, inner, is_told) = match inflate(&bytes) {
        Some(inner) => ("a packed text", inner, true),
        None => {
            let is_told = judge.unpacks && !is_media(&bytes);
            ("an encoded text", bytes, is_told)
        }
    };
    match table(&String::from_utf8_lossy(&inner), judge.setting.ids.as_ref()) {
        Some((confidence, says)) => {
            push(judge, token.line, confidence, format!("{what} holds a table: {says}"));
        }
        None if is_told => {
            push(judge, token.line, Confidence::Low, format!("{what} is in the code"));
        }
        None => {}
    }
}

fn push(judge: &mut Judge<'_, '_>, line: u32, confidence: Confidence, says: String) {
    judge.found.push(judge.code.finding(Rule::HardCodedAnswers, line, confidence, says));
}

/// A text that holds a table as it is.
fn plain(text: &str, ids: Option<&Ids>) -> Option<(Confidence, String)> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let kinds: HashSet<u8> = text.bytes().collect();
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        return match ids {
            Some(ids) if ids.len() == text.len() && (2..=12).contains(&kinds.len()) => Some((
                Confidence::High,
                format!("a text of {} characters is as long as the test data", text.len()),
            )),
            None if digits && (2..=4).contains(&kinds.len()) => {
                Some((Confidence::Low, format!("a text of {} digits", text.len())))
            }
            _ => None,
        };
    }
    ids.and_then(|ids| table(text, Some(ids)))
}

/// How many ids of test rows are words of a text.
fn ids_in(text: &str, ids: &Ids) -> usize {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '|'));
    words.take(LINES).filter_map(|word| ids.row(word)).collect::<HashSet<u32>>().len()
}

/// What a text says as a table of ids and values; without ids, whether it is one at all.
fn table(text: &str, ids: Option<&Ids>) -> Option<(Confidence, String)> {
    let lines = text.split('\n').flat_map(|line| line.split("\\n")).take(LINES);
    let (mut hits, mut rows) = (0, 0);
    for line in lines {
        let separators: &[char] = &[',', ';', '\t', ':', ' '];
        let Some((first, rest)) = line.trim().split_once(separators) else { continue };
        let is_row = !rest.is_empty() && first.bytes().any(|byte| byte.is_ascii_alphanumeric());
        rows += usize::from(is_row);
        let first = first.trim_matches(|c: char| matches!(c, '"' | '\'' | '{' | '(' | '[' | ' '));
        hits += usize::from(is_row && ids.is_some_and(|ids| ids.row(first).is_some()));
    }
    match ids {
        Some(ids) => {
            let enough = if ids.are_common_numbers() { 20.max(ids.len() / 2) } else { 3 };
            let says = format!("{hits} lines begin with ids of test rows");
            (hits >= enough).then_some((Confidence::High, says))
        }
        None => {
            let all = text.lines().take(LINES).count();
            let says = format!("{rows} lines with a key and a value");
            (rows >= 20 && rows * 10 >= all * 9).then_some((Confidence::Medium, says))
        }
    }
}

/// The bytes of a text in base64 or hexadecimal digits.
fn decode(text: &str) -> Option<Vec<u8>> {
    let packed: Vec<u8> =
        text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'\\').collect();
    if packed.len().is_multiple_of(2) && packed.iter().all(u8::is_ascii_hexdigit) {
        let nibble = |byte: u8| (byte as char).to_digit(16).unwrap_or_default() as u8;
        return Some(packed.chunks_exact(2).map(|p| nibble(p[0]) << 4 | nibble(p[1])).collect());
    }
    STANDARD.decode(&packed).ok()
}

/// What bytes unpack to that begin as gzip or zlib do.
fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let read = match bytes {
        [0x1f, 0x8b, ..] => GzDecoder::new(bytes).take(UNPACKED).read_to_end(&mut out),
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => {
            ZlibDecoder::new(bytes).take(UNPACKED).read_to_end(&mut out)
        }
        _ => return None,
    };
    // What was unpacked before an error counts.
    (read.is_ok() || !out.is_empty()).then_some(out)
}

/// Whether bytes are a picture, a sound or a font.
fn is_media(bytes: &[u8]) -> bool {
    [&b"\x89PNG"[..], b"\xff\xd8\xff", b"GIF8", b"RIFF", b"wOFF", b"OTTO", b"%PDF", b"<svg", b"ID3"]
        .iter()
        .any(|mark| bytes.starts_with(mark))
}
