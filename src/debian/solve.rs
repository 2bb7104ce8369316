//! Which packages fit together: apt's order of preference, with backtracking.
//!
//! Of a clause the first alternative counts, of several providers the one that apt would take, of a name its newest
//! version. What was chosen before is kept if it fits. Where apt would give up, the last choice is made anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::relation::{Clause, Relation};
use super::universe::{IndexError, PackageId, Universe};
use super::version::Version;

/// How many choices are made before it is given up.
const MOST_CHOICES: usize = 200_000;

/// A package that is asked for: `name`, `name=version`, `name:architecture`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub name: String,
    pub version: Option<Version>,
    pub architecture: Option<String>,
}

/// Why there is no set of packages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SolveError {
    #[error("{0:?} does not name a package: expected name, name=version or name:architecture")]
    Request(String),
    #[error("the archive has no package {name}{}", .similar.as_ref().map_or_else(String::new, |similar| format!("; did you mean {similar}?")))]
    Unknown { name: String, similar: Option<String> },
    #[error("{name} is a name that several packages provide: {}; choose one", .providers.join(", "))]
    Virtual { name: String, providers: Vec<String> },
    #[error("the archive has no version {wanted} of {name}; it has {}", .known.join(", "))]
    Version { name: String, wanted: Version, known: Vec<String> },
    #[error("{name} is asked for as {wanted}, but the platform's packages are {native}")]
    Architecture { name: String, wanted: String, native: String },
    #[error("{name} is asked for twice, in different versions")]
    Twice { name: String },
    #[error("the packages do not fit together: {chain}")]
    Unsatisfiable { chain: String },
    #[error("no fit was found in {MOST_CHOICES} choices; the first that failed: {chain}")]
    TooHard { chain: String },
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution {
    /// Each package once, in the order of choice: those asked for come first.
    pub packages: Vec<PackageId>,
    /// The packages that were asked for, in the order of the requests.
    pub asked: Vec<PackageId>,
}

impl Request {
    /// Any version of a name.
    pub fn of(name: &str) -> Self {
        Self { name: name.to_owned(), version: None, architecture: None }
    }
}

impl std::str::FromStr for Request {
    type Err = SolveError;

    fn from_str(text: &str) -> Result<Self, SolveError> {
        let error = || SolveError::Request(text.chars().take(100).collect());
        let (target, version) = match text.split_once('=') {
            Some((target, version)) => (target, Some(version.parse().map_err(|_| error())?)),
            None => (text, None),
        };
        let relation: Relation = target.parse().map_err(|_| error())?;
        if relation.version.is_some() || target.contains(char::is_whitespace) {
            return Err(error());
        }
        Ok(Self { name: relation.name, version, architecture: relation.qualifier })
    }
}

/// Finds a set that has all of `requests` and everything they depend on.
pub fn solve(universe: &Universe<'_>, requests: &[Request]) -> Result<Solution, SolveError> {
    solve_keeping(universe, requests, BTreeMap::new())
}

/// The same where some names have a version already: it is kept unless something needs another.
pub fn solve_keeping(
    universe: &Universe<'_>,
    requests: &[Request],
    mut kept: BTreeMap<String, Version>,
) -> Result<Solution, SolveError> {
    loop {
        let mut solver = Solver::new(universe, &kept);
        let error = match solver.solve(requests) {
            Err(error @ (SolveError::Unsatisfiable { .. } | SolveError::TooHard { .. })) => error,
            done => return done,
        };
        // It may be that only a kept version is in the way.
        let given_up = solver.in_the_way.take().filter(|name| kept.remove(name).is_some());
        if given_up.is_none() {
            return Err(error);
        }
    }
}

/// A package of the set, and for whose sake.
#[derive(Debug, Clone)]
struct Chosen {
    id: PackageId,
    by: Option<(PackageId, Rc<Clause>)>,
}

/// The relations of one package.
#[derive(Debug)]
struct Parsed {
    needs: Vec<Rc<Clause>>,
    excludes: Vec<Relation>,
}

