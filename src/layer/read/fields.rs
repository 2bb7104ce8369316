//! The fields of a header block: text, octal and base-256 numbers, checksum, magic. Strict.

use super::Purpose;
use super::fault::Fault;

/// One header block whose checksum and magic are good.
pub(super) struct Fields {
    block: [u8; 512],
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// POSIX ustar, the carrier of PAX too: has a prefix.
    Ustar,
    /// What GNU tar writes by default: has none.
    Gnu,
    /// Before there was a magic: no prefix either.
    V7,
}

impl Fields {
    pub fn new(block: [u8; 512], purpose: Purpose) -> Result<Self, Fault> {
        check_sum(&block)?;
        let format = match &block[257..265] {
            b"ustar\x0000" => Format::Ustar,
            b"ustar  \0" => Format::Gnu,
            b"\0\0\0\0\0\0\0\0" if purpose == Purpose::Archive => Format::V7,
            _ => return Err(Fault::Magic),
        };
        // star's variant of ustar has times where the end of the prefix would be.
        if format == Format::Ustar && &block[508..] == b"tar\0" {
            return Err(Fault::Magic);
        }
        Ok(Self { block, format })
    }

    pub fn kind(&self) -> u8 {
        self.block[156]
    }

    /// Prefix and name.
    pub fn name(&self) -> Vec<u8> {
        let name = text(&self.block[..100]);
        let prefix = text(&self.block[345..500]);
        if self.format != Format::Ustar || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub fn link(&self) -> &[u8] {
        text(&self.block[157..257])
    }

    /// Permissions; the bits of the file type, which some writers add, are dropped.
    pub fn mode(&self) -> Result<u16, Fault> {
        let mode = number(&self.block[100..108], "mode")?;
        match u32::try_from(mode) {
            Ok(mode) if mode <= 0o177_777 => Ok(u16::try_from(mode & 0o7777).expect("twelve bits")),
            Ok(_) | Err(_) => Err(Fault::Range { field: "mode" }),
        }
    }

    pub fn uid(&self) -> Result<u32, Fault> {
        owner(number(&self.block[108..116], "uid")?, "uid")
    }

    pub fn gid(&self) -> Result<u32, Fault> {
        owner(number(&self.block[116..124], "gid")?, "gid")
    }

    pub fn size(&self) -> Result<u64, Fault> {
        u64::try_from(number(&self.block[124..136], "size")?).map_err(|_| Fault::Range { field: "size" })
    }

    pub fn mtime(&self) -> Result<i64, Fault> {
        number(&self.block[136..148], "mtime")
    }

    /// Major and minor number.
    pub fn device(&self) -> Result<(u32, u32), Fault> {
        let field = "device number";
        let part = |at: usize| {
            let part = number(&self.block[at..at + 8], field)?;
            u32::try_from(part).map_err(|_| Fault::Range { field })
        };
        Ok((part(329)?, part(337)?))
    }
}

/// An owner's number. The largest means "leave it" to chown and is nobody's.
pub(super) fn owner(number: i64, field: &'static str) -> Result<u32, Fault> {
    match u32::try_from(number) {
        Ok(id) if id != u32::MAX => Ok(id),
        Ok(_) | Err(_) => Err(Fault::Range { field }),
    }
}

/// Unsigned sum of all bytes, the field itself taken as spaces. The signed sum of some old writers is refused.
fn check_sum(block: &[u8; 512]) -> Result<(), Fault> {
    let around = block[..148].iter().chain(&block[156..]);
    let sum = around.map(|b| i64::from(*b)).sum::<i64>() + 8 * i64::from(b' ');
    match octal(&block[148..156]) {
        Some(stated) if stated == sum => Ok(()),
        Some(_) | None => Err(Fault::Checksum),
    }
}

fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

fn number(field: &[u8], name: &'static str) -> Result<i64, Fault> {
    match field[0] {
        0x80 | 0xff => base256(field).ok_or(Fault::Range { field: name }),
        first if first & 0x80 != 0 => Err(Fault::Number { field: name }),
        _ => octal(field).ok_or(Fault::Number { field: name }),
    }
}

/// Leading spaces, octal digits, then nothing but spaces and zero bytes. An empty field is zero.
fn octal(field: &[u8]) -> Option<i64> {
    let start = field.iter().position(|b| *b != b' ').unwrap_or(field.len());
    let field = &field[start..];
    let end = field.iter().position(|b| !b.is_ascii_digit()).unwrap_or(field.len());
    let (digits, tail) = field.split_at(end);
    if !tail.iter().all(|b| matches!(b, b' ' | 0)) {
        return None;
    }
    digits.iter().try_fold(0_i64, |value, digit| {
        let digit = i64::from(digit - b'0');
        if digit > 7 { None } else { value.checked_mul(8)?.checked_add(digit) }
    })
}

/// GNU's binary numbers: two's complement, big-endian, behind a first byte of 0x80 or 0xff.
fn base256(field: &[u8]) -> Option<i64> {
    let negative = field[0] == 0xff;
    let (head, tail) = field[1..].split_at(field.len().saturating_sub(9));
    let extension = if negative { 0xff } else { 0 };
    if head.iter().any(|b| *b != extension) {
        return None;
    }
    let mut bytes = [extension; 8];
    bytes[8 - tail.len()..].copy_from_slice(tail);
    let value = i64::from_be_bytes(bytes);
    ((value < 0) == negative).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_numbers() {
        for (text, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644     ", Some(0o644)),
            (b"77777777", Some(0o7777_7777)),
            (b"\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"64x     ", None),
            (b"0x1f\0\0\0\0", None),
            (b"-1\0\0\0\0\0\0", None),
            (b"+1\0\0\0\0\0\0", None),
            (b"8\0\0\0\0\0\0\0", None),
            (b"6 4\0\0\0\0\0", None),
            (b"6\x004\0\0\0\0\0", None),
        ] {
            assert_eq!(octal(text), value, "{text:?}");
        }
    }

    #[test]
    fn binary_numbers() {
        assert_eq!(base256(b"\x80\0\0\0\0\0\x01\0\0\0\0\0"), Some(1 << 40));
        assert_eq!(base256(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(base256(b"\x80\0\0\x01\0\0\0\0"), Some(1 << 32));
        assert_eq!(base256(b"\x80\0\0\x01\0\0\0\0\0\0\0\0"), None);
        assert_eq!(base256(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }
}
