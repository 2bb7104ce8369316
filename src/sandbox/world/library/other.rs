//! Other architectures: each call is heard there.

use super::super::clock::Clock;
use super::Code;

pub(in super::super) fn code(_: &Clock, _root: u64) -> Code {
    Code::default()
}
