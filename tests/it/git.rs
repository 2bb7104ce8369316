//! Git repositories: which commit comes, which files, and what a hostile one can do.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use lith::fetch::git::SecretSource;
use lith::fetch::{Access, Commits, FetchError, FetchOptions, GitTree};
use lith::layer::Node;
use lith::remote::{GitRepo, Remote};
use lith::store::{Store, Unpacking};

use crate::support::git::{COMMIT_TIME, Repos};
use crate::support::server::{Server, reply};

struct World {
    _dir: tempfile::TempDir,
    store: Store,
    options: FetchOptions,
    repos: Repos,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), Unpacking::Never).unwrap();
    let options = FetchOptions { patience: Duration::from_secs(20), ..FetchOptions::default() };
    World { _dir: dir, store, options, repos: Repos::new() }
}

fn repo(text: &str) -> GitRepo {
    match Remote::parse(text) {
        Ok(Some(Remote::Git(repo))) => *repo,
        other => panic!("{text}: {other:?}"),
    }
}

impl World {
    fn commits(&self) -> Commits<'_> {
        Commits::new(&self.store, &self.options, Access::NONE)
    }

    /// Name and content of everything that comes; `x` stands before what may be executed.
    fn files(&self, url: &str) -> Result<BTreeMap<String, String>, FetchError> {
        let (commits, repo) = (self.commits(), repo(url));
        let commit = commits.bring(&repo)?;
        Ok(listed(&commits.tree(&repo, &commit)?))
    }

    #[track_caller]
    fn fails(&self, url: &str) -> String {
        self.files(url).unwrap_err().to_string()
    }

    fn serve(&self) -> Server {
        self.repos.serve(|_| None)
    }
}

fn listed(tree: &GitTree) -> BTreeMap<String, String> {
    let show = |(path, entry): &(lith::path::ImagePath, lith::fetch::git::GitEntry)| {
        let what = match &entry.node {
            Node::Dir => "/".to_owned(),
            Node::Symlink(target) => format!("-> {}", String::from_utf8_lossy(target)),
            Node::File { size, offset, .. } => {
                let mut bytes = vec![0; usize::try_from(*size).unwrap()];
                entry.tar.read_exact_at(&mut bytes, *offset).unwrap();
                let mark = if entry.executable { "x " } else { "" };
                format!("{mark}{}", String::from_utf8_lossy(&bytes))
            }
            other => format!("{other:?}"),
        };
        (String::from_utf8_lossy(path.as_bytes()).into_owned(), what)
    };
    tree.entries.iter().map(show).collect()
}

#[track_caller]
fn has(files: &BTreeMap<String, String>, wanted: &[(&str, &str)]) {
    let wanted: BTreeMap<String, String> =
        wanted.iter().map(|(name, what)| ((*name).to_owned(), (*what).to_owned())).collect();
    assert_eq!(files, &wanted);
}

#[test]
fn the_named_commit_comes_with_its_files() {
    let world = world();
    world.repos.init("app");
    world.repos.write("app/a.txt", "one\n", 0o664);
    world.repos.write("app/sub/run.sh", "run", 0o775);
    std::os::unix::fs::symlink("../a.txt", world.repos.path("app/sub/link")).unwrap();
    // Neither is what an archive is: all files come, as they are committed.
    world.repos.write("app/.gitattributes", "a.txt export-ignore\n*.sh export-subst\n", 0o644);
    let first = world.repos.commit("app");
    world.repos.git("app", &["tag", "--annotate", "--message=x", "v1"]);
    world.repos.write("app/a.txt", "two\n", 0o644);
    let second = world.repos.commit("app");
    world.repos.git("app", &["branch", "v1", "HEAD"]);
    world.repos.git("app", &["branch", "feature/x", &first]);
    let server = world.serve();
    let url = server.url("/app.git");
    let attributes = "a.txt export-ignore\n*.sh export-subst\n";
    has(
        &world.files(&url).unwrap(),
        &[
            (".gitattributes", attributes),
            ("a.txt", "two\n"),
            ("sub", "/"),
            ("sub/link", "-> ../a.txt"),
            ("sub/run.sh", "x run"),
        ],
    );
    let a = |more: &str| world.files(&format!("{url}{more}")).unwrap()["a.txt"].clone();
    assert_eq!(a("#feature/x"), "one\n");
    assert_eq!(a(&format!("#{first}")), "one\n");
    assert_eq!(a("?tag=v1"), "one\n", "an annotated tag stands for its commit");
    assert_eq!(a("#v1"), "two\n", "a branch goes before a tag");
    assert_eq!(a("#refs/tags/v1"), "one\n");
    has(&world.files(&format!("{url}#main:sub")).unwrap(), &[("link", "-> ../a.txt"), ("run.sh", "x run")]);
    let commit = world.commits().bring(&repo(&url)).unwrap();
    assert_eq!((commit.id.as_str(), commit.time.seconds()), (second.as_str(), COMMIT_TIME));

    // A commit that is said whole and is here needs nobody.
    let asked = server.seen().len();
    a(&format!("#{first}"));
    a(&format!("?ref=main&checksum={second}"));
    assert_eq!(server.seen().len(), asked);

    // What a checksum says holds.
    a(&format!("?ref=main&checksum={}", &second[..10]));
    let error = world.fails(&format!("{url}?ref=main&checksum={}", &first[..10]));
    assert!(error.contains(&second) && error.contains(&first[..10]), "{error}");
}

