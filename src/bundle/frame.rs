//! Frames and the index as sealed members: what the tag binds besides the bytes (docs/format.md section 5).
//!
//! The AAD names the domain, the bundle, the number and whether this is the last frame. So a frame cannot be moved, repeated,
//! taken from another bundle, passed off as the index, or cut from the end.

use super::values::Id;
use crate::crypto::{BundleKeys, IV_LEN, Tag, authenticate, open_in_place, seal_in_place};

/// Which sealed member of which bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The frame with this number; `is_last` on frame N−1 only.
    Frame {
        /// From 0.
        number: u64,
        /// Whether the payload ends here.
        is_last: bool,
    },
    /// The index of a bundle with this many frames.
    Index {
        /// N.
        frames: u64,
    },
}

impl Place {
    /// `domain(16) ‖ id(16) ‖ number u64be ‖ last u8 ‖ |C| u64be`: 49 bytes.
    fn aad(self, id: &Id, sealed_len: usize) -> Vec<u8> {
        let (domain, number, last) = match self {
            Place::Frame { number, is_last } => (b"airkeep/1/frame\0", number, u8::from(is_last)),
            Place::Index { frames } => (b"airkeep/1/index\0", frames, 0),
        };
        let mut aad = Vec::with_capacity(49);
        aad.extend_from_slice(domain);
        aad.extend_from_slice(&id.0);
        aad.extend_from_slice(&number.to_be_bytes());
        aad.push(last);
        aad.extend_from_slice(&(sealed_len as u64).to_be_bytes());
        aad
    }

    /// Seals in place: `buffer` holds 16 free bytes and one codec member.
    pub fn seal(self, keys: &BundleKeys, id: &Id, iv: [u8; IV_LEN], buffer: &mut Vec<u8>) -> Tag {
        seal_in_place(&keys.encryption, &keys.mac, iv, |len| self.aad(id, len), buffer)
    }

    /// Checks the tag without decrypting.
    pub fn authenticate(self, keys: &BundleKeys, id: &Id, member: &[u8]) -> Option<Tag> {
        authenticate(&keys.mac, |len| self.aad(id, len), member)
    }

    /// Decrypts an authenticated member in place; gives the codec member.
    pub fn open<'m>(self, keys: &BundleKeys, member: &'m mut [u8]) -> Option<&'m [u8]> {
        open_in_place(&keys.encryption, member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Context, Digest, Entropy, RootKey, decode_hex, encode_hex};

    struct Counting;

    impl Entropy for Counting {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = i as u8);
        }
    }

    fn id() -> Id {
        Id(std::array::from_fn(|i| 0x40 + i as u8))
    }

    fn keys() -> BundleKeys {
        RootKey::generate(&mut Counting).derive(&Context::new(&id().0, &Digest::of(b"{}\n")))
    }

    fn sealed(place: Place, iv: u8, codec_member: &str) -> String {
        let mut buffer = vec![0; IV_LEN + codec_member.len() / 2];
        decode_hex(codec_member, &mut buffer[IV_LEN..]).unwrap();
        place.seal(&keys(), &id(), std::array::from_fn(|i| iv + i as u8), &mut buffer);
        encode_hex(&buffer)
    }

    #[test]
    fn sealed_members_match_the_vectors() {
        let first = Place::Frame { number: 0, is_last: false };
        assert_eq!(
            encode_hex(&first.aad(&id(), 48)),
            "6169726b6565702f312f6672616d6500404142434445464748494a4b4c4d4e4f0000000000000000000000000000000030"
        );
        assert_eq!(
            sealed(first, 0x60, "1f8b08000000000000ff011000efff6169726b656570206672616d6520300a82a8708c10000000"),
            "606162636465666768696a6b6c6d6e6fde0aea7c033cd7ce9b3044e61e783627834b6b72e4eee5873c6a58c2edb28805de92ad9268951626e0d64a6b1491077146c2ee22afe589d5b83031b7a8dfdbfc7b8accc1856e5c3e7a0cdc0feb7a8987"
        );
        assert_eq!(
            sealed(
                Place::Frame { number: 1, is_last: true },
                0x70,
                "1f8b08000000000000ff011000efff6169726b656570206672616d6520310ac3996b9510000000"
            ),
            "707172737475767778797a7b7c7d7e7f6230731d58d2c86232ab7c95bc52efba94f17f42f458669bd822e82301111ac1996dadb3eb6ff78a17e8f31f99ce39d6f6f1112571cc470248b6e04f5a3697315ce365a0cef91568b0e6f5756b26b6f4"
        );
        assert_eq!(
            sealed(Place::Index { frames: 2 }, 0x80, "1f8b08000000000000ff010300fcff7b7d0a06b0a1dd03000000"),
            "808182838485868788898a8b8c8d8e8fec0a4cc9f0f5ca6471c0215beba827fd1cae030dc9c52918d101fd3527fcaedc72e49334b079c5cf57a86eb547e4460bd56826cd0b14d169515a23b1f2f4033d"
        );
    }

    #[test]
    fn a_member_is_bound_to_its_place_and_bundle() {
        let place = Place::Frame { number: 3, is_last: false };
        let mut member = vec![0; IV_LEN + 5];
        place.seal(&keys(), &id(), [9; 16], &mut member);
        assert!(place.authenticate(&keys(), &id(), &member).is_some());
        for other in [Place::Frame { number: 2, is_last: false }, Place::Frame { number: 3, is_last: true }, Place::Index { frames: 3 }] {
            assert!(other.authenticate(&keys(), &id(), &member).is_none(), "{other:?}");
        }
        assert!(place.authenticate(&keys(), &Id([0; 16]), &member).is_none());
    }
}
