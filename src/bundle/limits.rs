//! Every bound that a reader applies before it allocates or derives (docs/format.md sections 3 to 8).

/// Most bytes of `bundle.json`.
pub const CORE_MAX: u64 = 16 * 1024;
/// Exact size of `slots.json`, so that changing keys moves nothing.
pub const SLOTS_LEN: u64 = 8 * 1024;
/// Most key slots.
pub const SLOT_COUNT_MAX: usize = 16;
/// Most PBKDF2 iterations over all slots: what one attempt to open may cost.
pub const ITERATIONS_SUM_MAX: u64 = 20_000_000;
/// Most bytes of `RECOVER.txt` and of an armored signature.
pub const TEXT_MAX: u64 = 64 * 1024;
/// Most frames: 1 TiB at the usual frame size.
pub const FRAMES_MAX: u64 = 1 << 20;
/// Most bytes of `SHA256SUMS`: a line of 82 bytes for each frame and three shorter ones.
pub const SUMS_MAX: u64 = (FRAMES_MAX + 3) * 82;
/// Most entries in a payload.
pub const ENTRIES_MAX: u64 = 65_536;
/// Most bytes of the opened index.
pub const INDEX_MAX: u64 = 32 * 1024 * 1024;
/// Most bytes of the manifest.
pub const MANIFEST_MAX: u64 = 16 * 1024 * 1024;
/// Most findings that a report keeps.
pub const FINDINGS_MAX: usize = 1000;
/// Exact size of `end`.
pub const END_LEN: u64 = 512;
/// Largest whole number that every JSON reader keeps exactly (RFC 8259 section 6).
pub const SEQUENCE_MAX: u64 = (1 << 53) - 1;

/// Most stored bytes of a sealed member that opens to at most `opened` bytes: room for a codec that cannot compress.
pub const fn sealed_max(opened: u64) -> u64 {
    opened + opened / 8 + 4096
}
