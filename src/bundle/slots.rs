//! Key slots: the ways to unwrap a bundle's root key (docs/format.md section 3.2).
//!
//! The table is fixed in size so that changing keys moves nothing else in the file. It is public and unauthenticated until one slot opens; all
//! numbers in it are bounded before the first derivation, and `slots.mac` is compared before the root key is used for anything else.

use serde::{Deserialize, Serialize};

use super::limits::{ITERATIONS_SUM_MAX, SEQUENCE_MAX, SLOT_COUNT_MAX, SLOTS_LEN};
use super::values::Id;
use super::{BundleError, Damage};
use crate::crypto::{
    BundleKeys, Context, Digest, Entropy, Iterations, Kek, KeyFileKey, Passphrase, RootKey, WRAPPED_LEN, decode_hex, encode_hex, random,
};

const FORMAT: &str = "airkeep-slots/1";
const SALT_LEN: usize = 32;

/// The keys that somebody holds: to open a bundle one of them must fit, sealing makes a slot for each.
#[derive(Debug, Default)]
pub struct Keyring {
    /// Passphrases.
    pub passphrases: Vec<Passphrase>,
    /// Contents of key files.
    pub key_files: Vec<KeyFileKey>,
    /// What it shall cost to try a passphrase, where a slot is made for one. To open, each slot says its own.
    pub iterations: Iterations,
}

impl Keyring {
    /// Drops keys that are there already: the same passphrase or key file given twice is one way in, not two.
    pub fn dedup(&mut self) {
        let mut kept: Vec<Passphrase> = Vec::new();
        for passphrase in self.passphrases.drain(..) {
            if !kept.iter().any(|other| other.is_same(&passphrase)) {
                kept.push(passphrase);
            }
        }
        self.passphrases = kept;
        let mut kept: Vec<KeyFileKey> = Vec::new();
        for key in self.key_files.drain(..) {
            if !kept.iter().any(|other| other.is_same(&key)) {
                kept.push(key);
            }
        }
        self.key_files = kept;
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.passphrases.len() + self.key_files.len()
    }

    /// True if there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The slot table of one bundle.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotTable {
    format: String,
    bundle: Id,
    core_sha256: Digest,
    /// How often the keys were changed, from 1.
    pub generation: u64,
    pub(super) slots: Vec<Slot>,
}

/// One way to unwrap the root key, as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Slot {
    Passphrase { id: String, iterations: u64, salt: String, wrapped: String },
    KeyFile { id: String, wrapped: String },
}

/// What may be said of a slot without a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotFacts {
    /// Eight hex digits.
    pub id: String,
    /// `passphrase` or `key-file`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// PBKDF2 iterations of a passphrase slot.
    pub iterations: Option<u64>,
}

impl SlotTable {
    /// Wraps `root` for every key of the ring.
    ///
    /// # Errors
    /// [`BundleError::KeyCount`] with no key or more than 16, [`BundleError::IterationsSum`] if opening could cost too much.
    pub fn seal(ring: &Keyring, root: &RootKey, bundle: Id, core: Digest, entropy: &mut dyn Entropy) -> Result<SlotTable, BundleError> {
        if ring.is_empty() || ring.len() > SLOT_COUNT_MAX {
            return Err(BundleError::KeyCount { found: ring.len() });
        }
        let mut slots = Vec::new();
        Slot::wrap_each(ring, root, &mut slots, entropy)?;
        Ok(SlotTable { format: FORMAT.to_owned(), bundle, core_sha256: core, generation: 1, slots })
    }

    /// The table that follows this one, with other slots.
    ///
    /// # Errors
    /// [`BundleError::LastSlot`] without any, [`BundleError::KeyCount`] with more than 16.
    pub(super) fn successor(&self, slots: Vec<Slot>) -> Result<SlotTable, BundleError> {
        match slots.len() {
            0 => Err(BundleError::LastSlot),
            1..=SLOT_COUNT_MAX => Ok(SlotTable { format: FORMAT.to_owned(), generation: self.generation + 1, slots, ..*self }),
            found => Err(BundleError::KeyCount { found }),
        }
    }

