//! What a block stands on.

use crate::diag::Diagnostic;
use crate::frontend::bases::Known;
use crate::frontend::contexts::ContextKind;
use crate::frontend::scope::Scope;
use crate::frontend::shown::shown;
use crate::oci::ImageConfig;
use crate::recipe::{Base, Copy, Op, PackageSet};

use super::super::blocks::Block;
use super::super::taking::Taking;
use super::super::tree::{Node, Text, Value};
use super::{End, Lowering, Part};

/// Properties that name a file or directory with an image.
const ARCHIVES: [&str; 3] = ["oci-layout", "docker-archive", "rootfs"];

impl Lowering<'_, '_> {
    /// The base; the scope begins with what it leaves.
    pub(super) fn base(&mut self, block: &Block, taking: &mut Taking) -> Base {
        let mut nodes: Vec<&Node> = taking.children("base").chain(taking.children("from")).collect();
        nodes.sort_by_key(|node| node.head.start);
        if let [_, second, ..] = nodes.as_slice() {
            self.words.problems.error(second.name.span, "a base is given already");
        }
        let Some(node) = nodes.first() else {
            let message = format!("{} needs a base", block.node.name.text);
            let help = "add base \"scratch\", base \"IMAGE\", base stage=\"NAME\" or base debian=\"SUITE\"";
            self.words.problems.error_help(block.node.name.span, message, help);
            return Base::Scratch;
        };
        let base = self.named_base(node);
        self.begin(&base, node);
        if let Some(key) = self.context_of(&base) {
            self.files_of_context(node, key);
            return Base::Scratch;
        }
        base
    }

    fn named_base(&mut self, node: &Node) -> Base {
        let mut taking = Taking::new(node);
        let reference = taking.args(self.words);
        let stage = taking.name("stage", self.words);
        let suite = taking.text("debian", self.words);
        let archives: Vec<Text> =
            ARCHIVES.into_iter().filter_map(|scheme| self.archive(&mut taking, scheme)).collect();
        let triggers = taking.flag("triggers", self.words);
        if triggers == Some(true) {
            let message = "triggers of a base are not run: the file says itself what they would do";
            self.words.problems.error(node.head, message);
        }
        let named = node.props.iter().filter(|prop| prop.name.text != "triggers");
        let count = node.args.len() + named.count();
        if count != 1 && !node.props.iter().any(|prop| !known(&prop.name.text)) {
            let message =
                "a base is one of: an image, stage=, debian=, oci-layout=, docker-archive=, rootfs=";
            self.words.problems.error(node.head, message);
        }
        let base = match (reference.into_iter().next(), stage, suite, archives.into_iter().next()) {
            (Some(reference), ..) => self.image(reference),
            (None, Some(stage), ..) => self.stage(&stage).map_or(Base::Scratch, |(_, at)| Base::Stage(at)),
            (None, None, Some(suite), _) => self.packages(&suite, &mut taking),
            (None, None, None, Some(archive)) => {
                self.uses(&archive, true);
                Base::Image(archive.text)
            }
            (None, None, None, None) => Base::Scratch,
        };
        taking.finish(self.words);
        base
    }

    fn archive(&mut self, taking: &mut Taking, scheme: &'static str) -> Option<Text> {
        let path = taking.text(scheme, self.words)?;
        Some(Text { text: format!("{scheme}:{}", path.text), span: path.span })
    }

    fn image(&mut self, reference: Text) -> Base {
        if reference.text == "scratch" {
            return Base::Scratch;
        }
        if self.blocks.get(&reference.text).is_some() {
            let message = format!("{} is a stage of this file", shown(&reference.text));
            let help = format!("write stage=\"{}\"", reference.text);
            self.words.problems.error_help(reference.span, message, help);
            return Base::Scratch;
        }
        let files = |kind| matches!(kind, Some((_, ContextKind::Files)));
        if files(self.options.named_contexts.find(&reference.text, &self.platform))
            || self.uses(&reference, true)
        {
            return Base::Image(reference.text);
        }
        Base::Scratch
    }

    fn packages(&mut self, suite: &Text, taking: &mut Taking) -> Base {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if suite.text.is_empty() || !suite.text.chars().all(plain) {
            let message = format!("{} is no suite of a distribution", shown(&suite.text));
            self.words.problems.error_help(suite.span, message, "write for example bookworm");
        }
        let mut listed = taking.lists("packages", self.words);
        let mut layers = Vec::new();
        for layer in taking.children("layer") {
            let names = self.packages_of(layer);
            layers.push(listed.len()..listed.len() + names.len());
            listed.extend(names);
        }
        let components = taking.lists("components", self.words);
        let mirror = taking.child_text("mirror", "the address of an archive", self.words);
        let snapshot = taking.child_text("snapshot", "a moment", self.words);
        let essential = taking.child_flag("essential", self.words);
        let configure = taking.child_flag("configure", self.words);
        // Scripts may use what is essential without saying so.
        let essential = essential || configure;
        if let Some(moment) = snapshot.as_ref().filter(|moment| !is_moment(&moment.text)) {
            let message = format!("{} is no moment of an archive", shown(&moment.text));
            self.words.problems.error_help(moment.span, message, "write for example 20261101T000000Z");
        }
        if listed.is_empty() && !essential {
            self.words.problems.error_help(
                suite.span,
                "the base has no packages",
                "add packages \"…\", or essential #true",
            );
        }
        Base::Packages(PackageSet {
            suite: suite.text.clone(),
            components: self.once(components, "component"),
            mirror: mirror.map(|mirror| mirror.text),
            snapshot: snapshot.map(|moment| moment.text),
            names: self.once(listed, "package"),
            layers,
            essential,
            configure,
        })
    }

