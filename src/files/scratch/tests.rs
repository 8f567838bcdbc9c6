//! Tests of scratch: what it gives back, what lies on disk, and what a full disk does.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn gives_back_what_was_written_across_chunk_borders_in_memory_and_on_disk() {
    for memory_limit in [0, 300_000, 1 << 30] {
        let mut scratch = space().with_memory_limit(memory_limit).create(1).expect("scratch");
        let mut model = Vec::new();
        let mut state = 12345_u64;
        for round in 0..400 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let offset = (state >> 33) as usize % 500_000;
            let len = if round % 7 == 0 { 200_000 } else { (state >> 20) as usize % 5000 };
            if round % 31 == 30 {
                scratch.set_len(offset as u64).expect("set_len");
                model.resize(offset, 0);
                continue;
            }
            let data: Vec<u8> = (0..len).map(|i| (i as u64 ^ state) as u8).collect();
            scratch.write_at(offset as u64, &data).expect("write");
            if model.len() < offset + len {
                model.resize(offset + len, 0);
            }
            model[offset..offset + len].copy_from_slice(&data);
        }
        assert_eq!(scratch.len(), model.len() as u64);
        assert!(content(&scratch) == model, "memory limit {memory_limit}");
    }
}

#[test]
fn reads_zeros_where_nothing_was_written_and_stops_at_the_end() {
    let mut scratch = on_disk();
    scratch.write_at(200_000, b"end").expect("write");
    let mut buffer = [1; 16];
    assert_eq!(scratch.read_at(70_000, &mut buffer).expect("read"), 16);
    assert_eq!(buffer, [0; 16]);
    assert_eq!(scratch.read_at(200_001, &mut buffer).expect("read"), 2);
    assert_eq!(&buffer[..2], b"nd");
    assert_eq!(scratch.read_at(900_000, &mut buffer).expect("read"), 0);
}

#[test]
fn shows_zeros_after_cutting_and_growing_again() {
    let mut scratch = on_disk();
    scratch.write_at(0, &vec![0xee; 300_000]).expect("write");
    scratch.set_len(100_001).expect("cut");
    scratch.set_len(300_000).expect("grow");
    let bytes = content(&scratch);
    assert!(bytes[..100_001].iter().all(|byte| *byte == 0xee));
    assert!(bytes[100_001..].iter().all(|byte| *byte == 0));
}

#[test]
fn never_puts_plaintext_on_disk() {
    let canary = b"CANARY-of-the-scratch-test-4711";
    let mut scratch = on_disk();
    scratch.write_at(0, &canary.repeat(10_000)).expect("write");
    scratch.write_at(100_000, canary).expect("rewrite");
    let raw = raw_content(&mut scratch);
    assert!(raw.len() >= 310_000);
    assert!(!raw.windows(canary.len()).any(|window| window == canary));
    assert!(!raw.windows(8).any(|window| window == &canary[..8]));
}

#[test]
fn uses_new_keystream_when_a_chunk_is_written_again_even_after_a_cut() {
    let mut scratch = on_disk();
    let zeros = vec![0; CHUNK_BYTES];
    let mut seen = Vec::new();
    for _ in 0..3 {
        scratch.write_at(0, &zeros).expect("write");
        seen.push(raw_content(&mut scratch)[..CHUNK_BYTES].to_vec());
        scratch.set_len(0).expect("cut");
    }
    assert!(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != seen[2]);
}

