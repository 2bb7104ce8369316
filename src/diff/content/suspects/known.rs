//! Words that say what stands beside them, and values that are known by their shape.

use super::Class;

/// What a word beside a value says of it.
pub fn by_neighbour(word: &str, is_number: bool) -> Option<Class> {
    let class = match word {
        "pid" | "ppid" | "process" | "tid" | "pgid" => Class::Pid,
        "nproc" | "cpus" | "ncpu" | "ncpus" | "cores" | "processors" | "threads" | "jobs" | "workers"
        | "parallelism" => Class::CpuCount,
        "uid" | "gid" | "euid" | "egid" => Class::Owner,
        "inode" | "ino" | "inodes" | "stino" | "stdev" | "dev" | "device" => Class::Inode,
        "host" | "hostname" | "nodename" | "buildhost" | "fqdn" => Class::HostName,
        "user" | "username" | "owner" | "group" | "builder" | "builtby" | "packager" | "logname" => {
            Class::Owner
        }
        _ => return None,
    };
    let takes_numbers = matches!(class, Class::Pid | Class::CpuCount | Class::Inode)
        || matches!(word, "uid" | "gid" | "euid" | "egid" | "owner" | "group" | "user");
    (is_number == takes_numbers || matches!(word, "owner" | "group" | "user")).then_some(class)
}

/// Words that say that a number is no time.
pub fn is_measure(word: &str) -> bool {
    matches!(
        word,
        "size"
            | "bytes"
            | "length"
            | "offset"
            | "count"
            | "total"
            | "crc"
            | "crc32"
            | "port"
            | "phone"
            | "seed"
    )
}

/// Words that say that a value is a digest of something.
pub fn is_digest(word: &str) -> bool {
    let names = ["sha", "md5", "digest", "hash", "integrity", "checksum", "blake", "buildid", "etag", "sums"];
    names.iter().any(|name| word.starts_with(name) || word.ends_with(name))
}

/// What `uname -r` says: three numbers and a flavour that distributions give to kernels.
pub fn is_kernel(word: &str, is_beside_linux: bool) -> bool {
    let mut parts = word.splitn(3, '.');
    let mut number =
        || parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    if !(number() && number()) {
        return false;
    }
    let Some(rest) = parts.next().filter(|rest| rest.as_bytes().first().is_some_and(u8::is_ascii_digit))
    else {
        return false;
    };
    const FLAVOURS: [&str; 14] = [
        "amd64",
        "arm64",
        "generic",
        "cloud",
        "lts",
        "x86_64",
        "aarch64",
        "azure",
        "aws",
        "gcp",
        "microsoft",
        "lowlatency",
        "virt",
        "default",
    ];
    is_beside_linux || FLAVOURS.iter().any(|flavour| rest.split(['-', '.', '+']).any(|part| part == *flavour))
}

/// Names of what some processors have and others have not.
pub fn is_cpu(word: &str) -> bool {
    const NAMES: [&str; 34] = [
        "avx",
        "avx2",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512dq",
        "avx512",
        "sse3",
        "ssse3",
        "sse4_1",
        "sse4_2",
        "sse41",
        "sse42",
        "fma",
        "fma3",
        "bmi1",
        "bmi2",
        "aesni",
        "amx",
        "neon",
        "sve",
        "sve2",
        "haswell",
        "skylake",
        "broadwell",
        "icelake",
        "cascadelake",
        "sapphirerapids",
        "neoverse",
        "znver1",
        "znver2",
        "znver3",
        "znver4",
        "znver5",
    ];
    let word = word.to_ascii_lowercase();
    let body = word.strip_prefix("-march=").or_else(|| word.strip_prefix("-mtune=")).unwrap_or(&word);
    NAMES.contains(&body.trim_start_matches("-m").trim_start_matches('+'))
}

/// Months and weekdays by language, in the same order.
const NAMES: [[&str; 19]; 5] = [
    [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "mon", "tue",
        "wed", "thu", "fri", "sat", "sun",
    ],
    [
        "jan", "feb", "mär", "apr", "mai", "jun", "jul", "aug", "sep", "okt", "nov", "dez", "mo", "di", "mi",
        "do", "fr", "sa", "so",
    ],
    [
        "janv", "févr", "mars", "avril", "mai", "juin", "juil", "août", "sept", "oct", "nov", "déc", "lun",
        "mar", "mer", "jeu", "ven", "sam", "dim",
    ],
    [
        "ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic", "lun", "mar",
        "mié", "jue", "vie", "sáb", "dom",
    ],
    [
        "gen", "feb", "mar", "apr", "mag", "giu", "lug", "ago", "set", "ott", "nov", "dic", "lun", "mar",
        "mer", "gio", "ven", "sab", "dom",
    ],
];

/// Whether two words are one month or weekday in two languages.
pub fn are_names_of_one(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim_end_matches('.').to_lowercase(), b.trim_end_matches('.').to_lowercase());
    let has = |names: &[&str; 19], at: usize, word: &str| names[at] == word;
    a != b
        && (0..19).any(|at| {
            NAMES.iter().any(|names| has(names, at, &a)) && NAMES.iter().any(|names| has(names, at, &b))
        })
}

/// Whether a word is the name of a locale: `de_DE.UTF-8`, `C`, `POSIX`.
pub fn is_locale(word: &str) -> bool {
    let name = word.split(['.', '@']).next().unwrap_or(word);
    let pair = name.split_once('_').is_some_and(|(language, country)| {
        (2..=3).contains(&language.len())
            && language.bytes().all(|byte| byte.is_ascii_lowercase())
            && country.len() == 2
            && country.bytes().all(|byte| byte.is_ascii_uppercase())
    });
    pair || matches!(name, "C" | "POSIX")
}

/// Directories below which people and machines build.
pub fn is_of_builders(path: &str) -> bool {
    const ROOTS: [&str; 17] = [
        "/build",
        "/builds",
        "/home",
        "/root",
        "/tmp",
        "/var/tmp",
        "/workspace",
        "/workspaces",
        "/work",
        "/usr/src",
        "/src",
        "/Users",
        "/mnt",
        "/__w",
        "/github",
        "/var/lib/jenkins",
        "/private",
    ];
    ROOTS
        .iter()
        .any(|root| path.strip_prefix(root).is_some_and(|rest| rest.starts_with(['/', '-', '.', '_'])))
        || path.starts_with("/build")
}

/// Words before a path that is that of a build.
pub fn is_directory_of_build(word: &str) -> bool {
    matches!(
        word,
        "srcdir" | "builddir" | "pwd" | "cwd" | "compdir" | "workdir" | "sourcedir" | "topdir" | "oldpwd"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        assert!(is_kernel("6.1.0-28-amd64", false) && is_kernel("5.15.0-1073-azure", false));
        assert!(is_kernel("6.6.32", true));
        assert!(!is_kernel("6.6.32", false) && !is_kernel("1.2.3-4", false) && !is_kernel("amd64", true));
        assert!(is_cpu("avx512f") && is_cpu("-march=znver4") && !is_cpu("average"));
        assert!(are_names_of_one("Dez", "Dec") && are_names_of_one("janv.", "Jan"));
        assert!(!are_names_of_one("Dec", "Nov") && !are_names_of_one("Dec", "dec"));
        assert!(is_locale("de_DE.UTF-8") && is_locale("C") && !is_locale("snake_case") && !is_locale("D"));
        assert!(
            is_of_builders("/build/x/y.c")
                && is_of_builders("/home/u/y.c")
                && !is_of_builders("/usr/lib/y.so")
        );
        assert!(!is_of_builders("/homework/y"));
    }
}
