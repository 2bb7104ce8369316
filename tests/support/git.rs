//! Git repositories for tests, served over http by git's own server program.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::server::{Reply, Request, Server, reply};

/// Work trees below one directory; each is served as `/NAME/.git`, and by the link `/NAME.git`.
pub struct Repos {
    dir: tempfile::TempDir,
}

/// When all commits of tests are made.
pub const COMMIT_TIME: i64 = 1_700_000_000;

impl Repos {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Makes an empty repository with the branch `main`.
    pub fn init(&self, name: &str) {
        self.git(".", &["init", "--quiet", "--initial-branch=main", name]);
        std::os::unix::fs::symlink(format!("{name}/.git"), self.path(&format!("{name}.git"))).unwrap();
    }

    /// Runs git in a work tree; gives what it prints, trimmed.
    #[track_caller]
    pub fn git(&self, name: &str, args: &[&str]) -> String {
        let output = git(&self.path(name)).args(args).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn write(&self, path: &str, text: &str, mode: u32) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Commits everything there is; gives the commit.
    #[track_caller]
    pub fn commit(&self, name: &str) -> String {
        self.git(name, &["add", "--all"]);
        self.git(name, &["commit", "--quiet", "--allow-empty", "--message=x"]);
        self.git(name, &["rev-parse", "HEAD"])
    }

    /// Serves all repositories; `before` may answer a request itself.
    pub fn serve(&self, before: impl Fn(&Request) -> Option<Reply> + Send + 'static) -> Server {
        let root = self.dir.path().to_owned();
        Server::start(move |request, _| before(request).unwrap_or_else(|| backend(&root, request)))
    }
}

fn git(dir: &Path) -> Command {
    let date = format!("{COMMIT_TIME} +0000");
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs([("GIT_AUTHOR_DATE", &date), ("GIT_COMMITTER_DATE", &date)])
        .envs([("GIT_AUTHOR_NAME", "t"), ("GIT_COMMITTER_NAME", "t")])
        .envs([("GIT_AUTHOR_EMAIL", "t@example.invalid"), ("GIT_COMMITTER_EMAIL", "t@example.invalid")]);
    command
}

/// One request through `git http-backend`.
fn backend(root: &Path, request: &Request) -> Reply {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let mut command = git(root);
    let mut child = command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", request.header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", request.header("content-encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", request.header("git-protocol").unwrap_or_default())
        .env("HTTP_GIT_PROTOCOL", request.header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(&request.body);
    let out = child.wait_with_output().unwrap().stdout;
    let Some(end) = out.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return reply("500 Internal Server Error", &[], b"");
    };
    let head = String::from_utf8_lossy(&out[..end]).into_owned();
    let mut headers: Vec<(&str, &str)> = head.lines().filter_map(|line| line.split_once(": ")).collect();
    let status = headers.iter().find(|(name, _)| *name == "Status").map_or("200 OK", |(_, value)| value);
    headers.retain(|(name, _)| *name != "Status");
    reply(status, &headers, &out[end + 4..])
}

/// Passes a request on to another server; gives its answer as it is.
pub fn forward(to: &Server, request: &Request) -> Reply {
    use std::io::Read as _;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", to.port)).unwrap();
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    stream.write_all(&request.body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}
