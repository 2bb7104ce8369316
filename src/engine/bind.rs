//! A step and its inputs become an action: the only place where options of the build enter identities.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bases::Resolved;
use super::{BuildError, Images, Options};
use crate::action::{Action, BoundCopy, BoundMount, BoundNetwork, BoundOp, BoundRun, KeepMeta, SourceDigest};
use crate::context::Filter;
use crate::context::pattern::may_match_none;
use crate::digest::{BlobDigest, ContentDigest};
use crate::exec::files::{Files, Taking};
use crate::exec::mounts::Material;
use crate::exec::observe::Rootfs;
use crate::exec::source::Source;
use crate::exec::{ExecError, Job};
use crate::fetch::{self, Commits, FetchError, FetchOptions, Fetcher};
use crate::path::ImagePath;
use crate::platform::Platform;
use crate::recipe::mount::Mount;
use crate::recipe::{Copy, CopySource, FilesFrom, Litter, Network, Run, Told};
use crate::remote::GitRepo;
use crate::store::Store;

/// Everything a step may take in.
pub struct Inputs<'a> {
    pub store: &'a Store,
    pub options: &'a Options,
    pub context: &'a Files,
    pub named: &'a BTreeMap<String, Files>,
    pub images: &'a Images,
    /// How other machines are asked, if they may be.
    pub fetch: &'a FetchOptions,
}

