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

/// A server of the `git` protocol: it takes a request for a commit, and then says something again and again, with a pause
/// after each time. Ends when its client is gone, or after so many times.
fn muttering(text: &'static [u8], times: usize) -> (String, std::thread::JoinHandle<()>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/x.git#{}", listener.local_addr().unwrap(), "ab".repeat(20));
    let packet = |text: &[u8]| [format!("{:04x}", text.len() + 4).as_bytes(), text].concat();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 4096];
        let _ = stream.read(&mut asked);
        let can = ["version 2\n", "fetch=shallow\n", "object-format=sha1\n"];
        let can: Vec<u8> = can.iter().flat_map(|line| packet(line.as_bytes())).collect();
        let _ = stream.write_all(&[&can[..], b"0000"].concat());
        let _ = stream.read(&mut asked);
        let _ = stream.write_all(&packet(b"packfile\n"));
        for _ in 0..times {
            if stream.write_all(&packet(text)).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    (url, thread)
}

/// R12: a server that says now and then that it is at it keeps nobody waiting for ever, and git does not stay behind.
#[test]
fn a_server_that_drips_is_left() {
    let mut world = world();
    world.options.patience = Duration::from_secs(1);
    let (url, server) = muttering(b"\x02\n", usize::MAX);
    let error = world.fails(&url);
    assert!(error.contains("next to nothing"), "{error}");
    server.join().expect("it was left by all processes");
    // One that says enough is heard to the end.
    let (url, server) = muttering(b"\x02counting the objects that this takes\n", 25);
    let error = world.fails(&url);
    assert!(!error.contains("next to nothing") && !error.contains("says nothing"), "{error}");
    server.join().unwrap();
}

#[test]
fn an_ssh_server_that_never_comes_to_the_point_is_left() {
    use std::io::Write as _;
    if !crate::support::has("ssh") {
        return crate::support::skip("needs ssh").unwrap_or_default();
    }
    let mut world = world();
    world.options.patience = Duration::from_secs(1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ssh://git@{}/x.git", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while stream.write_all(b"x\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert!(world.files(&url).is_err());
    server.join().expect("it was left by all processes");
}

/// Bytes that do not compress.
fn noise(count: usize) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"noise");
    let mut bytes = vec![0; count];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Names in the store that a fetch leaves if nobody cleans up after it.
fn leftovers(store: &Store) -> Vec<std::path::PathBuf> {
    let mut found = crate::support::children(&store.root().join("tmp"));
    for mirror in crate::support::children(&store.root().join("git")) {
        if mirror.join("objects").is_dir() {
            for dir in ["objects", "objects/pack"] {
                let all = crate::support::children(&mirror.join(dir));
                found.extend(all.into_iter().filter(|path| {
                    let name = path.file_name().unwrap().to_string_lossy().into_owned();
                    name.starts_with("tmp") || name.ends_with(".pack")
                }));
            }
        }
    }
    found
}

#[test]
fn objects_beyond_the_limit_are_not_kept() {
    let mut world = world();
    world.repos.init("app");
    std::fs::write(world.repos.path("app/a"), noise(3 << 20)).unwrap();
    world.repos.commit("app");
    let server = world.serve();
    world.options.largest = 1 << 20;
    let error = world.fails(&server.url("/app.git"));
    assert!(error.contains("is larger than the limit of 1048576 bytes"), "{error}");
    assert_eq!(leftovers(&world.store), Vec::<std::path::PathBuf>::new());
    world.options.largest = 1 << 30;
    assert_eq!(world.files(&server.url("/app.git")).unwrap().len(), 1);
}

/// Trees that hold one another many times: few objects, and more files than any disk has room for.
#[test]
fn a_bomb_of_trees_does_not_go_off() {
    let mut world = world();
    world.repos.init("app");
    std::fs::write(world.repos.path("app/a"), vec![0; 100_000]).unwrap();
    let first = world.repos.commit("app");
    let blob = world.repos.git("app", &["rev-parse", "HEAD:a"]);
    let bomb = |levels: usize, name: &str| {
        let mut entry = format!("100644 blob {blob}");
        for _ in 0..levels {
            let list: String = (0..10).map(|at| format!("{entry}\t{name}{at}\n")).collect();
            std::fs::write(world.repos.path("list"), list).unwrap();
            let mut mktree = std::process::Command::new("git");
            mktree.arg("mktree").current_dir(world.repos.path("app"));
            let made = mktree.stdin(std::fs::File::open(world.repos.path("list")).unwrap()).output().unwrap();
            entry = format!("040000 tree {}", String::from_utf8(made.stdout).unwrap().trim());
        }
        let tree = entry.rsplit(' ').next().unwrap().to_owned();
        world.repos.git("app", &["commit-tree", "-m", "x", "-p", &first, &tree])
    };
    let bombs = [("large", bomb(2, "x")), ("wide", bomb(8, "x")), ("deep", bomb(20, &"n".repeat(250)))];
    for (name, commit) in &bombs {
        world.repos.git("app", &["branch", name, commit]);
    }
    let server = world.serve();
    let url = |more: &str| server.url(&format!("/app.git?submodules=false&ref={more}"));
    world.options.largest = 1 << 20;
    let error = world.fails(&url("large"));
    assert!(error.contains("the tar of its files: it is larger than 1048576 bytes"), "{error}");
    world.options.largest = 1 << 40;
    assert_eq!(world.files(&url("large")).unwrap().len(), 110, "ten directories of ten");
    world.options.most_files = 5000;
    let error = world.fails(&url("wide"));
    assert!(error.contains("it has more than 5000 files"), "{error}");
    let error = world.fails(&url("deep"));
    assert!(error.contains("it is too long"), "{error}");
    assert_eq!(crate::support::children(&world.store.root().join("tmp")), Vec::<std::path::PathBuf>::new());
}

/// What comes is told: how many objects, by git's own count.
#[test]
fn a_fetch_is_watched() {
    use crate::support::watch::Notes;
    let mut world = world();
    world.repos.init("app");
    world.repos.write("app/a", "a", 0o644);
    world.repos.commit("app");
    let server = world.serve();
    let notes = Notes::watching(&mut world.options);
    world.files(&server.url("/app.git")).unwrap();
    let told = notes.all();
    let url = server.url("/app.git");
    assert_eq!(told.first().unwrap(), &format!("Fetch {url}"));
    assert!(told.iter().any(|line| line.contains("3 of 3 objects")), "{told:?}");
    assert_eq!(told.last().unwrap(), "Done");
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