/// Clauses that are still to be met, the next one first.
type Agenda = Option<Rc<Need>>;

#[derive(Debug)]
struct Need {
    of: PackageId,
    clause: Rc<Clause>,
    rest: Agenda,
}

/// A clause for which something was chosen, and what else could have been.
#[derive(Debug)]
struct Choice {
    need: Rc<Need>,
    options: Vec<PackageId>,
    next: usize,
    /// How many packages were chosen before.
    before: usize,
}

struct Solver<'u, 'a> {
    universe: &'u Universe<'a>,
    /// Versions that were asked for by name.
    forced: HashMap<String, PackageId>,
    /// Versions that names have already.
    kept: HashMap<&'a str, PackageId>,
    /// The first kept name without which something might have been chosen.
    in_the_way: Option<String>,
    parsed: HashMap<PackageId, Rc<Parsed>>,
    chosen: Vec<Chosen>,
    by_name: HashMap<&'a str, PackageId>,
    choices: Vec<Choice>,
    /// The first that went wrong, for people.
    failure: Option<String>,
}

impl<'u, 'a> Solver<'u, 'a> {
    fn new(universe: &'u Universe<'a>, kept: &BTreeMap<String, Version>) -> Self {
        let known = kept.iter().filter_map(|(name, version)| {
            let id = universe.named(name).find(|id| universe.package(*id).version == *version)?;
            Some((universe.package(id).name, id))
        });
        Self {
            universe,
            forced: HashMap::new(),
            kept: known.collect(),
            in_the_way: None,
            parsed: HashMap::new(),
            chosen: Vec::new(),
            by_name: HashMap::new(),
            choices: Vec::new(),
            failure: None,
        }
    }

    fn solve(&mut self, requests: &[Request]) -> Result<Solution, SolveError> {
        let mut asked = Vec::new();
        for request in requests {
            asked.push(self.request(request)?);
        }
        let agenda = self.begin(&asked)?;
        self.run(agenda)?;
        Ok(Solution { packages: self.chosen.iter().map(|chosen| chosen.id).collect(), asked })
    }

    fn request(&mut self, request: &Request) -> Result<PackageId, SolveError> {
        let universe = self.universe;
        let name = &request.name;
        if let Some(wanted) = request.architecture.as_ref().filter(|wanted| *wanted != universe.architecture)
        {
            return Err(SolveError::Architecture {
                name: name.clone(),
                wanted: wanted.clone(),
                native: universe.architecture.to_owned(),
            });
        }
        let id = match &request.version {
            None => self.candidate(name).or_else(|| self.sole_provider(name)),
            Some(wanted) => {
                let found = universe.named(name).find(|id| universe.package(*id).version == *wanted);
                let known: Vec<String> =
                    universe.named(name).map(|id| universe.package(id).version.to_string()).collect();
                if found.is_none() && !known.is_empty() {
                    return Err(SolveError::Version { name: name.clone(), wanted: wanted.clone(), known });
                }
                found
            }
        };
        let id = id.ok_or_else(|| self.unknown(name))?;
        if self.forced.insert(name.clone(), id).is_some_and(|known| known != id) {
            return Err(SolveError::Twice { name: name.clone() });
        }
        Ok(id)
    }

    /// The version of a name that is taken: the one asked for, else the kept one, else the newest, of equal ones the
    /// first.
    fn candidate(&self, name: &str) -> Option<PackageId> {
        if let Some(known) = self.forced.get(name).or_else(|| self.kept.get(name)) {
            return Some(*known);
        }
        let universe = self.universe;
        universe.named(name).reduce(|best, id| {
            if universe.package(id).version > universe.package(best).version { id } else { best }
        })
    }

    /// What stands for a name that no package has, if only one package does.
    fn sole_provider(&self, name: &str) -> Option<PackageId> {
        let mut providers = self.universe.providers(name).filter(|id| self.is_candidate(*id));
        providers.next().filter(|_| providers.next().is_none())
    }

