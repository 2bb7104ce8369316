//! Logins of docker's and podman's files, and of credential helpers.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lith::login::{AuthFiles, Helpers, Kept, Login, Logins as _, Places, Secret};

/// A home directory, and a directory of helpers.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir(home.path("bin")).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A helper that does what a script says; `$1` is the act.
    fn helper(&self, name: &str, script: &str) {
        let path = self.write(&format!("bin/docker-credential-{name}"), &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn places(&self) -> Places {
        Places { runtime_dir: Some(self.path("run")), home: Some(self.path("")), ..Places::default() }
    }

    fn logins(&self) -> AuthFiles {
        self.logins_at(&self.places())
    }

    fn logins_at(&self, places: &Places) -> AuthFiles {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        AuthFiles::new(places, Helpers::on(OsStr::new(&path)).with_patience(Duration::from_secs(20)))
    }
}

const DOCKER: &str = ".docker/config.json";
const PODMAN: &str = "run/containers/auth.json";

fn entry(host: &str, user: &str) -> String {
    format!(r#"{{"auths":{{"{host}":{{"username":"{user}","password":"p"}}}}}}"#)
}

fn user(logins: &AuthFiles, registry: &str) -> String {
    match logins.login(registry).unwrap() {
        Some(Login::Password { user, .. }) => user,
        Some(Login::IdentityToken(token)) => format!("token {}", token.reveal()),
        None => "-".into(),
    }
}

fn failure(logins: &AuthFiles, registry: &str) -> String {
    logins.login(registry).unwrap_err().to_string()
}

fn me() -> Login {
    Login::Password { user: "me".into(), password: Secret::new("hunter2") }
}

#[test]
fn files_are_asked_in_podmans_order() {
    let home = Home::new();
    assert_eq!(user(&home.logins(), "a.example"), "-", "no file is no login");
    home.write(DOCKER, &entry("https://a.example/v1/", "docker"));
    assert_eq!(user(&home.logins(), "a.example"), "docker");
    home.write(".config/containers/auth.json", &entry("a.example", "config"));
    assert_eq!(user(&home.logins(), "a.example"), "config");
    home.write(PODMAN, &entry("b.example", "other"));
    assert_eq!(user(&home.logins(), "a.example"), "config", "a file without the registry is passed by");
    home.write(PODMAN, &entry("a.example", "run"));
    assert_eq!(user(&home.logins(), "a.example"), "run");
    let named = home.write("named.json", &entry("a.example/team", "named"));
    let logins = home.logins_at(&Places { registry_auth_file: Some(named), ..home.places() });
    let found = logins.login_to("a.example", "team/app").unwrap().unwrap();
    assert_eq!(found, Login::Password { user: "named".into(), password: Secret::new("p") });
    assert_eq!(
        user(&logins, "a.example"),
        "config",
        "the named file stands for that of the runtime directory"
    );
    let logins = home.logins().with_given(&entry("a.example", "given")).unwrap();
    assert_eq!(user(&logins, "a.example"), "given");
}

#[test]
fn broken_files_are_named() {
    let home = Home::new();
    let docker = home.write(DOCKER, "{\n \"auths\": oops}");
    assert_eq!(failure(&home.logins(), "a.example"), format!("{}:2:11: expected value", docker.display()));
    fs::write(&docker, [b'{'; 3]).unwrap();
    assert!(failure(&home.logins(), "a.example").starts_with(&format!("{}:1:2: ", docker.display())));
    fs::remove_file(&docker).unwrap();
    fs::create_dir(&docker).unwrap();
    assert!(failure(&home.logins(), "a.example").contains("it is not a regular file"));
    let absent = home.path("absent.json");
    let logins = home.logins_at(&Places { registry_auth_file: Some(absent.clone()), ..home.places() });
    assert_eq!(
        failure(&logins, "a.example"),
        format!("{}: REGISTRY_AUTH_FILE names this file, and it is not there", absent.display())
    );
}

/// Keeps one login as text in a file.
const KEEPER: &str = r#"
kept="$(dirname "$0")/../kept"
case "$1" in
  store) cat > "$kept" ;;
  list) if [ -f "$kept" ]; then sed 's/.*"ServerURL":"\([^"]*\)","Username":"\([^"]*\)".*/{"\1":"\2"}/' "$kept"; else echo '{}'; fi ;;
  get) read -r server
    if grep -qs "\"$server\"" "$kept"; then cat "$kept"; else echo "credentials not found in native keychain"; exit 1; fi ;;
  erase) rm "$kept" ;;
esac"#;

