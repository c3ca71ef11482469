use std::path::{Path, PathBuf};

use super::print::print;
use super::*;

fn resolve(arguments: &UpArguments, folder: &Path, variables: &[(&str, &str)]) -> Result<Resolved, SettingsError> {
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Resolved::resolve(arguments, folder, |name| {
        variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    })
}

fn folder(file: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("selvedge.toml"), file).unwrap();
    folder
}

fn mistake(file: &str) -> String {
    let folder = folder(file);
    let error = resolve(&UpArguments::default(), folder.path(), &[]).unwrap_err().to_string();
    error.replace(folder.path().to_str().unwrap(), "DIR")
}

#[test]
fn nothing_said_gives_the_defaults() {
    let empty = tempfile::tempdir().unwrap();
    let resolved = resolve(&UpArguments::default(), empty.path(), &[]).unwrap();
    let settings = resolved.settings;
    assert_eq!(settings.data, PathBuf::from(".selvedge"));
    assert_eq!(settings.http.to_string(), "127.0.0.1:8787");
    assert_eq!(settings.api.to_string(), "127.0.0.1:8788");
    assert_eq!(settings.https, None);
    assert_eq!(settings.domain, "localhost");
    assert_eq!(settings.secrets_key, PathBuf::from(".selvedge/secrets.key"));
    assert_eq!(settings.acme, None);
    assert_eq!(settings.isolates, 2000);
    assert_eq!(settings.drain, Duration::from_secs(30));
    assert_eq!(settings.log_format, LogFormat::Text);
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let folder = folder("http = '127.0.0.1:1'\napi = '127.0.0.1:2'\ndomain = 'file.test'\n");
    let arguments = UpArguments { http: Some("127.0.0.1:9001".into()), ..Default::default() };
    let variables = [("SELVEDGE_HTTP", "127.0.0.1:9002"), ("SELVEDGE_API_ADDRESS", "127.0.0.1:9003")];
    let resolved = resolve(&arguments, folder.path(), &variables).unwrap();
    assert_eq!(resolved.settings.http.port(), 9001);
    assert_eq!(resolved.settings.api.port(), 9003);
    assert_eq!(resolved.settings.domain, "file.test");
    let mut printed = Vec::new();
    print(&resolved, false, &mut printed).unwrap();
    let printed = String::from_utf8(printed).unwrap();
    let source = |name: &str| {
        let line = printed.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!(source("http"), "--http");
    assert_eq!(source("api"), "SELVEDGE_API_ADDRESS");
    assert!(source("domain").ends_with("selvedge.toml:3"));
    assert_eq!(source("drain"), "default");
}

#[test]
fn the_document_names_every_setting_with_its_source() {
    let folder = folder("drain = 5\nallow_net = ['127.0.0.1:5432']\n");
    let resolved = resolve(&UpArguments::default(), folder.path(), &[("SELVEDGE_LOG", "debug")]).unwrap();
    let mut printed = Vec::new();
    print(&resolved, true, &mut printed).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&printed).unwrap();
    assert_eq!(document["settings"].as_object().unwrap().len(), table::SETTINGS.len());
    assert_eq!(document["settings"]["drain"]["value"], "5");
    assert_eq!(document["settings"]["drain"]["line"], 1);
    assert_eq!(document["settings"]["allow_net"]["value"][0], "127.0.0.1:5432");
    assert_eq!(document["settings"]["log"]["source"], "environment");
    assert_eq!(document["settings"]["http"]["source"], "default");
}

#[test]
fn every_setting_has_a_flag() {
    let flags: Vec<String> = <UpArguments as clap::Args>::augment_args(clap::Command::new("up"))
        .get_arguments()
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .collect();
    for setting in table::SETTINGS {
        assert!(flags.contains(&setting.flag()), "{} has no flag", setting.name);
    }
    // And `--config`, which no file can name.
    assert_eq!(flags.len(), table::SETTINGS.len() + 1);
}

