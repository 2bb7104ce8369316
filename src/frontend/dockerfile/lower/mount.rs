//! `RUN --mount`: fields expanded and checked, in the order written, and made one of the five mounts.

use crate::diag::{Diagnostic, Span, suggest};
use crate::path::ImagePath;
use crate::recipe::FilesFrom;
use crate::recipe::mount::{
    Access, BindMount, CacheMount, Mount, NodeOwner, SecretMount, Sharing, SshMount, TmpfsMount,
};
use crate::size;

use super::super::ast::{MountField, MountText, Word};
use super::super::files::{self, Fault, NO_FILES};
use super::super::scope::clean;
use super::super::shown;
use super::{Failed, Lowering};

/// What `type=` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

const KINDS: [(&str, Kind); 5] = [
    ("bind", Kind::Bind),
    ("cache", Kind::Cache),
    ("tmpfs", Kind::Tmpfs),
    ("secret", Kind::Secret),
    ("ssh", Kind::Ssh),
];

impl Kind {
    fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    fn has_owner(self) -> bool {
        matches!(self, Self::Cache | Self::Secret | Self::Ssh)
    }

    fn may_be_required(self) -> bool {
        matches!(self, Self::Secret | Self::Ssh)
    }
}

/// The fields of one mount so far, those that can be wrong later with their places.
struct Draft {
    kind: Kind,
    /// Of the whole flag.
    span: Span,
    from: Option<Span>,
    source: (String, Option<Span>),
    target: (String, Option<Span>),
    id: (String, Option<Span>),
    access: Option<(Access, Span)>,
    required: bool,
    size: Option<u64>,
    env: Option<(String, Span)>,
    sharing: Option<(Sharing, Span)>,
    mode: Option<(u16, Span)>,
    uid: Option<(u32, Span)>,
    gid: Option<(u32, Span)>,
}

