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
fn what_systems_are_made_of_stays() {
    for text in [
        "APP_NAME=Laravel",
        "APP_ENV=production",
        "APP_DEBUG=false",
        "APP_URL=http://localhost:8080/plant",
        "DB_CONNECTION=mysql",
        "DB_HOST=127.0.0.1",
        "DB_PORT=3306",
        "LOG_CHANNEL=stack",
        "MAIL_FROM_ADDRESS=\"hello@example.org\"",
        "MAIL_FROM_NAME=\"${APP_NAME}\"",
        "DJANGO_SETTINGS_MODULE=plant.settings.production",
        "ALLOWED_HOSTS=.example.org,localhost,10.0.0.7",
        "RAILS_ENV=production",
        "RAILS_MAX_THREADS=5",
        "RAILS_LOG_TO_STDOUT=true",
        "COMPOSE_PROJECT_NAME=plant",
        "COMPOSE_FILE=docker-compose.yml:docker-compose.prod.yml",
        "IMAGE=registry.example.org/plant/app:1.2.3-rc.1",
        "VERSION=v2.14.3+build.45",
        "OPTIONS=--listen 0.0.0.0:8080 --mode wal --threads 4",
        "JAVA_OPTS=-Xmx512m -XX:+UseG1GC",
        "MODE=0640",
        "UMASK=027",
        "DATABASE_URL=sqlite:///srv/plant2/data/main.db",
        "DATA=/srv/App2Data/Plant7Line/Main2026.db",
        "HOME=/Users/Ann/Plant2/data3/x",
        "RELATIVE=./data/2026/plant7/main.db",
        "LOGS=logs/2026/plant-7/app.log",
        "HOST=db-1.prod2.eu-west-1.rds.example.org",
        "BIND=[2001:db8:0:0:0:ff00:42:8329]:8080",
        "MAC=02:42:ac:11:00:02",
        "COMMIT=a1b2c3d",
        "TZ=Europe/Berlin",
        "LANG=en_US.UTF-8",
        "STARTED=2026-11-21T10:25:59Z",
        "SCHEDULE=0 3 * * 1-5",
        "TIMEOUT=30s",
        "MODULE=org.example.plant.ProductionServer",
        "SPAWN=1",
        "# Basic settings, each with its reason",
    ] {
        assert_eq!(redacted(text), Redacted { text: text.to_owned(), count: 0 });
    }
}

#[test]
fn a_large_file_takes_a_moment() {
    let text = "PORT=8080\n".repeat(200_000);
    let start = std::time::Instant::now();
    assert_eq!(redacted(&text).count, 0);
    assert!(start.elapsed().as_secs() < 4, "each line only costs what it is long");
}

#[test]
fn no_secret_is_left() {
    for text in [
        "URL=postgres://app:hun/canary@db/app",
        "URL=postgres://app:hun#canary@db/app",
        "URL=postgres://app:hun?canary@db/app",
        "URL='postgres://app:hun\"canary@db/app'",
        "URL=redis://:canary@cache:6379/0",
        "MYSQL=app:canary@tcp(db)/x",
        "ORACLE=scott/canary@db",
        "JDBC=jdbc:oracle:thin:scott/canary@//db:1521/x",
        "DB_PW=canary",
        "PW=canary",
        "pw_of_db=canary",
        "dbPw=canary",
        "DB=host=db pw=canary",
        "DB=host=db;Pwd = canary",
        "JAVA_OPTS=-Xmx1g -Ddb.password=canary",
        "COMMAND=redis-server --requirepass canary",
        "SPRING_APPLICATION_JSON={\"datasource\":{\"password\" : \"canary\"}}",
        "HEADERS=Authorization: Basic canary",
        "AWS_SK=canary",
        "X=wJalrXUtnFEMI/K7MDENG/bPxRfiCYcanary",
        "X=wJalr+UtnFEMI/KaMDENG/bPxRf7CYcanary",
        "X=SG.canary1.abc",
        "X=base64:canary",
        "USERS=admin:$2y$05$canary",
        "USERS=admin:$$apr1$$canary",
        "RAILS_MASTER_KEY=canary",
        "SECRET_KEY='django-insecure-canary'",
        "WIFI_PSK=canary",
        "AZURE_SAS=canary",
        "SQL_CONNSTR=canary",
        "X=github_pat_canary1",
        "X=caf\u{e9}password=canary",
        "Environment=\"DB_PASSWORD=canary\"",
        "Environment=DB_PASSWORD=canary",
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
        "DATA_DIR=C:\\data\\\nDB_PIN=canary",
        "LABEL='in\nDB_PIN=canary\nOTHER='x'",
        "PLACE=here\rDB_PIN=canary\rX=1",
        "VCAP={\"db\":{\"password\":\"canary\"}}",
        "VCAP='{\n \"private_key_id\": \"canary\"\n}'",
        "HEADERS={'X-Api-Key': 'canary'}",
        "HEADER=Authorization: Basic canary",
        "REDIS_ARGS=--requirepass canary",
        "OPTIONS=\"--token canary\"",
        "CURL_OPTS=-u admin:canary",
        "HEALTH=mysqladmin -uroot -pcanary",
        "DB_PSW=canary",
        "SMTP_CRED=canary",
        "MNEMONIC=canary one two",
        "ACCESS_CODE=canary",
        "not understood\ncanaryCANARYcanary=",
        "SET\u{e4}TING=canary",
    ] {
        let redacted = redacted(text);
        assert!(!redacted.text.contains("canary") && redacted.count > 0, "{text:?} gives {redacted:?}");
        assert_eq!(redacted.text.contains("PORT=1"), text.ends_with("PORT=1"), "{text:?} gives {redacted:?}");
    }
}

#[test]
fn hex_is_drawn() {
    for text in ["X=8f3a9c0d1e2b4f57", "X=0x8f3a9c0d1e2b4f57", "X=8F3A9C0D1E2B4F57", "X=a/8f3a9c0d1e2b4f57.b"] {
        assert_eq!(redacted(text).text.trim_end(), "X=<redacted>", "{text}");
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
