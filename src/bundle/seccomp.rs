//! The sandbox' rules on system calls in the words of the runtime-spec (`linux.seccomp`).

use serde_json::{Value, json};

use crate::sandbox::policy::{RULES, Rule, When};

/// The ABIs the sandbox has tables of. x32 is not among them, so libseccomp refuses it whole, as the sandbox does.
const ARCHITECTURES: [&str; 4] = ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"];

/// What the kernel looks at of an argument.
const LOW: u64 = 0xFFFF_FFFF;

/// Calls of the 32-bit x86 that libseccomp itself makes rules of, from those of the calls that it stands for.
const MADE_OF_OTHERS: [&str; 1] = ["socketcall"];

/// All rules. A condition is an entry of its own: those of one entry have all to hold.
pub(super) fn section() -> Value {
    let entries: Vec<Value> = RULES.iter().flat_map(entries).collect();
    json!({ "architectures": ARCHITECTURES, "defaultAction": "SCMP_ACT_ALLOW", "syscalls": entries })
}

fn entries(rule: &Rule) -> Vec<Value> {
    let names: Vec<&str> =
        rule.calls.iter().map(|call| call.name).filter(|name| !MADE_OF_OTHERS.contains(name)).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let entry = |conditions: Value| json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": rule.errno, "args": conditions });
    // `value` is the mask, `valueTwo` what has to be left under it.
    let masked = |argument: u32, mask: u64, value: u32| {
        entry(json!([{ "index": argument, "op": "SCMP_CMP_MASKED_EQ", "value": mask, "valueTwo": value }]))
    };
    match rule.when {
        When::Always => vec![entry(json!([]))],
        When::Equal { argument, values } => {
            values.iter().map(|value| masked(argument, LOW, *value)).collect()
        }
        When::AnyBit { argument, bits } => {
            let single = (0..u32::BITS).map(|bit| 1_u32 << bit).filter(|bit| bits & bit != 0);
            single.map(|bit| masked(argument, u64::from(bit), bit)).collect()
        }
    }
}
