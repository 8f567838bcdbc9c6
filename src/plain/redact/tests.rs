use super::*;

fn redacted(text: &str) -> Redacted {
    Redaction::default().apply(text)
}

#[test]
fn what_is_no_secret_stays_as_it_is() {
    let text = "# Settings of the plant\nPORT=8080\n\nexport MODE = \"a b\" # two words\nDATA_DIR=/srv/app2/data/main\nURL=https://example.org/a\nNAME: Ann\nEMPTY_PASSWORD=\n";
    assert_eq!(redacted(text), Redacted { text: text.to_owned(), count: 0 });
}

#[test]
fn no_secret_is_left() {
    for text in [
        "DB_PASSWORD=canary",
        "export API_KEY='canary'",
        "  token : canary",
        "PASSPHRASE=\"one canary\ntwo canary\"\nPORT=1",
        "PASSPHRASE=\"with \\\" canary\ncanary\"",
        "SECRET=`canary`",
        "SECRET=one\\\ncanary\nPORT=1",
        "SECRET='open canary",
        "# OLD_PASSWORD=canary",
        "#SECRET=\"canary\ncanary\"",
        "# the password is canary",
        "PORT=1 # password canary",
        "DATABASE_URL=postgres://app:canary@db/app",
        "URL=https://canary@example.org",
        "DB=Server=db;Password=canary;",
        "LINK=https://example.org/?sig=canary",
        "X=canary0123456789abcdefgh",
        "HOOK=https://example.org/services/T0/canary0123456789abcd",
        "GH=ghp_canary1",
        "canary",
        "canary without a mark = no",
        "-----BEGIN PRIVATE KEY-----\ncanary=\ncanary==\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\ncanary=",
        "PEM=-----BEGIN PRIVATE KEY-----\ncanary=\n-----END PRIVATE KEY-----\nPORT=1",
        "K8S=\"-----BEGIN PRIVATE KEY-----\ncanary=\n-----END PRIVATE KEY-----\"\nPORT=1",
        "{\"api_key\": \"canary\"}",
        "\u{feff}DB_PASSWORD=canary",
        "SET\u{e4}TING=canary",
    ] {
        let redacted = redacted(text);
        assert!(!redacted.text.contains("canary") && redacted.count > 0, "{text:?} gives {redacted:?}");
        assert_eq!(redacted.text.contains("PORT=1"), text.ends_with("PORT=1"), "{text:?} gives {redacted:?}");
    }
}

#[test]
fn names_stay_and_values_go() {
    let Redacted { text, count } = redacted("A_KEY=x\r\nexport B_TOKEN = \"y\ny\"\nPORT=80\nwhat is this\n");
    assert_eq!(text, "A_KEY=<redacted>\nexport B_TOKEN = <redacted>\nPORT=80\n# <redacted>\n");
    assert_eq!(count, 3);
}

#[test]
fn names_can_be_added_and_kept() {
    let redaction = Redaction::new(&["plant_*".to_owned()], &["PUBLIC_KEY".to_owned()]).unwrap();
    let Redacted { text, count } = redaction.apply("PLANT_NO=7\nPUBLIC_KEY=abc\n");
    assert_eq!((text.as_str(), count), ("PLANT_NO=<redacted>\nPUBLIC_KEY=abc\n", 1));
    assert!(Redaction::new(&["a**b".to_owned()], &[]).is_err());
}