    /// The packages of a layer of their own.
    fn packages_of(&mut self, node: &Node) -> Vec<Text> {
        let mut taking = Taking::new(node);
        taking.only_name("a name", self.words);
        let names = taking.lists("packages", self.words);
        if names.is_empty() {
            let help = "add packages \"…\"";
            self.words.problems.error_help(node.head, "this layer has no packages", help);
        }
        taking.finish(self.words);
        names
    }

    /// Names of which none is there twice, and none is empty or has blanks.
    fn once(&mut self, names: Vec<Text>, what: &str) -> Vec<String> {
        let mut all = indexmap::IndexSet::new();
        for name in names {
            if name.text.is_empty() || name.text.contains(|c: char| c.is_whitespace() || c.is_control()) {
                let message = format!("{} is the name of no {what}", shown(&name.text));
                self.words.problems.error_help(name.span, message, "each name is a string of its own");
            } else if !all.insert(name.text.clone()) {
                let message = format!("{what} {} is named twice", shown(&name.text));
                self.words.problems.error(name.span, message);
            }
        }
        all.into_iter().collect()
    }

    /// The scope at the beginning of the block.
    fn begin(&mut self, base: &Base, node: &Node) {
        let scratch = || Scope::on_scratch(ImageConfig::scratch(&self.platform));
        let (scope, guess) = match base {
            Base::Scratch | Base::Packages(_) => (scratch(), false),
            Base::Stage(_) => match self.named_end(node) {
                Some((scope, guess)) => (scope, guess),
                None => (scratch(), false),
            },
            Base::Image(_) if !self.words.needed || self.context_of(base).is_some() => (scratch(), true),
            Base::Image(reference) => match self.bases.get(reference, &self.platform) {
                Known::NotYet => (scratch(), true),
                Known::Config(config) => (Scope::on_image(config), false),
                Known::Missing => {
                    let message = format!("the config of base image {} is not known", shown(reference));
                    self.words.problems.error(node.head, message);
                    (scratch(), false)
                }
            },
        };
        self.words.spend(scope.weight_of_stage(), node.head);
        self.left_triggers(base, node);
        (self.scope, self.guess) = (scope, guess);
    }

    /// Warns of triggers (ONBUILD) that nobody runs.
    fn left_triggers(&mut self, base: &Base, node: &Node) {
        let left = match base {
            Base::Scratch | Base::Packages(_) => 0,
            Base::Stage(_) => self.stage_named(node).map_or(0, |end| end.scope.image.config.on_build.len()),
            Base::Image(reference) => match self.bases.get(reference, &self.platform) {
                Known::Config(config) => config.config.on_build.len(),
                Known::NotYet | Known::Missing => 0,
            },
        };
        if left > 0 && self.words.needed && node.props.iter().all(|prop| prop.name.text != "triggers") {
            let message = format!("triggers of the base (ONBUILD, {left} of them) are not run");
            let help = "add steps that do what they would; triggers=#false takes note of that";
            self.words.problems.push(Diagnostic::warning(node.head, message).with_help(help));
        }
    }

    /// What the stage that a base names left.
    fn named_end(&self, node: &Node) -> Option<(Scope, bool)> {
        self.stage_named(node).map(|end| (Scope::on_stage(&end.scope), end.guess))
    }

    fn stage_named(&self, node: &Node) -> Option<&End> {
        let stage = node.props.iter().find(|prop| prop.name.text == "stage")?;
        let Value::Text(name) = &stage.value else { return None };
        self.done.ends[self.blocks.get(name)?].as_ref()
    }

    /// The directory that takes the place of an image, by the name that is kept of it.
    fn context_of(&self, base: &Base) -> Option<String> {
        let Base::Image(name) = base else { return None };
        match self.options.named_contexts.find(name, &self.platform)? {
            (key, ContextKind::Files) => Some(key.to_owned()),
            (_, ContextKind::Image) => None,
        }
    }

    /// The step that a block on a named context's files begins with.
    fn files_of_context(&mut self, node: &Node, key: String) {
        let created_by = format!("FROM {key} # buildkit");
        let copy = Copy::whole_context(key);
        self.push(node, Part { op: Op::Copy(copy), created_by }, None);
    }
}

fn known(prop: &str) -> bool {
    matches!(prop, "stage" | "debian" | "triggers") || ARCHIVES.contains(&prop)
}

/// `20261101T000000Z`.
fn is_moment(text: &str) -> bool {
    let digits = |text: Option<&str>, count: usize| {
        text.is_some_and(|text| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let (date, time) =
        text.split_once('T').map_or((None, None), |(date, time)| (Some(date), time.strip_suffix('Z')));
    digits(date, 8) && digits(time, 6)
}
