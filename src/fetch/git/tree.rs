//! The files of a commit, out of the object store: as git would check them out, submodules in their places.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use super::{Commit, Commits};
use crate::diag::escape;
use crate::fetch::FetchError;
use crate::layer::Node;
use crate::layer::read::{self, Fault, Limits};
use crate::path::ImagePath;
use crate::remote::GitRepo;
use crate::store::StoreError;
use crate::sys::file::{self, Unnamed};

/// How deep submodules may be nested.
const DEEPEST: usize = 8;
/// How many submodules one repository may have, those of submodules included.
const MOST: usize = 1000;
/// The longest line about a file: what an image may call it, and what comes before that.
const LONGEST_RECORD: u64 = 4096 + 128;
/// Bytes of the names of all files together.
const NAMES: u64 = 256 << 20;

/// How packs are made: the same bytes for the same objects and version of git.
const PACKING: [&str; 6] =
    ["pack-objects", "--quiet", "--threads=1", "--window=0", "--compression=6", "--no-reuse-object"];

/// What a commit holds below the wanted directory.
#[derive(Debug, Default)]
pub struct GitTree {
    /// In layer order, paths relative to the wanted directory.
    pub entries: Vec<(ImagePath, GitEntry)>,
}

/// One file, directory or symlink.
#[derive(Debug, Clone)]
pub struct GitEntry {
    pub node: Node,
    /// Whether it may be executed.
    pub executable: bool,
    /// What a file's offset is in.
    pub tar: Arc<File>,
}

/// The files of a `.git` that makes a checkout a repository again, by path below it, in layer order.
#[derive(Debug, Default)]
pub struct GitDir {
    /// Directories have no bytes.
    pub entries: Vec<(ImagePath, Option<Vec<u8>>)>,
}

/// What may still come, in one walk through a repository and its submodules.
struct Left {
    submodules: usize,
    files: Limits,
}

/// A submodule's place in a tree.
struct Link {
    path: ImagePath,
    commit: String,
}

