//! Images for other processors: what needs none of their programs always builds; what runs one needs an interpreter.

use std::fs;
use std::process::Command;

use crate::support::{Lab, Ran, has, kernel_lab, skip};

/// The smallest program for arm64 that says something: write(1, "from arm\n"), exit(0).
pub fn arm_program() -> Vec<u8> {
    const MESSAGE: &[u8] = b"from arm\n";
    let code: [u32; 8] = [
        0xd280_0020, // mov x0, #1
        0x1000_00e1, // adr x1, message
        0xd280_0122, // mov x2, #9
        0xd280_0808, // mov x8, #64
        0xd400_0001, // svc #0
        0xd280_0000, // mov x0, #0
        0xd280_0ba8, // mov x8, #93
        0xd400_0001, // svc #0
    ];
    let (base, start) = (0x40_0000_u64, 64 + 56_u64);
    let size = start + 32 + MESSAGE.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2, 0, 183, 0, 1, 0, 0, 0]);
    [base + start, 64, 0].iter().for_each(|field| elf.extend(field.to_le_bytes()));
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    [0, base, base, size, size, 0x1_0000].iter().for_each(|field: &u64| elf.extend(field.to_le_bytes()));
    code.iter().for_each(|word| elf.extend(word.to_le_bytes()));
    elf.extend(MESSAGE);
    elf
}

fn lab() -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.write("ctx/hello", arm_program());
    lab.write(
        "ctx/Dockerfile",
        "FROM scratch AS files\nCOPY --chmod=755 hello /hello\nFROM files\nRUN [\"/hello\"]\n",
    );
    Some(lab)
}

/// Runs a build where an own `binfmt_misc` is mounted, with this registered if it is not empty.
fn build_with(lab: &Lab, store: &str, register: &str) -> Ran {
    build_for(lab, store, register, "linux/arm64")
}

/// The same for other platforms.
pub fn build_for(lab: &Lab, store: &str, register: &str, platforms: &str) -> Ran {
    let script = "set -e; mount -t binfmt_misc none /proc/sys/fs/binfmt_misc\n\
        [ -z \"$1\" ] || printf %b \"$1\" > /proc/sys/fs/binfmt_misc/register\n\
        exec \"$2\" --root \"$3\" build --platform \"$5\" --progress=plain \"$4\"";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", register])
        .args([env!("CARGO_BIN_EXE_lith").into(), lab.path(store), lab.path("ctx"), platforms.into()])
        .output();
    Ran::of(output.unwrap())
}

/// What registers qemu for arm64 with these flags, if it is installed.
pub fn arm_interpreter(flags: &str) -> Option<String> {
    let qemu = "/usr/bin/qemu-aarch64-static";
    if !fs::exists(qemu).unwrap() || !has("unshare") {
        return skip("needs qemu-user-static");
    }
    let magic = r"\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00";
    let mask = r"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff";
    Some(format!(":arm:M::{magic}:{mask}:{qemu}:{flags}"))
}

#[test]
fn programs_of_another_processor_run_through_their_interpreter() {
    let Some(lab) = lab() else { return };
    let Some(fixed) = arm_interpreter("F") else { return };
    let ran = build_with(&lab, "a", &fixed);
    assert!(ran.code == 0 && ran.err.contains("from arm"), "{}", ran.err);

    let ran = build_with(&lab, "b", &arm_interpreter("").expect("it is there"));
    assert!(ran.code == 3 && ran.err.contains("arm is registered without the flag F"), "{}", ran.err);
    let ran = build_with(&lab, "b", "");
    assert!(ran.code == 3 && ran.err.contains("no interpreter for them is registered"), "{}", ran.err);
    assert!(ran.err.contains("qemu-user-static") && ran.err.contains("Dockerfile:4"), "{}", ran.err);
}

#[test]
fn files_alone_make_an_image_for_any_platform() {
    let Some(lab) = lab() else { return };
    let ctx = lab.path("ctx");
    for platform in ["linux/arm64", "linux/riscv64", "linux/s390x", "linux/arm/v6"] {
        lab.build("store", "ctx", &["--platform", platform, "--target=files", "-t", "x"]);
        let inspected: serde_json::Value =
            serde_json::from_str(&lab.ok("store", &["image", "inspect", "x"]).out).unwrap();
        let architecture = inspected[0]["Architecture"].as_str().unwrap();
        assert_eq!(architecture, platform.split('/').nth(1).unwrap());
    }
    let ran = lab.run("store", &["build", "--platform", "linux/riscv64", ctx.to_str().unwrap()]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("linux/riscv64 programs cannot run"), "{}", ran.err);
}
