//! The process that runs the cells of a notebook: all of it lives in the library, so that driver,
//! workers and cells share one copy of its state.

fn main() -> std::process::ExitCode {
    match parcell::driver::main() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("parcell-driver: {problem}");
            std::process::ExitCode::from(2)
        }
    }
}
