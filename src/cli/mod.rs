//! The command line.

/// Runs the program.
pub fn main() -> std::process::ExitCode {
    if let Some(code) = crate::sandbox::child_entry() {
        return code;
    }
    std::process::ExitCode::SUCCESS
}
