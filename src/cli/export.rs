//! The journal in the forms that other programs read.

use airkeep::journal::{Outcome, Record};
use serde_json::Value;

/// A form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Jsonl,
    /// RFC 4180.
    Csv,
    /// RFC 5424.
    Syslog,
}

/// All records in one of the forms.
pub fn text(records: &[Record], format: Format) -> String {
    match format {
        Format::Jsonl => records.iter().map(|record| json(record) + "\n").collect(),
        Format::Csv => COLUMNS.join(",") + "\r\n" + &records.iter().map(row).collect::<String>(),
        Format::Syslog => records.iter().map(|record| message(record) + "\n").collect(),
    }
}

const COLUMNS: [&str; 15] = [
    "sequence",
    "time",
    "event",
    "outcome",
    "user",
    "uid",
    "sudo_user",
    "operator",
    "host",
    "reason",
    "bundle",
    "bundle_sequence",
    "file",
    "clock_regressed",
    "details",
];

fn json(record: &Record) -> String {
    serde_json::to_string(record).expect("a record has text, numbers and objects")
}

/// The values in the order of the columns.
fn values(record: &Record) -> [String; 15] {
    let subject = record.subject.as_ref();
    [
        record.sequence.to_string(),
        record.time.to_string(),
        record.event.name().to_owned(),
        record.outcome.name().to_owned(),
        record.actor.user.clone(),
        record.actor.uid.to_string(),
        record.actor.sudo_user.clone().unwrap_or_default(),
        record.actor.operator.clone().unwrap_or_default(),
        record.host.clone(),
        record.reason.clone().unwrap_or_default(),
        subject.map_or(String::new(), |subject| subject.bundle.to_string()),
        subject.map_or(String::new(), |subject| subject.sequence.to_string()),
        subject.map_or(String::new(), |subject| subject.file.clone()),
        record.clock_regressed.to_string(),
        Value::Object(record.details.clone()).to_string(),
    ]
}

fn row(record: &Record) -> String {
    values(record).iter().map(|value| cell(value)).collect::<Vec<_>>().join(",") + "\r\n"
}

/// A cell; what a spreadsheet would take for a formula gets an apostrophe in front, since operators and file names come from outside.
fn cell(value: &str) -> String {
    let value = match value.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{value}"),
        false => value.to_owned(),
    };
    match value.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", value.replace('"', "\"\"")),
        false => value,
    }
}

/// Facility 13 (log audit), severity notice or warning; the fields as structured data, the record as the message.
fn message(record: &Record) -> String {
    let severity = if record.outcome == Outcome::Failure { 4 } else { 5 };
    let data: String = COLUMNS
        .iter()
        .zip(values(record))
        .take(COLUMNS.len() - 1)
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!(" {name}=\"{}\"", parameter(&value)))
        .collect();
    let host: String = record.host.chars().filter(char::is_ascii_graphic).take(255).collect();
    let host = if host.is_empty() { "-" } else { &host };
    format!("<{}>1 {} {host} airkeep - {} [airkeep@32473{data}] {}", 13 * 8 + severity, record.time, record.event.name(), json(record))
}

fn parameter(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
    escaped.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_become_two_or_a_formula() {
        for (value, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=cmd()", "'=cmd()"),
            ("-1", "'-1"),
            ("a\nb", "\"a\nb\""),
        ] {
            assert_eq!(cell(value), expected);
        }
    }

    #[test]
    fn a_parameter_cannot_end_its_data() {
        assert_eq!(parameter("a\"] <1>\\\n"), "a\\\"\\] <1>\\\\ ");
    }
}
