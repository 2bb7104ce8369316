//! The four builders of a case: lith and the three it is held against.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use super::case::Case;
use super::image::{Image, Layers, read_archive};
use crate::peers::tools::{Docker, buildah_try};
use crate::support::{Lab, Ran};

/// Who lith is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Docker's builder of old.
    Classic,
    /// The BuildKit inside docker's daemon.
    Buildkit,
    Buildah,
}

pub const PEERS: [Peer; 3] = [Peer::Classic, Peer::Buildkit, Peer::Buildah];

/// An image, or what the builder said when it failed.
pub type Outcome = Result<Arc<Image>, String>;

/// What became of one case.
pub struct Built {
    pub lith: Outcome,
    pub peers: BTreeMap<Peer, Outcome>,
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Buildkit => "buildkit",
            Self::Buildah => "buildah",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        PEERS.into_iter().find(|peer| peer.name() == name)
    }

    /// What a case's image is called in docker.
    fn tag(self, case: &Case) -> String {
        format!("{}:{}", self.name(), case.name)
    }

    fn build(self, lab: &Lab, docker: &Docker<'_>, case: &Case) -> Ran {
        let context = case.context.to_str().unwrap();
        let options: Vec<&str> = case.options.iter().map(String::as_str).collect();
        match self {
            Self::Classic | Self::Buildkit => {
                let tag = self.tag(case);
                let args = [&["--no-cache", "-t", &tag], &options[..], &[context]].concat();
                docker.try_build(self == Self::Buildkit, &args)
            }
            Self::Buildah => {
                let to = format!("docker-archive:{}:{}", self.archive(case), self.tag(case));
                buildah_try(lab, &[&["--identity-label=false", "-t", &to], &options[..], &[context]].concat())
            }
        }
    }

    fn archive(self, case: &Case) -> String {
        format!("{}-{}.tar", self.name(), case.name)
    }
}

/// Builds every case with every builder, several at once.
pub fn build_all(lab: &Lab, docker: &Docker<'_>, cases: &[Case]) -> Vec<Built> {
    let jobs: Vec<(usize, Option<Peer>)> = (0..cases.len())
        .flat_map(|at| [None].into_iter().chain(PEERS.map(Some)).map(move |peer| (at, peer)))
        .collect();
    let next = AtomicUsize::new(0);
    let (done, runs) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (jobs, next, done) = (&jobs, &next, done.clone());
            scope.spawn(move || {
                while let Some((at, peer)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let case = &cases[*at];
                    let ran = match peer {
                        None => build(lab, case),
                        Some(peer) => peer.build(lab, docker, case),
                    };
                    done.send((*at, *peer, ran)).unwrap();
                }
            });
        }
    });
    drop(done);
    let mut said: Vec<BTreeMap<Option<Peer>, Ran>> = cases.iter().map(|_| BTreeMap::new()).collect();
    for (at, peer, ran) in runs {
        said[at].insert(peer, ran);
    }
    read_all(lab, docker, cases, said)
}

/// Lith's own build.
fn build(lab: &Lab, case: &Case) -> Ran {
    let output = format!("type=docker,dest=lith-{}.tar", case.name);
    let tag = format!("lith:{}", case.name);
    let mut args = vec!["build", "--progress", "plain", "-t", &tag, "-o", &output];
    args.extend(case.options.iter().map(String::as_str));
    args.push(case.context.to_str().unwrap());
    lab.run("store", &args)
}

/// Reads all images that were built; docker gives its own in one archive.
fn read_all(
    lab: &Lab,
    docker: &Docker<'_>,
    cases: &[Case],
    said: Vec<BTreeMap<Option<Peer>, Ran>>,
) -> Vec<Built> {
    let layers = Layers::default();
    let in_docker = |peer: &Peer| *peer != Peer::Buildah;
    let tags: Vec<String> = cases
        .iter()
        .zip(&said)
        .flat_map(|(case, said)| {
            said.iter().filter(|(_, ran)| ran.code == 0).map(move |(peer, _)| (case, peer))
        })
        .filter_map(|(case, peer)| peer.filter(in_docker).map(|peer| peer.tag(case)))
        .collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    docker.ok(&[&["save", "-o", "docker.tar"], &tags[..]].concat());
    let dockers = read_archive(&lab.path("docker.tar"), &layers);
    let only = |file: &str| read_archive(&lab.path(file), &layers).into_values().next().unwrap();
    let outcome = |case: &Case, peer: Option<Peer>, ran: Ran| -> Outcome {
        if ran.code != 0 {
            return Err(ran.out + &ran.err);
        }
        Ok(match peer {
            None => only(&format!("lith-{}.tar", case.name)),
            Some(Peer::Buildah) => only(&Peer::Buildah.archive(case)),
            Some(peer) => dockers[&peer.tag(case)].clone(),
        })
    };
    let built = |(case, mut said): (&Case, BTreeMap<Option<Peer>, Ran>)| Built {
        lith: outcome(case, None, said.remove(&None).unwrap()),
        peers: said.into_iter().map(|(peer, ran)| (peer.unwrap(), outcome(case, peer, ran))).collect(),
    };
    cases.iter().zip(said).map(built).collect()
}
