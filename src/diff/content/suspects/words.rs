//! Two lines that stand for each other: which words differ, and what they may be.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput};

use super::{Class, Findings, dates, known, random};
use crate::diff::content::Worlds;

/// Bytes of a line that are looked at, around the first difference.
const LONGEST: usize = 4 << 10;

/// Where two lines stand.
pub struct Place<'a> {
    /// The path of the file.
    pub file: &'a str,
    /// What the example says of the place.
    pub at: String,
    pub worlds: &'a Worlds,
}

/// Looks at every difference of two lines.
pub fn look(place: &Place<'_>, a: &str, b: &str, findings: &mut Findings) {
    let (a, b) = window(a, b);
    if let Some(class) = whole_line(place, a, b) {
        findings.add(class, &place.at, a, b);
        return;
    }
    let (dates_a, dates_b) = (dates::find(a), dates::find(b));
    let mut done = (0, 0);
    for (left, right) in spans(a, b) {
        if left.start < done.0 && right.start < done.1 {
            continue;
        }
        let holds = |dates: &[dates::Date], span: &Range<usize>| {
            let overlaps = |date: &&dates::Date| date.at.start < span.end.max(1) && span.start < date.at.end;
            dates.iter().find(overlaps).cloned()
        };
        if let (Some(date_a), Some(date_b)) = (holds(&dates_a, &left), holds(&dates_b, &right))
            && date_a.form == date_b.form
        {
            findings.add(Class::Timestamp, &place.at, &a[date_a.at.clone()], &b[date_b.at.clone()]);
            done = (date_a.at.end, date_b.at.end);
            continue;
        }
        let (word_a, word_b) = (word(a, left.clone()), word(b, right.clone()));
        done = (word_a.end, word_b.end);
        let near = near(a, &word_a);
        let pair = Pair { a: &a[word_a], b: &b[word_b], near: &near, place };
        let class = if is_separator(a, b, &left, &right) { Some(Class::Locale) } else { pair.class() };
        if let Some(class) = class {
            findings.add(class, &place.at, pair.a, pair.b);
        }
    }
}

/// What is said of a line as a whole.
fn whole_line<'a>(place: &Place<'_>, a: &'a str, b: &'a str) -> Option<Class> {
    let base = place.file.rsplit('/').next().unwrap_or(place.file);
    if matches!(base, "shadow" | "shadow-" | "gshadow" | "gshadow-") {
        return shadow(a, b);
    }
    let words = |line: &'a str| -> Vec<&'a str> {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect()
    };
    let (mut left, mut right) = (words(a), words(b));
    if left.len() < 3 || a.len() != b.len() || left == right {
        return None;
    }
    left.sort_unstable();
    right.sort_unstable();
    (left == right).then_some(Class::Ordering)
}

/// shadow(5): the second field is the salted password, the third the day it was changed.
fn shadow(a: &str, b: &str) -> Option<Class> {
    let (left, right): (Vec<&str>, Vec<&str>) = (a.split(':').collect(), b.split(':').collect());
    if left.len() != right.len() || left.len() < 3 || left[0] != right[0] {
        return None;
    }
    if left[1] != right[1] {
        return (left[1].starts_with('$') && right[1].starts_with('$')).then_some(Class::Random);
    }
    let day = |field: &str| field.parse::<u64>().is_ok_and(|day| dates::PLAUSIBLE.contains(&(day * 86_400)));
    (left[2] != right[2] && day(left[2]) && day(right[2])).then_some(Class::Timestamp)
}

/// The part of both lines around the first difference, if they are long.
fn window<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    if a.len() <= LONGEST && b.len() <= LONGEST {
        return (a, b);
    }
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let cut = |text: &'a str| {
        let (mut from, mut to) = (same.saturating_sub(128), (same + LONGEST).min(text.len()));
        while !text.is_char_boundary(from) {
            from -= 1;
        }
        while !text.is_char_boundary(to) {
            to -= 1;
        }
        text.get(from..to).unwrap_or("")
    };
    (cut(a), cut(b))
}