/// What hermetic steps see besides what the file says (spec/step-hash.md, "Hermetic environment").
const HERMETIC_ENV: [(&str, &str); 5] = [
    ("TZ", "UTC"),
    ("LC_ALL", "C.UTF-8"),
    ("PYTHONHASHSEED", "0"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("PERL_HASH_SEED", "0"),
];

/// The network that a RUN gets which asks for one.
pub fn network(asked: Network, options: &Options, told: Told) -> BoundNetwork {
    match (asked, options.network) {
        (Network::None, _) | (Network::Default, Network::None) => BoundNetwork::None,
        (Network::Default, Network::Default) if told.hermetic => BoundNetwork::None,
        (Network::Host, _) | (Network::Default, Network::Host | Network::Default) => BoundNetwork::Host,
    }
}

impl Inputs<'_> {
    /// Binds a RUN; reads what its mounts bring as far as it is not known.
    pub fn run(
        &self,
        run: &Run,
        stages: &dyn Fn(usize) -> Arc<Rootfs>,
        platform: &Platform,
    ) -> Result<Job, BuildError> {
        let told = self.options.told.and(run.told);
        let hermetic = told.hermetic;
        let network = network(run.network, self.options, told);
        let mut env = run.env.clone();
        if hermetic {
            let epoch = self.options.epoch.seconds().to_string();
            let fixed = HERMETIC_ENV.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            for (name, value) in fixed.chain([("SOURCE_DATE_EPOCH".to_owned(), epoch)]) {
                if !env.iter().any(|(known, _)| *known == name) {
                    env.push((name, value));
                }
            }
        }
        let (mounts, materials) = self.mounts(&run.mounts, stages, platform)?.into_iter().unzip();
        let bound = BoundRun {
            argv: run.argv.clone(),
            env,
            cwd: run.cwd.clone(),
            user: run.user.clone(),
            network,
            hermetic,
            seeded: told.seeded,
            litter: match (self.options.litter, run.litter) {
                (Litter::Dropped, Litter::Dropped) if hermetic => Litter::Dropped,
                (Litter::Dropped | Litter::Kept, _) => Litter::Kept,
            },
            security: run.security,
            hosts: self.options.limits.hosts.iter().map(|host| host.name.clone()).collect(),
            ulimits: self.options.limits.ulimits.clone(),
            shm_size: self.options.limits.shm_size,
            mounts,
            scripts: run
                .scripts
                .iter()
                .map(|(path, bytes)| (path.clone(), ContentDigest::of(bytes)))
                .collect(),
        };
        let mut job = self.job(BoundOp::Run(bound), platform);
        job.scripts.clone_from(&run.scripts);
        if network == BoundNetwork::Host {
            job.hidden_env.clone_from(&run.proxy_env);
        }
        job.materials = materials;
        Ok(job)
    }

    fn mounts(
        &self,
        mounts: &[Mount],
        stages: &dyn Fn(usize) -> Arc<Rootfs>,
        platform: &Platform,
    ) -> Result<Vec<(BoundMount, Material)>, BuildError> {
        mounts.iter().map(|mount| self.mount(mount, stages, platform)).collect()
    }

    fn mount(
        &self,
        mount: &Mount,
        stages: &dyn Fn(usize) -> Arc<Rootfs>,
        platform: &Platform,
    ) -> Result<(BoundMount, Material), BuildError> {
        let (files, material) = match mount.files() {
            None => (None, Material::None),
            Some((from, path)) => {
                let (files, material) = self.material(from, path, stages, platform)?;
                (Some(files), material)
            }
        };
        let version = match mount {
            Mount::Secret(secret) => self.options.secrets.version(&secret.id),
            Mount::Bind(_) | Mount::Cache(_) | Mount::Tmpfs(_) | Mount::Ssh(_) => None,
        };
        Ok((BoundMount { mount: mount.clone(), files, version }, material))
    }

    /// One file or directory as it is, and the digest of all that matters of it but its name.
    fn material(
        &self,
        from: &FilesFrom,
        path: &ImagePath,
        stages: &dyn Fn(usize) -> Arc<Rootfs>,
        platform: &Platform,
    ) -> Result<(ContentDigest, Material), BuildError> {
        let of_rootfs = |rootfs: Arc<Rootfs>| -> Result<(ContentDigest, Material), BuildError> {
            let (path, source) = Source::at_rootfs(self.store, &rootfs, path)?;
            Ok((source.unnamed_digest(KeepMeta::Source), Material::Rootfs { rootfs, path }))
        };
        let of_context = |files: &Files| {
            let source = files.at(self.store, path, self.taking())?;
            Ok((source.unnamed_digest(KeepMeta::Fixed), Material::Files(Box::new(source))))
        };
        match from {
            FilesFrom::Context => of_context(self.context),
            FilesFrom::NamedContext(name) => of_context(self.named_context(name)),
            FilesFrom::Stage(stage) => of_rootfs(stages(*stage)),
            FilesFrom::Image(reference) => of_rootfs(self.image(reference, platform).rootfs.clone()),
            FilesFrom::Scratch => of_rootfs(Arc::default()),
        }
    }

    /// A file of another machine, in the store.
    fn fetch(&self, text: &str, checksum: Option<BlobDigest>) -> Result<Source, ExecError> {
        let url = url::Url::parse(text)
            .map_err(|source| FetchError::Url { url: crate::remote::shown_broken(text), source })?;
        let shown = fetch::shown(&url);
        if self.options.told.hermetic && !self.options.pins.has_url(text, checksum) {
            return Err(FetchError::NotPinned { url: shown }.into());
        }
        let fetched = self.options.pins.file(&Fetcher::new(self.store, self.fetch), text, checksum)?;
        let (file, _) = self.store.open_blob(&fetched.blob)?;
        let name = fetch::file_name(&url).unwrap_or_else(|| UNNAMED.to_owned());
        Ok(Source::from_blob(&name, shown, &fetched, file, self.options.epoch))
    }

    /// The files of a commit of a repository, out of the store.
    fn checkout(&self, repo: &GitRepo, filter: &Filter) -> Result<Source, ExecError> {
        if self.options.told.hermetic && !self.options.pins.has_commit(repo) {
            return Err(FetchError::NotPinned { url: repo.shown() }.into());
        }
        let commits = Commits::new(self.store, self.fetch, self.options.git_access());
        let commit = self.options.pins.commit(&commits, repo)?;
        let tree = commits.tree(repo, &commit)?;
        let dir = match repo.keep_git_dir {
            Some(true) => Some(commits.git_dir(repo, &commit)?),
            Some(false) | None => None,
        };
        Ok(Source::from_git(repo.shown(), tree, dir, filter, self.options.epoch))
    }

    fn named_context(&self, name: &str) -> &Files {
        self.named.get(name).expect("named contexts are opened before binding")
    }

    fn image(&self, reference: &str, platform: &Platform) -> &Resolved {
        let key = (reference.to_owned(), platform.clone());
        self.images.get(&key).expect("images are resolved before binding")
    }

    fn taking(&self) -> Taking {
        Taking { modes: self.options.context_modes, epoch: self.options.epoch }
    }

    /// Binds a COPY or ADD; reads what the index does not know.
    pub fn copy(
        &self,
        copy: &Copy,
        stages: &dyn Fn(usize) -> Arc<Rootfs>,
        platform: &Platform,
    ) -> Result<Job, BuildError> {
        let (mut sources, keep) = self.sources(copy, stages, platform)?;
        sources.extend(
            copy.inline.iter().map(|(name, bytes)| Source::from_bytes(name, bytes, self.options.epoch)),
        );
        let digests: Vec<SourceDigest> = sources.iter().map(|source| source.digest(keep)).collect();
        let bound = BoundCopy {
            sources: digests,
            dest: copy.dest.clone(),
            dest_is_dir: copy.dest_is_dir,
            chown: copy.chown.clone(),
            chmod: copy.chmod.clone(),
            unpack: copy.unpack,
            link: copy.link,
            keep,
        };
        let mut job = self.job(BoundOp::Copy(bound), platform);
        job.sources = sources;
        Ok(job)
    }

    /// Binds anything that takes in nothing but its own fields.
    pub fn job(&self, op: BoundOp, platform: &Platform) -> Job {
        Job::new(Action { op, epoch: self.options.epoch, platform: platform.clone() })
    }

    fn sources(
        &self,
        copy: &Copy,
        stages: &dyn Fn(usize) -> Arc<Rootfs>,
        platform: &Platform,
    ) -> Result<(Vec<Source>, KeepMeta), BuildError> {
        let fetch = |source: &CopySource, filter: &Filter| match source {
            CopySource::Url { url, checksum } => self.fetch(url, *checksum).map(Some),
            CopySource::Git(repo) => self.checkout(repo, filter).map(Some),
            CopySource::Path(_) | CopySource::Below { .. } => Ok(None),
        };
        let from_context = |files: &Files| {
            each(copy, fetch, |path, filter| files.select(self.store, path, filter, self.taking()))
        };
        let from_rootfs = |rootfs: &Rootfs| {
            each(copy, fetch, |path, filter| Source::from_rootfs(self.store, rootfs, path, filter))
        };
        Ok(match &copy.from {
            FilesFrom::Context => (from_context(self.context)?, KeepMeta::Fixed),
            FilesFrom::NamedContext(name) => (from_context(self.named_context(name))?, KeepMeta::Fixed),
            FilesFrom::Stage(stage) => (from_rootfs(&stages(*stage))?, KeepMeta::Source),
            FilesFrom::Image(reference) => {
                (from_rootfs(&self.image(reference, platform).rootfs)?, KeepMeta::Source)
            }
            FilesFrom::Scratch => (from_rootfs(&Rootfs::new())?, KeepMeta::Source),
        })
    }
}

