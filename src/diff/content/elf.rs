//! ELF: what the linker wrote down, the sections, and which symbols came or went.

mod bounded;

use std::collections::BTreeMap;

use object::read::elf::{ElfFile32, ElfFile64, FileHeader};
use object::read::{ReadCache, ReadRef};
use object::{
    Endianness, FileKind, Object as _, ObjectSection as _, ObjectSymbol as _, SectionFlags, SectionKind,
};

use bounded::Bounded;

use super::members::{self, Member, Value};
use super::source::Source;
use super::suspects::{Class, Findings};
use super::{Body, Change, Fault, Field, Found, Part, Scope, fault, shown};

/// Times what may be held, that tables of one file may take: names of symbols are read one by one.
const TABLES: u64 = 4;
/// The most symbols of one file that are looked at.
const SYMBOLS: usize = 1 << 18;
/// Symbols that are named of those that came or went.
const NAMED: usize = 20;
/// Values of one kind that are read of a dynamic section.
const WORDS: usize = 4096;
/// SHF_EXECINSTR.
const EXECUTABLE: u64 = 4;
/// Sections whose bytes are text between zeroes.
const STRINGS: [&str; 8] =
    [".comment", ".interp", ".debug_str", ".debug_line_str", ".strtab", ".dynstr", ".shstrtab", ".rodata"];

pub fn compare(
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    let (left, right) = (read(a, scope)?, read(b, scope)?);
    let mut found = members::compare("elf", &left.sections, &right.sections, scope, findings)?;
    let Body::Parts { parts } = &mut found.body else { return Ok(found) };
    for part in parts.iter_mut() {
        name_function(part, (&left, &right));
    }
    let mut ahead = Vec::new();
    let fields = members::fields(left.header, right.header, "", findings);
    if !fields.is_empty() {
        ahead.push(Part { name: "header".to_owned(), change: Change::Changed, fields, difference: None });
    }
    ahead.extend(symbols(&left.symbols, &right.symbols));
    if !ahead.is_empty() {
        let named: Vec<String> = ahead.iter().map(said).collect();
        let sections = if parts.is_empty() { None } else { Some(std::mem::take(&mut found.summary)) };
        found.summary = named.into_iter().chain(sections).collect::<Vec<_>>().join("; ");
        parts.splice(0..0, ahead);
    } else {
        found.summary = found.summary.replace("member", "section");
    }
    found.summary = found.summary.replace("member", "section");
    Ok(found)
}

fn said(part: &Part) -> String {
    let names: Vec<&str> = part.fields.iter().map(|field| field.name.as_str()).collect();
    match part.name.as_str() {
        "header" => names.join(", "),
        _ => "symbols".to_owned(),
    }
}

/// What is kept of one file.
struct Elf {
    header: Vec<Value>,
    sections: Vec<Section>,
    symbols: BTreeMap<String, Symbol>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Symbol {
    address: u64,
    size: u64,
}

struct Section {
    name: String,
    address: u64,
    flags: u64,
    raw: Source,
    /// Where the bytes stand in the file.
    offset: u64,
}

impl Member for Section {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self) -> Vec<Value> {
        vec![
            Value::new("size", self.raw.len()),
            Value::new("address", format!("{:#x}", self.address)),
            Value::new("flags", format!("{:#x}", self.flags)),
        ]
    }

    fn raw(&self) -> &Source {
        &self.raw
    }

    /// Text between zeroes as lines.
    fn content(&self, scope: &Scope<'_>) -> Result<Source, Fault> {
        let is_text =
            STRINGS.iter().any(|name| self.name == *name || self.name.starts_with(&format!("{name}.")));
        if !is_text {
            return Ok(self.raw.clone());
        }
        let mut bytes = match self.raw.whole(scope.limits.whole)? {
            Some(bytes) if is_mostly_text(&bytes) => bytes,
            Some(_) | None => return Ok(self.raw.clone()),
        };
        bytes.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b'\n');
        Ok(Source::memory(bytes))
    }

    fn is_opaque(&self) -> bool {
        self.flags & EXECUTABLE != 0
    }
}

