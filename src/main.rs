//! The thin binary: everything is in the library's `cli`.

fn main() -> std::process::ExitCode {
    lith::cli::main()
}
