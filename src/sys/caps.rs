//! Capability sets of the calling thread (capabilities(7)).
//!
//! Owns: dropping. Never adds a capability.

use rustix::io::{Errno, Result};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// Takes every capability that is not in `keep` out of the bounding set, also those newer than this program.
pub fn bound(keep: CapabilitySet) -> Result<()> {
    for bit in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(one) {
            Ok(true) if !keep.contains(one) => remove_capability_from_bounding_set(one)?,
            Ok(_) => {}
            // The first number the kernel does not know.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Leaves only `keep` permitted and effective, and nothing inheritable or ambient.
pub fn limit(keep: CapabilitySet) -> Result<()> {
    clear_ambient_capability_set()?;
    let now = capabilities(None)?;
    let permitted = now.permitted & keep;
    set_capabilities(
        None,
        CapabilitySets { permitted, effective: permitted, inheritable: CapabilitySet::empty() },
    )
}

/// Whether the calling thread has a capability in effect.
pub fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}
