//! Steps that bring files: `copy`, `add`, `fetch`, `file`.

use crate::frontend::files::{self, Fault, NO_FILES};
use crate::frontend::scope::clean;
use crate::frontend::shown::shown;
use crate::recipe::chmod::{Chmod, ChmodError};
use crate::recipe::{Copy, CopySource, FilesFrom, Link, Op, Unpack};
use crate::remote::{Remote, redact};

use super::super::taking::Taking;
use super::super::tree::{Node, Text};
use super::{Lowering, Part};

/// Owner and mode of what comes, and whether its layer stands alone.
struct Meta {
    owner: Option<String>,
    mode: Option<Chmod>,
    link: Link,
    /// As the history has it.
    flags: String,
}

/// What a step takes.
struct Taken {
    from: FilesFrom,
    sources: Vec<CopySource>,
    inline: Vec<(String, Vec<u8>)>,
    /// As the history has it.
    text: String,
}

/// Everything about a copy but its destination.
struct Made {
    /// As the history has it.
    verb: &'static str,
    unpack: Unpack,
    taken: Taken,
    meta: Meta,
    exclude: Vec<String>,
}

impl Lowering<'_, '_> {
    /// Files of the context, of a stage, of an image; and files that the text itself has.
    pub(super) fn copy(&mut self, node: &Node) {
        let mut taking = Taking::new(node);
        let texts = taking.args(self.words);
        let parents = taking.flag("parents", self.words) == Some(true);
        let named = self.files_from(&mut taking);
        let mut taken = Taken::of(named.unwrap_or(FilesFrom::Context));
        for text in &texts {
            if Remote::parse(&text.text) != Ok(None) {
                let message =
                    format!("copy takes nothing from other machines: {}", shown(&redact(&text.text)));
                self.words.problems.error_help(text.span, message, "use fetch");
                continue;
            }
            let source = self.local(&text.text, parents, text);
            if taken.from == FilesFrom::Scratch && source.as_ref().is_some_and(files::names_a_file) {
                self.words.problems.error(text.span, NO_FILES);
            }
            taken.push(source, &text.text);
        }
        self.inline(&mut taking, &mut taken);
        self.needs_source(node, &taken, node.args.len());
        self.bring(node, taking, taken, Unpack::Never, if parents { "COPY --parents" } else { "COPY" });
    }

    /// Files of the context, archives among them unpacked, and files of other machines.
    pub(super) fn add(&mut self, node: &Node) {
        let mut taking = Taking::new(node);
        let texts = taking.args(self.words);
        let parents = taking.flag("parents", self.words) == Some(true);
        let unpack = match taking.flag("unpack", self.words) {
            None => Unpack::Archives,
            Some(true) => Unpack::All,
            Some(false) => Unpack::Never,
        };
        let mut taken = Taken::of(FilesFrom::Context);
        for text in &texts {
            let source = match self.remote(text) {
                Ok(None) => self.local(&text.text, parents, text),
                Ok(remote) => remote,
                Err(()) => None,
            };
            taken.push(source, &text.text);
        }
        self.inline(&mut taking, &mut taken);
        self.needs_source(node, &taken, node.args.len());
        self.pins(node, &mut taking, &mut taken);
        self.bring(node, taking, taken, unpack, if parents { "ADD --parents" } else { "ADD" });
    }

    /// One file or repository of another machine.
    pub(super) fn fetch(&mut self, node: &Node) {
        let mut taking = Taking::new(node);
        let url = taking.only("a URL or a git repository", self.words);
        let unpack = match taking.flag("unpack", self.words) {
            Some(true) => Unpack::All,
            Some(false) | None => Unpack::Never,
        };
        let mut taken = Taken::of(FilesFrom::Context);
        if let Some(url) = &url {
            let source = self.remote(url);
            if matches!(source, Ok(None)) {
                let message = format!("{} is neither a URL nor a git repository", shown(&url.text));
                let help = "write https://…, or use copy or add for files of the context";
                self.words.problems.error_help(url.span, message, help);
            }
            taken.push(source.ok().flatten(), &url.text);
        }
        self.pins(node, &mut taking, &mut taken);
        self.bring(node, taking, taken, unpack, "ADD");
    }

