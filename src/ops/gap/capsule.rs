//! Lines of a capsule on their way out: counted, chosen by their table, handed on as they are or as cells (docs/gap.md).
//!
//! The capsule is authentic when it comes here, and each line was written by this program; a line that is none is refused all the same, since
//! whoever has the key can seal another one. A line is as long as its row, and no longer than [`LINE_MAX_BYTES`].

use std::borrow::Cow;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::csv;
use super::export::RowFormat;

/// Why a capsule cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line} {fault}")]
pub struct CapsuleFault {
    /// The line, from 1.
    pub line: u64,
    /// What it does.
    pub fault: &'static str,
}

/// Rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// The table.
    pub table: String,
    /// Lost rows.
    pub lost: u64,
    /// Altered rows.
    pub altered: u64,
}

/// Why rows were not handed on.
pub(super) enum RowsError {
    Write(io::Error),
    Fault(CapsuleFault),
}

/// Takes a capsule in pieces, and writes the chosen rows.
pub(super) struct Rows<'o> {
    format: RowFormat,
    /// Only this table.
    table: Option<String>,
    out: &'o mut dyn Write,
    /// The beginning of a line.
    pending: Vec<u8>,
    line: u64,
    cells: csv::Sheet,
    /// All tables that occurred.
    counts: Vec<RowCounts>,
}

#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    table: Cow<'l, str>,
    what: What,
    #[serde(borrow)]
    row: &'l RawValue,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum What {
    Lost,
    Altered,
}

impl<'o> Rows<'o> {
    pub(super) fn new(format: RowFormat, table: Option<String>, out: &'o mut dyn Write) -> Rows<'o> {
        Rows { format, table, out, pending: Vec::new(), line: 0, cells: csv::Sheet::default(), counts: Vec::new() }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), RowsError> {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            if (self.pending.len() + piece.len()) as u64 > LINE_MAX_BYTES {
                return Err(self.fault("is longer than any row"));
            }
            match (piece.ends_with(b"\n"), self.pending.is_empty()) {
                (true, true) => self.take(piece)?,
                (true, false) => {
                    let mut line = std::mem::take(&mut self.pending);
                    line.extend_from_slice(piece);
                    self.take(&line)?;
                }
                (false, _) => self.pending.extend_from_slice(piece),
            }
        }
        Ok(())
    }

    /// The capsule is complete; gives what was in it.
    pub(super) fn finish(self) -> Result<Vec<RowCounts>, RowsError> {
        match self.pending.is_empty() {
            true => self.out.flush().map_err(RowsError::Write).map(|()| self.counts),
            false => Err(self.fault("has no end")),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), RowsError> {
        let parsed: Result<Line<'_>, _> = serde_json::from_slice(bytes);
        let Ok(line) = parsed else { return Err(self.fault("is no row")) };
        self.line += 1;
        let counts = counts_of(&mut self.counts, &line.table);
        match line.what {
            What::Lost => counts.lost += 1,
            What::Altered => counts.altered += 1,
        }
        if self.table.as_ref().is_some_and(|table| *table != line.table) {
            return Ok(());
        }
        let written = match self.format {
            RowFormat::Jsonl => self.out.write_all(bytes),
            RowFormat::Csv => {
                let what = if line.what == What::Lost { "lost" } else { "altered" };
                let text = self.cells.line(Some(what), line.row.get());
                let text = text.ok_or(RowsError::Fault(CapsuleFault { line: self.line, fault: "has other columns than those before" }))?;
                self.out.write_all(text.as_bytes())
            }
        };
        written.map_err(RowsError::Write)
    }

    fn fault(&self, fault: &'static str) -> RowsError {
        RowsError::Fault(CapsuleFault { line: self.line + 1, fault })
    }
}

fn counts_of<'c>(counts: &'c mut Vec<RowCounts>, table: &str) -> &'c mut RowCounts {
    // Tables come one after the other.
    let place = counts.iter().rposition(|counts| counts.table == table).unwrap_or_else(|| {
        counts.push(RowCounts { table: table.to_owned(), lost: 0, altered: 0 });
        counts.len() - 1
    });
    &mut counts[place]
}

/// SQLite's longest row, live and as it was, in hexadecimal digits.
const LINE_MAX_BYTES: u64 = 5 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "{\"table\":\"a\",\"what\":\"lost\",\"key\":null,\"row\":{\"z\":1,\"b\":\"x,y\"}}\n\
                         {\"table\":\"\\n\",\"what\":\"altered\",\"key\":{},\"row\":{},\"was\":{}}\n\
                         {\"table\":\"a\",\"what\":\"altered\",\"key\":null,\"row\":{\"z\":{\"real\":\"-0.0\"},\"b\":null},\"was\":{}}\n";

    fn out(format: RowFormat, table: Option<&str>, piece: usize) -> (String, Vec<RowCounts>) {
        let mut out = Vec::new();
        let mut rows = Rows::new(format, table.map(str::to_owned), &mut out);
        for bytes in LINES.as_bytes().chunks(piece) {
            assert!(rows.write(bytes).is_ok());
        }
        let Ok(counts) = rows.finish() else { panic!("the lines are whole") };
        (String::from_utf8(out).unwrap(), counts)
    }

    #[test]
    fn lines_come_out_as_they_are_however_they_are_cut() {
        let expected = [("a", 1, 1), ("\n", 0, 1)].map(|(table, lost, altered)| RowCounts { table: table.to_owned(), lost, altered });
        for piece in [1, 7, 1000] {
            assert_eq!(out(RowFormat::Jsonl, None, piece), (LINES.to_owned(), expected.to_vec()));
        }
        assert_eq!(out(RowFormat::Jsonl, Some("\n"), 3).0, LINES.split_inclusive('\n').nth(1).unwrap());
    }

    #[test]
    fn cells_stand_in_the_order_of_the_columns() {
        assert_eq!(out(RowFormat::Csv, Some("a"), 1000).0, "what,z,b\r\nlost,1,\"x,y\"\r\naltered,-0.0,\r\n");
    }

    #[test]
    fn what_is_no_line_is_refused_by_its_number() {
        for (text, line) in [("{}\n", 1), ("no json\n", 1), (&format!("{LINES}{{\"table\":1}}\n"), 4)] {
            let mut rest = Vec::new();
            let mut rows = Rows::new(RowFormat::Jsonl, None, &mut rest);
            let Err(RowsError::Fault(fault)) = rows.write(text.as_bytes()) else { panic!("{text} was taken") };
            assert_eq!(fault.line, line);
        }
        let mut rest = Vec::new();
        let mut rows = Rows::new(RowFormat::Jsonl, None, &mut rest);
        assert!(rows.write(b"{\"table\"").is_ok() && rows.finish().is_err(), "a line without its end was taken");
    }
}
