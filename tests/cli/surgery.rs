//! Changing bundles the way an attacker would: the outer tar is plain, so members can be found, replaced and exchanged.

use std::ops::Range;

use airkeep::crypto::Digest;

/// A member of a bundle: its name and where header and content stand in the file.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "said above")]
pub struct Member {
    pub name: String,
    pub header: Range<usize>,
    pub content: Range<usize>,
}

/// All members in the order of the file.
pub fn members(bundle: &[u8]) -> Vec<Member> {
    let (mut members, mut at) = (Vec::new(), 0);
    while bundle[at] != 0 {
        let text = |range: Range<usize>| String::from_utf8_lossy(&bundle[range]).trim_matches(['\0', ' ']).to_owned();
        let size = usize::from_str_radix(&text(at + 124..at + 136), 8).unwrap();
        members.push(Member { name: text(at..at + 100), header: at..at + 512, content: at + 512..at + 512 + size });
        at += 512 + size.next_multiple_of(512);
    }
    members
}

/// The member of this name.
pub fn member(bundle: &[u8], name: &str) -> Member {
    members(bundle).into_iter().find(|member| member.name == name).expect(name)
}

/// The content of a member.
pub fn content<'b>(bundle: &'b [u8], name: &str) -> &'b [u8] {
    &bundle[member(bundle, name).content]
}

/// Replaces the content of a member by one of the same length.
pub fn replace(bundle: &mut [u8], name: &str, new: &[u8]) {
    let place = member(bundle, name).content;
    bundle[place].copy_from_slice(new);
}

/// Flips one bit in the middle of a member.
pub fn flip(bundle: &mut [u8], name: &str) {
    let place = member(bundle, name).content;
    bundle[place.start + place.len() / 2] ^= 1;
}

/// Edits the text of `slots.json`, keeps its 8192 bytes, and makes `slots.sha256` fit.
pub fn edit_slots(bundle: &mut [u8], edit: impl FnOnce(&str) -> String) {
    let old = String::from_utf8(content(bundle, "slots.json").to_vec()).unwrap();
    let new = edit(old.trim_end());
    assert_ne!(new, old.trim_end(), "the edit does nothing");
    replace(bundle, "slots.json", format!("{new:<8191}\n").as_bytes());
    fix_slots_sums(bundle);
}

/// Makes `slots.sha256` fit the three members that it names.
pub fn fix_slots_sums(bundle: &mut [u8]) {
    let line = |name| format!("{}  {name}\n", Digest::of(content(bundle, name)));
    let lines = ["bundle.json", "slots.json", "slots.mac"].map(line).concat();
    replace(bundle, "slots.sha256", lines.as_bytes());
}

/// Makes `SHA256SUMS` fit the members that it names, as anybody can.
pub fn fix_sums(bundle: &mut [u8]) {
    let is_named = |name: &str| matches!(name, "bundle.json" | "RECOVER.txt" | "index") || name.starts_with("frames/");
    let named = members(bundle).into_iter().filter(|member| is_named(&member.name));
    let lines: String = named.map(|member| format!("{}  {}\n", Digest::of(&bundle[member.content]), member.name)).collect();
    replace(bundle, "SHA256SUMS", lines.as_bytes());
}

/// A tar header with everything in it legal, before the attacker's turn.
pub fn header(name: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_mode(0o600);
    header.set_size(size);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    header
}

/// A tar file out of raw headers and contents.
pub fn archive(members: &[(tar::Header, &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    for (header, content) in members {
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(content);
        file.resize(file.len().next_multiple_of(512), 0);
    }
    file.resize(file.len() + 1024, 0);
    file
}