    /// Whether each passphrase slot costs what the ring asks for, or more.
    pub(super) fn costs(&self, ring: &Keyring) -> bool {
        let least = u64::from(ring.iterations.count());
        self.slots.iter().all(|slot| matches!(slot, Slot::KeyFile { .. }) || slot.iterations() >= least)
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether a slot has this id.
    pub(super) fn has(&self, id: &str) -> bool {
        self.slots.iter().any(|slot| slot.id() == id)
    }

    /// The bytes to store: one slot per line, padded to the fixed size.
    pub fn encode(&self) -> Vec<u8> {
        let slots: Vec<String> = self.slots.iter().map(Slot::line).collect();
        let mut text = format!(
            "{{\"format\":\"{}\",\"bundle\":\"{}\",\"core_sha256\":\"{}\",\"generation\":{},\"slots\":[\n{}\n]}}",
            self.format,
            self.bundle,
            self.core_sha256,
            self.generation,
            slots.join(",\n")
        );
        debug_assert!(text.len() < SLOTS_LEN as usize, "sixteen slots of the largest form fit");
        text.push_str(&" ".repeat(SLOTS_LEN as usize - 1 - text.len()));
        text.push('\n');
        text.into_bytes()
    }

    /// Reads stored bytes and checks every limit; no derivation happens here.
    ///
    /// # Errors
    /// [`BundleError::Unsupported`], [`BundleError::Limit`] or [`BundleError::Damaged`].
    pub fn decode(bytes: &[u8], bundle: Id, core: Digest) -> Result<SlotTable, BundleError> {
        #[derive(Deserialize)]
        struct Version {
            format: String,
        }
        let damaged = |source| Damage::Json { member: "slots.json", source };
        let illegal = |field| BundleError::from(Damage::Field { member: "slots.json", field });
        if bytes.len() as u64 != SLOTS_LEN || !is_padded(bytes) {
            return Err(illegal("padding"));
        }
        let version: Version = serde_json::from_slice(bytes).map_err(damaged)?;
        if version.format != FORMAT {
            return Err(BundleError::Unsupported { what: "slots format", found: version.format });
        }
        let table: SlotTable = serde_json::from_slice(bytes).map_err(damaged)?;
        // serde takes an array for a structure, the format does not.
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(damaged)?;
        if value["slots"].as_array().is_none_or(|slots| slots.iter().any(|slot| !slot.is_object())) {
            return Err(illegal("slots"));
        }
        if table.bundle != bundle || table.core_sha256 != core {
            return Err(illegal("bundle"));
        }
        if !(1..=SEQUENCE_MAX).contains(&table.generation) {
            return Err(illegal("generation"));
        }
        table.check_slots()?;
        Ok(table)
    }

    fn check_slots(&self) -> Result<(), BundleError> {
        if self.slots.is_empty() || self.slots.len() > SLOT_COUNT_MAX {
            return Err(BundleError::Limit { what: "key slots", found: self.slots.len() as u64, max: SLOT_COUNT_MAX as u64 });
        }
        let mut cost = 0;
        for (place, slot) in self.slots.iter().enumerate() {
            cost += slot.check()?;
            if self.slots[..place].iter().any(|other| other.id() == slot.id()) {
                return Err(Damage::Field { member: "slots.json", field: "id" }.into());
            }
        }
        if cost > ITERATIONS_SUM_MAX {
            return Err(BundleError::Limit { what: "iterations over all slots", found: cost, max: ITERATIONS_SUM_MAX });
        }
        Ok(())
    }

    /// Finds a slot that one of the keys opens, checks `slots.mac`, and gives the bundle's keys.
    ///
    /// # Errors
    /// [`BundleError::KeyRejected`] if no slot opens; [`BundleError::Damaged`] if one does and the MAC differs.
    pub fn unlock(&self, ring: &Keyring, stored: &[u8], mac: &[u8; 32]) -> Result<BundleKeys, BundleError> {
        self.root(ring, stored, mac).map(|(_, keys)| keys)
    }

    /// As [`SlotTable::unlock`], with the root key itself, which is needed to wrap it anew.
    pub(super) fn root(&self, ring: &Keyring, stored: &[u8], mac: &[u8; 32]) -> Result<(RootKey, BundleKeys), BundleError> {
        let root = self.slots.iter().find_map(|slot| slot.open(ring)).ok_or(BundleError::KeyRejected)?;
        let keys = self.check_mac(&root, stored, mac)?;
        Ok((root, keys))
    }

    /// Whether every key of the ring opens a slot.
    ///
    /// # Errors
    /// [`BundleError::Damaged`] if a slot opens and the MAC differs.
    pub fn opens_with_each(&self, ring: &Keyring, stored: &[u8], mac: &[u8; 32]) -> Result<bool, BundleError> {
        let of_passphrase = |p: &Passphrase| self.slots.iter().find_map(|slot| slot.open_by_passphrase(p));
        let of_key_file = |key: &KeyFileKey| self.slots.iter().find_map(|slot| slot.open_by_key_file(key));
        let roots = ring.passphrases.iter().map(of_passphrase).chain(ring.key_files.iter().map(of_key_file));
        for root in roots {
            match root {
                Some(root) => self.check_mac(&root, stored, mac).map(drop)?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn check_mac(&self, root: &RootKey, stored: &[u8], mac: &[u8; 32]) -> Result<BundleKeys, BundleError> {
        let keys = root.derive(&Context::new(&self.bundle.0, &self.core_sha256));
        match keys.header.is_slots_mac(stored, mac) {
            true => Ok(keys),
            false => Err(Damage::NotAuthentic { member: "slots.json".to_owned() }.into()),
        }
    }

    /// The slots without their secrets.
    pub fn facts(&self) -> Vec<SlotFacts> {
        self.slots
            .iter()
            .map(|slot| match slot {
                Slot::Passphrase { id, iterations, .. } => SlotFacts { id: id.clone(), kind: "passphrase", iterations: Some(*iterations) },
                Slot::KeyFile { id, .. } => SlotFacts { id: id.clone(), kind: "key-file", iterations: None },
            })
            .collect()
    }
}

impl Slot {
    /// Wraps the root key once more for each key of a ring.
    pub(super) fn wrap_each(ring: &Keyring, root: &RootKey, slots: &mut Vec<Slot>, entropy: &mut dyn Entropy) -> Result<(), BundleError> {
        // Before the first derivation, since all of them could take minutes.
        let there: u64 = slots.iter().map(Slot::iterations).sum();
        let found = there + ring.passphrases.len() as u64 * u64::from(ring.iterations.count());
        if found > ITERATIONS_SUM_MAX {
            return Err(BundleError::IterationsSum { found });
        }
        for passphrase in &ring.passphrases {
            let salt: [u8; SALT_LEN] = random(entropy);
            let wrapped = Kek::from_passphrase(passphrase, &salt, ring.iterations).wrap(root);
            slots.push(Slot::Passphrase {
                id: new_id(slots, entropy),
                iterations: ring.iterations.count().into(),
                salt: encode_hex(&salt),
                wrapped: encode_hex(&wrapped),
            });
        }
        for key in &ring.key_files {
            let wrapped = encode_hex(&Kek::from_key_file(key).wrap(root));
            slots.push(Slot::KeyFile { id: new_id(slots, entropy), wrapped });
        }
        Ok(())
    }

    /// What trying it costs.
    fn iterations(&self) -> u64 {
        match self {
            Slot::Passphrase { iterations, .. } => *iterations,
            Slot::KeyFile { .. } => 0,
        }
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Slot::Passphrase { id, .. } | Slot::KeyFile { id, .. } => id,
        }
    }

    fn line(&self) -> String {
        match self {
            Slot::Passphrase { id, iterations, salt, wrapped } => {
                format!(
                    "{{\"id\":\"{id}\",\"type\":\"passphrase\",\"iterations\":{iterations},\"salt\":\"{salt}\",\"wrapped\":\"{wrapped}\"}}"
                )
            }
            Slot::KeyFile { id, wrapped } => format!("{{\"id\":\"{id}\",\"type\":\"key-file\",\"wrapped\":\"{wrapped}\"}}"),
        }
    }

    /// Checks the form of a slot; gives its iterations.
    fn check(&self) -> Result<u64, BundleError> {
        let illegal = |field| Err(Damage::Field { member: "slots.json", field }.into());
        let (wrapped, cost) = match self {
            Slot::KeyFile { wrapped, .. } => (wrapped, 0),
            Slot::Passphrase { iterations, salt, wrapped, .. } => {
                if checked(*iterations).is_none() {
                    return Err(BundleError::Iterations { found: *iterations });
                }
                if decode_salt(salt).is_none() {
                    return illegal("salt");
                }
                (wrapped, *iterations)
            }
        };
        if decode_hex(self.id(), &mut [0; 4]).is_err() {
            return illegal("id");
        }
        match decode_wrapped(wrapped) {
            Some(_) => Ok(cost),
            None => illegal("wrapped"),
        }
    }

    fn open(&self, ring: &Keyring) -> Option<RootKey> {
        let by_key_file = || ring.key_files.iter().find_map(|key| self.open_by_key_file(key));
        ring.passphrases.iter().find_map(|passphrase| self.open_by_passphrase(passphrase)).or_else(by_key_file)
    }

    fn open_by_passphrase(&self, passphrase: &Passphrase) -> Option<RootKey> {
        let Slot::Passphrase { iterations, salt, wrapped, .. } = self else { return None };
        let kek = Kek::from_passphrase(passphrase, &decode_salt(salt)?, checked(*iterations)?);
        kek.unwrap(&decode_wrapped(wrapped)?)
    }

    fn open_by_key_file(&self, key: &KeyFileKey) -> Option<RootKey> {
        let Slot::KeyFile { wrapped, .. } = self else { return None };
        Kek::from_key_file(key).unwrap(&decode_wrapped(wrapped)?)
    }
}

fn decode_wrapped(text: &str) -> Option<[u8; WRAPPED_LEN]> {
    let mut bytes = [0; WRAPPED_LEN];
    decode_hex(text, &mut bytes).ok().map(|()| bytes)
}

fn checked(iterations: u64) -> Option<Iterations> {
    Iterations::new(iterations.try_into().ok()?)
}

fn decode_salt(text: &str) -> Option<Vec<u8>> {
    let mut salt = vec![0; text.len() / 2];
    decode_hex(text, &mut salt).ok()?;
    (16..=64).contains(&salt.len()).then_some(salt)
}

/// The object, then spaces, then one LF.
fn is_padded(bytes: &[u8]) -> bool {
    let Some((b'\n', rest)) = bytes.split_last() else { return false };
    rest.iter().rev().find(|&&byte| byte != b' ') == Some(&b'}')
}

fn new_id(slots: &[Slot], entropy: &mut dyn Entropy) -> String {
    loop {
        let id = encode_hex(&random::<4>(entropy));
        if slots.iter().all(|slot| slot.id() != id) {
            return id;
        }
    }
}
