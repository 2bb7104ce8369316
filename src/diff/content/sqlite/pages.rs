//! Pages of a SQLite file: tables as trees of them, rows as records (the format of SQLite 3).

use std::collections::HashSet;
use std::fmt;

use crate::diff::content::source::Source;
use crate::diff::content::{Fault, fault, shown};

/// Rows of one table that are read.
const MOST_ROWS: usize = 200_000;
/// Values of one row that are read, as many as SQLite can be built for.
const MOST_CELLS: usize = 32_767;
/// What a value takes in memory beside its bytes.
const CELL: u64 = 32;
/// The deepest tree: with two children a page it would be of a million.
const DEEPEST: usize = 24;

/// A file with a header that holds.
pub struct Database<'a> {
    source: &'a Source,
    header: [u8; 100],
    page_size: u64,
}

/// A row and its number.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub number: i64,
    pub cells: Vec<Cell>,
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    Integer(i64),
    /// The bits of a number with a point.
    Real(u64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Real(bits) => write!(f, "{}", f64::from_bits(*bits)),
            Self::Text(bytes) => f.write_str(&shown::line(bytes)),
            Self::Blob(bytes) => write!(f, "x{}", shown::hex(bytes)),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, cell) in self.cells.iter().enumerate() {
            write!(f, "{}{cell}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl<'a> Database<'a> {
    pub fn open(source: &'a Source) -> Result<Self, Fault> {
        let header: [u8; 100] = source.array(0)?;
        let page_size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            size if size >= 512 && size.is_power_of_two() => u64::from(size),
            size => return fault(format!("its pages are of {size} bytes")),
        };
        if u64::from(header[20]) + 480 > page_size {
            return fault("nothing of its pages is for use");
        }
        if u32::from_be_bytes([header[56], header[57], header[58], header[59]]) > 1 {
            return fault("its text is not UTF-8");
        }
        Ok(Self { source, header, page_size })
    }

    pub const fn page_size(&self) -> u64 {
        self.page_size
    }

    /// A number of the header.
    pub fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.header[at], self.header[at + 1], self.header[at + 2], self.header[at + 3]])
    }

    /// The rows of the table whose tree begins at a page, in their order; at most so many bytes of them.
    pub fn rows(&self, root: u32, limit: u64) -> Result<Vec<Row>, Fault> {
        let mut reading = Reading { database: self, left: limit, seen: HashSet::new(), rows: Vec::new() };
        reading.tree(root, 0)?;
        Ok(reading.rows)
    }

    fn page(&self, number: u32) -> Result<Vec<u8>, Fault> {
        let size = usize::try_from(self.page_size).expect("at most 65536");
        let at = u64::from(number).checked_sub(1).map(|index| index * self.page_size);
        let page = at.map(|at| self.source.some(at, size)).transpose()?.filter(|page| page.len() == size);
        page.ok_or_else(|| Fault::Format(format!("it has no page {number}")))
    }

    /// Bytes of a page that are for use.
    fn usable(&self) -> usize {
        usize::try_from(self.page_size).expect("at most 65536") - usize::from(self.header[20])
    }
}

struct Reading<'a> {
    database: &'a Database<'a>,
    left: u64,
    seen: HashSet<u32>,
    rows: Vec<Row>,
}

