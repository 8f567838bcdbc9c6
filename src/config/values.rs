//! Values with units.

use std::time::Duration;

/// Reads a number of bytes, with a binary unit behind it or without: `500M`, `20G`.
///
/// # Errors
/// What was expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        Some((at, 'T' | 't')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let number: Option<u64> = digits.parse().ok().filter(|&number| number > 0);
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| "expected a number of bytes, as 500M or 20G".to_owned())
}

/// Reads a span of time: `90s`, `30m`, `12h`, `7d`, `4w`.
///
/// # Errors
/// What was expected.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a span of time, as 12h or 7d".to_owned();
    let (at, unit) = text.char_indices().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(wrong()),
    };
    let number: Option<u64> = text[..at].parse().ok().filter(|&number| number > 0);
    number.and_then(|number| number.checked_mul(seconds)).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("1", 1), ("2k", 2048), ("500M", 500 << 20), ("20G", 20 << 30), ("1T", 1 << 40)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        assert!(["", "0", "M", "-1", "1.5G", "1X", "99999999999T", "ä"].iter().all(|text| parse_size(text).is_err()));
    }

    #[test]
    fn spans_have_units() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800), ("4w", 2_419_200)] {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert!(["", "7", "d", "0d", "-1d", "1.5h", "1y", "99999999999999999999w", "ä"].iter().all(|text| parse_span(text).is_err()));
    }
}
