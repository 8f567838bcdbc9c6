//! What the front page of the library names is there, with nothing but the front page.

use airkeep::{
    Against, AppendOnly, Audit, Backup, Compare, ExportRows, Extract, ExtractFormat, FileSource, Guard, Import, InPlace, Init, Keyring,
    Label, OldBackup, Resolve, RowFormat, RowTarget, SigningKeyPlace, SourceGroup, SourceSpec, measure, measure_vault,
};

#[test]
fn requests_are_made_with_defaults() {
    let label = || Label::parse("main").unwrap();
    let sources = vec![SourceSpec { label: label(), path: "app.db".into() }];
    let mut backup = Backup::new(sources, "vault");
    backup.groups.push(SourceGroup { name: "all".to_owned(), labels: vec![label()] });
    backup.append_only.push(AppendOnly { label: None, table: "audit".to_owned() });
    backup.files.extend(Vec::<FileSource>::new());
    assert!(Guard::new(backup, "work").config.is_none());
    assert!(Import::new(vec![OldBackup { path: "old.db.gz".into(), label: None }], "vault").max_size_bytes.is_none());
    assert!(InPlace::new("x.akb").places.is_empty());
    let extract = Extract::new("x.akb", label(), RowTarget::Stream);
    assert!(extract.format == ExtractFormat::Sqlite && extract.table.is_none() && extract.vault.is_none());
    let export = ExportRows::new("x.akb", RowTarget::File("rows".into()));
    assert!(matches!((export.format, export.label), (RowFormat::Jsonl, None)));
    assert!(Audit::new("vault").against.is_empty());
    assert!(!Resolve::new("vault").as_it_is);
    assert!(Init::new("vault", SigningKeyPlace::File("key".into())).name.is_none());
    let second = Against::Bundle("y.akb".into());
    assert!(matches!(Compare::new("x.akb", second).second, Against::Bundle(_)));
    let nowhere = std::path::Path::new("/nowhere/x.akb");
    assert!(measure(nowhere, &Keyring::default()).is_err() && measure_vault(nowhere, &Keyring::default()).is_err());
}
