//! `run` and its mounts.

use std::collections::BTreeMap;

use crate::frontend::files;
use crate::frontend::scope::Scope;
use crate::oci::{ImageConfig, RunConfig};
use crate::path::ImagePath;
use crate::recipe::mount::{Access, CacheMount, Mount, NodeOwner, SecretMount, Sharing, SshMount};
use crate::recipe::{Litter, Network, Run, Security};

use super::super::printer::Out;
use super::Writer;

impl Writer<'_> {
    pub(super) fn run(&self, run: &Run, config: &RunConfig) -> Option<Out> {
        let node = match run.argv.as_slice() {
            [shell, flags, script] if shell == "/bin/sh" && flags == "-euc" => Out::new("run").arg(script),
            [program] => Out::new("run").arg(program).word("shell=#false"),
            argv => Out::new("run").args(argv),
        };
        let node = match run.network {
            Network::Default => node.word("network=#true"),
            Network::None => node,
            Network::Host => node.prop("network", "host"),
        };
        let node = match run.security {
            Security::Sandbox => node,
            Security::Insecure => node.prop("security", "insecure"),
        };
        let node = if run.told.hermetic { node.word("hermetic=#true") } else { node };
        let node = if run.told.seeded { node.word("deterministic=#true") } else { node };
        let node = match run.litter {
            Litter::Dropped => node,
            Litter::Kept => node.word("keep-litter=#true"),
        };
        let own = environment(run, config);
        let env = own.iter().fold(Out::new("env"), |node, (name, value)| node.prop(name, *value));
        let mut sockets = 0;
        let mounts: Vec<Out> = run.mounts.iter().map(|mount| self.mount(mount, &mut sockets)).collect();
        let scripts = run.scripts.iter().map(|(path, bytes)| {
            let name = path.strip_prefix("/dev/pipes/").unwrap_or(path);
            Out::new("script").arg(name).arg(String::from_utf8_lossy(bytes))
        });
        let node = node.children(mounts);
        let node = if own.is_empty() { node } else { node.child(env) };
        Some(node.children(scripts))
    }

    fn mount(&self, mount: &Mount, sockets: &mut usize) -> Out {
        let node = Out::new("mount");
        match mount {
            Mount::Bind(bind) => {
                let node = self.from(node.arg("bind").prop("at", absolute(&bind.target)), &bind.from);
                let source = (!bind.source.is_root()).then(|| absolute(&bind.source));
                node.maybe("source", source).flag("writable", bind.access == Access::ReadWrite)
            }
            Mount::Cache(cache) => self.cache(node, cache),
            Mount::Tmpfs(tmpfs) => {
                let node = node.arg("tmpfs").prop("at", absolute(&tmpfs.target));
                read_only(number(node, "size", tmpfs.size), tmpfs.access)
            }
            Mount::Secret(secret) => self.secret(node, secret),
            Mount::Ssh(ssh) => self.ssh(node, ssh, sockets),
        }
    }

    fn cache(&self, node: Out, cache: &CacheMount) -> Out {
        let target = absolute(&cache.target);
        let id = (cache.id != target).then(|| cache.id.clone());
        let node = node.arg("cache").prop("at", target).maybe("id", id);
        let node = match &cache.seed {
            Some(seed) => self.from(node, seed),
            None => node,
        };
        let source = (!cache.source.is_root()).then(|| absolute(&cache.source));
        let sharing = (cache.sharing != Sharing::Shared).then(|| cache.sharing.text());
        let node = node.maybe("source", source).maybe("sharing", sharing);
        let node = node.maybe("mode", cache.mode.map(|mode| format!("{mode:04o}")));
        let node = number(number(node, "uid", cache.uid), "gid", cache.gid);
        read_only(node, cache.access)
    }

    fn secret(&self, node: Out, secret: &SecretMount) -> Out {
        let usual = format!("/run/secrets/{}", files::base_name(&secret.id));
        let file = secret.file.as_ref().map(absolute).filter(|file| secret.env.is_some() || *file != usual);
        let node = node.arg("secret").prop("id", &secret.id).maybe("at", file);
        let node = node.maybe("env", secret.env.clone()).flag("required", secret.required);
        owned(node, &secret.owner, 0o400)
    }

    fn ssh(&self, node: Out, ssh: &SshMount, sockets: &mut usize) -> Out {
        let usual = format!("/run/buildkit/ssh_agent.{sockets}");
        *sockets += 1;
        let id = (ssh.id != "default").then(|| ssh.id.clone());
        let at = Some(absolute(&ssh.target)).filter(|at| *at != usual);
        let node = node.arg("ssh").maybe("id", id).maybe("at", at).flag("required", ssh.required);
        owned(node, &ssh.owner, 0o600)
    }
}

/// What a process sees beside the config's variables, or otherwise.
fn environment<'a>(run: &'a Run, config: &RunConfig) -> Vec<(&'a str, &'a str)> {
    let image =
        ImageConfig { config: config.clone(), ..ImageConfig::scratch(&crate::platform::Platform::host()) };
    let known: BTreeMap<String, String> = Scope::on_image(&image).process_env().into_iter().collect();
    let own = run.env.iter().filter(|(name, value)| known.get(name) != Some(value));
    own.map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn owned(node: Out, owner: &NodeOwner, usual: u16) -> Out {
    let node = node.maybe("mode", (owner.mode != usual).then(|| format!("{:04o}", owner.mode)));
    let some = |id: u32| (id != 0).then_some(id);
    number(number(node, "uid", some(owner.uid)), "gid", some(owner.gid))
}

fn read_only(node: Out, access: Access) -> Out {
    if access == Access::ReadOnly { node.word("writable=#false") } else { node }
}

fn number(node: Out, name: &str, number: Option<impl std::fmt::Display>) -> Out {
    match number {
        Some(number) => node.word(format!("{name}={number}")),
        None => node,
    }
}

fn absolute(path: &ImagePath) -> String {
    format!("/{}", String::from_utf8_lossy(path.as_bytes()))
}
