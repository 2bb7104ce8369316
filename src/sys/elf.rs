//! As much of ELF (elf(5)), 64 bits and little-endian, as the kernel's own code takes. Pure.

/// Where functions of a shared object are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// From the start of the object, in bytes.
    pub offset: u64,
    pub size: u64,
}

const PT_LOAD: u64 = 1;
const SHT_DYNSYM: u64 = 11;
const PROGRAM_HEADER: usize = 56;
const SECTION_HEADER: usize = 64;
const SYMBOL: usize = 24;

/// How many bytes an object takes that is loaded in one piece from its start. `rest` gives bytes of it by place and
/// length.
pub fn loaded_size<'a>(header: &[u8], rest: impl FnOnce(usize, usize) -> Option<&'a [u8]>) -> Option<usize> {
    if header.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let (at, count) = (number::<8>(header, 32)?, number::<2>(header, 56)?);
    let headers = rest(usize::try_from(at).ok()?, usize::try_from(count).ok()? * PROGRAM_HEADER)?;
    let loaded =
        headers.chunks_exact(PROGRAM_HEADER).filter(|header| number::<4>(header, 0) == Some(PT_LOAD));
    let ends = loaded.filter_map(|header| number::<8>(header, 16)?.checked_add(number::<8>(header, 40)?));
    // The table of sections lies behind what is loaded, in the same pages.
    let page = ends.max()?.checked_next_multiple_of(4096)?;
    usize::try_from(page).ok()
}

/// A function by name.
pub fn function(object: &[u8], name: &str) -> Option<Function> {
    let (at, count) = (number::<8>(object, 40)?, number::<2>(object, 60)?);
    let sections = object.get(usize::try_from(at).ok()?..)?;
    let section = |index: usize| sections.get(index * SECTION_HEADER..(index + 1) * SECTION_HEADER);
    let of = |section: &[u8]| -> Option<&[u8]> {
        let (offset, size) = (number::<8>(section, 24)?, number::<8>(section, 32)?);
        object.get(usize::try_from(offset).ok()?..usize::try_from(offset.checked_add(size)?).ok()?)
    };
    let symbols = (0..usize::try_from(count).ok()?)
        .filter_map(section)
        .find(|section| number::<4>(section, 4) == Some(SHT_DYNSYM))?;
    let names = of(section(usize::try_from(number::<4>(symbols, 40)?).ok()?)?)?;
    let is_named = |symbol: &&[u8]| {
        let start = number::<4>(symbol, 0).and_then(|start| usize::try_from(start).ok());
        let found = start.and_then(|start| names.get(start..));
        found.is_some_and(|found| {
            found.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
        })
    };
    let symbol = of(symbols)?.chunks_exact(SYMBOL).find(is_named)?;
    let function = Function { offset: number::<8>(symbol, 8)?, size: number::<8>(symbol, 16)? };
    let end = function.offset.checked_add(function.size)?;
    (usize::try_from(end).ok()? <= object.len()).then_some(function)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(N)?)?;
    Some(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_has_no_size_and_no_functions() {
        assert_eq!(loaded_size(b"", |_, _| None), None);
        assert_eq!(loaded_size(&[0; 64], |_, _| Some(&[])), None);
        for length in 0..200 {
            let mut bytes = vec![0xFF; length];
            bytes.iter_mut().zip(b"\x7fELF\x02").for_each(|(to, from)| *to = *from);
            assert_eq!(function(&bytes, "x"), None);
        }
    }

    #[test]
    fn the_kernels_own_code_is_read() {
        let Some(object) = crate::sys::memory::vdso() else { return };
        let name =
            if cfg!(target_arch = "aarch64") { "__kernel_clock_gettime" } else { "__vdso_clock_gettime" };
        let found = function(object, name).unwrap();
        assert!(found.size > 0 && found.offset > 0);
        assert_eq!(function(object, "__vdso_clock_gettim"), None);
    }
}