#[test]
fn what_is_not_there_is_said() {
    let world = world();
    world.repos.init("app");
    world.repos.write("app/a", "a", 0o644);
    let commit = world.repos.commit("app");
    let server = world.serve();
    let url = server.url("/app.git");
    let other = "0123456789012345678901234567890123456789";
    for (more, wanted) in [
        ("#nothing", "no branch or tag nothing"),
        (&format!("#{}", &commit[..12]), "written whole"),
        (&format!("#{other}"), "is not a commit of it"),
        ("#main:none", "none is not a directory"),
        ("#main:a", "a is not a directory"),
    ] {
        let error = world.fails(&format!("{url}{more}"));
        assert!(error.contains(wanted) && error.contains("app.git"), "{more}: {error}");
    }
    assert!(world.fails(&server.url("/none.git")).contains("not found"));
    // Nobody listens.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = world.fails(&format!("http://{gone}/app.git"));
    assert!(error.contains("onnect"), "{error}");
}

/// A server that only gives what has a name.
#[test]
fn a_commit_behind_a_name_comes_from_servers_that_give_names_only() {
    let world = world();
    world.repos.init("app");
    world.repos.write("app/a", "1", 0o644);
    let first = world.repos.commit("app");
    world.repos.write("app/a", "2", 0o644);
    world.repos.commit("app");
    // The first version of the protocol, in which commits without names are refused.
    let server = Server::start({
        let inner = world.serve();
        move |request, _| {
            let mut old = request.clone();
            old.headers.retain(|(name, _)| name != "git-protocol");
            crate::support::git::forward(&inner, &old)
        }
    });
    assert_eq!(world.files(&server.url(&format!("/app.git#{first}"))).unwrap()["a"], "1");
}

#[test]
fn submodules_come_in_their_places() {
    let world = world();
    for name in ["inner", "middle", "outer"] {
        world.repos.init(name);
        world.repos.write(&format!("{name}/{name}.txt"), name, 0o644);
    }
    let inner = world.repos.commit("inner");
    let link = |holder: &str, path: &str, url: &str, commit: &str| {
        let text = format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n");
        world.repos.write(&format!("{holder}/.gitmodules"), &text, 0o644);
        world.repos.git(holder, &["add", "--all"]);
        let info = format!("160000,{commit},{path}");
        world.repos.git(holder, &["update-index", "--add", "--cacheinfo", &info]);
        world.repos.git(holder, &["commit", "--quiet", "--message=x"]);
        world.repos.git(holder, &["rev-parse", "HEAD"])
    };
    let middle = link("middle", "deps/in", "../inner.git", &inner);
    link("outer", "m", "../middle.git", &middle);
    let server = world.serve();
    let names = |more: &str| -> Vec<String> {
        world.files(&server.url(more)).unwrap().into_keys().filter(|name| name.ends_with(".txt")).collect()
    };
    assert_eq!(names("/outer.git"), ["m/deps/in/inner.txt", "m/middle.txt", "outer.txt"]);
    assert_eq!(names("/outer.git#main:m/deps"), ["in/inner.txt"]);
    assert_eq!(names("/outer.git#main:m/deps/in"), ["inner.txt"]);
    assert_eq!(names("/outer.git?submodules=false"), ["outer.txt"]);

    // D22: where a submodule may come from is not for the repository to say.
    for url in
        ["file:///etc", "/etc", "ext::sh -c 'touch /tmp/x'", "--upload-pack=x", "-x:y", "../../../../../../x"]
    {
        link("outer", "m", url, &middle);
        let error = world.fails(&server.url("/outer.git"));
        assert!(error.contains("submodule /m"), "{url}: {error}");
        world.repos.git("outer", &["reset", "--quiet", "--hard", "HEAD~1"]);
    }
    // Nor is a place without a source.
    world.repos.write("outer/.gitmodules", "", 0o644);
    world.repos.commit("outer");
    assert!(world.fails(&server.url("/outer.git")).contains("no url for the submodule /m"));
}