/// Where two lines differ, by runs of letters and digits and single other characters.
fn spans(a: &str, b: &str) -> Vec<(Range<usize>, Range<usize>)> {
    let (left, right) = (tokens(a), tokens(b));
    let mut input = InternedInput::default();
    input.update_before(left.iter().map(|range| &a[range.clone()]));
    input.update_after(right.iter().map(|range| &b[range.clone()]));
    let diff = Diff::compute(Algorithm::Myers, &input);
    let bytes = |tokens: &[Range<usize>], part: Range<u32>, len: usize| {
        let (from, to) = (part.start as usize, part.end as usize);
        let start = tokens.get(from).map_or(len, |range| range.start);
        start..if to > from { tokens[to - 1].end } else { start }
    };
    let hunks =
        diff.hunks().map(|hunk| (bytes(&left, hunk.before, a.len()), bytes(&right, hunk.after, b.len())));
    hunks.collect()
}

fn tokens(text: &str) -> Vec<Range<usize>> {
    let mut tokens: Vec<Range<usize>> = Vec::new();
    let mut run = false;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let joins = c.is_alphanumeric() || c == '_';
        match tokens.last_mut() {
            Some(last) if joins && run => last.end = end,
            _ => tokens.push(at..end),
        }
        run = joins;
    }
    tokens
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+' | '@' | '~' | '%' | '$')
}

/// The word that a span is of.
fn word(text: &str, span: Range<usize>) -> Range<usize> {
    let before = text[..span.start].char_indices().rev().take_while(|(_, c)| is_of_word(*c)).last();
    let start = before.map_or(span.start, |(at, _)| at);
    let after = text[span.end..].char_indices().find(|(_, c)| !is_of_word(*c));
    let end = after.map_or(text.len(), |(at, _)| span.end + at);
    let trimmed = text[start..end].trim_end_matches(['.', '/']);
    start..start + trimmed.len()
}

/// The words around a value, the nearest first, in small letters.
fn near(text: &str, word: &Range<usize>) -> Vec<String> {
    let clean =
        |part: &str| part.chars().filter(|c| *c != '_' && *c != '-').collect::<String>().to_lowercase();
    let split = |c: char| !c.is_alphanumeric() && c != '_' && c != '-';
    let before = text[..word.start].rsplit(split).filter(|part| !part.is_empty()).take(3);
    let after = text[word.end..].split(split).filter(|part| !part.is_empty()).take(1);
    before.chain(after).map(clean).collect()
}

/// Whether a point stands for a comma between digits.
fn is_separator(a: &str, b: &str, left: &Range<usize>, right: &Range<usize>) -> bool {
    let between_digits = |text: &str, span: &Range<usize>| {
        let bytes = text.as_bytes();
        span.len() == 1
            && span.start.checked_sub(1).is_some_and(|at| bytes[at].is_ascii_digit())
            && bytes.get(span.end).is_some_and(u8::is_ascii_digit)
    };
    let (x, y) = (&a[left.clone()], &b[right.clone()]);
    matches!((x, y), ("." | "," | "'", "." | "," | "'"))
        && between_digits(a, left)
        && between_digits(b, right)
}

/// Two words that stand for each other.
struct Pair<'a> {
    a: &'a str,
    b: &'a str,
    near: &'a [String],
    place: &'a Place<'a>,
}