impl Commits<'_> {
    /// The files of a commit that was brought.
    pub fn tree(&self, repo: &GitRepo, commit: &Commit) -> Result<GitTree, FetchError> {
        let mut tree = GitTree::default();
        let files = Limits {
            max_size: self.options.largest,
            max_entries: self.options.most_files,
            max_metadata: NAMES,
        };
        let mut left = Left { submodules: MOST, files };
        self.collect(repo, commit, &repo.subdir, &ImagePath::root(), &mut left, DEEPEST, &mut tree)?;
        tree.entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        // A submodule's place is an empty directory of the tree that holds it.
        tree.entries.dedup_by(|(later, _), (first, _)| later == first);
        Ok(tree)
    }

    /// Puts what a commit holds below `subdir` into the tree, at `at`.
    #[expect(clippy::too_many_arguments, reason = "one walk with its bounds")]
    fn collect(
        &self,
        repo: &GitRepo,
        commit: &Commit,
        subdir: &ImagePath,
        at: &ImagePath,
        left: &mut Left,
        depth: usize,
        tree: &mut GitTree,
    ) -> Result<(), FetchError> {
        let links = self.links(repo, commit)?;
        let links = if repo.submodules { links } else { Vec::new() };
        if let Some(link) = links.iter().find(|link| subdir.strip_prefix(&link.path).is_some()) {
            let inner = subdir.strip_prefix(&link.path).expect("just found below it");
            return self.descend(repo, commit, link, &inner, at, left, depth, tree);
        }
        self.archive(repo, commit, subdir, at, &mut left.files, tree)?;
        for link in &links {
            if let Some(inner) = link.path.strip_prefix(subdir) {
                self.descend(repo, commit, link, &ImagePath::root(), &at.join(&inner), left, depth, tree)?;
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the same walk, one level down")]
    fn descend(
        &self,
        repo: &GitRepo,
        commit: &Commit,
        link: &Link,
        subdir: &ImagePath,
        at: &ImagePath,
        left: &mut Left,
        depth: usize,
        tree: &mut GitTree,
    ) -> Result<(), FetchError> {
        let fail = |reason: String| FetchError::Git { url: repo.shown(), reason };
        if depth == 0 || left.submodules == 0 {
            return Err(fail(format!(
                "it has submodules nested deeper than {DEEPEST} levels, or more than {MOST}"
            )));
        }
        left.submodules -= 1;
        let (inner, commit) = self.submodule(repo, commit, link)?;
        self.collect(&inner, &commit, subdir, at, left, depth - 1, tree)
    }

    /// The commit that stands at a submodule's place.
    fn submodule(
        &self,
        repo: &GitRepo,
        commit: &Commit,
        link: &Link,
    ) -> Result<(GitRepo, Commit), FetchError> {
        let url = self.submodule_url(repo, commit, &link.path)?;
        let inner = repo.submodule(&url, &link.commit).map_err(|error| FetchError::Git {
            url: repo.shown(),
            reason: format!("submodule {}: {error}", link.path),
        })?;
        let commit = self.bring(&inner)?;
        Ok((inner, commit))
    }

    /// A commit and those of its submodules, all of which are brought.
    pub fn with_submodules(
        &self,
        repo: &GitRepo,
        commit: &Commit,
    ) -> Result<Vec<(GitRepo, Commit)>, FetchError> {
        let mut all = vec![(repo.clone(), commit.clone())];
        let mut next = 0;
        while let Some((repo, commit)) = all.get(next).cloned() {
            if repo.submodules {
                for link in self.links(&repo, &commit)? {
                    all.push(self.submodule(&repo, &commit, &link)?);
                }
            }
            if all.len() > MOST {
                let reason = format!("it has more than {MOST} submodules");
                return Err(FetchError::Git { url: repo.shown(), reason });
            }
            next += 1;
        }
        Ok(all)
    }

    /// Writes the objects of a commit, without its history, as one pack.
    pub fn pack(&self, repo: &GitRepo, commit: &Commit, output: File) -> Result<(), FetchError> {
        let input = self.objects(repo, commit, &self.store.root().join("tmp"))?;
        let mut git = self.local(repo, Some(commit.mirror.as_path()));
        git.args(&PACKING).args(&["--stdout"]).pass(input, output)
    }

    /// A list of the objects of a commit, without its history.
    fn objects(&self, repo: &GitRepo, commit: &Commit, place: &Path) -> Result<File, FetchError> {
        let io = |error| FetchError::from(StoreError::from(error));
        let walk = ["rev-list", "--objects", "--no-walk", "--no-object-names", &commit.id];
        let objects = self.local(repo, Some(commit.mirror.as_path())).args(&walk).bytes()?;
        let mut list = Unnamed::new(place).map_err(io)?;
        list.write_all(&objects).map_err(io)?;
        let mut input = list.file().try_clone().map_err(io)?;
        input.seek(SeekFrom::Start(0)).map_err(io)?;
        Ok(input)
    }

    /// The submodules of a commit, in order of their paths.
    fn links(&self, repo: &GitRepo, commit: &Commit) -> Result<Vec<Link>, FetchError> {
        self.survey(repo, commit, |record| {
            let rest = record.strip_prefix(b"160000 commit ")?;
            let tab = rest.iter().position(|byte| *byte == b'\t')?;
            let path = ImagePath::parse(&rest[tab + 1..]).ok()?;
            Some(Link { path, commit: String::from_utf8_lossy(&rest[..tab]).into_owned() })
        })
    }

    /// Goes through the names of a commit one by one, and stops where there are too many: everything else in git holds
    /// all of them in memory.
    fn survey<T>(
        &self,
        repo: &GitRepo,
        commit: &Commit,
        wanted: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, FetchError> {
        let most = self.options.most_files;
        let mut git = self.local(repo, Some(&commit.mirror));
        git.args(&["ls-tree", "-r", "-t", "-z", "--full-tree", &commit.tree]).read(|printed| {
            let mut reader = BufReader::with_capacity(1 << 16, printed);
            let (mut found, mut names, mut record) = (Vec::new(), 0, Vec::new());
            for count in 0.. {
                record.clear();
                let read = reader.by_ref().take(LONGEST_RECORD).read_until(0, &mut record);
                if read.map_err(|error| error.to_string())? == 0 {
                    break;
                }
                if record.pop() != Some(0) {
                    return Err("it has a path that no image can have: it is too long".to_owned());
                }
                names += record.len() as u64;
                if count >= most || names > NAMES {
                    return Err(format!("it has more than {most} files, or {NAMES} bytes of their names"));
                }
                found.extend(wanted(&record));
            }
            Ok(found)
        })
    }

    /// What `.gitmodules` says about a place.
    fn submodule_url(&self, repo: &GitRepo, commit: &Commit, path: &ImagePath) -> Result<String, FetchError> {
        let blob = format!("{}:.gitmodules", commit.tree);
        let settings = self
            .local(repo, Some(&commit.mirror))
            .args(&["config", "--no-includes", "--blob", &blob, "--list", "-z"])
            .bytes()
            .unwrap_or_default();
        let settings = String::from_utf8_lossy(&settings).into_owned();
        let settings: Vec<(&str, &str)> =
            settings.split('\0').filter_map(|setting| setting.split_once('\n')).collect();
        let name = settings.iter().find_map(|(key, value)| {
            let name = key.strip_prefix("submodule.")?.strip_suffix(".path")?;
            (ImagePath::parse(value.as_bytes()).ok().as_ref() == Some(path)).then_some(name)
        });
        let url = name.and_then(|name| {
            let wanted = format!("submodule.{name}.url");
            settings.iter().rev().find(|(key, _)| *key == wanted).map(|(_, url)| (*url).to_owned())
        });
        url.ok_or_else(|| FetchError::Git {
            url: repo.shown(),
            reason: format!(".gitmodules has no url for the submodule {path}"),
        })
    }

    /// The files of the commit's own tree.
    fn archive(
        &self,
        repo: &GitRepo,
        commit: &Commit,
        subdir: &ImagePath,
        at: &ImagePath,
        left: &mut Limits,
        tree: &mut GitTree,
    ) -> Result<(), FetchError> {
        let fail = |reason: String| FetchError::Git { url: repo.shown(), reason };
        let path = subdir.as_os_str().to_string_lossy();
        let mut git = self.local(repo, Some(&commit.mirror));
        git.args(&["archive", "--format=tar", &commit.tree]);
        if !subdir.is_root() {
            self.check_directory(repo, commit, &path)?;
            git.args(&["--", &path]);
        }
        let spool = Unnamed::new(&self.store.root().join("tmp")).map_err(StoreError::from)?;
        let file = spool.file().try_clone().map_err(StoreError::from)?;
        let indexed = git.read(|printed| {
            let tee = Tee { from: BufReader::with_capacity(1 << 18, printed), to: &file };
            read::index(tee, left).map_err(|error| match error.what {
                what @ (Fault::TooLarge(_) | Fault::TooManyEntries(_) | Fault::TooMuchMetadata(_)) => {
                    format!("the tar of its files: {what}")
                }
                _ => format!("its archive is not sound: {error}"),
            })
        })?;
        left.max_size -= indexed.size;
        left.max_entries -= indexed.toc.entries().len();
        let tar = Arc::new(file);
        for entry in indexed.toc.entries() {
            let Some(relative) = entry.path.strip_prefix(subdir) else { continue };
            if relative.names().any(|name| name.eq_ignore_ascii_case(b".git")) {
                return Err(fail(format!(
                    "it holds {}, which no checkout may",
                    escape(entry.path.as_bytes())
                )));
            }
            match &entry.node {
                Node::Dir | Node::File { .. } | Node::Symlink(_) => {}
                // git writes no others but for names that a layer would take for its own marks.
                _ => return Err(fail(format!("{} cannot be in an image", escape(entry.path.as_bytes())))),
            }
            if relative.is_root() {
                continue;
            }
            let executable = entry.meta.mode & 0o111 != 0;
            let entry = GitEntry { node: entry.node.clone(), executable, tar: tar.clone() };
            tree.entries.push((at.join(&relative), entry));
        }
        Ok(())
    }

    fn check_directory(&self, repo: &GitRepo, commit: &Commit, path: &str) -> Result<(), FetchError> {
        let listed = self
            .local(repo, Some(&commit.mirror))
            .args(&["ls-tree", "-z", "--full-tree", &commit.tree, "--", path])
            .bytes()?;
        if listed.starts_with(b"040000 tree ") {
            return Ok(());
        }
        Err(FetchError::Git { url: repo.shown(), reason: format!("{path} is not a directory of it") })
    }

    /// A `.git` for a checkout of the commit: its objects alone, no history, a detached HEAD, an index without times.
    /// It depends on the commit and git's version alone.
    pub fn git_dir(&self, repo: &GitRepo, commit: &Commit) -> Result<GitDir, FetchError> {
        let place = self.store.root().join("tmp").join(file::unique_name());
        let made = self.make_git_dir(repo, commit, &place);
        let _ = fs::remove_dir_all(&place);
        made
    }

    fn make_git_dir(&self, repo: &GitRepo, commit: &Commit, place: &Path) -> Result<GitDir, FetchError> {
        let io = |error| FetchError::from(StoreError::from(error));
        fs::create_dir(place).map_err(io)?;
        let mirror = Some(commit.mirror.as_path());
        let input = self.objects(repo, commit, place)?;
        let pack = place.join("pack");
        let name = {
            let mut git = self.local(repo, mirror);
            git.args(&PACKING).args(&[&pack.to_string_lossy()]);
            let printed = git.fed(input)?;
            String::from_utf8_lossy(&printed).trim().to_owned()
        };
        let index = place.join("index");
        self.local(repo, mirror).env("GIT_INDEX_FILE", &index).args(&["read-tree", &commit.tree]).text()?;
        let read = |path: &Path| fs::read(path).map_err(io);
        let config = format!(
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n[remote \"origin\"]\n\turl = \"{}\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
            repo.url.replace('\\', "\\\\").replace('"', "\\\"")
        );
        let packed = |kind: &str| format!("objects/pack/pack-{name}.{kind}");
        let id = format!("{}\n", commit.id).into_bytes();
        let mut entries: Vec<(String, Option<Vec<u8>>)> = vec![
            ("HEAD".into(), Some(id.clone())),
            ("config".into(), Some(config.into_bytes())),
            ("index".into(), Some(read(&index)?)),
            ("objects".into(), None),
            ("objects/pack".into(), None),
            (packed("idx"), Some(read(&place.join(format!("pack-{name}.idx")))?)),
            (packed("pack"), Some(read(&place.join(format!("pack-{name}.pack")))?)),
            ("refs".into(), None),
            ("shallow".into(), Some(id)),
        ];
        let parse = |path: String| ImagePath::parse(path.as_bytes()).expect("names of our own");
        let mut entries: Vec<_> = entries.drain(..).map(|(path, bytes)| (parse(path), bytes)).collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(GitDir { entries })
    }
}

/// A reader that leaves a copy of what it reads.
struct Tee<'a, R> {
    from: R,
    to: &'a File,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.from.read(buffer)?;
        self.to.write_all(&buffer[..got])?;
        Ok(got)
    }
}