#[test]
fn a_helper_keeps_logins() {
    let home = Home::new();
    home.helper("keeper", KEEPER);
    let before = r#"{"credsStore":"keeper","psFormat":"x"}"#;
    let docker = home.write(DOCKER, before);
    let logins = home.logins();
    for registry in ["a.example:5000", "docker.io"] {
        assert_eq!(user(&logins, registry), "-");
        assert_eq!(logins.keep(registry, &me()).unwrap(), Kept::Helper("keeper".into()));
        assert_eq!(logins.login(registry).unwrap(), Some(me()));
        assert_eq!(user(&logins, "a.example"), "-");
        let text = fs::read_to_string(&docker).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "{text}");
        assert!(text.contains(r#""psFormat": "x""#), "{text}");
        assert_eq!(logins.registries().into_iter().collect::<Vec<_>>(), [registry]);
        assert_eq!(logins.forget(registry).unwrap(), [Kept::Helper("keeper".into())]);
        assert_eq!(user(&logins, registry), "-");
        assert_eq!(logins.forget(registry).unwrap(), []);
        logins.keep(registry, &Login::IdentityToken(Secret::new("t"))).unwrap();
        assert_eq!(user(&logins, registry), "token t");
        logins.forget(registry).unwrap();
    }
    assert!(fs::read_to_string(home.path(DOCKER)).unwrap().contains("\"auths\": {}"));
}

#[test]
fn the_helper_of_a_registry_goes_before_that_of_all() {
    let home = Home::new();
    home.helper("own", r#"echo '{"Username":"own","Secret":"s"}'"#);
    home.helper("all", r#"echo '{"ServerURL":"","Username":"all","Secret":"s"}'"#);
    home.write(
        DOCKER,
        r#"{"credsStore":"all","credHelpers":{"a.example":"own"},"auths":{"b.example":{"auth":"eDp5"}}}"#,
    );
    assert_eq!(user(&home.logins(), "a.example"), "own");
    assert_eq!(user(&home.logins(), "b.example"), "all", "docker does not ask the file beside a helper");
}

#[test]
fn r06_a_helper_that_answers_for_another_host_is_refused() {
    let home = Home::new();
    home.helper("odd", r#"echo '{"ServerURL":"https://a.example/","Username":"u","Secret":"hunter2"}'"#);
    home.write(DOCKER, r#"{"credsStore":"odd"}"#);
    assert_eq!(user(&home.logins(), "a.example"), "u");
    let said = failure(&home.logins(), "a.example:5000");
    assert_eq!(
        said,
        "docker-credential-odd get: it was asked for a.example:5000 and answers for https://a.example/"
    );
}

#[test]
fn r22_failures_of_helpers_name_them_and_show_no_secret() {
    let home = Home::new();
    home.write(DOCKER, r#"{"credsStore":"bad"}"#);
    let docker = home.path(DOCKER);
    assert_eq!(
        failure(&home.logins(), "a.example"),
        format!(
            "{} has logins kept by docker-credential-bad, and no directory of PATH has that program",
            docker.display()
        )
    );
    home.helper("bad", "echo 'no \x1b[1m key\nchain'; exit 3");
    assert_eq!(failure(&home.logins(), "a.example"), "docker-credential-bad get: no \\u{1b}[1m key chain");
    home.helper("bad", "echo why >&2; exit 3");
    assert_eq!(failure(&home.logins(), "a.example"), "docker-credential-bad get: why");
    home.helper("bad", r#"echo '{"Username":"u","Secret":"hunter2"}'; exit 3"#);
    assert!(failure(&home.logins(), "a.example").ends_with("get: it ended with exit status: 3"));
    home.helper("bad", "exit 3");
    assert!(failure(&home.logins(), "a.example").contains("exit status: 3"));
    home.helper("bad", "echo '{\"Secret\":\"hunter2\",'");
    assert_eq!(
        failure(&home.logins(), "a.example"),
        "docker-credential-bad get: what it prints is not the JSON expected"
    );
    home.helper("bad", "echo given: $(cat); exit 1");
    let said = home.logins().keep("a.example", &me()).unwrap_err().to_string();
    assert!(said.contains("a.example") && said.contains('…') && !said.contains("hunter2"), "{said}");
}

#[test]
fn r23_a_helper_is_bounded() {
    let home = Home::new();
    home.write(DOCKER, r#"{"credsStore":"bad"}"#);
    home.helper("bad", "yes");
    assert!(failure(&home.logins(), "a.example").contains("it prints more than the 1048576 bytes"));
    home.helper("bad", "yes >&2");
    assert!(failure(&home.logins(), "a.example").contains("it prints more than the 1048576 bytes"));
    home.helper("bad", "sleep 600");
    let path = format!("{}:/usr/bin:/bin", home.path("bin").display());
    let hasty = Helpers::on(OsStr::new(&path)).with_patience(Duration::from_millis(300));
    let said = failure(&AuthFiles::new(&home.places(), hasty), "a.example");
    assert_eq!(said, "docker-credential-bad get: it has not ended after 0.3 seconds");
    home.helper("bad", "sleep 600 & echo '{}'");
    assert!(failure(&home.logins(), "a.example").contains("left something running"));
}

#[test]
fn r23_helpers_are_found_on_absolute_directories_only() {
    let home = Home::new();
    home.helper("evil", r#"touch "$(dirname "$0")/../ran"; echo '{}'"#);
    home.write(DOCKER, r#"{"credsStore":"evil"}"#);
    let relative = relative_to_here(&home.path("bin"));
    assert!(relative.join("docker-credential-evil").exists());
    for path in [relative.as_os_str(), OsStr::new(""), OsStr::new("."), OsStr::new(":")] {
        let logins = AuthFiles::new(&home.places(), Helpers::on(path));
        assert!(failure(&logins, "a.example").contains("no directory of PATH has that program"), "{path:?}");
    }
    for name in ["../evil", "a/b", "", "a b", "é", "$(x)"] {
        let text = serde_json::json!({"credHelpers": {"a.example": name}, "credsStore": "evil"});
        home.write(DOCKER, &text.to_string());
        let found = home.logins().login("a.example");
        match name {
            "" => assert!(found.unwrap().is_none(), "no name is the file"),
            _ => {
                assert!(found.unwrap_err().to_string().contains("cannot be the name of a credential helper"))
            }
        }
    }
    assert!(!home.path("ran").exists());
    home.write("bin/docker-credential-text", "no program");
    home.write(DOCKER, r#"{"credsStore":"text"}"#);
    assert!(failure(&home.logins(), "a.example").contains("no directory of PATH has that program"));
}

fn relative_to_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap();
    let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
    up.join(path.strip_prefix("/").unwrap())
}

#[test]
fn a_login_is_kept_where_it_is_found() {
    let home = Home::new();
    let logins = home.logins();
    let docker = home.path(DOCKER);
    assert_eq!(logins.keep("a.example", &me()).unwrap(), Kept::File(docker.clone()));
    assert_eq!(logins.login("a.example").unwrap(), Some(me()));
    assert_eq!(fs::metadata(&docker).unwrap().permissions().mode() & 0o7777, 0o600);
    // An older one goes before docker's file, so it is the one to be replaced.
    let podman = home.write(PODMAN, &entry("a.example", "old"));
    assert_eq!(logins.keep("a.example", &me()).unwrap(), Kept::File(podman.clone()));
    assert_eq!(logins.login("a.example").unwrap(), Some(me()));
    assert_eq!(logins.keep("b.example", &me()).unwrap(), Kept::File(docker.clone()));
    assert_eq!(logins.forget("a.example").unwrap(), [Kept::File(podman), Kept::File(docker.clone())]);
    assert_eq!(user(&logins, "a.example"), "-");
    assert_eq!(user(&logins, "b.example"), "me");
    // A file that is named gets the login though docker's has one.
    let named = Places { registry_auth_file: Some(home.path("named.json")), ..home.places() };
    let logins = home.logins_at(&named);
    assert_eq!(logins.keep("b.example", &me()).unwrap(), Kept::File(home.path("named.json")));
    let given = home.logins().with_given(&entry("b.example", "given")).unwrap();
    assert!(given.keep("b.example", &me()).unwrap_err().to_string().contains("unset it"));
    let nowhere = AuthFiles::new(&Places::default(), Helpers::on(OsStr::new("")));
    assert!(nowhere.keep("a.example", &me()).unwrap_err().to_string().contains("neither HOME nor"));
}

#[test]
fn skopeo_finds_what_is_kept() {
    let home = Home::new();
    home.helper("keeper", KEEPER);
    let file = home.write("auth.json", r#"{"credHelpers":{"b.example":"keeper"}}"#);
    let logins = home.logins_at(&Places { registry_auth_file: Some(file.clone()), ..home.places() });
    for registry in ["a.example:5000", "docker.io", "b.example"] {
        logins.keep(registry, &me()).unwrap();
        let path = format!("{}:/usr/bin:/bin", home.path("bin").display());
        let mut skopeo = std::process::Command::new("skopeo");
        skopeo.args(["login", "--get-login", registry, "--authfile"]).arg(&file).env("PATH", path);
        let output = match skopeo.output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("SKIP: skopeo is not installed");
                return;
            }
            output => output.unwrap(),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "me", "{registry}: {said}");
    }
}

#[test]
fn a_broken_file_is_not_replaced_and_a_broken_entry_can_go() {
    let home = Home::new();
    let docker = home.write(DOCKER, "{\"auths\": {");
    assert!(home.logins().keep("a.example", &me()).is_err());
    assert_eq!(fs::read_to_string(&docker).unwrap(), "{\"auths\": {");
    home.write(DOCKER, r#"{"auths":{"a.example":{"auth":"!"}}}"#);
    assert!(failure(&home.logins(), "a.example").contains("not base64"));
    assert_eq!(home.logins().forget("a.example").unwrap(), [Kept::File(docker)]);
    assert_eq!(user(&home.logins(), "a.example"), "-");
}
