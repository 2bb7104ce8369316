//! What the mounts of a RUN come to on this machine: directories, overlays and files that its sandbox is given, and what
//! must be held while they are used.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::agent::Relay;
use super::observe::Rootfs;
use super::run::{Part, Sink};
use super::source::{BOXED, Source, SourceNode};
use super::{ExecError, Executor, Job};
use crate::action::{Action, BoundCopy, BoundOp, BoundRun, KeepMeta, SourceDigest};
use crate::layer::Meta;
use crate::layer::capture::Dropped;
use crate::mount::Overlay;
use crate::path::ImagePath;
use crate::recipe::mount::{Access, BindMount, CacheMount, Mount, NodeOwner, SecretMount, Sharing, SshMount};
use crate::recipe::{Link, Unpack};
use crate::sandbox::Stream;
use crate::sandbox::spec::{self, Mounted};
use crate::store::caches::{CacheInUse, CacheUse};
use crate::store::{LayerRef, Scratch, Unpacking};
use crate::sys::file;

/// What a mount brings besides its fields.
#[derive(Debug, Clone)]
pub enum Material {
    /// Tmpfs, secrets, agents; a cache that begins empty.
    None,
    /// Files of a context.
    Files(Box<Source>),
    /// A path in the root file system of a stage or an image.
    Rootfs { rootfs: Arc<Rootfs>, path: ImagePath },
}

/// What a sandbox is given, and what lives as long as it runs.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub mounts: Vec<spec::Mount>,
    /// Variables that hold secrets, and where the agent is.
    pub env: Vec<(String, String)>,
    caches: BTreeMap<String, Cache>,
    scratches: Vec<Scratch>,
    relays: Vec<Relay>,
}

/// A cache in use.
#[derive(Debug)]
enum Cache {
    Kept(CacheInUse),
    /// For this run alone: a hermetic step must not see what others left.
    Fresh(Scratch),
}

impl Cache {
    fn data(&self) -> PathBuf {
        match self {
            Self::Kept(cache) => cache.data().to_owned(),
            Self::Fresh(scratch) => scratch.writable().upper,
        }
    }
}

impl Mounts {
    fn add(&mut self, target: &ImagePath, what: Mounted) {
        let target = Path::new("/").join(target.as_os_str());
        self.mounts.push(spec::Mount { target, what });
    }
}

