//! How the name of a zip's member is read: as Python's `zipfile` does it.

use rawzip::ZipFileHeaderRecord;

/// The flag of names in UTF-8.
const UTF8: u16 = 1 << 11;
/// The extra field with a name in UTF-8, and how long its head is: a version and the checksum of
/// the name that it replaces.
const UNICODE_PATH: (u16, usize) = (0x7075, 5);

/// The upper half of the character set of the first PCs.
const CP437: [char; 128] = [
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å', 'É', 'æ', 'Æ',
    'ô', 'ö', 'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ', 'á', 'í', 'ó', 'ú', 'ñ', 'Ñ',
    'ª', 'º', '¿', '⌐', '¬', '½', '¼', '¡', '«', '»', '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕',
    '╣', '║', '╗', '╝', '╜', '╛', '┐', '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦',
    '╠', '═', '╬', '╧', '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐',
    '▀', 'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩', '≡', '±',
    '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²', '■', '\u{a0}',
];

/// The name of a member: in UTF-8 where that is said, else in code page 437.
pub(super) fn member_name(entry: &ZipFileHeaderRecord<'_>) -> String {
    let path = entry.file_path();
    let bytes = path.as_bytes();
    if bytes.is_ascii() || entry.flags().bits() & UTF8 != 0 {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let (id, head) = UNICODE_PATH;
    let given =
        entry.extra_fields().find(|(field, _)| field.as_u16() == id).and_then(|(_, data)| {
            let sum = u32::from_le_bytes(data.get(1..head)?.try_into().ok()?);
            (sum == rawzip::crc32(bytes))
                .then(|| String::from_utf8(data[head..].to_vec()).ok())
                .flatten()
        });
    given.unwrap_or_else(|| bytes.iter().map(|&byte| letter(byte)).collect())
}

fn letter(byte: u8) -> char {
    if byte.is_ascii() { char::from(byte) } else { CP437[usize::from(byte) - 128] }
}