    /// One file whose bytes the text has.
    pub(super) fn file(&mut self, node: &Node) {
        let mut taking = Taking::new(node);
        let path = taking.only("a path", self.words);
        let content = taking.needed_text("content", self.words);
        let meta = self.meta(&mut taking);
        let history = self.history(&mut taking);
        taking.finish(self.words);
        let (Some(path), Some(content)) = (path, content) else { return };
        if files::is_directory(&path.text) {
            let message = format!("{} is a directory, not a file", shown(&path.text));
            return self.words.problems.error(path.span, message);
        }
        let mut taken = Taken::of(FilesFrom::Context);
        taken.inline(files::base_name(&path.text), content.text);
        let made = Made { verb: "COPY", unpack: Unpack::Never, taken, meta, exclude: Vec::new() };
        self.put(node, made, &path, history);
    }

    /// Everything that copies of all kinds have in common.
    fn bring(&mut self, node: &Node, mut taking: Taking, taken: Taken, unpack: Unpack, verb: &'static str) {
        let to = taking.needed_text("to", self.words);
        let meta = self.meta(&mut taking);
        let excluded = taking.lists("exclude", self.words);
        let history = self.history(&mut taking);
        taking.finish(self.words);
        for pattern in &excluded {
            let checked = files::exclusion(&pattern.text);
            self.checked(checked, pattern);
        }
        let exclude = excluded.into_iter().map(|pattern| pattern.text).collect();
        if let Some(to) = to {
            self.put(node, Made { verb, unpack, taken, meta, exclude }, &to, history);
        }
    }

    fn put(&mut self, node: &Node, made: Made, to: &Text, history: Option<Text>) {
        let Some(dest) = self.path(&clean(&self.scope.cwd(), &to.text), to.span) else { return };
        let Made { verb, unpack, taken, meta, exclude } = made;
        let created_by = format!("{verb}{}{} {} # buildkit", meta.flags, taken.text, to.text);
        let op = Op::Copy(Copy {
            from: taken.from,
            sources: taken.sources,
            inline: taken.inline,
            dest,
            dest_is_dir: files::is_directory(&to.text),
            chown: meta.owner,
            link: meta.link,
            chmod: meta.mode,
            unpack,
            exclude,
        });
        self.push(node, Part { op, created_by }, history);
    }

    fn needs_source(&mut self, node: &Node, taken: &Taken, args: usize) {
        if args == 0 && taken.inline.is_empty() {
            let message = format!("{} needs at least one source", node.name.text);
            self.words.problems.error(node.name.span, message);
        }
    }

    fn local(&mut self, text: &str, parents: bool, at: &Text) -> Option<CopySource> {
        let source = match parents {
            true => files::source_below(text),
            false => files::source_path(text).map(CopySource::Path),
        };
        // How a list is written differs from language to language.
        let source = source.map_err(|fault| Fault {
            help: fault.help.map(|_| "a plain '[' is written [[]".to_owned()),
            ..fault
        });
        self.checked(source, at)
    }

    pub(super) fn checked<T>(&mut self, result: Result<T, Fault>, at: &Text) -> Option<T> {
        result.map_err(|fault| self.words.problems.fault(at.span, fault)).ok()
    }

    /// What a text names on another machine; `Ok(None)` if it is a path.
    fn remote(&mut self, text: &Text) -> Result<Option<CopySource>, ()> {
        match Remote::parse(&text.text) {
            Ok(None) => Ok(None),
            Ok(Some(Remote::File(url))) => Ok(Some(CopySource::Url { url, checksum: None })),
            Ok(Some(Remote::Git(repo))) => Ok(Some(CopySource::Git(repo))),
            Err(error) => {
                self.words.problems.error(text.span, error.to_string());
                Err(())
            }
        }
    }

