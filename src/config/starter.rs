//! The configuration that `init` begins with: what it found, and in comments what else there is.

use std::fmt::Write as _;
use std::path::Path;

use crate::bundle::Label;

/// Writes a commented configuration for these databases, whose paths are relative to its folder.
#[must_use]
pub fn starter(set: &str, vault: &Path, databases: &[(Label, String)]) -> String {
    let mut text = format!(
        "# airkeep's configuration (docs/configuration.md). Paths are relative to this file.\nset = {}\nvault = {}\n\n\
         # Where keys come from; no key stands here.\n# [keys]\n# key-files = [\"/etc/airkeep/backup.key\"]\n# passphrase-files = [\"/etc/airkeep/passphrase\"]\n\n\
         # [sealing]\n# compression = \"gzip:5\"    # or \"zstd:3\", \"none\"\n# check = \"quick\"           # or \"full\", \"none\"\n# hash-tables = true        # content is compared row by row at level 4\n",
        quoted(set),
        quoted(&vault.to_string_lossy())
    );
    for (label, path) in databases {
        let _ = write!(text, "\n[sources.{label}]\nsqlite = {}\nrequired = true\n# append-only = [\"audit_trail\"]\n", quoted(path));
    }
    if databases.is_empty() {
        text.push_str("\n# [sources.main]\n# sqlite = \"data/app.db\"\n# required = true\n# append-only = [\"audit_trail\"]\n");
    }
    text.push_str("\n# [sources.\"tenants/*\"]\n# sqlite = \"data/tenants/*.db\"   # tenants/acme, tenants/beta, …\n");
    text
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
            c => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}
