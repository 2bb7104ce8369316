//! `mount` of a `run`.

use crate::frontend::files::{self, Fault, NO_FILES};
use crate::frontend::scope::clean;
use crate::frontend::shown::{shown, similar};
use crate::path::ImagePath;
use crate::recipe::FilesFrom;
use crate::recipe::mount::{
    Access, BindMount, CacheMount, Mount, NodeOwner, SecretMount, Sharing, SshMount, TmpfsMount,
};
use crate::size;

use super::super::taking::Taking;
use super::super::tree::{Node, Text, Value};
use super::Lowering;

const KINDS: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];

impl Lowering<'_, '_> {
    /// All mounts of a step.
    pub(super) fn mounts(&mut self, taking: &mut Taking) -> Vec<Mount> {
        let mut mounts = Vec::new();
        let mut sockets = 0;
        for node in taking.children("mount") {
            let mut own = Taking::new(node);
            let mount = self.mount(node, &mut own, &mut sockets);
            if mount.is_some() {
                own.finish(self.words);
            }
            mounts.extend(mount);
        }
        mounts
    }

    /// None if that was reported.
    fn mount(&mut self, node: &Node, taking: &mut Taking, sockets: &mut usize) -> Option<Mount> {
        let kind = taking.only_name("its kind: bind, cache, tmpfs, secret or ssh", self.words)?;
        match kind.text.as_str() {
            "bind" => self.bind(node, taking),
            "cache" => self.cache(node, taking),
            "tmpfs" => self.tmpfs(node, taking),
            "secret" => self.secret(node, taking),
            "ssh" => self.ssh(taking, sockets),
            other => {
                let message = format!("{} is no kind of mount", shown(other));
                let help = match similar(other, KINDS) {
                    Some(known) => format!("did you mean {known}?"),
                    None => "use bind, cache, tmpfs, secret or ssh".to_owned(),
                };
                self.words.problems.error_help(kind.span, message, help);
                None
            }
        }
    }

    fn bind(&mut self, node: &Node, taking: &mut Taking) -> Option<Mount> {
        let target = self.needed_target(node, taking);
        let from = self.files_from(taking).unwrap_or(FilesFrom::Context);
        let (source, at) = self.source(node, taking);
        let access = self.access(taking, Access::ReadOnly);
        if from == FilesFrom::Scratch && !source.is_root() {
            self.words.problems.error(at.span, NO_FILES);
        }
        Some(Mount::Bind(BindMount { target: target?.0, from, source, access }))
    }

    fn cache(&mut self, node: &Node, taking: &mut Taking) -> Option<Mount> {
        let target = self.needed_target(node, taking);
        let id = taking.text("id", self.words).filter(|id| !id.text.is_empty());
        // A cache begins empty anyway.
        let seed = self.files_from(taking).filter(|from| *from != FilesFrom::Scratch);
        let (source, _) = self.source(node, taking);
        let sharing = self.sharing(taking);
        let access = self.access(taking, Access::ReadWrite);
        let (mode, uid, gid) = (self.file_mode(taking), self.owner("uid", taking), self.owner("gid", taking));
        let (target, text) = target?;
        let id = id.map_or_else(|| clean("/", &text.text), |id| id.text);
        Some(Mount::Cache(CacheMount { target, id, seed, source, sharing, access, mode, uid, gid }))
    }

    fn tmpfs(&mut self, node: &Node, taking: &mut Taking) -> Option<Mount> {
        let target = self.needed_target(node, taking);
        let size = self.size(taking);
        let access = self.access(taking, Access::ReadWrite);
        Some(Mount::Tmpfs(TmpfsMount { target: target?.0, size, access }))
    }

    fn secret(&mut self, node: &Node, taking: &mut Taking) -> Option<Mount> {
        let id = taking.text("id", self.words).filter(|id| !id.text.is_empty());
        let at = taking.text("at", self.words);
        let env = taking.text("env", self.words);
        let required = taking.flag("required", self.words) == Some(true);
        let owner = self.node_owner(taking, 0o400);
        if let Some(name) = env.as_ref().filter(|name| name.text.is_empty() || name.text.contains('=')) {
            let message = format!("{} cannot be the name of a variable", shown(&name.text));
            self.words.problems.error(name.span, message);
        }
        let Some(id) = id else {
            self.words.problems.error(node.name.span, "a secret mount needs id=");
            return None;
        };
        let default = Text { text: format!("/run/secrets/{}", files::base_name(&id.text)), span: id.span };
        let file = match (&at, &env) {
            (None, Some(_)) => None,
            (None, None) => Some(self.target(&default)?),
            (Some(at), _) => Some(self.target(at)?),
        };
        let env = env.map(|name| name.text);
        Some(Mount::Secret(SecretMount { id: id.text, file, env, required, owner }))
    }