    fn unknown(&self, name: &str) -> SolveError {
        let universe = self.universe;
        let providers: BTreeSet<&str> =
            universe.providers(name).map(|id| universe.package(id).name).collect();
        if !providers.is_empty() {
            let providers = providers.into_iter().map(str::to_owned).collect();
            return SolveError::Virtual { name: name.to_owned(), providers };
        }
        let similar = universe.similar(name).map(str::to_owned);
        SolveError::Unknown { name: name.to_owned(), similar }
    }

    fn is_candidate(&self, id: PackageId) -> bool {
        self.candidate(self.universe.package(id).name) == Some(id)
    }

    fn parsed(&mut self, id: PackageId) -> Result<Rc<Parsed>, SolveError> {
        if let Some(parsed) = self.parsed.get(&id) {
            return Ok(parsed.clone());
        }
        let package = self.universe.package(id);
        let needs = package.needs()?.into_iter().map(Rc::new).collect();
        let parsed = Rc::new(Parsed { needs, excludes: package.excludes()? });
        self.parsed.insert(id, parsed.clone());
        Ok(parsed)
    }

    /// Takes what was asked for; what that needs comes in the same order.
    fn begin(&mut self, asked: &[PackageId]) -> Result<Agenda, SolveError> {
        for id in asked {
            if self.by_name.get(self.universe.package(*id).name) == Some(id) {
                continue;
            }
            if let Some(reason) = self.obstacle(*id)? {
                return Err(SolveError::Unsatisfiable { chain: reason });
            }
            self.choose(*id, None);
        }
        let roots: Vec<PackageId> = self.chosen.iter().map(|chosen| chosen.id).collect();
        let mut agenda = None;
        for id in roots.into_iter().rev() {
            agenda = self.needs(id, agenda)?;
        }
        Ok(agenda)
    }

    fn choose(&mut self, id: PackageId, by: Option<(PackageId, Rc<Clause>)>) {
        self.chosen.push(Chosen { id, by });
        self.by_name.insert(self.universe.package(id).name, id);
    }

    fn unchoose(&mut self, before: usize) {
        for chosen in self.chosen.split_off(before) {
            self.by_name.remove(self.universe.package(chosen.id).name);
        }
    }

    /// The clauses of a package, before what was to be met anyway.
    fn needs(&mut self, id: PackageId, rest: Agenda) -> Result<Agenda, SolveError> {
        let parsed = self.parsed(id)?;
        let clauses = parsed.needs.iter().rev();
        Ok(clauses.fold(rest, |rest, clause| Some(Rc::new(Need { of: id, clause: clause.clone(), rest }))))
    }

    fn run(&mut self, mut agenda: Agenda) -> Result<(), SolveError> {
        let mut made = 0;
        while let Some(need) = agenda {
            if self.is_met(&need.clause) {
                agenda = need.rest.clone();
                continue;
            }
            made += 1;
            if made > MOST_CHOICES {
                return Err(SolveError::TooHard { chain: self.failure.take().unwrap_or_default() });
            }
            let options = self.options(&need.clause);
            if options.is_empty() {
                let clause = &need.clause;
                self.blame_for(clause, need.of);
                self.fail(&need, &format!("{clause}, which no package of the archive is"));
            }
            self.choices.push(Choice { need, options, next: 0, before: self.chosen.len() });
            agenda = self.advance()?;
        }
        Ok(())
    }

    /// Takes the next option of the last choice that has any left.
    fn advance(&mut self) -> Result<Agenda, SolveError> {
        while let Some(mut choice) = self.choices.pop() {
            self.unchoose(choice.before);
            while let Some(id) = choice.options.get(choice.next).copied() {
                choice.next += 1;
                if let Some(reason) = self.obstacle(id)? {
                    let text = format!("{}, but {reason}", choice.need.clause);
                    self.fail(&choice.need, &text);
                    continue;
                }
                let rest = choice.need.rest.clone();
                self.choose(id, Some((choice.need.of, choice.need.clause.clone())));
                self.choices.push(choice);
                return self.needs(id, rest);
            }
        }
        Err(SolveError::Unsatisfiable { chain: self.failure.take().unwrap_or_default() })
    }