impl Pair<'_> {
    /// The first class that both words are of.
    fn class(&self) -> Option<Class> {
        self.by_world()
            .or_else(|| self.as_numbers())
            .or_else(|| self.as_drawn())
            .or_else(|| self.as_names())
            .or_else(|| self.as_paths())
            .or_else(|| self.as_words())
    }

    fn both(&self, holds: impl Fn(&str) -> bool) -> bool {
        holds(self.a) && holds(self.b)
    }

    /// The words are the same but for what is known of both worlds.
    fn by_world(&self) -> Option<Class> {
        let Worlds { a, b } = self.place.worlds;
        [
            (&a.hostname, &b.hostname, Class::HostName),
            (&a.cwd, &b.cwd, Class::BuildPath),
            (&a.kernel, &b.kernel, Class::Kernel),
            (&a.user, &b.user, Class::Owner),
        ]
        .into_iter()
        .find_map(|(a, b, class)| {
            let (a, b) = (a.as_deref()?, b.as_deref()?);
            let changes = a != b && !a.is_empty() && self.a.contains(a) && self.a.replace(a, b) == self.b;
            changes.then_some(class)
        })
        .or_else(|| self.by_one_host(a.hostname.as_deref(), b.hostname.as_deref()))
    }

    /// One side's machine is known by name, and that name stands where the other side has another word.
    fn by_one_host(&self, a: Option<&str>, b: Option<&str>) -> Option<Class> {
        let (known, one, other) = match (a, b) {
            (Some(known), None) => (known, self.a, self.b),
            (None, Some(known)) => (known, self.b, self.a),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        let ends_word = |c: char| !c.is_alphanumeric() && c != '_' && c != '-';
        let stands = one.match_indices(known).any(|(at, _)| {
            let (before, after) = (&one[..at], &one[at + known.len()..]);
            let is_whole = before.chars().next_back().is_none_or(ends_word)
                && after.chars().next().is_none_or(ends_word);
            let inner = other.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            is_whole && inner.is_some_and(is_host_name)
        });
        (stands && known.contains(|c: char| c.is_ascii_alphabetic())).then_some(Class::HostName)
    }

    fn as_numbers(&self) -> Option<Class> {
        let is_number = |word: &str| {
            word.bytes().any(|byte| byte.is_ascii_digit())
                && word.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        };
        if self
            .both(|word| word.strip_prefix("-j").is_some_and(|rest| is_number(rest) && !rest.contains('.')))
        {
            return Some(Class::CpuCount);
        }
        if self.both(is_elapsed) {
            return Some(Class::Timestamp);
        }
        if !self.both(is_number) {
            return None;
        }
        let is_measure = self.near.iter().take(2).any(|word| known::is_measure(word));
        if let (Some(a), Some(b)) = (dates::epoch(self.a), dates::epoch(self.b))
            && !is_measure
            // A number of nine digits has to be called a time, all others are hardly anything else.
            && (self.a.len() > 9 || self.near.iter().any(|word| word.contains("time") || word.contains("date")))
            && a.abs_diff(b) < 20 * 366 * 86_400
        {
            return Some(Class::Timestamp);
        }
        if self.both(|word| word.contains('.')) {
            let unit =
                |word: &String| matches!(word.as_str(), "s" | "ms" | "sec" | "secs" | "seconds" | "minutes");
            return self.near.last().is_some_and(unit).then_some(Class::Timestamp);
        }
        self.near.iter().find_map(|word| known::by_neighbour(word, true))
    }

    fn as_drawn(&self) -> Option<Class> {
        if self.both(random::is_uuid) {
            return Some(Class::Random);
        }
        if self.both(|word| self.is_address(word)) {
            return Some(Class::Address);
        }
        let digest = self.near.iter().take(2).any(|word| known::is_digest(word)) || self.is_among_digests();
        let least = if digest { 7 } else { 16 };
        let (a, b) = self.bare();
        let hex = random::are_hex(a, b, least);
        let base64 = !self.a.starts_with('/') && random::are_base64(a, b);
        (hex || base64).then_some(if digest { Class::Digest } else { Class::Random })
    }

    /// Without what both begin with, up to a separator: `sha256-…`.
    fn bare(&self) -> (&str, &str) {
        let same = self.a.bytes().zip(self.b.bytes()).take_while(|(a, b)| a == b).count();
        let at =
            self.a.as_bytes()[..same].iter().rposition(|byte| b"-.".contains(byte)).map_or(0, |at| at + 1);
        (&self.a[at..], &self.b[at..])
    }

    /// Whether the word is called a digest, or the file is a list of them.
    fn is_among_digests(&self) -> bool {
        let base = self.place.file.rsplit('/').next().unwrap_or(self.place.file).to_ascii_lowercase();
        let list = base == "record"
            || base.ends_with(".sf")
            || base.ends_with("manifest.mf")
            || known::is_digest(&base);
        let prefix = self.a.split(['-', '.']).next().unwrap_or("").to_ascii_lowercase();
        list || prefix.len() < self.a.len() && known::is_digest(&prefix)
    }

    /// Where 64-bit programs have stacks, heaps and libraries; elsewhere if a word says so.
    fn is_address(&self, word: &str) -> bool {
        let Some(digits) = word.strip_prefix("0x") else { return false };
        let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let usual =
            digits.len() == 12 && ["7f", "7e", "55", "56"].iter().any(|start| digits.starts_with(start));
        let called = self
            .near
            .iter()
            .take(2)
            .any(|word| matches!(word.as_str(), "at" | "address" | "ptr" | "pointer"));
        hex && (usual || called && (6..=16).contains(&digits.len()))
    }

    fn as_names(&self) -> Option<Class> {
        if let (Some((user_a, host_a)), Some((user_b, host_b))) =
            (self.a.split_once('@'), self.b.split_once('@'))
            && !user_a.is_empty()
            && !user_b.is_empty()
        {
            return Some(if host_a == host_b { Class::Owner } else { Class::HostName });
        }
        let is_beside_linux =
            self.near.iter().take(3).any(|w| matches!(w.as_str(), "linux" | "kernel" | "uname"));
        if self.both(|word| known::is_kernel(word, is_beside_linux)) {
            return Some(Class::Kernel);
        }
        // `uname -a` has the name of the host behind that of the system.
        if self.near.first().is_some_and(|word| word == "linux")
            && self.near.last().is_some_and(|w| w.starts_with(|c: char| c.is_ascii_digit()))
        {
            return Some(Class::HostName);
        }
        let is_value = |word: &str| !word.is_empty() && !word.contains('/');
        let nearest = self.near.iter().take(2);
        let named = nearest.filter_map(|word| known::by_neighbour(word, false)).next();
        named.filter(|_| self.both(is_value))
    }

    fn as_paths(&self) -> Option<Class> {
        let (start_a, start_b) = (self.a.find('/')?, self.b.find('/')?);
        let (a, b) = (&self.a[start_a..], &self.b[start_b..]);
        let (left, right): (Vec<&str>, Vec<&str>) = (a.split('/').collect(), b.split('/').collect());
        let differ = left.iter().zip(&right).position(|(x, y)| x != y).unwrap_or(0);
        let (x, y) = (*left.get(differ)?, *right.get(differ)?);
        let number =
            |word: &str| word.bytes().all(|byte| byte.is_ascii_digit()) && (1..=7).contains(&word.len());
        if left.get(differ.wrapping_sub(1)) == Some(&"proc") && number(x) && number(y) {
            return Some(Class::Pid);
        }
        let is_temporary = left[..differ].contains(&"tmp") || x.to_ascii_lowercase().contains("tmp");
        if is_temporary && left.len() == right.len() {
            let (x, y) = odd(x, y);
            if number(x) && number(y) && x.len() >= 2 && y.len() >= 2 {
                return Some(Class::Pid);
            }
            if random::are_suffixes(x, y) {
                return Some(Class::Random);
            }
        }
        let called = self.near.iter().take(2).any(|word| known::is_directory_of_build(word));
        let of_builders = known::is_of_builders(a) && known::is_of_builders(b);
        let same_file = left.last() == right.last() && left.len() > 2 && right.len() > 2;
        let below = |path: &[&str]| path.len() > 3;
        (called || of_builders && (same_file || below(&left) && below(&right) && differ <= 2))
            .then_some(Class::BuildPath)
    }

    fn as_words(&self) -> Option<Class> {
        if known::is_cpu(self.a) || known::is_cpu(self.b) {
            return Some(Class::CpuFeature);
        }
        if known::are_names_of_one(self.a, self.b) {
            return Some(Class::Locale);
        }
        let of_locale = |word: &String| {
            word == "lang" || word == "language" || word == "locale" || word.starts_with("lc")
        };
        (self.near.iter().take(1).any(of_locale) && self.both(known::is_locale)).then_some(Class::Locale)
    }
}

/// What two names do not have in common, up to a separator on each end.
fn odd<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    let separator = |byte: &u8| b".-_".contains(byte);
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let letters = |byte: &u8| byte.is_ascii_lowercase();
    let cut = a.as_bytes()[..same].iter().rposition(separator).map_or(0, |at| at + 1);
    // `ccXXXXXX.o`, `tmpXXXXXX`: what is before the drawn letters is the same and small.
    let from = if a.as_bytes()[cut..same].iter().all(letters) { same } else { cut };
    let end = a.bytes().rev().zip(b.bytes().rev()).take_while(|(a, b)| a == b).count();
    let tail = a.as_bytes()[a.len() - end..].iter().position(separator).map_or(0, |at| end - at);
    let inner = |text: &'a str| text.get(from..text.len().saturating_sub(tail).max(from)).unwrap_or("");
    (inner(a), inner(b))
}

/// As hostname(7) has them.
fn is_host_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// `1.25s`, `310ms`: how long something took.
fn is_elapsed(word: &str) -> bool {
    let digits = word.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    digits > 0 && matches!(&word[digits..], "s" | "ms" | "us" | "ns" | "sec" | "secs")
}
