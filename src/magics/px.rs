//! `%%everywhere` and `%%px`: cells that run on several processes.

use parcell_link::{Grouping, Where};

use super::ids::{select, spans};
use super::split::{Part, split};
use super::time::placed;
use super::{Call, Desk, Facts, Kind, Known, Magic, usage_error};
use crate::stage::{Completion, Failure};

pub(super) struct Everywhere;

static EVERYWHERE: Facts = Facts {
    name: "everywhere",
    aliases: &[],
    kind: Kind::Both,
    usage: "everywhere STATEMENT",
    summary: "run the statements on the driver and on all workers at once",
    help: "Each process keeps variables of its own: what the cell binds, all have, and another \
           `%%everywhere` cell goes on with it. Functions and types need no such cell, workers have \
           them anyway. The cell ends when all processes have ended it; what fails is told for each.",
};

impl Magic for Everywhere {
    fn facts(&self) -> &'static Facts {
        &EVERYWHERE
    }

    fn rust(&self, _args: &str) -> Option<usize> {
        Some(0)
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        if call.args.starts_with("--") {
            let option = call.args.split_whitespace().next().unwrap_or_default();
            let why = format!("it has no options, here is `{option}`; `%%px` has some");
            return Err(usage_error(&EVERYWHERE, why));
        }
        let code = code(&EVERYWHERE, call, 0)?;
        desk.run_rust_on(&code, &Where::Everywhere).map(drop)
    }
}

pub(super) struct Px;

static PX: Facts = Facts {
    name: "px",
    aliases: &[],
    kind: Kind::Both,
    usage: "px [--targets IDS|all] [--group-outputs engine|order|type] [--noblock] STATEMENT",
    summary: "run the statements on workers only: on all, or on some",
    help: "What the cell binds, these workers have, and not the driver. `--targets` names workers: \
           `2,3` or `2-5`. Outputs come live, each line with its worker; `--group-outputs` keeps \
           them until all have ended and shows them worker by worker (`engine`), the first of each, \
           then the second of each (`order`), or texts before displays (`type`). With `--noblock` \
           the cell ends at once, and what the workers show goes to it later.",
};

impl Magic for Px {
    fn facts(&self) -> &'static Facts {
        &PX
    }

    fn rust(&self, args: &str) -> Option<usize> {
        Options::read(args).ok().map(|options| options.rest)
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        let Options { targets, group, wait, rest } = Options::read(&call.args)?;
        let code = code(&PX, call, rest)?;
        let chosen = select(&PX, targets.as_deref().unwrap_or(&[]), &desk.workers())?;
        let on = Where::Workers { targets: targets.map(|_| chosen), group, wait };
        desk.run_rust_on(&code, &on).map(drop)
    }

    fn complete(&self, word: &str, known: &Known<'_>) -> Vec<Completion> {
        super::ids::offers(word, known, &["--targets", "--group-outputs", "--noblock", "all"])
    }
}

/// The Rust of a call, at its own lines and columns; `rest` is where it starts in the arguments.
fn code(facts: &'static Facts, call: &Call, rest: usize) -> Result<String, Failure> {
    let skipped = call.args[..rest].chars().count();
    let (args, column) = (call.args[rest..].to_owned(), call.column + skipped);
    let mut code = placed(&Call { args, column, ..call.clone() });
    if let Some(body) = &call.body {
        let missing = (call.body_line - 1).saturating_sub(code.matches('\n').count());
        code += &"\n".repeat(missing);
        code += body;
    }
    if code.trim().is_empty() {
        return Err(usage_error(facts, "there is nothing to run"));
    }
    for part in split(&code) {
        if let Part::Magic(inner) = part {
            let why = format!(
                "`{}` cannot stand in it: the kernel runs magics, not the workers",
                inner.written()
            );
            return Err(usage_error(facts, why));
        }
    }
    Ok(code)
}

/// What stands before the code of a `%px`.
#[derive(Debug)]
struct Options {
    /// Absent for all.
    targets: Option<Vec<(u32, u32)>>,
    group: Grouping,
    wait: bool,
    /// Where the code starts, in bytes.
    rest: usize,
}

impl Options {
    fn read(args: &str) -> Result<Options, Failure> {
        let mut options = Options { targets: None, group: Grouping::Live, wait: true, rest: 0 };
        loop {
            let rest = args[options.rest..].trim_start();
            options.rest = args.len() - rest.len();
            if !rest.starts_with("--") && !rest.starts_with("-t ") {
                return Ok(options);
            }
            let (word, value, valued) = head(rest);
            let taken = match word {
                "--targets" | "-t" => {
                    options.targets = if value == "all" { None } else { Some(spans(&PX, value)?) };
                    valued
                }
                "--group-outputs" => {
                    options.group = grouping(value)?;
                    valued
                }
                "--noblock" | "--block" => {
                    options.wait = word == "--block";
                    word.len()
                }
                _ => return Err(unknown(word)),
            };
            options.rest += taken;
        }
    }
}

