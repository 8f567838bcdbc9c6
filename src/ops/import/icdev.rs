//! ICDEV's `.enc` into plaintext in scratch.
//!
//! That tool's own restore looks at the last byte of the padding only, and so takes one wrong passphrase in 256. Here the padding
//! has to fit in all its bytes, and what comes out has to begin as a database or a gzip stream does.

use super::ImportFault;
use super::taken::{Bench, Poured};
use super::unpack::{SQLITE_MAGIC, is_packed};
use crate::crypto::{ICDEV_BLOCK_LEN as BLOCK, IcdevKey, OldPassphrase, Sha256, padding_len};
use crate::files::Scratch;

type Block = [u8; BLOCK];

/// Opens it with the passphrase that fits.
pub(super) fn open(sealed: &Scratch, old: &[OldPassphrase], bench: &Bench<'_>) -> Result<Poured, ImportFault> {
    let size_bytes = sealed.len();
    if size_bytes < 3 * BLOCK as u64 || !size_bytes.is_multiple_of(BLOCK as u64) {
        return Err(ImportFault::Cut { size_bytes });
    }
    if old.is_empty() {
        return Err(ImportFault::NoOldPassphrase);
    }
    let salt = block_at(sealed, 0)?;
    let mut closest = ImportFault::PassphraseRejected;
    for passphrase in old {
        let key = IcdevKey::derive(passphrase, &salt);
        match probe(sealed, &key)? {
            Ok(padding) => return decrypt(sealed, &key, padding, bench),
            Err(fault @ (ImportFault::Damaged { .. } | ImportFault::NoDatabaseBehindPadding)) => closest = fault,
            Err(_) => {}
        }
    }
    Err(closest)
}

/// Looks at the first and the last block; gives the length of the padding.
fn probe(sealed: &Scratch, key: &IcdevKey) -> Result<Result<u64, ImportFault>, ImportFault> {
    let block = BLOCK as u64;
    let first = key.decrypt_block(&block_at(sealed, block)?, block_at(sealed, 2 * block)?);
    let last = key.decrypt_block(&block_at(sealed, sealed.len() - 2 * block)?, block_at(sealed, sealed.len() - block)?);
    let is_content = first == *SQLITE_MAGIC || is_packed(&first);
    Ok(match padding_len(&last) {
        Some(padding) if is_content => Ok(padding as u64),
        _ if is_nearly_a_database(&first) => Err(ImportFault::Damaged { what: "its first bytes were changed" }),
        Some(_) => Err(ImportFault::NoDatabaseBehindPadding),
        None if first == *SQLITE_MAGIC => Err(ImportFault::Damaged { what: "its end is damaged or cut off" }),
        None => Err(ImportFault::PassphraseRejected),
    })
}

/// In CBC a changed bit of the IV changes that bit of the first block and nothing else. A block out of a wrong key differs from the magic in
/// about 64 bits; in 16 or fewer once in 2^58.
fn is_nearly_a_database(first: &Block) -> bool {
    let differing: u32 = first.iter().zip(SQLITE_MAGIC).map(|(a, b)| (a ^ b).count_ones()).sum();
    (1..=16).contains(&differing)
}

fn decrypt(sealed: &Scratch, key: &IcdevKey, padding: u64, bench: &Bench<'_>) -> Result<Poured, ImportFault> {
    let block = BLOCK as u64;
    let plain_bytes = sealed.len() - 2 * block - padding;
    let mut content = bench.space.create(plain_bytes)?;
    let mut decryptor = key.decryptor(&block_at(sealed, block)?);
    let (mut hash, mut buffer) = (Sha256::new(), zeroize::Zeroizing::new(vec![0; PIECE_BYTES]));
    while content.len() < plain_bytes {
        if bench.progress.is_cancelled() {
            return Err(ImportFault::Cancelled);
        }
        let count = sealed.read_at(2 * block + content.len(), &mut buffer)?;
        decryptor.decrypt(&mut buffer[..count]);
        let left = usize::try_from(plain_bytes - content.len()).unwrap_or(usize::MAX);
        let plain = &buffer[..count.min(left)];
        hash.update(plain);
        content.write_at(content.len(), plain)?;
    }
    Ok(Poured { content, sha256: hash.finish() })
}

fn block_at(scratch: &Scratch, offset: u64) -> Result<Block, ImportFault> {
    let mut block = [0; BLOCK];
    scratch.read_at(offset, &mut block)?;
    Ok(block)
}

/// Whole blocks.
const PIECE_BYTES: usize = 256 << 10;