/// What a file is called whose URL ends in no name, as in BuildKit.
const UNNAMED: &str = "__unnamed__";

/// Reads every source of a copy through its filter.
fn each(
    copy: &Copy,
    fetch: impl Fn(&CopySource, &Filter) -> Result<Option<Source>, ExecError>,
    read: impl Fn(&ImagePath, &Filter) -> Result<Vec<Source>, ExecError>,
) -> Result<Vec<Source>, ExecError> {
    let mut all = Vec::new();
    for source in &copy.sources {
        let filter = Filter::excluding(&copy.exclude)?;
        all.extend(match source {
            CopySource::Url { .. } | CopySource::Git(_) => fetch(source, &filter)?.into_iter().collect(),
            CopySource::Path(path) => read(path, &filter)?,
            CopySource::Below { base, pattern } => below(base, pattern, filter, &read)?,
        });
    }
    Ok(all)
}

/// `--parents`: a plain path must be there, a pattern may name nothing. What stands before the pivot is a directory.
fn below(
    base: &ImagePath,
    pattern: &ImagePath,
    filter: Filter,
    read: impl Fn(&ImagePath, &Filter) -> Result<Vec<Source>, ExecError>,
) -> Result<Vec<Source>, ExecError> {
    let open = |path: &ImagePath| path.names().any(may_match_none);
    let directories = |filter: Filter| -> Result<Vec<Source>, ExecError> {
        let mut found = read(base, &filter.taking(pattern)?)?;
        found.retain(Source::is_dir);
        found.iter_mut().for_each(|source| source.name.clear());
        Ok(found)
    };
    let empty = |sources: &[Source]| sources.iter().all(|source| source.below.is_empty());
    let sources = directories(filter)?;
    if empty(&sources) && !open(base) && !open(pattern) {
        if !pattern.is_root() {
            read(&base.join(pattern), &Filter::default())?;
        }
        // It may be left out on purpose.
        let all = directories(Filter::default())?;
        if all.is_empty() {
            return Err(ExecError::PivotIsNoDirectory { path: base.clone() });
        }
        if empty(&all) && !pattern.is_root() {
            return Err(ExecError::BehindLink { path: base.join(pattern) });
        }
    }
    Ok(sources)
}