/// A tree with names that no checkout may have: a `.git` that would be a repository of the stranger's.
#[test]
fn a_hostile_tree_is_refused() {
    let world = world();
    for (name, evil) in [("dir", ".git"), ("case", ".GiT")] {
        world.repos.init(name);
        world.repos.write(&format!("{name}/x"), "x", 0o644);
        world.repos.commit(name);
        let blob = world.repos.git(name, &["rev-parse", "HEAD:x"]);
        let list = world.repos.path(&format!("{name}.list"));
        std::fs::write(&list, format!("120000 blob {blob}\t{evil}\n")).unwrap();
        let script = format!("git mktree < {}", list.display());
        let out = std::process::Command::new("sh")
            .args(["-c", &script])
            .current_dir(world.repos.path(name))
            .output()
            .unwrap();
        let tree = String::from_utf8(out.stdout).unwrap().trim().to_owned();
        let commit = world.repos.git(name, &["commit-tree", "-m", "x", &tree]);
        world.repos.git(name, &["update-ref", "refs/heads/main", &commit]);
    }
    let server = world.serve();
    for name in ["dir", "case"] {
        let error = world.fails(&server.url(&format!("/{name}.git")));
        assert!(error.to_lowercase().contains("invalid path '.git'"), "{error}");
    }
}

/// R3, R4, R22: credentials reach their own server alone, by no argument, and no redirect takes them along.
#[test]
fn credentials_go_to_their_server_alone() {
    struct Token;
    impl SecretSource for Token {
        fn secret(&self, id: &str) -> Option<&[u8]> {
            (id == "GIT_AUTH_TOKEN.127.0.0.1").then_some(b"to:ken\n")
        }
    }
    let world = world();
    world.repos.init("app");
    world.repos.write("app/a", "a", 0o644);
    world.repos.commit("app");
    let private = |wanted: &'static str| {
        world.repos.serve(move |request| match request.header("authorization") {
            Some(given) if given == wanted => None,
            _ => Some(reply("401 Unauthorized", &[("WWW-Authenticate", "Basic")], b"")),
        })
    };
    let server = private("Basic bWU6cGFzcyB3b3Jk");
    let with = server.url("/app.git").replace("http://", "http://me:pass%20word@");
    assert_eq!(world.files(&with).unwrap()["a"], "a");
    let wrong = with.replace("pass", "hush");
    let error = format!("{} {:?}", world.fails(&wrong), world.files(&wrong));
    assert!(!error.contains("hush") && error.contains("/app.git"), "{error}");

    let server = private("Basic eC1hY2Nlc3MtdG9rZW46dG86a2Vu");
    let access = Access { secrets: &Token, agent: None };
    Commits::new(&world.store, &world.options, access).bring(&repo(&server.url("/app.git"))).unwrap();

    let thief = Server::start(|_, _| reply("200 OK", &[], b""));
    let to = thief.url("/app.git/info/refs?service=git-upload-pack");
    let away = Server::start(move |_, _| reply("302 Found", &[("Location", &to)], b""));
    let access = Access { secrets: &Token, agent: None };
    let commits = Commits::new(&world.store, &world.options, access);
    assert!(commits.bring(&repo(&away.url("/app.git"))).is_err());
    assert_eq!(thief.seen().len(), 0);
}