/// Whether bytes are text but for the zeroes between.
fn is_mostly_text(bytes: &[u8]) -> bool {
    let odd = bytes.iter().filter(|byte| !matches!(byte, 0 | b'\t' | b'\n' | 0x20..=0x7e)).count();
    odd * 50 <= bytes.len()
}

fn read(source: &Source, scope: &Scope<'_>) -> Result<Elf, Fault> {
    let cache = ReadCache::new(source.reader());
    let cache = Bounded::new(&cache, scope.limits.whole.saturating_mul(TABLES));
    let bad = |error: object::Error| Fault::Format(error.to_string());
    match FileKind::parse(&cache).map_err(bad)? {
        FileKind::Elf32 => read_file(source, &ElfFile32::<Endianness, _>::parse(&cache).map_err(bad)?, scope),
        FileKind::Elf64 => read_file(source, &ElfFile64::<Endianness, _>::parse(&cache).map_err(bad)?, scope),
        _ => fault("it is neither of 32 nor of 64 bits"),
    }
}

fn read_file<'a, E, R>(
    source: &Source,
    file: &object::read::elf::ElfFile<'a, E, R>,
    scope: &Scope<'_>,
) -> Result<Elf, Fault>
where
    E: FileHeader<Endian = Endianness>,
    R: ReadRef<'a>,
{
    let bad = |error: object::Error| Fault::Format(error.to_string());
    let mut sections = Vec::new();
    for section in file.sections() {
        let name = shown::line(section.name_bytes().map_err(bad)?);
        // What is told of as a value is not told of again as bytes.
        if matches!(name.as_str(), ".note.gnu.build-id" | ".gnu_debuglink")
            || section.kind() == SectionKind::Metadata && name.is_empty()
        {
            continue;
        }
        if sections.len() == members::MOST {
            return fault(format!("it has more than {} sections", members::MOST));
        }
        let (offset, len) = section.file_range().unwrap_or((0, 0));
        let Some(raw) = source.slice(offset, len) else {
            return fault(format!("its section {name} is cut short"));
        };
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            return fault("a section is of no ELF");
        };
        let flags = sh_flags.0;
        sections.push(Section { name, address: section.address(), flags, raw, offset });
    }
    let mut symbols = BTreeMap::new();
    for symbol in file.symbols().chain(file.dynamic_symbols()).take(SYMBOLS) {
        let name = symbol.name_bytes().unwrap_or_default();
        if !name.is_empty() && symbol.is_definition() {
            let value = Symbol { address: symbol.address(), size: symbol.size() };
            symbols.insert(shown::value(name), value);
        }
    }
    Ok(Elf { header: header(file, &sections, scope)?, sections, symbols })
}

fn header<'a, E, R>(
    file: &object::read::elf::ElfFile<'a, E, R>,
    sections: &[Section],
    scope: &Scope<'_>,
) -> Result<Vec<Value>, Fault>
where
    E: FileHeader<Endian = Endianness>,
    R: ReadRef<'a>,
{
    let build_id = file.build_id().ok().flatten().map(shown::hex);
    let debug_link = file.gnu_debuglink().ok().flatten();
    let dynamic = Dynamic::read(file, sections, scope)?;
    let list = |tag: u64| {
        let words: Vec<&str> =
            dynamic.words.iter().filter(|(of, _)| *of == tag).map(|(_, word)| word.as_str()).collect();
        (!words.is_empty()).then(|| words.join(", "))
    };
    Ok(vec![
        Value::maybe("build-id", build_id).of(Class::Digest),
        Value::new("machine", format!("{:?}", file.architecture())),
        Value::new("kind", format!("{:?}", file.kind())),
        Value::new("entry", format!("{:#x}", file.entry())),
        Value::maybe("needed", list(NEEDED)),
        Value::maybe("soname", list(SONAME)),
        Value::maybe("rpath", list(RPATH)).of(Class::BuildPath),
        Value::maybe("runpath", list(RUNPATH)).of(Class::BuildPath),
        Value::maybe("debug link", debug_link.map(|(name, _)| shown::value(name))),
        Value::maybe("checksum of its debug file", debug_link.map(|(_, crc)| format!("{crc:08x}")))
            .of(Class::Digest),
    ])
}