impl Reading<'_> {
    fn tree(&mut self, number: u32, depth: usize) -> Result<(), Fault> {
        if !self.seen.insert(number) || depth > DEEPEST {
            return fault(format!("its page {number} stands in a circle"));
        }
        let page = self.database.page(number)?;
        let start = if number == 1 { 100 } else { 0 };
        let (kind, cells) = (page[start], usize::from(u16_at(&page, start + 3)));
        let (is_leaf, head) = match kind {
            0x0d => (true, 8),
            0x05 => (false, 12),
            other => return fault(format!("its page {number} is of kind {other}, not of a table")),
        };
        for cell in 0..cells {
            let at = usize::from(u16_at(&page, start + head + cell * 2));
            if is_leaf {
                self.row(&page, at)?;
            } else {
                self.tree(u32_at(&page, at), depth + 1)?;
            }
        }
        if is_leaf { Ok(()) } else { self.tree(u32_at(&page, start + 8), depth + 1) }
    }

    fn row(&mut self, page: &[u8], at: usize) -> Result<(), Fault> {
        let rest = page.get(at..).unwrap_or_default();
        let (size, after) = varint(rest)?;
        let (number, body) = varint(after)?;
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let Some(left) = self.left.checked_sub(size) else { return fault("its rows take too much room") };
        self.left = left;
        if self.rows.len() == MOST_ROWS {
            return fault(format!("it has more than {MOST_ROWS} rows"));
        }
        let payload = self.payload(body, usize::try_from(size).unwrap_or(usize::MAX))?;
        let cells = record(&payload)?;
        self.left = self.left.saturating_sub(CELL * cells.len() as u64);
        self.rows.push(Row { number, cells });
        Ok(())
    }

    /// The bytes of a row, which may go on in other pages.
    fn payload(&mut self, body: &[u8], size: usize) -> Result<Vec<u8>, Fault> {
        let usable = self.database.usable();
        let most = usable - 35;
        let here = if size <= most {
            size
        } else {
            let least = (usable - 12) * 32 / 255 - 23;
            let fitting = least + (size - least) % (usable - 4);
            if fitting <= most { fitting } else { least }
        };
        let short = || Fault::Format("a row is cut short".to_owned());
        let mut payload = body.get(..here).ok_or_else(short)?.to_vec();
        let mut next = if here < size { u32_at(body, here) } else { 0 };
        while payload.len() < size {
            if !self.seen.insert(next) {
                return fault(format!("its page {next} stands in a circle"));
            }
            let page = self.database.page(next)?;
            let piece = (size - payload.len()).min(usable - 4);
            payload.extend_from_slice(page.get(4..4 + piece).ok_or_else(short)?);
            next = u32_at(&page, 0);
        }
        Ok(payload)
    }
}

fn record(payload: &[u8]) -> Result<Vec<Cell>, Fault> {
    let short = || Fault::Format("a record is cut short".to_owned());
    let (header, mut kinds) = varint(payload)?;
    let header = usize::try_from(header).map_err(|_| short())?;
    let own = payload.len() - kinds.len();
    kinds = payload.get(own..header).ok_or_else(short)?;
    let mut body = &payload[header..];
    let mut cells = Vec::new();
    while !kinds.is_empty() {
        if cells.len() == MOST_CELLS {
            return fault(format!("a row has more than {MOST_CELLS} values"));
        }
        let (kind, rest) = varint(kinds)?;
        kinds = rest;
        let len = match kind {
            0 | 8 | 9 => 0,
            1..=4 => usize::try_from(kind).expect("at most 4"),
            5 => 6,
            6 | 7 => 8,
            kind if kind >= 12 => usize::try_from((kind - 12) / 2).map_err(|_| short())?,
            _ => return fault(format!("a value is of kind {kind}")),
        };
        let bytes = body.get(..len).ok_or_else(short)?;
        body = &body[len..];
        cells.push(match kind {
            0 => Cell::Null,
            8 | 9 => Cell::Integer(kind - 8),
            1..=6 => Cell::Integer(integer(bytes)),
            7 => Cell::Real(bytes.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte))),
            kind if kind % 2 == 0 => Cell::Blob(bytes.to_vec()),
            _ => Cell::Text(bytes.to_vec()),
        });
    }
    Ok(cells)
}

/// A number with its sign in the first bit.
fn integer(bytes: &[u8]) -> i64 {
    let start = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { -1 } else { 0 };
    bytes.iter().fold(start, |value, byte| value << 8 | i64::from(*byte))
}

/// Seven bits a byte, the ninth with all eight.
fn varint(bytes: &[u8]) -> Result<(i64, &[u8]), Fault> {
    let mut value = 0i64;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        if index == 8 {
            return Ok((value << 8 | i64::from(*byte), &bytes[9..]));
        }
        value = value << 7 | i64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[index + 1..]));
        }
    }
    fault("a number is cut short")
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}
