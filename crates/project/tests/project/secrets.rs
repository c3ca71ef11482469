//! Secrets come from the files wrangler reads, in its order, with the values Node's `dotenv` gives.

use crate::support::{Folder, secret, text};
use selvedge_project::{ENV_ENTRIES_MAX, Project, ProjectError};

const CONFIG: &str = "name = 'a'\nmain = 'index.js'\ncompatibility_date = '2025-01-01'\n\
                      [vars]\nA = 'var'\nB = 'var'\n[[kv_namespaces]]\nbinding = 'KV'\n\
                      [env.staging]\nmain = 'index.js'\n[env.other]\n";

fn worker() -> Folder {
    Folder::toml(CONFIG)
}

/// The secrets of a worker with this `.dev.vars`.
fn dev_vars(content: &str) -> Project {
    worker().file(".dev.vars", content).load()
}

#[test]
fn dev_vars_shuts_out_dot_env() {
    let folder = worker().file(".env", "A=env\nC=env").file(".dev.vars", "A=dev");
    let project = folder.load();
    assert_eq!(secret(&project, "A").unwrap(), "dev");
    assert_eq!(secret(&project, "C"), None);
}

#[test]
fn an_environments_dev_vars_shuts_out_the_general_one() {
    let folder = worker().file(".dev.vars", "A=general\nC=general").file(".dev.vars.staging", "A=staging");
    let staging = folder.load_env("staging");
    assert_eq!(secret(&staging, "A").unwrap(), "staging");
    assert_eq!(secret(&staging, "C"), None);
    assert_eq!(secret(&folder.load_env("other"), "A").unwrap(), "general");
    assert_eq!(secret(&folder.load(), "A").unwrap(), "general");
}

#[test]
fn dot_env_files_add_up_and_the_nearest_wins() {
    let folder = worker()
        .file(".env", "A=1\nB=1\nC=1\nD=1")
        .file(".env.local", "B=2\nC=2\nD=2")
        .file(".env.staging", "C=3\nD=3")
        .file(".env.staging.local", "D=4");
    let values = |project: &Project| ["A", "B", "C", "D"].map(|key| secret(project, key).unwrap());
    assert_eq!(values(&folder.load()), ["1", "2", "2", "2"]);
    assert_eq!(values(&folder.load_env("staging")), ["1", "2", "3", "4"]);
}

#[test]
fn secrets_replace_vars_and_yield_to_other_bindings() {
    let folder = worker().file(".dev.vars", "A=secret\nKV=secret");
    let project = folder.load();
    assert_eq!(text(&project, "A"), None);
    assert_eq!(text(&project, "B").unwrap(), "var");
    assert_eq!(secret(&project, "A").unwrap(), "secret");
    assert_eq!(secret(&project, "KV"), None);
    assert_eq!(
        folder.warnings(&project),
        ["wrangler.toml:1:1: `KV` is ignored, because `kv_namespaces[0].binding` already binds that name"]
    );
}

#[test]
fn values_are_read_as_node_reads_them() {
    for (line, value) in [
        ("K=plain", "plain"),
        ("K = spaced out ", "spaced out"),
        ("export K=exported", "exported"),
        ("K: yaml", "yaml"),
        ("K=", ""),
        ("K=a#comment", "a"),
        ("K='a # b' # comment", "a # b"),
        ("K=\"a\\nb\"", "a\nb"),
        ("K='a\\nb'", "a\\nb"),
        ("K=`it's \"x\"`", "it's \"x\""),
        ("K=\"two\nlines\"", "two\nlines"),
        ("K=\"two\r\nlines\"\r\n", "two\nlines"),
        ("K=\"say \\\"hi\\\"\"", "say \\\"hi\\\""),
        ("K='C:\\'", "C:\\"),
        ("K=pa$$word$HOME", "pa$$word$HOME"),
        ("K=a=b=c", "a=b=c"),
        ("K={\"json\": 1}", "{\"json\": 1}"),
        ("\u{feff}K=bom", "bom"),
        ("\n\n# comment\n\n  K=after", "after"),
        ("K=first\nK=last", "last"),
        ("K-1.x=x\nK=y", "y"),
    ] {
        let project = dev_vars(line);
        assert_eq!(secret(&project, "K").as_deref(), Some(value), "{line:?}");
        assert!(project.warnings.is_empty(), "{line:?}: {:?}", project.warnings);
    }
}

#[test]
fn lines_that_are_no_assignments_are_warnings_without_their_text() {
    let folder = worker().file(".dev.vars", "A=1\nhunter2\n=x\nK='open\nB=2");
    let project = folder.load();
    assert_eq!(
        folder.warnings(&project),
        [
            ".dev.vars:2:1: this line is not KEY=VALUE and is ignored",
            ".dev.vars:3:1: this line is not KEY=VALUE and is ignored",
            ".dev.vars:4:1: `K` opens a quote that is never closed, so the quote is part of the value",
        ]
    );
    assert_eq!(secret(&project, "K").unwrap(), "'open");
    assert_eq!(secret(&project, "B").unwrap(), "2");
}

#[test]
fn dot_env_references_are_expanded_over_all_its_files() {
    let folder = worker()
        .file(".env", "HOST=example.com\nURL=https://$HOST/${PATH_PART:-x}\nRAW=\\$HOST")
        .file(".env.local", "HOST=local");
    let project = folder.load();
    assert_eq!(secret(&project, "URL").unwrap(), "https://local/x");
    assert_eq!(secret(&project, "RAW").unwrap(), "$HOST");
}

#[test]
fn required_secrets_are_the_only_ones_and_their_absence_is_said() {
    let folder = Folder::toml(
        "main = 'index.js'\ncompatibility_date = '2025-01-01'\nsecrets.required = ['A', 'SELVEDGE_TEST_ABSENT', 'PATH']\n",
    );
    let folder = folder.file(".env", "A=1\nB=2");
    let project = folder.load();
    assert_eq!(secret(&project, "A").unwrap(), "1");
    assert_eq!(secret(&project, "B"), None);
    assert_eq!(secret(&project, "PATH"), std::env::var("PATH").ok());
    assert_eq!(
        folder.warnings(&project),
        ["wrangler.toml:3:26: `SELVEDGE_TEST_ABSENT` is required, but neither .dev.vars, .env nor the process \
          environment has it"]
    );

    let folder = folder.file(".dev.vars", "A=dev");
    assert_eq!(secret(&folder.load(), "PATH"), None);
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let project = dev_vars("A=hunter2");
    assert!(!format!("{project:?}").contains("hunter2"));
}

#[test]
fn references_that_grow_without_end_are_refused() {
    let mut lines = "A0=0123456789\n".to_owned();
    for n in 1..40 {
        let before = n - 1;
        lines += &format!("A{n}=$A{before}$A{before}$A{before}\n");
    }
    let error = worker().file(".env", &lines).try_load(None).unwrap_err().to_string();
    assert!(error.contains("grows beyond all bounds"), "{error}");
}

#[test]
fn endless_lists_of_secrets_are_refused() {
    let lines: String = (0..=ENV_ENTRIES_MAX).map(|n| format!("K{n}=\n")).collect();
    let folder = worker().file(".dev.vars", &lines);
    assert!(matches!(folder.try_load(None), Err(ProjectError::Invalid(_))));
}