/// An option, the value that follows it, and how many bytes both take.
fn head(rest: &str) -> (&str, &str, usize) {
    let end = |text: &str| text.find(char::is_whitespace).unwrap_or(text.len());
    let word = &rest[..end(rest)];
    if let Some((name, value)) = word.split_once('=') {
        return (name, value, word.len());
    }
    let after = rest[word.len()..].trim_start();
    let value = &after[..end(after)];
    (word, value, rest.len() - after.len() + value.len())
}

fn grouping(word: &str) -> Result<Grouping, Failure> {
    match word {
        "engine" => Ok(Grouping::Worker),
        "order" => Ok(Grouping::Order),
        "type" => Ok(Grouping::Type),
        _ => Err(usage_error(
            &PX,
            format!("--group-outputs wants engine, order or type, here is `{word}`"),
        )),
    }
}

fn unknown(word: &str) -> Failure {
    let instead = match word {
        "--local" => "; `%%everywhere` runs a cell on the driver, too",
        "--out" => "; `spawn_at!(2, …)` gives a future to keep",
        "--stream" => "; outputs come live unless they are grouped",
        _ => "",
    };
    let there = "there are --targets, --group-outputs and --noblock";
    usage_error(&PX, format!("`{word}` is no option{instead}; {there}"))
}

#[cfg(test)]
mod tests {
    use super::super::double::{Double, usage_of};

    fn desk() -> Double {
        Double::with_workers(&[2, 3, 5])
    }

    fn asked(cell: &str) -> String {
        let mut desk = desk();
        desk.magic(cell).unwrap_or_else(|failure| panic!("{cell}: {failure:?}"));
        desk.calls().concat()
    }

    fn refused(cell: &str, words: &str) {
        let mut desk = desk();
        let failure = desk.magic(cell).expect_err(cell);
        assert_eq!((failure.name.as_str(), desk.calls().len()), ("UsageError", 0), "{failure:?}");
        assert!(failure.value.contains(words), "{cell}: {failure:?}");
    }

    #[test]
    fn a_cell_runs_everywhere() {
        assert_eq!(asked("%%everywhere\nlet a = 1;\na"), "Everywhere \nlet a = 1;\na");
        assert_eq!(asked("f();\n%everywhere g()").lines().last(), Some("            g()"));
        let alone = &mut Double::default();
        alone.magic("%%everywhere\nf()").unwrap();
        assert_eq!(alone.calls(), ["Everywhere \nf()"], "without workers, on the driver");
    }

    #[test]
    fn a_cell_runs_on_workers() {
        let on = |targets, group, wait| {
            format!("Workers {{ targets: {targets}, group: {group}, wait: {wait} }} ")
        };
        assert_eq!(asked("%%px\nf()"), on("None", "Live", true) + "\nf()");
        assert_eq!(asked("%px f()"), on("None", "Live", true) + "    f()");
        let cell = "%%px --targets 5,2 --noblock\nf()";
        assert_eq!(asked(cell), on("Some([2, 5])", "Live", false) + "\nf()");
        let cell = "%px --targets=3-9 --group-outputs order f()";
        let code = format!("{}f()", " ".repeat(cell.len() - 3));
        assert_eq!(asked(cell), on("Some([3, 5])", "Order", true) + &code);
        let grouped = "%%px -t all --group-outputs=engine --block\n-x";
        assert_eq!(asked(grouped), on("None", "Worker", true) + "\n-x");
        assert_eq!(asked("%px -x"), on("None", "Live", true) + "    -x");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        refused("%%px", "nothing to run");
        refused("%px --targets 2", "nothing to run");
        refused("%%everywhere\n \n", "nothing to run");
        refused("%%px --targets 4\nf()", "there is no worker 4; there are 2, 3, 5");
        refused("%%px --targets 1\nf()", "process 1 is the driver");
        refused("%%px --targets x\nf()", "`x` is no id of a worker");
        refused("%%px --targets\nf()", "names no worker");
        refused("%%px --group-outputs size\nf()", "engine, order or type, here is `size`");
        refused("%%px --local\nf()", "`%%everywhere` runs a cell on the driver, too");
        refused("%%px --target 2\nf()", "`--target` is no option");
        refused("%%everywhere --targets 2\nf()", "`%%px` has some");
        refused("%%px\nf();\n!ls", "`!` cannot stand in it");
        assert!(usage_of("%%px\nf()").contains("there are no workers; `%workers N` starts some"));
        let mut broken = Double::broken();
        assert_eq!(broken.magic("%everywhere f()").unwrap_err().name, "Broken");
    }
}
