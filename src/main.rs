//! The `bayeux` program.

fn main() -> std::process::ExitCode {
    bayeux::cli::main()
}
