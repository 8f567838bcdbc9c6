//! When rows were written, as far as a column tells: first and last time, whatever mixture of formats it holds.
//!
//! Times are compared as instants and not as text, where `2026-11-20 21:55` stands before `2026-11-20T03:00`. A time without a zone is
//! taken as UTC, as SQLite does.

use rusqlite::types::ValueRef;

use super::table::Column;

/// The first and the last time in a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeRange {
    /// The column.
    pub column: String,
    /// How times are written in it.
    pub format: TimeFormat,
    /// As it is stored.
    pub first: String,
    /// As it is stored.
    pub last: String,
    /// Rows in which the column holds no time that could be read.
    pub without_time: u64,
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-11-20`
    Date,
    /// `2026-11-20 21:55:04`, seconds and fraction optional, no zone.
    Sql,
    /// `2026-11-20T21:55:04Z`, or with an offset, or without a zone.
    Iso,
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMilliseconds,
    /// More than one of these.
    Mixed,
}

/// What was seen in the columns that may tell a time.
pub(super) struct Times(Vec<Candidate>);

struct Candidate {
    index: usize,
    column: String,
    format: Option<TimeFormat>,
    first: (i128, String),
    last: (i128, String),
    without_time: u64,
}

impl Times {
    /// Chooses the columns by name and type; the likeliest first.
    pub(super) fn of(columns: &[Column]) -> Self {
        let mut ranked: Vec<(usize, usize)> = columns.iter().enumerate().filter_map(|(i, column)| Some((rank(column)?, i))).collect();
        ranked.sort_unstable();
        let candidate = |&(_, index): &(usize, usize)| Candidate {
            index,
            column: columns[index].name.clone(),
            format: None,
            first: (i128::MAX, String::new()),
            last: (i128::MIN, String::new()),
            without_time: 0,
        };
        Times(ranked.iter().take(MOST_CANDIDATES).map(candidate).collect())
    }

    /// Looks at a row, given how to get its values.
    pub(super) fn see<'r>(&mut self, value_at: impl Fn(usize) -> ValueRef<'r>) {
        for candidate in &mut self.0 {
            candidate.see(value_at(candidate.index));
        }
    }

    /// The range in the likeliest column that held any time.
    pub(super) fn range(self) -> Option<TimeRange> {
        self.0.into_iter().find_map(|found| {
            let format = found.format?;
            let (first, last) = (found.first.1, found.last.1);
            Some(TimeRange { column: found.column, format, first, last, without_time: found.without_time })
        })
    }
}

impl Candidate {
    fn see(&mut self, value: ValueRef<'_>) {
        let Some((format, instant, text)) = read(value) else {
            self.without_time += 1;
            return;
        };
        self.format = Some(self.format.map_or(format, |before| if before == format { format } else { TimeFormat::Mixed }));
        if instant < self.first.0 {
            self.first = (instant, text.clone());
        }
        // Of equal instants the last row's spelling is kept, as its first row's is.
        if instant >= self.last.0 {
            self.last = (instant, text);
        }
    }
}

fn rank(column: &Column) -> Option<usize> {
    let name = column.name.to_ascii_lowercase();
    let declared = column.declared.to_ascii_lowercase();
    if let Some(place) = USUAL_NAMES.iter().position(|usual| *usual == name) {
        return Some(place);
    }
    let by_type = ["datetime", "timestamp"].iter().any(|word| declared.contains(word));
    let by_name = USUAL_ENDINGS.iter().position(|ending| name.ends_with(ending));
    if by_type { Some(USUAL_NAMES.len()) } else { by_name.map(|place| USUAL_NAMES.len() + 1 + place) }
}

/// The format, nanoseconds since 1970, and the text of a value that is a time.
fn read(value: ValueRef<'_>) -> Option<(TimeFormat, i128, String)> {
    match value {
        ValueRef::Text(bytes) => {
            let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= LONGEST_TIME)?;
            let (format, instant) = parse(text.trim())?;
            Some((format, instant, text.to_owned()))
        }
        ValueRef::Integer(number) => unix(number as f64, number.to_string()),
        ValueRef::Real(number) => unix(number, format!("{number:?}")),
        _ => None,
    }
}

/// Only numbers that mean the years 1990 to 2100: smaller ones count something else.
fn unix(number: f64, text: String) -> Option<(TimeFormat, i128, String)> {
    let years = 631_152_000.0..4_102_444_800.0;
    if years.contains(&number) {
        Some((TimeFormat::UnixSeconds, (number * 1e9) as i128, text))
    } else if years.contains(&(number / 1e3)) {
        Some((TimeFormat::UnixMilliseconds, (number * 1e6) as i128, text))
    } else {
        None
    }
}

fn parse(text: &str) -> Option<(TimeFormat, i128)> {
    let date = text.get(..10)?;
    let (year, month, day) = (number(date, 0, 4)?, number(date, 5, 7)?, number(date, 8, 10)?);
    let is_date = date.as_bytes()[4] == b'-' && date.as_bytes()[7] == b'-' && (1..=12).contains(&month) && (1..=31).contains(&day);
    let days = i128::from(is_date.then(|| days_since_1970(year, month, day))?);
    let (format, clock) = match text[10..].chars().next() {
        None => return Some((TimeFormat::Date, days * DAY)),
        Some('T' | 't') => (TimeFormat::Iso, &text[11..]),
        Some(' ') => (TimeFormat::Sql, &text[11..]),
        Some(_) => return None,
    };
    let zone_at = clock.find(['Z', 'z', '+', '-']).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(zone_at);
    Some((format, days * DAY + time_of_day(clock)? - offset(zone)?))
}

/// `HH:MM`, `HH:MM:SS`, with or without a fraction, in nanoseconds.
fn time_of_day(clock: &str) -> Option<i128> {
    let clock = clock.trim_end();
    let (whole, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, ""));
    let seconds = match whole.len() {
        5 => 0,
        8 if whole.as_bytes()[5] == b':' => number(whole, 6, 8)?,
        _ => return None,
    };
    let (hours, minutes) = (number(whole, 0, 2)?, number(whole, 3, 5)?);
    let is_legal = whole.as_bytes()[2] == b':' && hours < 24 && minutes < 60 && seconds <= 60;
    let is_fraction = fraction.bytes().all(|byte| byte.is_ascii_digit()) && fraction.is_ascii();
    let nanoseconds: i128 = if is_fraction { format!("{fraction:0<9}")[..9].parse().ok()? } else { return None };
    is_legal.then_some(i128::from(hours * 3600 + minutes * 60 + seconds) * 1_000_000_000 + nanoseconds)
}

/// Nothing, `Z`, `+HH:MM`, `+HHMM` or `+HH`, in nanoseconds.
fn offset(zone: &str) -> Option<i128> {
    let digits = zone.get(1..).unwrap_or_default().replace(':', "");
    match zone.as_bytes().first() {
        None => Some(0),
        Some(b'Z' | b'z') => digits.is_empty().then_some(0),
        Some(sign) => {
            let minutes = if digits.len() == 4 { number(&digits, 2, 4)? } else { 0 };
            let known = matches!(digits.len(), 2 | 4).then(|| number(&digits, 0, 2)).flatten()? * 60 + minutes;
            Some(i128::from(if *sign == b'-' { -known } else { known }) * 60_000_000_000)
        }
    }
}

fn number(text: &str, from: usize, to: usize) -> Option<i64> {
    let digits = text.get(from..to)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Days in the Gregorian calendar, by Howard Hinnant's `days_from_civil`.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

const DAY: i128 = 86_400_000_000_000;
const LONGEST_TIME: usize = 64;
const MOST_CANDIDATES: usize = 4;
const USUAL_NAMES: [&str; 13] = [
    "created_at",
    "recorded_at",
    "logged_at",
    "occurred_at",
    "inserted_at",
    "timestamp",
    "event_time",
    "created",
    "created_on",
    "ts",
    "time",
    "at",
    "date",
];
const USUAL_ENDINGS: [&str; 6] = ["_at", "_time", "_timestamp", "_ts", "_date", "_seen"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_usual_formats_as_instants() {
        let at = |text: &str| parse(text).map(|(format, instant)| (format, instant / 1_000_000_000));
        for (text, format, seconds) in [
            ("1970-01-01", TimeFormat::Date, 0),
            ("2000-02-29 00:00", TimeFormat::Sql, 951_782_400),
            ("2026-11-20 21:55:04", TimeFormat::Sql, 1_795_211_704),
            ("2026-11-20T21:55:04.813818+00:00", TimeFormat::Iso, 1_795_211_704),
            ("2026-11-20T23:55:04+02:00", TimeFormat::Iso, 1_795_211_704),
            ("2026-11-20T20:25:04-0130", TimeFormat::Iso, 1_795_211_704),
            ("2026-11-20T21:55:04Z", TimeFormat::Iso, 1_795_211_704),
        ] {
            assert_eq!(at(text), Some((format, seconds)), "{text}");
        }
        for text in
            ["", "soon", "2026-13-01", "2026-11-20X", "2026-11-20 9:5", "2026-11-20 21:55:04.x", "2026-11-2é 21:55", "2026-11-20T21:55:04+"]
        {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn mixed_formats_are_ordered_by_instant() {
        let column = |name: &str, declared: &str| Column { name: name.into(), declared: declared.into() };
        let mut times = Times::of(&[column("id", "INTEGER"), column("updated_at", "TEXT"), column("Created_At", "TEXT")]);
        for text in ["2026-11-20T03:00:00Z", "2026-11-20 21:55:04", "never", "2026-11-20 02:59:59"] {
            times.see(|index| if index == 2 { ValueRef::Text(text.as_bytes()) } else { ValueRef::Null });
        }
        let found = times.range().unwrap();
        assert_eq!((found.column.as_str(), found.format, found.without_time), ("Created_At", TimeFormat::Mixed, 1));
        assert_eq!((found.first.as_str(), found.last.as_str()), ("2026-11-20 02:59:59", "2026-11-20 21:55:04"));
    }

    #[test]
    fn small_numbers_are_no_times() {
        assert_eq!(read(ValueRef::Integer(42)), None);
        assert_eq!(read(ValueRef::Integer(1_795_211_704)).map(|found| found.0), Some(TimeFormat::UnixSeconds));
        assert_eq!(read(ValueRef::Integer(1_795_211_704_000)).map(|found| found.0), Some(TimeFormat::UnixMilliseconds));
    }
}
