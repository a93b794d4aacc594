//! `%time` and `%timeit`.

use std::time::Duration;

use super::{Call, Desk, Facts, Kind, Magic, run_source, say, usage_error};
use crate::stage::Failure;

pub(super) struct Time;

static TIME: Facts = Facts {
    name: "time",
    aliases: &[],
    kind: Kind::Both,
    usage: "time STATEMENT",
    summary: "run once and tell the run time, and apart from it the compile time",
    help: "The statement runs as if it stood there alone: its value is shown, variables it binds \
           stay. `%%time` times the whole cell, its magics included (they count as running).",
};

impl Magic for Time {
    fn facts(&self) -> &'static Facts {
        &TIME
    }

    fn rust(&self, _args: &str) -> Option<usize> {
        Some(0)
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        let mut code = placed(call);
        if let Some(body) = &call.body {
            if !call.args.is_empty() {
                code.push('\n');
            }
            let missing = (call.body_line - 1).saturating_sub(code.matches('\n').count());
            code += &"\n".repeat(missing);
            code += body;
        }
        if code.trim().is_empty() {
            return Err(usage_error(&TIME, "there is nothing to time"));
        }
        let timing = run_source(desk, &code)?;
        say(desk, format!("run {}, compile {}", human(timing.run), human(timing.compile)));
        Ok(())
    }
}

pub(super) struct Timeit;

static TIMEIT: Facts = Facts {
    name: "timeit",
    aliases: &[],
    kind: Kind::Both,
    usage: "timeit [-n LOOPS] [-r RUNS] STATEMENT",
    summary: "run many times and tell mean and deviation of the run time",
    help: "Makes `-r` runs (7) of `-n` loops each (as many as fill 0.2 s) and prints, as IPython \
           does, the mean time of one loop. The value is kept from the optimiser; variables that \
           the statement binds do not stay. With `%%timeit` the cell is timed, and what stands \
           after the options on the first line is set-up code, run once. The code is the body of \
           a closure: it cannot move variables away or `.await`.",
};

impl Magic for Timeit {
    fn facts(&self) -> &'static Facts {
        &TIMEIT
    }

    fn rust(&self, args: &str) -> Option<usize> {
        options(args).ok().map(|options| options.rest)
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        let options = options(&call.args)?;
        let (setup, statement) = match &call.body {
            Some(body) => (&call.args[options.rest..], body.as_str()),
            None => ("", &call.args[options.rest..]),
        };
        if statement.trim().is_empty() {
            return Err(usage_error(&TIMEIT, "there is nothing to time"));
        }
        let (n, r) = (literal(options.loops), literal(options.runs));
        // A body starts on a line of its own; so all of the user's code keeps its lines.
        let (above, gap) = match call.body {
            Some(_) => (call.body_line - 2, "\n"),
            None => (call.line - 1, " "),
        };
        let above = "\n".repeat(above);
        let end = if setup.is_empty() || setup.ends_with([';', '}']) { "" } else { ";" };
        let code = format!(
            "{above}{{ {setup}{end} ::parcell::timing::timeit(|| {{ ::std::hint::black_box({{\
             {gap}{statement}\n}}); }}, {n}, {r}); }}"
        );
        desk.run_rust(&code).map(drop)
    }
}

fn literal(count: Option<u64>) -> String {
    count.map_or_else(|| "None".to_owned(), |n| format!("Some({n})"))
}

/// What stands before the code of a `%timeit`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    loops: Option<u64>,
    runs: Option<u64>,
    /// Where the code starts, in bytes.
    rest: usize,
}

fn options(args: &str) -> Result<Options, Failure> {
    let mut options = Options::default();
    loop {
        let rest = args[options.rest..].trim_start();
        options.rest = args.len() - rest.len();
        let option = if rest.starts_with("-n") { "-n" } else { "-r" };
        // `-n` can be an option; `-name` and `-(n)` are Rust.
        let Some(value) = rest.strip_prefix(option).filter(|v| is_value(v)) else {
            return Ok(options);
        };
        let value = value.trim_start();
        let word = &value[..value.find(char::is_whitespace).unwrap_or(value.len())];
        let count = word.parse::<u64>().ok().filter(|n| *n > 0);
        let count = count.ok_or_else(|| {
            usage_error(&TIMEIT, format!("{option} wants a number from 1, here is `{word}`"))
        })?;
        match option {
            "-n" => options.loops = Some(count),
            _ => options.runs = Some(count),
        }
        options.rest = args.len() - value.len() + word.len();
    }
}

fn is_value(text: &str) -> bool {
    text.is_empty() || text.starts_with(|c: char| c.is_whitespace() || c.is_ascii_digit())
}

/// The arguments at their own line and column; magics among them at column 0.
pub(super) fn placed(call: &Call) -> String {
    if call.args.is_empty() {
        return String::new();
    }
    let is_magic = call.args.starts_with(['%', '!', ':', '?']);
    let column = if is_magic { 0 } else { call.column };
    format!("{}{}{}", "\n".repeat(call.line - 1), " ".repeat(column), call.args)
}

