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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the section says of a call: the errno, or `None` if it is allowed.
    fn verdict(section: &Value, name: &str, arguments: [u64; 2]) -> Option<u64> {
        let holds = |condition: &Value| {
            assert_eq!(condition["op"], "SCMP_CMP_MASKED_EQ");
            let index = usize::try_from(condition["index"].as_u64().unwrap()).unwrap();
            let (mask, value) =
                (condition["value"].as_u64().unwrap(), condition["valueTwo"].as_u64().unwrap());
            arguments[index] & mask == value
        };
        let entries = section["syscalls"].as_array().unwrap().iter();
        let mut matching = entries.filter(|entry| {
            entry["names"].as_array().unwrap().contains(&name.into())
                && entry["args"].as_array().unwrap().iter().all(holds)
        });
        matching.next().map(|entry| {
            assert_eq!(entry["action"], "SCMP_ACT_ERRNO");
            entry["errnoRet"].as_u64().unwrap()
        })
    }

    /// The same by the rules themselves.
    fn expected(rule: &Rule, arguments: [u64; 2]) -> Option<u64> {
        let low = |index: u32| u32::try_from(arguments[index as usize] & LOW).unwrap();
        let refused = match rule.when {
            When::Always => true,
            When::Equal { argument, values } => values.contains(&low(argument)),
            When::AnyBit { argument, bits } => low(argument) & bits != 0,
        };
        refused.then_some(u64::from(rule.errno))
    }

    #[test]
    fn it_says_what_the_rules_say() {
        let section = section();
        assert_eq!(section["defaultAction"], "SCMP_ACT_ALLOW");
        let values =
            [0, 1, 2, 38, 40, 0x5412, 0x541C, 0x1000_0011, 0x11, 0x7E02_0000, (1 << 32) | 38, 1 << 33];
        let (mut refused, mut allowed) = (0, 0);
        for rule in &RULES {
            for call in rule.calls.iter().filter(|call| !MADE_OF_OTHERS.contains(&call.name)) {
                for first in values {
                    for second in values {
                        let said = verdict(&section, call.name, [first, second]);
                        assert_eq!(
                            said,
                            expected(rule, [first, second]),
                            "{} {first:#x} {second:#x}",
                            call.name
                        );
                        refused += usize::from(said.is_some());
                        allowed += usize::from(said.is_none());
                    }
                }
            }
        }
        assert!(refused > 1000 && allowed > 100, "{refused} {allowed}");
        assert_eq!(verdict(&section, "write", [1, 0]), None);
    }
}