impl Executor<'_> {
    /// Makes everything that the mounts need.
    pub(super) fn mounts(
        &self,
        job: &Job,
        run: &BoundRun,
        output: &mut dyn Sink,
    ) -> Result<Mounts, ExecError> {
        let mut mounts = Mounts::default();
        self.take_caches(job, run, &mut mounts, output)?;
        for (bound, material) in run.mounts.iter().zip(&job.materials) {
            match &bound.mount {
                Mount::Bind(bind) => self.bind(job, bind, material, &mut mounts)?,
                Mount::Cache(cache) => {
                    let path = mounts.caches[&self.cache_name(cache)].data();
                    mounts.add(&cache.target, Mounted::Directory { path, access: access(cache.access) });
                }
                Mount::Tmpfs(tmpfs) => {
                    let (size, access) = (tmpfs.size, access(tmpfs.access));
                    mounts.add(&tmpfs.target, Mounted::Tmpfs { size, access });
                }
                Mount::Secret(secret) => self.secret(secret, &mut mounts)?,
                Mount::Ssh(ssh) => self.agent(run, ssh, &mut mounts)?,
            }
        }
        Ok(mounts)
    }

    fn bind(
        &self,
        job: &Job,
        bind: &BindMount,
        material: &Material,
        mounts: &mut Mounts,
    ) -> Result<(), ExecError> {
        let (rootfs, source) = self.on_disk(job, material)?;
        let writable = match bind.access {
            Access::ReadOnly => None,
            // Whatever is written is thrown away.
            Access::ReadWrite => {
                let scratch = self.store.scratch()?;
                let writable = scratch.writable();
                mounts.scratches.push(scratch);
                Some(writable)
            }
        };
        let overlay =
            Overlay { lowers: self.lowers(&rootfs)?, writable, marks: self.store.unpacking().marks() };
        let source = PathBuf::from(source.as_os_str());
        mounts.add(&bind.target, Mounted::Overlay { overlay, source, access: access(bind.access) });
        Ok(())
    }

    /// A root file system that has the files, and where in it. Files of a context become a layer, as a COPY would make
    /// it: what the process sees is what was hashed, whatever happens to the context meanwhile.
    fn on_disk(&self, job: &Job, material: &Material) -> Result<(Arc<Rootfs>, ImagePath), ExecError> {
        match material {
            Material::None => Ok((Arc::default(), ImagePath::root())),
            Material::Rootfs { rootfs, path } => Ok((rootfs.clone(), path.clone())),
            Material::Files(source) => {
                let layer = self.layer_of(job, source, KeepMeta::Fixed)?;
                Ok((Arc::new(vec![layer]), ImagePath::root().child(BOXED)))
            }
        }
    }

    /// A layer that has nothing but these files, in a box, made once for each content.
    fn layer_of(&self, job: &Job, source: &Source, keep: KeepMeta) -> Result<LayerRef, ExecError> {
        let source = source.clone().boxed(job.action.epoch);
        let copy = BoundCopy {
            sources: vec![SourceDigest { name: String::new(), digest: source.unnamed_digest(keep) }],
            dest: ImagePath::root(),
            dest_is_dir: true,
            chown: None,
            chmod: None,
            unpack: Unpack::Never,
            link: Link::No,
            keep,
        };
        let mut copying = Job::new(Action { op: BoundOp::Copy(copy), ..job.action.clone() });
        copying.sources = vec![source];
        Ok(self.perform(&copying, &Rootfs::default(), &mut Silent)?.record.layer)
    }

    /// Takes every cache that the step names, each once, in the order of their names: so two steps never wait for each
    /// other.
    fn take_caches(
        &self,
        job: &Job,
        run: &BoundRun,
        mounts: &mut Mounts,
        output: &mut dyn Sink,
    ) -> Result<(), ExecError> {
        let mut wanted: BTreeMap<String, (&CacheMount, &Material, CacheUse)> = BTreeMap::new();
        for (bound, material) in run.mounts.iter().zip(&job.materials) {
            if let Mount::Cache(cache) = &bound.mount {
                let how = how_used(cache.sharing);
                let known = wanted.entry(self.cache_name(cache)).or_insert((cache, material, how));
                // One use for all mounts of it: as strict as the strictest.
                known.2 = known.2.max(how);
            }
        }
        for (name, (cache, material, how)) in wanted {
            let fill = |dir: &Path| self.fill_cache(job, cache, material, dir);
            let taken = if run.hermetic || self.variation.is_some() {
                let scratch = self.store.scratch()?;
                fill(&scratch.writable().upper)?;
                Cache::Fresh(scratch)
            } else {
                let waits = || output.warning(&format!("waiting for cache {name}, which another step uses"));
                Cache::Kept(self.store.use_cache(&name, how, fill, waits)?)
            };
            mounts.caches.insert(name, taken);
        }
        Ok(())
    }

    fn cache_name(&self, cache: &CacheMount) -> String {
        match self.rules.cache_namespace.as_str() {
            "" => cache.id.clone(),
            namespace => format!("{namespace}/{}", cache.id),
        }
    }

    /// What a new cache begins with.
    fn fill_cache(
        &self,
        job: &Job,
        cache: &CacheMount,
        material: &Material,
        dir: &Path,
    ) -> Result<(), ExecError> {
        let seed = match material {
            Material::None => None,
            Material::Files(source) => Some((source.as_ref().clone(), KeepMeta::Fixed)),
            Material::Rootfs { rootfs, path } => {
                Some((Source::at_rootfs(self.store, rootfs, path)?.1, KeepMeta::Source))
            }
        };
        let mut top = Meta { mode: 0o755, ..Meta::default() };
        if let Some((source, keep)) = seed {
            if !matches!(source.top.node, SourceNode::Dir) {
                return Err(ExecError::CacheSeed { id: cache.id.clone() });
            }
            top = source.top.meta.clone();
            let layer = self.layer_of(job, &source, keep)?;
            self.store.unpack_below(layer.diff_id, BOXED, dir)?;
        }
        let (uid, gid) = (cache.uid.unwrap_or(top.uid), cache.gid.unwrap_or(top.gid));
        // A single id can own nothing for others; there every process of a step is that one.
        if self.store.unpacking() != Unpacking::SingleId {
            chown(dir, Some(uid), Some(gid)).map_err(|e| file::context(e, "chown", dir))?;
        }
        let mode = cache.mode.unwrap_or(top.mode);
        fs::set_permissions(dir, fs::Permissions::from_mode(mode.into()))
            .map_err(|e| file::context(e, "chmod", dir))?;
        Ok(())
    }

    /// An agent that was not given is no socket. The first one is what ssh looks for, unless the step says otherwise.
    fn agent(&self, run: &BoundRun, ssh: &SshMount, mounts: &mut Mounts) -> Result<(), ExecError> {
        let Some(socket) = self.rules.secrets.agent(&ssh.id) else {
            return if ssh.required { Err(ExecError::NoAgent { id: ssh.id.clone() }) } else { Ok(()) };
        };
        let own_ids = self.store.unpacking() != Unpacking::SingleId;
        let relay = Relay::start(socket, &ssh.owner, own_ids, self.store.scratch()?)?;
        mounts.add(&ssh.target, Mounted::Socket { path: relay.socket().to_owned() });
        mounts.relays.push(relay);
        let named = |(name, _): &(String, String)| name == "SSH_AUTH_SOCK";
        if !run.env.iter().any(named) && !mounts.env.iter().any(named) {
            let target = String::from_utf8_lossy(&ssh.target.absolute()).into_owned();
            mounts.env.push(("SSH_AUTH_SOCK".to_owned(), target));
        }
        Ok(())
    }

    /// A secret that was not given is no file; its variable is empty.
    fn secret(&self, secret: &SecretMount, mounts: &mut Mounts) -> Result<(), ExecError> {
        let value = self.rules.secrets.value(&secret.id);
        if value.is_none() && secret.required {
            return Err(ExecError::NoSecret { id: secret.id.clone() });
        }
        if let Some(name) = &secret.env {
            let text = std::str::from_utf8(value.unwrap_or_default())
                .map_err(|_| ExecError::SecretNotText { id: secret.id.clone(), variable: name.clone() })?;
            mounts.env.push((name.clone(), text.to_owned()));
        }
        if let (Some(file), Some(value)) = (&secret.file, value) {
            let NodeOwner { mode, uid, gid } = secret.owner;
            mounts.add(file, Mounted::File { bytes: value.to_vec(), mode: mode.into(), uid, gid });
        }
        Ok(())
    }
}

const fn how_used(sharing: Sharing) -> CacheUse {
    match sharing {
        Sharing::Shared => CacheUse::Shared,
        Sharing::Private => CacheUse::Private,
        Sharing::Locked => CacheUse::Alone,
    }
}

fn access(access: Access) -> spec::Access {
    match access {
        Access::ReadOnly => spec::Access::ReadOnly,
        Access::ReadWrite => spec::Access::ReadWrite,
    }
}

/// For work that no step of the file asked for.
pub struct Silent;

impl Sink for Silent {
    fn started(&mut self) {}
    fn chunk(&mut self, _: Stream, _: &[u8]) {}
    fn warning(&mut self, _: &str) {}
    fn shell(&mut self) {}
    fn dropped(&mut self, _: &Dropped) {}
    fn part(&mut self, _: Part) {}
}