/// What a repository names is not what the user names: a token without a host is not for it.
#[test]
fn a_token_goes_to_no_server_that_a_repository_names() {
    struct Token;
    impl SecretSource for Token {
        fn secret(&self, id: &str) -> Option<&[u8]> {
            (id == "GIT_AUTH_TOKEN").then_some(b"to:ken\n")
        }
    }
    let world = world();
    for name in ["inner", "app"] {
        world.repos.init(name);
        world.repos.write(&format!("{name}/{name}.txt"), name, 0o644);
        world.repos.commit(name);
    }
    let (server, other) = (world.serve(), world.serve());
    let inner = other.url("/inner.git").replace("127.0.0.1", "localhost");
    world.repos.git("app", &["-c", "protocol.allow=always", "submodule", "--quiet", "add", &inner, "sub"]);
    world.repos.commit("app");
    let asked = other.seen().len();
    let access = Access { secrets: &Token, agent: None };
    let commits = Commits::new(&world.store, &world.options, access);
    let repo = repo(&server.url("/app.git"));
    let commit = commits.bring(&repo).unwrap();
    assert_eq!(listed(&commits.tree(&repo, &commit).unwrap())["sub/inner.txt"], "inner");
    let sent = |server: &Server, from: usize| {
        server.seen()[from..].iter().filter(|request| request.header("authorization").is_some()).count()
    };
    assert!(sent(&server, 0) > 0, "the server that was named gets it");
    assert!(other.seen().len() > asked && sent(&other, asked) == 0, "the other does not");
}

/// What a killed git leaves: locks, and a commit without its files.
#[test]
fn a_mirror_that_was_left_in_pieces_is_mended() {
    let world = world();
    world.repos.init("app");
    world.repos.write("app/a", "a", 0o644);
    let first = world.repos.commit("app");
    let server = world.serve();
    let url = server.url("/app.git");
    world.files(&url).unwrap();
    let mirror = |below: &str| {
        let git = world.store.root().join("git");
        let found = crate::support::children(&git);
        found.iter().find(|path| path.to_str().unwrap().ends_with(".sha1")).unwrap().join(below)
    };
    for lock in ["shallow.lock", "config.lock", "refs/heads/main.lock"] {
        std::fs::write(mirror(lock), "").unwrap();
    }
    world.repos.write("app/a", "b", 0o644);
    world.repos.commit("app");
    assert_eq!(world.files(&url).unwrap()["a"], "b");
    assert!(!mirror("shallow.lock").exists());

    // The commit is there and nothing says that its files are.
    std::fs::remove_file(mirror(&format!("lith-whole/{first}"))).unwrap();
    let asked = server.seen().len();
    assert_eq!(world.files(&format!("{url}#{first}")).unwrap()["a"], "a");
    assert!(server.seen().len() > asked);
    for part in ["HEAD", "objects", "lith-whole"] {
        let path = mirror(part);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap()
        } else {
            std::fs::remove_file(path).unwrap()
        }
    }
    assert_eq!(world.files(&format!("{url}#{first}")).unwrap()["a"], "a");
}

/// A server that accepts and says nothing is not waited for.
#[test]
fn a_silent_server_is_left() {
    let mut world = world();
    world.options.patience = Duration::from_secs(1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = world.fails(&format!("git://{}/x", listener.local_addr().unwrap()));
    assert!(error.contains("says nothing"), "{error}");
}

#[test]
fn a_kept_git_dir_is_the_same_each_time_and_works() {
    let world = world();
    world.repos.init("app");
    world.repos.write("app/a", "a", 0o644);
    world.repos.commit("app");
    world.repos.write("app/a", "b", 0o644);
    let second = world.repos.commit("app");
    let server = world.serve();
    let repo = repo(&server.url("/app.git"));
    let commits = world.commits();
    let commit = commits.bring(&repo).unwrap();
    let dir = commits.git_dir(&repo, &commit).unwrap();
    assert_eq!(
        format!("{:?}", dir.entries),
        format!("{:?}", commits.git_dir(&repo, &commit).unwrap().entries)
    );
    let out = tempfile::tempdir().unwrap();
    for (path, bytes) in &dir.entries {
        let path = out.path().join(".git").join(path.as_os_str());
        match bytes {
            None => std::fs::create_dir_all(&path).unwrap(),
            Some(bytes) => {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, bytes).unwrap();
            }
        }
    }
    std::fs::write(out.path().join("a"), "b").unwrap();
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git").args(args).current_dir(out.path()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    assert_eq!(git(&["rev-parse", "HEAD"]), (true, second));
    assert_eq!(git(&["status", "--porcelain"]), (true, String::new()), "nothing differs from the commit");
    assert_eq!(git(&["log", "--format=%s"]), (true, "x".to_owned()));
}
