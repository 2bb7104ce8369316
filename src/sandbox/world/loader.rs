//! The dynamic loader's questions for times, which nobody need hear (spec/world.md, "Programs that ask unheard"): it maps
//! what it asks about, and never looks at the times. It asks before a program begins, at a place that follows from the layout where that is
//! fixed. A question from elsewhere is heard.

use std::io::Read as _;

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::sys::elf;

use super::super::filter::Place;
use super::library::Call;

/// Of the GNU C library; other loaders are libraries, which ask for programs too.
const PATH: &str = "/lib64/ld-linux-x86-64.so.2";
/// The largest that is looked into.
const LARGEST: u64 = 4 << 20;
/// Where the kernel maps the first object from, downwards: below a stack of 128 MiB, unless it may be larger.
const TOP: u64 = 0x7FFF_F7FF_F000;

/// Places of the loader in the root of this process, if it has that one.
pub(in crate::sandbox) fn places() -> Vec<Place> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let read = || {
        let file = std::fs::File::from(openat(CWD, PATH, flags, Mode::empty()).ok()?);
        let mut object = Vec::new();
        file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        file.take(LARGEST).read_to_end(&mut object).ok()?;
        found(&object)
    };
    if cfg!(target_arch = "x86_64") { read().unwrap_or_default() } else { Vec::new() }
}

/// Each place behind the instruction that makes one of the calls, where the object is mapped.
fn found(object: &[u8]) -> Option<Vec<Place>> {
    /// A loader has one place for each call, or two.
    const MOST: usize = 8;
    let size = elf::loaded_size(object, |offset, length| object.get(offset..offset.checked_add(length)?))?;
    let base = TOP.checked_sub(u64::try_from(size).ok()?)?;
    let places = [Call::Descriptor, Call::Path].into_iter().flat_map(|call| {
        let code = call.code();
        let sites = object.windows(code.len()).enumerate().filter(move |(_, bytes)| *bytes == code);
        sites.map(move |(at, _)| Place { call: call.number(), behind: base + (at + code.len()) as u64 })
    });
    Some(places.take(MOST).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_loader_has_no_places() {
        assert_eq!(found(b""), None);
        assert_eq!(found(&[0x90; 4096]), None);
    }

    /// The machine's own is where it is said to be, and asks in a part that is code.
    #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
    #[test]
    fn the_machines_own_loader_is_mapped_where_it_is_said_to_be() {
        let maps = |id: u32| std::fs::read_to_string(format!("/proc/{id}/maps")).unwrap_or_default();
        let mut program =
            std::process::Command::new("setarch").args(["-R", "sleep", "1000"]).env_clear().spawn().unwrap();
        let is_there = |text: &str| text.contains("/sleep") && text.contains("/libc");
        let text = (0..4000).map(|_| maps(program.id())).find(|text| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            is_there(text)
        });
        program.kill().unwrap();
        program.wait().unwrap();
        let text = text.unwrap();
        let code: Vec<std::ops::Range<u64>> = text
            .lines()
            .filter(|line| line.contains("/ld-linux") && line.contains(" r-xp "))
            .map(|line| {
                let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
                u64::from_str_radix(start, 16).unwrap()..u64::from_str_radix(end, 16).unwrap()
            })
            .collect();
        let places = places();
        assert!(!places.is_empty() && !code.is_empty());
        for place in places {
            assert!(code.iter().any(|range| range.contains(&place.behind)), "{place:x?} {code:x?}");
        }
    }
}