const NEEDED: u64 = 1;
const SONAME: u64 = 14;
const RPATH: u64 = 15;
const RUNPATH: u64 = 29;

/// The words of the dynamic section.
struct Dynamic {
    words: Vec<(u64, String)>,
}

impl Dynamic {
    fn read<'a, E, R>(
        file: &object::read::elf::ElfFile<'a, E, R>,
        sections: &[Section],
        scope: &Scope<'_>,
    ) -> Result<Self, Fault>
    where
        E: FileHeader<Endian = Endianness>,
        R: ReadRef<'a>,
    {
        let of = |name: &str| sections.iter().find(|section| section.name == name);
        let (Some(dynamic), Some(strings)) = (of(".dynamic"), of(".dynstr")) else {
            return Ok(Self { words: Vec::new() });
        };
        let (Some(table), Some(strings)) =
            (dynamic.raw.whole(scope.limits.whole)?, strings.raw.whole(scope.limits.whole)?)
        else {
            return Ok(Self { words: Vec::new() });
        };
        let width = if file.is_64() { 8 } else { 4 };
        let is_little = file.is_little_endian();
        let number = |bytes: &[u8]| {
            let step = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
            if is_little { bytes.iter().rev().fold(0, step) } else { bytes.iter().fold(0, step) }
        };
        let entries =
            table.chunks_exact(width * 2).map(|entry| (number(&entry[..width]), number(&entry[width..])));
        let named = entries.filter(|(tag, _)| [NEEDED, SONAME, RPATH, RUNPATH].contains(tag));
        let word = |at: u64| {
            let rest = strings.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default();
            shown::value(rest.split(|byte| *byte == 0).next().unwrap_or_default())
        };
        Ok(Self { words: named.take(WORDS).map(|(tag, at)| (tag, word(at))).collect() })
    }
}

/// Symbols that came, went or have another size; addresses move with anything.
fn symbols(a: &BTreeMap<String, Symbol>, b: &BTreeMap<String, Symbol>) -> Option<Part> {
    let mut fields = Vec::new();
    let mut count = 0;
    for name in a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))) {
        let (left, right) = (a.get(name), b.get(name));
        if left.map(|symbol| symbol.size) != right.map(|symbol| symbol.size) {
            count += 1;
            let size = |symbol: &Symbol| format!("{} bytes", symbol.size);
            fields.push(Field { name: name.clone(), a: left.map(size), b: right.map(size) });
        }
        if fields.len() > NAMED {
            fields.truncate(NAMED);
        }
    }
    let name = format!("symbols ({count} differ)");
    (count > 0).then_some(Part { name, change: Change::Changed, fields, difference: None })
}

/// Says in which function code first differs.
fn name_function(part: &mut Part, (a, b): (&Elf, &Elf)) {
    let Some(first) = part.difference.as_ref().and_then(|difference| difference.ranges.first()) else {
        return;
    };
    let of = |elf: &Elf, at: u64| {
        let section = elf.sections.iter().find(|section| section.name == part.name && section.is_opaque())?;
        let address = section.address.checked_add(at).filter(|_| section.offset > 0)?;
        let holds = |symbol: &Symbol| symbol.address <= address && address - symbol.address < symbol.size;
        elf.symbols.iter().find(|(_, symbol)| holds(symbol)).map(|(name, _)| name.clone())
    };
    let (left, right) = (of(a, first.a.start), of(b, first.b.start));
    if left.is_some() || right.is_some() {
        part.fields.push(Field { name: "first in".to_owned(), a: left, b: right });
    }
}