    /// Whether something that was chosen is one of the alternatives.
    fn is_met(&self, clause: &Clause) -> bool {
        clause.0.iter().any(|relation| {
            self.by_name.get(relation.name.as_str()).is_some_and(|id| self.universe.meets(*id, relation))
                || self.universe.providers(&relation.name).any(|id| {
                    self.by_name.get(self.universe.package(id).name) == Some(&id)
                        && self.universe.meets(id, relation)
                })
        })
    }

    /// What could meet a clause, the best first.
    fn options(&self, clause: &Clause) -> Vec<PackageId> {
        let mut all = Vec::new();
        for relation in &clause.0 {
            let own = self.candidate(&relation.name).into_iter();
            let providers = self.universe.providers(&relation.name).filter(|id| self.is_candidate(*id));
            let mut found: Vec<PackageId> =
                own.chain(providers).filter(|id| self.universe.meets(*id, relation)).collect();
            found.sort_by_key(|id| {
                let package = self.universe.package(*id);
                let rank = std::cmp::Reverse(self.universe.rank_of(*id));
                // Of `name:any` the package `name` is one provider among others, as it is to apt.
                let stranger = package.name != relation.name || relation.is_of_any_architecture();
                (stranger, !package.essential, !package.protected, package.priority, rank)
            });
            for id in found {
                if !all.contains(&id) {
                    all.push(id);
                }
            }
        }
        all
    }

    /// Why a package cannot join those chosen.
    fn obstacle(&mut self, id: PackageId) -> Result<Option<String>, SolveError> {
        let universe = self.universe;
        let name = |id: PackageId| universe.package(id).name;
        if let Some(other) = self.by_name.get(name(id)).filter(|other| **other != id) {
            return Ok(Some(format!(
                "{} is needed in the versions {} and {}",
                name(id),
                universe.package(*other).version,
                universe.package(id).version
            )));
        }
        let own = self.parsed(id)?;
        for chosen in self.chosen.clone() {
            let theirs = self.parsed(chosen.id)?;
            let met = |relations: &[Relation], whom: PackageId| {
                relations.iter().find(|relation| universe.meets(whom, relation)).map(Relation::to_string)
            };
            if let Some(relation) = met(&own.excludes, chosen.id) {
                self.blame([chosen.id, id]);
                return Ok(Some(format!(
                    "{} does not go with {relation}, as {} is",
                    name(id),
                    name(chosen.id)
                )));
            }
            if let Some(relation) = met(&theirs.excludes, id) {
                self.blame([chosen.id, id]);
                return Ok(Some(format!(
                    "{} does not go with {relation}, as {} is",
                    name(chosen.id),
                    name(id)
                )));
            }
        }
        let missing = own.needs.iter().find(|clause| !self.is_met(clause) && self.options(clause).is_empty());
        if let Some(clause) = missing {
            self.blame_for(clause, id);
        }
        Ok(missing.map(|clause| format!("{} needs {clause}, which no package of the archive is", name(id))))
    }

    /// Remembers the first of some packages whose version was kept.
    fn blame(&mut self, ids: impl IntoIterator<Item = PackageId>) {
        let universe = self.universe;
        let is_kept = |id: &PackageId| self.kept.get(universe.package(*id).name) == Some(id);
        let kept = ids.into_iter().find(is_kept).map(|id| universe.package(id).name.to_owned());
        self.in_the_way = self.in_the_way.take().or(kept);
    }

    /// The same of a clause that nothing meets: names another version of which would, then whose clause it is.
    fn blame_for(&mut self, clause: &Clause, of: PackageId) {
        let universe = self.universe;
        let others = clause.0.iter().flat_map(|relation| {
            let all = universe.named(&relation.name).chain(universe.providers(&relation.name));
            all.filter(|id| universe.meets(*id, relation))
        });
        let kept: Vec<PackageId> =
            others.filter_map(|id| self.kept.get(universe.package(id).name).copied()).chain([of]).collect();
        self.blame(kept);
    }

