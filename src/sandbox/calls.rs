//! Names and numbers of the system calls the policy looks at, by architecture.
//!
//! Owns: the table, taken from the kernel's own (`arch/*/entry/syscalls`). No policy but the list itself.

/// One system call: its number on each architecture that has it.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub name: &'static str,
    pub x86_64: Option<u32>,
    pub i386: Option<u32>,
    pub aarch64: Option<u32>,
    pub arm: Option<u32>,
}

const fn call(name: &'static str, numbers: [i32; 4]) -> Call {
    const fn number(n: i32) -> Option<u32> {
        if n < 0 { None } else { Some(n.cast_unsigned()) }
    }
    let [x86_64, i386, aarch64, arm] = numbers;
    Call { name, x86_64: number(x86_64), i386: number(i386), aarch64: number(aarch64), arm: number(arm) }
}

/// Refused whatever their arguments. In columns: x86-64, i386, aarch64, arm EABI; -1 where there is none.
#[rustfmt::skip]
pub const REFUSED: &[Call] = &[
    call("acct", [163, 51, 89, 51]),
    call("add_key", [248, 286, 217, 309]),
    call("bpf", [321, 357, 280, 386]),
    call("clock_settime", [227, 264, 112, 262]),
    call("clock_settime64", [-1, 404, -1, 404]),
    call("create_module", [174, 127, -1, -1]),
    call("delete_module", [176, 129, 106, 129]),
    call("fanotify_init", [300, 338, 262, 367]),
    call("finit_module", [313, 350, 273, 379]),
    call("fsconfig", [431, 431, 431, 431]),
    call("fsmount", [432, 432, 432, 432]),
    call("fsopen", [430, 430, 430, 430]),
    call("fspick", [433, 433, 433, 433]),
    call("get_kernel_syms", [177, 130, -1, -1]),
    call("get_mempolicy", [239, 275, 236, 320]),
    call("init_module", [175, 128, 105, 128]),
    call("io_uring_enter", [426, 426, 426, 426]),
    call("io_uring_register", [427, 427, 427, 427]),
    call("io_uring_setup", [425, 425, 425, 425]),
    call("ioperm", [173, 101, -1, -1]),
    call("iopl", [172, 110, -1, -1]),
    call("kcmp", [312, 349, 272, 378]),
    call("kexec_file_load", [320, -1, 294, 401]),
    call("kexec_load", [246, 283, 104, 347]),
    call("keyctl", [250, 288, 219, 311]),
    call("lookup_dcookie", [212, 253, 18, 249]),
    call("mbind", [237, 274, 235, 319]),
    call("migrate_pages", [256, 294, 238, 400]),
    call("mount", [165, 21, 40, 21]),
    call("mount_setattr", [442, 442, 442, 442]),
    call("move_mount", [429, 429, 429, 429]),
    call("move_pages", [279, 317, 239, 344]),
    call("nfsservctl", [180, 169, 42, 169]),
    call("open_by_handle_at", [304, 342, 265, 371]),
    call("open_tree", [428, 428, 428, 428]),
    call("open_tree_attr", [467, 467, 467, 467]),
    call("perf_event_open", [298, 336, 241, 364]),
    call("pivot_root", [155, 217, 41, 218]),
    call("query_module", [178, 167, -1, -1]),
    call("quotactl", [179, 131, 60, 131]),
    call("quotactl_fd", [443, 443, 443, 443]),
    call("reboot", [169, 88, 142, 88]),
    call("request_key", [249, 287, 218, 310]),
    call("set_mempolicy", [238, 276, 237, 321]),
    call("set_mempolicy_home_node", [450, 450, 450, 450]),
    call("setns", [308, 346, 268, 375]),
    call("settimeofday", [164, 79, 170, 79]),
    call("stime", [-1, 25, -1, -1]),
    call("swapoff", [168, 115, 225, 115]),
    call("swapon", [167, 87, 224, 87]),
    call("_sysctl", [156, 149, -1, 149]),
    call("sysfs", [139, 135, -1, 135]),
    call("syslog", [103, 103, 116, 103]),
    call("umount", [-1, 22, -1, -1]),
    call("umount2", [166, 52, 39, 52]),
    call("unshare", [272, 310, 97, 337]),
    call("uselib", [134, 86, -1, 86]),
    call("userfaultfd", [323, 374, 282, 388]),
    call("ustat", [136, 62, -1, 62]),
    call("vhangup", [153, 111, 58, 111]),
    call("vm86", [-1, 166, -1, -1]),
    call("vm86old", [-1, 113, -1, -1]),
];

/// Its flags lie in memory, where a filter cannot look: told to be missing, so that C libraries use `clone`.
pub const CLONE3: Call = call("clone3", [435, 435, 435, 435]);
/// Refused with flags that make namespaces.
pub const CLONE: Call = call("clone", [56, 120, 220, 120]);
/// Refused for some families.
pub const SOCKET: Call = call("socket", [41, 359, 198, 281]);
/// Refused for the same families.
pub const SOCKETPAIR: Call = call("socketpair", [53, 360, 199, 288]);
/// Multiplexes the socket calls of i386.
pub const SOCKETCALL: Call = call("socketcall", [-1, 102, -1, -1]);
/// Refused for some requests.
pub const IOCTL: Call = call("ioctl", [16, 54, 29, 54]);
