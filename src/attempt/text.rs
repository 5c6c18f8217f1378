//! Facts as text, the same everywhere.

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A length of time as a person would say it: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`.
pub(crate) fn seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_read_well() {
        let cases = [
            (0.42, "0.4 s"),
            (12.4, "12 s"),
            (185.0, "3 min 05 s"),
            (7620.0, "2 h 07 min"),
            (-1.0, "-1.0 s"),
        ];
        for (value, text) in cases {
            assert_eq!(seconds(value), text);
        }
    }
}