#[test]
fn leaves_no_name_in_the_folder() {
    let folder = tempfile::tempdir().expect("folder");
    for create in [chunked::create_nameless, chunked::create_and_unlink] {
        let space = ScratchSpace::new(folder.path(), entropy);
        let file = create(&space).expect("scratch file");
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 0);
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(file.metadata().expect("stat").permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn stays_in_memory_up_to_the_limit_and_moves_to_disk_above() {
    let mut scratch = space().with_memory_limit(1000).create(1000).expect("scratch");
    scratch.write_at(0, &[7; 1000]).expect("write");
    assert!(matches!(scratch.storage, Storage::Memory(_)));
    scratch.write_at(1000, &[8]).expect("write");
    assert!(matches!(scratch.storage, Storage::Disk(_)));
    assert_eq!(content(&scratch), [vec![7; 1000], vec![8]].concat());
    assert!(matches!(space().with_memory_limit(1000).create(1001).expect("scratch").storage, Storage::Disk(_)));
}

#[test]
fn refuses_an_announced_size_that_the_folder_cannot_take() {
    let error = space().create(u64::MAX / 2).expect_err("too much");
    assert!(matches!(error, ScratchError::NoSpace { needed_bytes, available_bytes, .. } if needed_bytes > available_bytes));
}

#[test]
fn names_the_folder_that_does_not_exist() {
    let space = ScratchSpace::new("/nonexistent/scratch", entropy).with_memory_limit(0);
    let error = space.create(1).expect_err("no folder");
    assert!(matches!(&error, ScratchError::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("/nonexistent/scratch"));
}

#[test]
fn refuses_lengths_that_chunk_numbers_cannot_reach() {
    let mut scratch = on_disk();
    assert!(matches!(scratch.write_at(MAX_LEN_BYTES, &[1]), Err(ScratchError::Full { .. })));
    assert!(matches!(scratch.set_len(u64::MAX), Err(ScratchError::Full { .. })));
}

#[test]
fn reports_a_full_disk_as_such() {
    let mount = tempfile::tempdir().expect("folder");
    let is_mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(mount.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !is_mounted {
        eprintln!("skipped: a small tmpfs cannot be mounted here");
        return;
    }
    let space = ScratchSpace::new(mount.path(), entropy).with_memory_limit(0);
    let announced = space.create(2 << 20).map(|_| ());
    let mut scratch = space.create(1).expect("scratch");
    let written = scratch.write_at(0, &vec![1; 4 << 20]);
    drop(scratch);
    std::process::Command::new("umount").arg(mount.path()).status().expect("umount");
    assert!(matches!(announced, Err(ScratchError::NoSpace { .. })), "{announced:?}");
    assert!(matches!(written, Err(ScratchError::Full { .. })), "{written:?}");
}

#[test]
#[ignore = "measures speed"]
fn writes_a_gigabyte_per_second() {
    let mut scratch = on_disk();
    let data = vec![0x33; 1 << 20];
    for size in [4096, 65536, 1 << 20] {
        let start = std::time::Instant::now();
        for offset in (0..1_u64 << 30).step_by(size) {
            scratch.write_at(offset, &data[..size]).expect("write");
        }
        let written = start.elapsed();
        let mut buffer = vec![0; size];
        for offset in (0..1_u64 << 30).step_by(size) {
            scratch.read_at(offset, &mut buffer).expect("read");
        }
        eprintln!("pieces of {size}: 1 GiB written in {written:?}, read in {:?}", start.elapsed() - written);
    }
}

fn space() -> ScratchSpace {
    ScratchSpace::new(std::env::temp_dir(), entropy)
}

fn on_disk() -> Scratch {
    space().with_memory_limit(0).create(1).expect("scratch")
}

/// Keys that differ from file to file, which is all that these tests need.
fn entropy(buffer: &mut [u8]) {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    for piece in buffer.chunks_mut(8) {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        piece.copy_from_slice(&number.to_le_bytes()[..piece.len()]);
    }
}

fn content(scratch: &Scratch) -> Vec<u8> {
    let mut bytes = vec![0; scratch.len() as usize];
    assert_eq!(scratch.read_at(0, &mut bytes).expect("read"), bytes.len());
    bytes
}

fn raw_content(scratch: &mut Scratch) -> Vec<u8> {
    use std::os::fd::AsRawFd;
    let Storage::Disk(file) = &mut scratch.storage else { panic!("in memory") };
    file.store_held().expect("store");
    std::fs::read(format!("/proc/self/fd/{}", file.file().as_raw_fd())).expect("raw file")
}