    fn ssh(&mut self, taking: &mut Taking, sockets: &mut usize) -> Option<Mount> {
        let id = taking.text("id", self.words).filter(|id| !id.text.is_empty());
        let target = match taking.text("at", self.words) {
            Some(at) => self.target(&at)?,
            None => self.path(&format!("/run/buildkit/ssh_agent.{sockets}"), crate::diag::Span::default())?,
        };
        *sockets += 1;
        let required = taking.flag("required", self.words) == Some(true);
        let owner = self.node_owner(taking, 0o600);
        let id = id.map_or_else(|| "default".to_owned(), |id| id.text);
        Some(Mount::Ssh(SshMount { id, target, required, owner }))
    }

    /// Where the mount is, as a path and as written.
    fn needed_target(&mut self, node: &Node, taking: &mut Taking) -> Option<(ImagePath, Text)> {
        let Some(at) = taking.text("at", self.words) else {
            if node.props.iter().all(|prop| prop.name.text != "at") {
                self.words.problems.error(node.name.span, "mount needs at=");
            }
            return None;
        };
        Some((self.target(&at)?, at))
    }

    fn target(&mut self, at: &Text) -> Option<ImagePath> {
        let cwd = self.scope.cwd();
        // Not sure while the base's working directory is not known.
        if self.guess && !at.text.starts_with('/') && clean(&cwd, &at.text) == "/" {
            return None;
        }
        let target = files::mount_target(&cwd, &at.text)
            .map_err(|fault| Fault { help: Some("write at=\"/PATH\"".to_owned()), ..fault });
        self.checked(target, at)
    }

    /// The path whose files are meant; the root if none is said. For messages, where it is said.
    fn source(&mut self, node: &Node, taking: &mut Taking) -> (ImagePath, Text) {
        let Some(source) = taking.text("source", self.words) else {
            return (ImagePath::root(), node.name.clone());
        };
        (self.path(&source.text, source.span).unwrap_or_default(), source)
    }

    fn access(&mut self, taking: &mut Taking, default: Access) -> Access {
        match taking.flag("writable", self.words) {
            None => default,
            Some(true) => Access::ReadWrite,
            Some(false) => Access::ReadOnly,
        }
    }

    fn sharing(&mut self, taking: &mut Taking) -> Sharing {
        let Some(text) = taking.text("sharing", self.words) else { return Sharing::Shared };
        let known = [Sharing::Shared, Sharing::Private, Sharing::Locked];
        if let Some(sharing) = known.into_iter().find(|sharing| sharing.text() == text.text) {
            return sharing;
        }
        let message = format!("{} is no way to share", shown(&text.text));
        self.words.problems.error_help(text.span, message, "use shared, private or locked");
        Sharing::Shared
    }

    /// A number of bytes, or a text such as `64m`.
    fn size(&mut self, taking: &mut Taking) -> Option<u64> {
        let prop = taking.prop("size", self.words)?;
        let size = match &prop.value {
            Value::Int(bytes) => u64::try_from(*bytes).ok(),
            Value::Text(text) => size::bytes(text),
            Value::Bool(_) | Value::Number | Value::Null => None,
        };
        if size.is_none() {
            self.words.problems.error(prop.span, "size is a number of bytes, or a text such as \"64m\"");
        }
        size
    }

    fn file_mode(&mut self, taking: &mut Taking) -> Option<u16> {
        let text = taking.text("mode", self.words)?;
        let digits = text.text.bytes().all(|byte| byte.is_ascii_digit());
        let mode = u16::from_str_radix(&text.text, 8).ok().filter(|mode| digits && *mode <= 0o7777);
        if mode.is_none() {
            let message = format!("{} is no octal mode from 0 to 07777", shown(&text.text));
            self.words.problems.error(text.span, message);
        }
        mode
    }

    fn owner(&mut self, name: &'static str, taking: &mut Taking) -> Option<u32> {
        let id = taking.number(name, 0..=i64::from(i32::MAX), self.words)?;
        u32::try_from(id).ok()
    }

    fn node_owner(&mut self, taking: &mut Taking, mode: u16) -> NodeOwner {
        NodeOwner {
            mode: self.file_mode(taking).unwrap_or(mode),
            uid: self.owner("uid", taking).unwrap_or(0),
            gid: self.owner("gid", taking).unwrap_or(0),
        }
    }
}
