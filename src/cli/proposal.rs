//! A passphrase for those who have none in mind: random, short enough to write down, without letters that look alike.

use airkeep::crypto::Entropy;
use zeroize::Zeroizing;

/// Lower case and digits without `i`, `l`, `o`, `0` and `1`.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
const GROUPS: usize = 6;
const GROUP: usize = 5;
/// 30 characters out of 31: 30 · log₂ 31, rounded down.
pub const BITS: u32 = 148;

/// Draws a new one: six groups of five characters.
pub fn propose(entropy: &mut dyn Entropy) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(GROUPS * (GROUP + 1)));
    for place in 0..GROUPS * GROUP {
        if place > 0 && place % GROUP == 0 {
            text.push('-');
        }
        text.push(draw(entropy));
    }
    text
}

/// Each character with the same probability: bytes beyond the last whole multiple of the alphabet are drawn again.
fn draw(entropy: &mut dyn Entropy) -> char {
    let whole = 256 / ALPHABET.len() * ALPHABET.len();
    loop {
        let mut byte = Zeroizing::new([0]);
        entropy.fill(&mut *byte);
        if usize::from(byte[0]) < whole {
            return char::from(ALPHABET[usize::from(byte[0]) % ALPHABET.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts through all bytes.
    struct Counter(u8);

    impl Entropy for Counter {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte = self.0;
                self.0 = self.0.wrapping_add(1);
            }
        }
    }

    #[test]
    fn has_the_promised_form_and_strength() {
        let text = propose(&mut Counter(250));
        let groups: Vec<&str> = text.split('-').collect();
        assert!(groups.len() == GROUPS && groups.iter().all(|group| group.len() == GROUP), "{}", *text);
        let bits = (GROUPS * GROUP) as f64 * (ALPHABET.len() as f64).log2();
        assert!(BITS == bits as u32 && BITS >= 128);
    }

    #[test]
    fn no_character_is_more_likely_than_another() {
        let mut counts = [0; 256];
        let mut counter = Counter(0);
        // 248 of 256 bytes are taken: 8 for each of the 31 characters.
        (0..248).for_each(|_| counts[draw(&mut counter) as usize] += 1);
        assert!(ALPHABET.iter().all(|&byte| counts[usize::from(byte)] == 8) && counter.0 == 248);
    }
}
