//! An external merge sort of small records of one length, so that no set of mismatches has to fit into memory.
//!
//! SQLite's own sorter was rejected: with `temp_store=MEMORY`, which keeps plaintext off the disk, it keeps everything in memory.
//! Runs lie in encrypted scratch. Records sort by their bytes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::files::{Scratch, ScratchError, ScratchSpace};

/// Takes records in any order.
pub(super) struct Sorter<const N: usize> {
    space: ScratchSpace,
    buffer: Vec<[u8; N]>,
    limit: usize,
    file: Option<Scratch>,
    runs: Vec<Run>,
}

/// A sorted stretch of the file, in bytes.
struct Run {
    at: u64,
    end: u64,
}

impl<const N: usize> Sorter<N> {
    pub(super) fn new(space: &ScratchSpace) -> Self {
        Self::with_buffer(space, BUFFER_BYTES / N)
    }

    fn with_buffer(space: &ScratchSpace, limit: usize) -> Self {
        Self { space: space.clone(), buffer: Vec::new(), limit, file: None, runs: Vec::new() }
    }

    pub(super) fn push(&mut self, record: [u8; N]) -> Result<(), ScratchError> {
        self.buffer.push(record);
        if self.buffer.len() < self.limit { Ok(()) } else { self.spill() }
    }

    fn spill(&mut self) -> Result<(), ScratchError> {
        self.buffer.sort_unstable();
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.space.create(0)?),
        };
        let at = file.len();
        for (piece, records) in self.buffer.chunks(PIECE_BYTES / N).enumerate() {
            file.write_at(at + (piece * (PIECE_BYTES / N) * N) as u64, records.as_flattened())?;
        }
        self.runs.push(Run { at, end: file.len() });
        self.buffer.clear();
        Ok(())
    }

    /// Gives all records, sorted.
    pub(super) fn sorted(mut self) -> Result<Sorted<N>, ScratchError> {
        if self.runs.is_empty() {
            // From the end of a list records come without a move.
            self.buffer.sort_unstable_by(|one, other| other.cmp(one));
            return Ok(Sorted { memory: self.buffer, file: None, runs: Vec::new(), heap: BinaryHeap::new() });
        }
        self.spill()?;
        self.buffer = Vec::new();
        let records = (BUFFER_BYTES / 2 / N / self.runs.len()).clamp(16, PIECE_BYTES / N);
        let runs = self.runs.into_iter().map(|run| Reader { run, records, buffer: Vec::new() }).collect();
        let mut sorted = Sorted { memory: Vec::new(), file: self.file, runs, heap: BinaryHeap::new() };
        for run in 0..sorted.runs.len() {
            sorted.refill(run)?;
        }
        Ok(sorted)
    }
}

/// Gives records in order.
pub(super) struct Sorted<const N: usize> {
    memory: Vec<[u8; N]>,
    file: Option<Scratch>,
    runs: Vec<Reader<N>>,
    heap: BinaryHeap<Reverse<([u8; N], usize)>>,
}

struct Reader<const N: usize> {
    run: Run,
    records: usize,
    /// In reverse.
    buffer: Vec<[u8; N]>,
}

impl<const N: usize> Sorted<N> {
    pub(super) fn next(&mut self) -> Result<Option<[u8; N]>, ScratchError> {
        let Some(Reverse((record, run))) = self.heap.pop() else { return Ok(self.memory.pop()) };
        self.refill(run)?;
        Ok(Some(record))
    }

    /// Puts the next record of a run among the candidates.
    fn refill(&mut self, run: usize) -> Result<(), ScratchError> {
        let reader = &mut self.runs[run];
        if reader.buffer.is_empty()
            && let Some(file) = &self.file
        {
            let left = usize::try_from(reader.run.end - reader.run.at).unwrap_or(usize::MAX) / N;
            reader.buffer.resize(left.min(reader.records), [0; N]);
            file.read_at(reader.run.at, reader.buffer.as_flattened_mut())?;
            reader.run.at += (reader.buffer.len() * N) as u64;
            reader.buffer.reverse();
        }
        if let Some(record) = reader.buffer.pop() {
            self.heap.push(Reverse((record, run)));
        }
        Ok(())
    }
}

const BUFFER_BYTES: usize = 8 << 20;
const PIECE_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(count: u64, limit: usize) -> Vec<u64> {
        let space = ScratchSpace::new(std::env::temp_dir(), |key| key.fill(7)).with_memory_limit(0);
        let mut sorter = Sorter::<8>::with_buffer(&space, limit);
        (0..count).for_each(|number| sorter.push((number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50).to_be_bytes()).unwrap());
        let mut sorted = sorter.sorted().unwrap();
        let mut found = Vec::new();
        while let Some(record) = sorted.next().unwrap() {
            found.push(u64::from_be_bytes(record));
        }
        found
    }

    #[test]
    fn the_same_records_come_out_in_order_however_many_runs_there_were() {
        for count in [0, 1, 15, 16, 17, 5000, 40_000] {
            let mut expected: Vec<u64> = (0..count).map(|number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50).collect();
            expected.sort_unstable();
            for limit in [1 << 20, 9000, 16] {
                assert!(sorted(count, limit) == expected, "{count} {limit}");
            }
        }
    }
}
