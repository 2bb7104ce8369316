//! A slow `.dockerignore`, written from the rules alone; `lith::context::ignore` must agree with it.
//!
//! Every pattern is tried at every ending of the path, with nothing pruned, and a table so that it ends.

/// What a file of patterns says of a path: slash separated, relative, no `.` and no `..`.
pub struct Rules(Vec<Rule>);

struct Rule {
    keeps: bool,
    text: Vec<char>,
}

impl Rules {
    /// Reads a file that is known to be valid, and text.
    pub fn new(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.split('\n').filter(|line| !line.starts_with('#')).map(str::trim);
        Self(lines.filter(|line| !line.is_empty()).filter_map(rule).collect())
    }

    /// Goes down to the path as a walker does. Each rule that matched a directory holds for all below it. A rule
    /// that would change nothing at a place is not tried there.
    pub fn leaves_out(&self, path: &str) -> bool {
        let mut matched = vec![false; self.0.len()];
        let mut out = false;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            out = false;
            for (rule, matched) in self.0.iter().zip(&mut matched) {
                let changes = out == rule.keeps;
                *matched |= changes && rule.matches(&path[..end]);
                if *matched {
                    out = !rule.keeps;
                }
            }
        }
        out
    }
}

/// A line is read as a line of the file, where a `!` keeps its place and a first slash goes, and what comes of it is
/// read as a pattern.
fn rule(line: &str) -> Option<Rule> {
    let (mark, text) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => ("", line),
    };
    let text = clean(text);
    let text = if text == "/" { "/" } else { text.trim_start_matches('/') };
    let whole = format!("{mark}{text}");
    let whole = clean(whole.trim());
    let (keeps, text) = match whole.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, whole.as_str()),
    };
    (!text.is_empty()).then(|| Rule { keeps, text: text.chars().collect() })
}

/// Names without `.` and empty ones; `..` takes the name before it, unless there is none.
fn clean(text: &str) -> String {
    let root = if text.starts_with('/') { "/" } else { "" };
    let mut names: Vec<&str> = Vec::new();
    for name in text.split('/').filter(|name| !matches!(*name, "" | ".")) {
        let above = names.last().is_some_and(|last| *last != "..");
        match name {
            ".." if above => drop(names.pop()),
            ".." if !root.is_empty() => {}
            name => names.push(name),
        }
    }
    match (root, names.is_empty()) {
        ("", true) => ".".to_owned(),
        _ => format!("{root}{}", names.join("/")),
    }
}

impl Rule {
    fn matches(&self, path: &str) -> bool {
        let path: Vec<char> = path.chars().collect();
        let wild = self.text.iter().any(|c| matches!(c, '*' | '?' | '[' | ']' | '\\'));
        if !wild {
            return self.text == path;
        }
        // `name**` and `**name`, with nothing else in them, are plain comparisons: `^` is a character there.
        let stars = |text: &[char]| text.iter().filter(|c| matches!(c, '*' | '?' | '[' | ']' | '\\')).count();
        if let Some(name) = self.text.strip_suffix(&['*', '*']).filter(|name| stars(name) == 0) {
            return name.is_empty() || path.starts_with(name);
        }
        if let Some(name) = self.text.strip_prefix(&['*', '*']).filter(|name| stars(name) == 0) {
            return path.ends_with(name) || name.strip_prefix(&['/']) == Some(path.as_slice());
        }
        Search { rule: &self.text, path: &path, tried: vec![None; (self.text.len() + 1) * (path.len() + 1)] }
            .from(0, 0)
    }
}

/// All ways to match, from each place in the rule and the path once.
struct Search<'a> {
    rule: &'a [char],
    path: &'a [char],
    tried: Vec<Option<bool>>,
}

impl Search<'_> {
    fn from(&mut self, rule: usize, path: usize) -> bool {
        let index = rule * (self.path.len() + 1) + path;
        if let Some(known) = self.tried[index] {
            return known;
        }
        let answer = self.work_out(rule, path);
        self.tried[index] = Some(answer);
        answer
    }

    fn work_out(&mut self, rule: usize, path: usize) -> bool {
        let next = self.path.get(path).copied();
        match &self.rule[rule..] {
            [] => next.is_none(),
            // A slash behind `**` belongs to it. At the end it takes everything; elsewhere nothing, or all up to a slash.
            ['*', '*', rest @ ..] => {
                let skip = if rest.first() == Some(&'/') { 3 } else { 2 };
                let tail: Vec<char> = self.path[path..].to_vec();
                let reach = tail.iter().position(|c| *c == '\n').unwrap_or(tail.len());
                if rule + skip == self.rule.len() {
                    return reach == tail.len();
                }
                self.from(rule + skip, path)
                    || (0..reach).any(|n| tail[n] == '/' && self.from(rule + skip, path + n + 1))
            }
            ['*', ..] => {
                self.from(rule + 1, path) || next.is_some_and(|c| c != '/') && self.from(rule, path + 1)
            }
            ['?', ..] => next.is_some_and(|c| c != '/') && self.from(rule + 1, path + 1),
            ['^', ..] => path == 0 && self.from(rule + 1, path),
            ['\\', plain, ..] => next == Some(*plain) && self.from(rule + 2, path + 1),
            ['[', ..] => {
                let (end, members) = set(self.rule, rule + 1);
                let negated = self.rule[rule + 1] == '^';
                let is_in = |c: char| members.iter().any(|(low, high)| (*low..=*high).contains(&c));
                next.is_some_and(|c| is_in(c) != negated) && self.from(end, path + 1)
            }
            [plain, ..] => next == Some(*plain) && self.from(rule + 1, path + 1),
        }
    }
}

/// The ranges of a set that is known to be valid, and where the rule goes on.
fn set(rule: &[char], mut at: usize) -> (usize, Vec<(char, char)>) {
    at += usize::from(rule[at] == '^');
    let mut members = Vec::new();
    let member = |at: &mut usize| {
        *at += usize::from(rule[*at] == '\\');
        *at += 1;
        rule[*at - 1]
    };
    while members.is_empty() || rule[at] != ']' {
        let low = member(&mut at);
        let mut high = low;
        if rule[at] == '-' {
            at += 1;
            high = member(&mut at);
        }
        members.push((low, high));
    }
    (at + 1, members)
}