    /// Remembers the first thing that went wrong, with all that led to it.
    fn fail(&mut self, need: &Need, what: &str) {
        if self.failure.is_some() {
            return;
        }
        let mut chain = format!("{} needs {what}", self.universe.package(need.of).name);
        let mut at = need.of;
        while let Some((by, clause)) =
            self.chosen.iter().find(|chosen| chosen.id == at).and_then(|chosen| chosen.by.clone())
        {
            chain = format!("{} needs {clause}: {chain}", self.universe.package(by).name);
            at = by;
        }
        self.failure = Some(chain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(packages: &[(&str, &str, &str)]) -> Vec<String> {
        let paragraph = |(name, version, more): &(&str, &str, &str)| {
            let digest = "0".repeat(64);
            format!(
                "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/{name}.deb\nSize: 1\nSHA256: {digest}\n{more}\n"
            )
        };
        vec![packages.iter().map(paragraph).collect::<Vec<_>>().join("\n")]
    }

    fn solved(packages: &[(&str, &str, &str)], names: &[&str]) -> Result<Vec<String>, String> {
        let indices = index(packages);
        let universe = Universe::new(&indices, "amd64").unwrap();
        let requests: Vec<Request> = names.iter().map(|name| name.parse().unwrap()).collect();
        let solution = solve(&universe, &requests).map_err(|error| error.to_string())?;
        let mut chosen: Vec<String> = solution
            .packages
            .iter()
            .map(|id| format!("{}={}", universe.package(*id).name, universe.package(*id).version))
            .collect();
        chosen.sort();
        Ok(chosen)
    }

    #[test]
    fn the_first_alternative_and_the_newest_version() {
        let all =
            [("a", "1", "Depends: b | c, d"), ("b", "1", ""), ("b", "2", ""), ("c", "1", ""), ("d", "1", "")];
        assert_eq!(solved(&all, &["a"]).unwrap(), ["a=1", "b=2", "d=1"]);
        assert_eq!(solved(&all, &["a", "c"]).unwrap(), ["a=1", "c=1", "d=1"], "what is there is enough");
        assert_eq!(solved(&all, &["a", "b=1"]).unwrap(), ["a=1", "b=1", "d=1"]);
    }

    #[test]
    fn provided_names() {
        let all = [
            ("a", "1", "Depends: mta (>= 2)"),
            ("x", "1", "Provides: mta"),
            ("y", "1", "Provides: mta (= 1)"),
            ("z", "1", "Provides: mta (= 3)"),
            ("p", "1", "Provides: mta (= 3)\nPriority: important"),
        ];
        assert_eq!(solved(&all, &["a"]).unwrap(), ["a=1", "p=1"]);
        assert_eq!(solved(&all[..4], &["a"]).unwrap(), ["a=1", "z=1"]);
        assert!(solved(&all, &["mta"]).unwrap_err().contains("p, x, y, z; choose one"));
        assert_eq!(solved(&all[..2], &["mta"]).unwrap(), ["x=1"]);
        let error = solved(&all[..3], &["a"]).unwrap_err();
        assert!(error.contains("a needs mta (>= 2), which no package of the archive is"), "{error}");
    }

    #[test]
    fn a_choice_is_made_anew() {
        let all =
            [("a", "1", "Depends: b | c, d"), ("b", "1", ""), ("c", "1", ""), ("d", "1", "Conflicts: b")];
        assert_eq!(solved(&all, &["a"]).unwrap(), ["a=1", "c=1", "d=1"]);
    }

    #[test]
    fn errors_name_the_chain() {
        let all = [
            ("a", "1", "Depends: b"),
            ("b", "1", "Depends: c (>= 2)"),
            ("c", "1", ""),
            ("d", "1", "Breaks: c"),
        ];
        let error = solved(&all, &["a"]).unwrap_err();
        assert!(error.ends_with("b needs c (>= 2), which no package of the archive is"), "{error}");
        let error = solved(&all[2..], &["c", "d"]).unwrap_err();
        assert!(error.ends_with("d does not go with c, as c is"), "{error}");
        let error = solved(&all, &["abc"]).unwrap_err();
        assert!(error.starts_with("the archive has no package abc"), "{error}");
        let error = solved(&all, &["c=3"]).unwrap_err();
        assert_eq!(error, "the archive has no version 3 of c; it has 1");
    }

    #[test]
    fn versions_are_kept_unless_something_needs_another() {
        let all = [
            ("a", "1", "Depends: lib"),
            ("b", "1", "Depends: lib (>= 2)"),
            ("c", "2", "Depends: data (= 2)"),
            ("d", "1", "Breaks: lib (<< 2)"),
            ("lib", "1", "Depends: data (= 1)"),
            ("lib", "2", ""),
            ("data", "1", ""),
            ("data", "2", ""),
        ];
        let kept = |pins: &[(&str, &str)], names: &[&str]| {
            let indices = index(&all);
            let universe = Universe::new(&indices, "amd64").unwrap();
            let requests: Vec<Request> = names.iter().map(|name| name.parse().unwrap()).collect();
            let pins =
                pins.iter().map(|(name, version)| ((*name).to_owned(), version.parse().unwrap())).collect();
            let solution = solve_keeping(&universe, &requests, pins).map_err(|error| error.to_string())?;
            let shown =
                |id: &PackageId| format!("{}={}", universe.package(*id).name, universe.package(*id).version);
            Ok::<_, String>(solution.packages.iter().map(shown).collect::<Vec<_>>())
        };
        let old = [("lib", "1"), ("data", "1")];
        assert_eq!(kept(&old, &["a"]).unwrap(), ["a=1", "lib=1", "data=1"]);
        assert_eq!(kept(&[("lib", "1")], &["a", "data"]).unwrap(), ["a=1", "data=2", "lib=2"]);
        assert_eq!(kept(&old, &["a", "b"]).unwrap(), ["a=1", "b=1", "lib=2"], "b needs a newer lib");
        assert_eq!(kept(&old, &["d", "a"]).unwrap(), ["d=1", "a=1", "lib=2"], "d breaks the old one");
        assert_eq!(
            kept(&old, &["c", "a"]).unwrap(),
            ["c=2", "a=1", "data=2", "lib=2"],
            "what needed it goes too"
        );
        assert_eq!(kept(&[("lib", "7")], &["a"]).unwrap(), ["a=1", "lib=2"], "nobody has it");
        assert!(kept(&old, &["x"]).is_err());
    }

    #[test]
    fn a_package_is_one_of_those_that_provide_its_name_for_any_architecture() {
        let all = [
            ("a", "1", "Depends: make:any"),
            ("b", "1", "Depends: make"),
            ("make", "1", "Multi-Arch: allowed\nConflicts: make-guile"),
            ("make-guile", "1", "Multi-Arch: allowed\nProvides: make (= 1)\nConflicts: make"),
        ];
        assert_eq!(solved(&all, &["a"]).unwrap(), ["a=1", "make-guile=1"], "the name that is met last");
        assert_eq!(solved(&all, &["b"]).unwrap(), ["b=1", "make=1"]);
        assert_eq!(solved(&all, &["a", "make"]).unwrap(), ["a=1", "make=1"]);
        let named_by_its_provider = [all[0], all[3], all[2]];
        assert_eq!(solved(&named_by_its_provider, &["a"]).unwrap(), ["a=1", "make=1"]);
    }

    #[test]
    fn architectures() {
        let all = [
            ("a", "1", "Depends: p:any"),
            ("p", "1", "Multi-Arch: allowed"),
            ("b", "1", "Depends: q:any"),
            ("q", "1", ""),
        ];
        assert_eq!(solved(&all, &["a:amd64"]).unwrap(), ["a=1", "p=1"]);
        assert!(solved(&all, &["b"]).is_err());
        assert!(solved(&all, &["a:arm64"]).unwrap_err().contains("amd64"));
    }
}