impl Lowering<'_> {
    /// All mounts of the instruction with this number.
    pub(super) fn mounts(&mut self, number: usize, texts: &[MountText]) -> Result<Vec<Mount>, Failed> {
        let mut mounts = Vec::new();
        let mut failed = false;
        let mut sockets = 0;
        for (index, text) in texts.iter().enumerate() {
            let from = self.stage.inputs.get(&(number, index)).cloned();
            match self.draft(text).and_then(|draft| self.mount(draft, from, &mut sockets)) {
                Ok(mount) => mounts.push(mount),
                Err(Failed) => failed = true,
            }
        }
        if failed { Err(Failed) } else { Ok(mounts) }
    }

    fn draft(&mut self, text: &MountText) -> Result<Draft, Failed> {
        let mut draft = Draft {
            kind: Kind::Bind,
            span: text.span,
            from: text.fields.iter().rev().find(|field| field.key == "from").map(|field| field.span),
            source: (String::new(), None),
            target: (String::new(), None),
            id: (String::new(), None),
            access: None,
            required: false,
            size: None,
            env: None,
            sharing: None,
            mode: None,
            uid: None,
            gid: None,
        };
        for field in text.fields.iter().filter(|field| field.key != "from") {
            self.field(&mut draft, field)?;
        }
        Ok(draft)
    }

    fn field(&mut self, draft: &mut Draft, field: &MountField) -> Result<(), Failed> {
        let span = field.span;
        let value = match &field.value {
            Some(text) => Some(self.word(&Word { text: text.clone(), span })?),
            None => None,
        };
        let text = value.clone().unwrap_or_default();
        match field.key.as_str() {
            "type" => draft.kind = self.kind(&text, span)?,
            "source" | "src" => draft.source = (text, Some(span)),
            "target" | "dst" | "destination" => draft.target = (text, Some(span)),
            "readonly" | "ro" => draft.access = Some((access(!self.flag(value, field)?), span)),
            "readwrite" | "rw" => draft.access = Some((access(self.flag(value, field)?), span)),
            "id" => draft.id = (text, Some(span)),
            "env" => draft.env = Some((text, span)),
            "sharing" => draft.sharing = Some((self.sharing(&text, span)?, span)),
            "mode" => {
                let mode =
                    u16::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777 && is_digits(&text));
                draft.mode = Some((self.number(mode, field, "an octal mode from 0 to 07777")?, span));
            }
            "uid" => {
                draft.uid = Some((self.number(id(&text), field, "a number from 0 to 2147483647")?, span))
            }
            "gid" => {
                draft.gid = Some((self.number(id(&text), field, "a number from 0 to 2147483647")?, span))
            }
            "required" if draft.kind.may_be_required() => draft.required = self.flag(value, field)?,
            "size" if draft.kind == Kind::Tmpfs => {
                let wanted = "a number of bytes, such as 1048576, 64k or 1.5g";
                draft.size = Some(self.number(size::bytes(&text), field, wanted)?);
            }
            key => return self.misplaced(key, draft.kind, span),
        }
        Ok(())
    }

    /// `size` and `required` are checked against the type said so far, as BuildKit does.
    fn misplaced<T>(&mut self, key: &str, kind: Kind, span: Span) -> Result<T, Failed> {
        let message = format!("{key} does not apply to a mount of type {}", kind.name());
        let of = if key == "size" { "tmpfs" } else { "secret or ssh" };
        self.problems.error_help(span, message, format!("it is for type {of}; write type= before it"));
        Err(Failed)
    }

    fn kind(&mut self, text: &str, span: Span) -> Result<Kind, Failed> {
        if let Some((_, kind)) = KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            return Ok(*kind);
        }
        let message = format!("unsupported mount type {}", shown(text));
        let similar = suggest(text, KINDS.iter().map(|(name, _)| *name)).filter(|_| text.len() <= 20);
        let help = match similar {
            Some(similar) => format!("did you mean {similar}?"),
            None => "use bind, cache, tmpfs, secret or ssh".to_owned(),
        };
        self.problems.error_help(span, message, help);
        Err(Failed)
    }

    fn sharing(&mut self, text: &str, span: Span) -> Result<Sharing, Failed> {
        match text.to_ascii_lowercase().as_str() {
            "shared" => Ok(Sharing::Shared),
            "private" => Ok(Sharing::Private),
            "locked" => Ok(Sharing::Locked),
            _ => {
                let message = format!("unsupported sharing value {}", shown(text));
                self.problems.error_help(span, message, "use shared, private or locked");
                Err(Failed)
            }
        }
    }

    /// A key alone is a yes.
    fn flag(&mut self, value: Option<String>, field: &MountField) -> Result<bool, Failed> {
        let flag = match value.as_deref() {
            None | Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Some(true),
            Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Some(false),
            Some(_) => None,
        };
        self.number(flag, field, "true or false")
    }

    fn number<T>(&mut self, value: Option<T>, field: &MountField, wanted: &str) -> Result<T, Failed> {
        let Some(value) = value else {
            let text = field.value.as_deref().unwrap_or_default();
            let message = format!("invalid value {} for {} in --mount", shown(text), field.key);
            self.problems.error_help(field.span, message, format!("it is {wanted}"));
            return Err(Failed);
        };
        Ok(value)
    }

    fn mount(&mut self, draft: Draft, from: Option<FilesFrom>, sockets: &mut usize) -> Result<Mount, Failed> {
        self.check(&draft)?;
        self.warn_of_strays(&draft);
        let access = |default| draft.access.map_or(default, |(access, _)| access);
        let owner = |mode| NodeOwner {
            mode: draft.mode.map_or(mode, |(mode, _)| mode),
            uid: draft.uid.map_or(0, |(uid, _)| uid),
            gid: draft.gid.map_or(0, |(gid, _)| gid),
        };
        Ok(match draft.kind {
            Kind::Bind => {
                let bind = BindMount {
                    target: self.target(&draft.target, &draft)?,
                    from: from.unwrap_or(FilesFrom::Context),
                    source: self.path(&draft.source.0, draft.source.1.unwrap_or(draft.span))?,
                    access: access(Access::ReadOnly),
                };
                if bind.from == FilesFrom::Scratch && !bind.source.is_root() {
                    return self.fail(draft.source.1.unwrap_or(draft.span), NO_FILES);
                }
                Mount::Bind(bind)
            }
            Kind::Cache => Mount::Cache(CacheMount {
                target: self.target(&draft.target, &draft)?,
                id: cache_id(&draft),
                // A cache begins empty anyway.
                seed: from.filter(|from| *from != FilesFrom::Scratch),
                source: self.path(&draft.source.0, draft.source.1.unwrap_or(draft.span))?,
                sharing: draft.sharing.map_or(Sharing::Shared, |(sharing, _)| sharing),
                access: access(Access::ReadWrite),
                mode: draft.mode.map(|(mode, _)| mode),
                uid: draft.uid.map(|(uid, _)| uid),
                gid: draft.gid.map(|(gid, _)| gid),
            }),
            Kind::Tmpfs => Mount::Tmpfs(TmpfsMount {
                target: self.target(&draft.target, &draft)?,
                size: draft.size,
                access: access(Access::ReadWrite),
            }),
            Kind::Secret => self.secret(&draft, owner(0o400))?,
            Kind::Ssh => {
                let target = match draft.target.0.as_str() {
                    "" => (format!("/run/buildkit/ssh_agent.{sockets}"), None),
                    _ => draft.target.clone(),
                };
                *sockets += 1;
                let id = if draft.id.0.is_empty() { "default".to_owned() } else { draft.id.0.clone() };
                let target = self.target(&target, &draft)?;
                Mount::Ssh(SshMount { id, target, required: draft.required, owner: owner(0o600) })
            }
        })
    }

    /// Keys that BuildKit reads past: they say nothing about a mount of this type.
    fn warn_of_strays(&mut self, draft: &Draft) {
        let without_use = [
            ("from", draft.from, matches!(draft.kind, Kind::Tmpfs | Kind::Ssh)),
            ("source", draft.source.1, draft.kind == Kind::Tmpfs),
            ("id", draft.id.1, matches!(draft.kind, Kind::Bind | Kind::Tmpfs)),
        ];
        for (key, span, stray) in without_use {
            if let Some(span) = span.filter(|_| stray) {
                let message = format!("{key} says nothing about a mount of type {}", draft.kind.name());
                self.problems.push(Diagnostic::warning(span, message));
            }
        }
        if let Some((Access::ReadWrite, span)) = draft.access
            && matches!(draft.kind, Kind::Secret | Kind::Ssh)
        {
            let message = format!("a mount of type {} is always read-only", draft.kind.name());
            self.problems.push(Diagnostic::warning(span, message));
        }
    }

    /// What BuildKit checks when all fields are read.
    fn check(&mut self, draft: &Draft) -> Result<(), Failed> {
        let name = draft.kind.name();
        let owner = [
            draft.mode.map(|(_, span)| span),
            draft.uid.map(|(_, span)| span),
            draft.gid.map(|(_, span)| span),
        ];
        let keys = ["mode", "uid", "gid"];
        if let Some((key, span)) = keys.into_iter().zip(owner).find_map(|(key, span)| Some((key, span?)))
            && !draft.kind.has_owner()
        {
            let message = format!("{key} does not apply to a mount of type {name}");
            self.problems.error_help(span, message, "it is for types cache, secret and ssh");
            return Err(Failed);
        }
        if let Some((_, span)) = draft.sharing.filter(|_| draft.kind != Kind::Cache) {
            let message = format!("sharing does not apply to a mount of type {name}");
            self.problems.error_help(span, message, "it is for type cache");
            return Err(Failed);
        }
        if let Some((_, span)) = draft.env.as_ref().filter(|_| draft.kind != Kind::Secret) {
            return self.fail(*span, format!("env does not apply to a mount of type {name}"));
        }
        if let Some(span) = draft.source.1.filter(|_| draft.kind == Kind::Ssh && !draft.source.0.is_empty()) {
            self.problems.error_help(span, "an ssh mount has no source", "name the agent with id=");
            return Err(Failed);
        }
        if draft.kind != Kind::Secret {
            return Ok(());
        }
        if let Some(span) = draft.from {
            let message = "a secret mount takes its value from the build's options, not from a stage";
            return self.fail(span, message);
        }
        match (draft.source.0.is_empty(), draft.id.0.is_empty(), draft.target.0.is_empty()) {
            (true, true, true) => self.fail(draft.span, "a secret mount needs an id, a source or a target"),
            (false, false, _) => {
                let span = draft.id.1.unwrap_or(draft.span);
                self.fail(span, "a secret mount cannot have both an id and a source")
            }
            _ => Ok(()),
        }
    }

    fn secret(&mut self, draft: &Draft, owner: NodeOwner) -> Result<Mount, Failed> {
        let named = [&draft.source.0, &draft.id.0].into_iter().find(|name| !name.is_empty()).cloned();
        let id = named.unwrap_or_else(|| files::base_name(&draft.target.0).to_owned());
        if let Some((name, span)) =
            draft.env.as_ref().filter(|(name, _)| name.is_empty() || name.contains('='))
        {
            return self.fail(*span, format!("{} cannot be the name of a variable", shown(name)));
        }
        let file = match (draft.target.0.as_str(), &draft.env) {
            ("", Some(_)) => None,
            ("", None) => Some((format!("/run/secrets/{}", files::base_name(&id)), None)),
            _ => Some(draft.target.clone()),
        };
        let file = file.map(|file| self.target(&file, draft)).transpose()?;
        let env = draft.env.as_ref().map(|(name, _)| name.clone());
        Ok(Mount::Secret(SecretMount { id, file, env, required: draft.required, owner }))
    }

    /// A mount point: relative ones are below the working directory.
    fn target(
        &mut self,
        (target, span): &(String, Option<Span>),
        draft: &Draft,
    ) -> Result<ImagePath, Failed> {
        let span = span.unwrap_or(draft.span);
        let cwd = self.scope.cwd();
        // Not sure while the base's working directory is not known.
        if self.guess && !target.starts_with('/') && clean(&cwd, target) == "/" {
            return Err(Failed);
        }
        let with_help = |fault: Fault| Fault { help: Some("write target=PATH".to_owned()), ..fault };
        self.checked(files::mount_target(&cwd, target).map_err(with_help), span)
    }
}

fn access(writable: bool) -> Access {
    if writable { Access::ReadWrite } else { Access::ReadOnly }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id <= i32::MAX.unsigned_abs() && is_digits(text))
}

/// The target's text if nothing else is said, as BuildKit takes it: the working directory does not matter.
fn cache_id(draft: &Draft) -> String {
    let target = draft.target.0.as_str();
    if !draft.id.0.is_empty() {
        return draft.id.0.clone();
    }
    match (target.starts_with('/'), clean("/", target)) {
        (true, path) => path,
        (false, path) if path == "/" => ".".to_owned(),
        (false, path) => path[1..].to_owned(),
    }
}