    /// `sha256=` of a file, `commit=` of a repository: for one source alone.
    fn pins(&mut self, node: &Node, taking: &mut Taking, taken: &mut Taken) {
        let (sha256, commit) = (taking.text("sha256", self.words), taking.text("commit", self.words));
        for (pin, name) in [(&sha256, "sha256"), (&commit, "commit")] {
            let Some(pin) = pin else { continue };
            // A source that cannot be read was reported.
            if taken.sources.len() < node.args.len() {
                continue;
            }
            match taken.sources.as_mut_slice() {
                [CopySource::Url { checksum, .. }] if name == "sha256" => {
                    match format!("sha256:{}", pin.text).parse() {
                        Ok(digest) => *checksum = Some(digest),
                        Err(_) => {
                            let message = format!("{} is no sha256", shown(&pin.text));
                            self.words.problems.error_help(pin.span, message, "write 64 hexadecimal digits");
                        }
                    }
                }
                [CopySource::Git(repo)] if name == "commit" => {
                    match (**repo).clone().with_checksum(&pin.text) {
                        Ok(pinned) => **repo = pinned,
                        Err(error) => self.words.problems.error(pin.span, error.to_string()),
                    }
                }
                _ => {
                    let of = if name == "sha256" { "a URL" } else { "a git repository" };
                    self.words
                        .problems
                        .error(pin.span, format!("{name} is for {of}, and for one source alone"));
                }
            }
        }
    }

    /// `inline NAME CONTENT`.
    fn inline(&mut self, taking: &mut Taking, taken: &mut Taken) {
        for child in taking.children("inline") {
            let mut own = Taking::new(child);
            let texts = own.args(self.words);
            own.finish(self.words);
            match (child.args.len(), <[Text; 2]>::try_from(texts)) {
                (2, Ok([name, content])) if !name.text.is_empty() => taken.inline(&name.text, content.text),
                (2, Err(_)) => {}
                _ => self.words.problems.error(child.head, "inline takes a file's name and its content"),
            }
        }
    }

    fn meta(&mut self, taking: &mut Taking) -> Meta {
        let owner = taking.text("owner", self.words).filter(|owner| !owner.text.is_empty());
        let mode = taking.text("mode", self.words).filter(|mode| !mode.text.is_empty());
        let link = taking.flag("link", self.words) == Some(true);
        let mut flags = String::new();
        for (name, text) in [("chown", &owner), ("chmod", &mode)] {
            flags.extend(text.iter().map(|text| format!(" --{name}={}", text.text)));
        }
        if let (true, Some(mode)) = (link, &mode) {
            let help = "leave one of them out";
            self.words.problems.error_help(mode.span, "a linked copy keeps the modes of its files", help);
        }
        if let Some((owner, name)) =
            owner.as_ref().and_then(|owner| Some((owner, files::owner_by_name(&owner.text)?)))
            && link
        {
            let message = format!("{} in the owner of a linked copy is no number", shown(name));
            let help = "link looks at no passwd file: write user and group as numbers, or leave link out";
            self.words.problems.error_help(owner.span, message, help);
        }
        Meta {
            owner: owner.map(|owner| owner.text),
            mode: mode.and_then(|mode| self.mode(&mode)),
            link: if link { Link::Yes } else { Link::No },
            flags,
        }
    }

    fn mode(&mut self, text: &Text) -> Option<Chmod> {
        match text.text.parse() {
            Ok(mode) => Some(mode),
            Err(error) => {
                let error: ChmodError = error;
                let message = format!("{} is no mode", shown(&text.text));
                self.words.problems.error_help(text.span, message, error.to_string());
                None
            }
        }
    }
}

impl Taken {
    fn of(from: FilesFrom) -> Self {
        Self { from, sources: Vec::new(), inline: Vec::new(), text: String::new() }
    }

    /// (As the Dockerfile's history has it, but without user and password.)
    fn push(&mut self, source: Option<CopySource>, text: &str) {
        self.sources.extend(source);
        self.text.extend([" ", &redact(text)]);
    }

    fn inline(&mut self, name: &str, content: String) {
        self.text.extend([" <<", name]);
        self.inline.push((name.to_owned(), content.into_bytes()));
    }
}