#[test]
fn an_unknown_key_is_an_error_with_a_suggestion() {
    assert_eq!(
        mistake("http = '127.0.0.1:1'\nlog-fromat = 'json'\n"),
        "DIR/selvedge.toml:2: `log-fromat` is not a setting; did you mean `log_format`?"
    );
    assert!(mistake("zzz = 1").contains("`zzz` is not a setting; `selvedge config` prints all that are"));
}

#[test]
fn a_mistake_names_its_source() {
    assert!(mistake("http = 'nowhere'").starts_with("DIR/selvedge.toml:1: `http`: `nowhere` is not ADDRESS:PORT"));
    assert!(mistake("\ndrain = -3").starts_with("DIR/selvedge.toml:2: `drain`: `-3` is not a whole number"));
    assert!(mistake("acme = 'yes'").contains("neither true nor false"));
    assert!(mistake("http = ").starts_with("DIR/selvedge.toml:1:"));
    let empty = tempfile::tempdir().unwrap();
    let error = |arguments: UpArguments, variables: &[(&str, &str)]| {
        resolve(&arguments, empty.path(), variables).unwrap_err().to_string()
    };
    assert!(
        error(UpArguments::default(), &[("SELVEDGE_ISOLATES", "many")]).starts_with("SELVEDGE_ISOLATES: `isolates`")
    );
    let arguments = UpArguments { domain: Some("https://apps.test".into()), ..Default::default() };
    assert!(error(arguments, &[]).starts_with("--domain: `domain`: `https://apps.test` is not a domain"));
    let arguments = UpArguments { http: Some("127.0.0.1:8788".into()), ..Default::default() };
    assert!(error(arguments, &[]).contains("`http` and `api` are both 127.0.0.1:8788"));
}

#[test]
fn a_password_in_a_url_is_not_repeated() {
    let error = mistake("public_url = 'https://me:hunter2@api.test'");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn certificates_need_https_and_https_needs_certificates() {
    assert!(mistake("tls = ['cert.pem,key.pem']").contains("--https 0.0.0.0:443"));
    assert!(mistake("https = '127.0.0.1:8443'").contains("--tls CERT,KEY"));
    assert!(mistake("https = '127.0.0.1:8443'\ntls = ['a,b,c']").contains("is neither CERT,KEY"));
    assert!(mistake("acme_contact = ['admin@apps.test']").contains("with `--acme`"));
}

#[test]
fn paths_of_the_file_begin_at_the_file() {
    let folder = folder("https = '127.0.0.1:8443'\ntls = ['cert.pem,/etc/key.pem']\ndata = 'state'\n");
    let settings = resolve(&UpArguments::default(), folder.path(), &[]).unwrap().settings;
    let pair = Pair { chain: folder.path().join("cert.pem"), key: PathBuf::from("/etc/key.pem") };
    assert_eq!(settings.tls, [CertificateSource::Pair(pair)]);
    assert_eq!(settings.data, folder.path().join("state"));
    assert_eq!(settings.secrets_key, folder.path().join("state/secrets.key"));
}

#[test]
fn the_data_folder_may_hold_the_file() {
    let folder = folder("domain = 'apps.test'");
    let data = folder.path().to_str().unwrap().to_owned();
    let elsewhere = tempfile::tempdir().unwrap();
    let arguments = UpArguments { data: Some(data), ..Default::default() };
    assert_eq!(resolve(&arguments, elsewhere.path(), &[]).unwrap().settings.domain, "apps.test");
    std::fs::write(folder.path().join("selvedge.toml"), "data = '/elsewhere'").unwrap();
    let error = resolve(&arguments, elsewhere.path(), &[]).unwrap_err();
    assert!(error.to_string().contains("found in the data folder itself"), "{error}");
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let empty = tempfile::tempdir().unwrap();
    let arguments = UpArguments { config: Some(empty.path().join("nothing.toml")), ..Default::default() };
    assert!(matches!(resolve(&arguments, empty.path(), &[]), Err(SettingsError::Read { .. })));
}