/// Three digits and a unit: `12.3 ms`; from a minute on `1 min 5 s`.
fn human(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 59.95 {
        let whole = seconds.round() as u64;
        return format!("{} min {} s", whole / 60, whole % 60);
    }
    let units = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")];
    let fits = |size: f64| seconds >= 0.9995 * size;
    let (size, unit) = units.into_iter().find(|(size, _)| fits(*size)).unwrap_or((1e-9, "ns"));
    let number = seconds / size;
    let decimals = [(9.995, 2), (99.95, 1)].into_iter().find(|(limit, _)| number < *limit);
    let decimals = if unit == "ns" { 0 } else { decimals.map_or(0, |(_, decimals)| decimals) };
    format!("{number:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::super::double::{Double, usage_of};
    use super::*;

    #[test]
    fn times_a_statement_at_its_place() {
        let mut desk = Double::default();
        desk.magic("let a = 1;\n%time  f(a)").unwrap();
        assert_eq!(desk.calls(), ["rust let a = 1;\n           ", "rust \n       f(a)"]);
        assert_eq!(desk.stdout(), "run 12.3 ms, compile 85.1 ms\n");
    }

    #[test]
    fn times_a_cell_with_its_magics() {
        let mut desk = Double::default();
        desk.magic("\n%%time\nlet a = 1;\n!ls\nf(a)").unwrap();
        let blank = " ".repeat(10);
        assert_eq!(
            desk.calls(),
            ["rust \n\nlet a = 1;\n   \n    ", "shell ls", &format!("rust \n\n{blank}\n   \nf(a)")]
        );
        assert!(desk.stdout().starts_with("run 24.6 ms, compile 170 ms"), "{}", desk.stdout());
        let mut desk = Double::default();
        desk.magic("%%time let a = 1;\nf(a)").unwrap();
        assert_eq!(desk.calls(), ["rust        let a = 1;\nf(a)"]);
    }

    #[test]
    fn a_magic_can_be_timed() {
        let mut desk = Double::default();
        desk.magic("\n%time !ls").unwrap();
        assert_eq!(desk.calls(), ["shell ls"]);
    }

    #[test]
    fn nothing_to_time_is_an_error() {
        for cell in
            ["%time", "%%time", "%%time\n  \n", "%timeit", "%timeit -n 5", "%%timeit -r 1\n"]
        {
            assert!(usage_of(cell).contains("nothing to time"), "{cell}");
        }
    }

    #[test]
    fn a_failure_tells_no_time() {
        let mut desk = Double::broken();
        assert_eq!(desk.magic("%time f()").unwrap_err().name, "Broken");
        assert_eq!(desk.magic("%timeit f()").unwrap_err().name, "Broken");
        assert_eq!(desk.stdout(), "");
    }

    fn rust_of(cell: &str) -> String {
        let mut desk = Double::default();
        desk.magic(cell).unwrap();
        desk.calls().concat()
    }

    #[test]
    fn timeit_wraps_its_statement() {
        assert_eq!(
            rust_of("%timeit f(x)"),
            "rust {  ::parcell::timing::timeit(|| { ::std::hint::black_box({ f(x)\n}); }, None, None); }"
        );
        let cell = "%%timeit -n 10 -r3 let v = 1\nf(v);\ng()";
        let rust = rust_of(cell);
        assert!(
            rust.contains("let v = 1; ")
                && rust.ends_with("\nf(v);\ng()\n}); }, Some(10), Some(3)); }"),
            "{rust}"
        );
    }

    #[test]
    fn timed_code_keeps_its_lines() {
        let line_of = |cell: &str, what: &str| {
            let rust = rust_of(cell);
            rust.lines().position(|line| line.contains(what)).unwrap() + 1
        };
        assert_eq!(line_of("\n\n%timeit f(x)", "f(x)"), 3);
        assert_eq!(line_of("%%timeit\nf(x)", "f(x)"), 2);
        assert_eq!(line_of("\n\n%%timeit\n\nf(x)", "f(x)"), 5);
        assert_eq!(line_of("\n\n%%timeit let x = 1;\nf(x)", "f(x)"), 4);
        assert_eq!(line_of("\n\n%%timeit let x = 1;\nf(x)", "let x"), 3);
        let code = rust_of("\n\n%%timeit let x = 1;\nf(x)");
        syn::parse_str::<syn::Block>(&format!("{{{}}}", code.strip_prefix("rust ").unwrap()))
            .unwrap();
    }

    #[test]
    fn options_end_where_code_begins() {
        let read = |args: &str| options(args).map(|o| (o.loops, o.runs, args[o.rest..].to_owned()));
        assert_eq!(read("-n 5 -r2 x").unwrap(), (Some(5), Some(2), "x".to_owned()));
        assert_eq!(read("-name + 1").unwrap(), (None, None, "-name + 1".to_owned()));
        assert_eq!(read("-(n)").unwrap(), (None, None, "-(n)".to_owned()));
        assert_eq!(read("  größe").unwrap(), (None, None, "größe".to_owned()));
        for wrong in ["-n 0 x", "-n x", "-r", "-n 1x", "-r 1.5 x"] {
            assert!(read(wrong).unwrap_err().value.contains("wants a number from 1"), "{wrong}");
        }
    }

    #[test]
    fn times_have_good_units() {
        let shown = [0, 12, 9_996, 12_345_678, 999_600_000, 59_900_000_000, 65_400_000_000];
        let shown = shown.map(|n| human(Duration::from_nanos(n)));
        assert_eq!(shown, ["0 ns", "12 ns", "10.0 µs", "12.3 ms", "1.00 s", "59.9 s", "1 min 5 s"]);
    }
}
