//! What the session holds: `%who`, `%type`, `%forget`, `%reset`, `%restart`.

use parcell_link::{Bundle, Place};

use super::args::{counted, no_args, one_word, words};
use super::complete::instances;
use super::{Call, Desk, Facts, Kind, Known, Magic, say, usage_error};
use crate::engine::{Variable, in_words};
use crate::stage::{Completion, Failure, Output};

pub(super) struct Who;

static WHO: Facts = Facts {
    name: "who",
    aliases: &["whos", "vars"],
    kind: Kind::Line,
    usage: "who",
    summary: "list the variables with their types, and the items by kind",
    help: "A variable that `%%everywhere` or `%%px` has bound is shown with the processes that hold \
           it. `:vars` is evcxr's name for it.",
};

impl Magic for Who {
    fn facts(&self) -> &'static Facts {
        &WHO
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        no_args(&WHO, &call.args)?;
        let (variables, items) = (desk.variables(), by_kind(desk.items()));
        if variables.is_empty() && items.is_empty() {
            say(desk, "There are no variables and no items.");
            return Ok(());
        }
        let text = listing(&variables, &items);
        let html = table(&variables, &items);
        let bundle = Bundle::text(text).with("text/html", html);
        desk.stage().show(Output::Display(bundle, None));
        Ok(())
    }
}

/// The names of each kind, kinds in alphabetical order.
fn by_kind(items: Vec<(String, &'static str)>) -> Vec<(&'static str, Vec<String>)> {
    let mut kinds: std::collections::BTreeMap<&'static str, Vec<String>> = Default::default();
    for (name, kind) in items {
        kinds.entry(kind).or_default().push(name);
    }
    kinds.into_iter().collect()
}

fn listing(variables: &[Variable], items: &[(&str, Vec<String>)]) -> String {
    let heads =
        variables.iter().map(|v| v.name.as_str()).chain(items.iter().map(|(kind, _)| *kind));
    let width = heads.map(|head| head.chars().count()).max().unwrap_or(0);
    let variable = |v: &Variable| {
        let place = place(v).map(|place| format!("  {place}")).unwrap_or_default();
        format!("{:width$}  {}{}{place}", v.name, mutable(v), v.type_name)
    };
    let item = |(kind, names): &(&str, Vec<String>)| format!("{kind:width$}  {}", names.join(", "));
    let variables: Vec<String> = variables.iter().map(variable).collect();
    let items: Vec<String> = items.iter().map(item).collect();
    let blocks = [variables.join("\n"), items.join("\n")];
    let blocks: Vec<String> = blocks.into_iter().filter(|block| !block.is_empty()).collect();
    blocks.join("\n\n")
}

fn table(variables: &[Variable], items: &[(&str, Vec<String>)]) -> String {
    let cell =
        |text: &str| format!("<td style=\"text-align:left\"><code>{}</code></td>", escaped(text));
    let row =
        |head: &str, rest: &str, more: &str| format!("<tr>{}{}{more}</tr>", cell(head), cell(rest));
    let variables = variables.iter().map(|v| {
        let place = place(v).map(|p| format!("<td style=\"text-align:left\">{p}</td>"));
        row(&v.name, &format!("{}{}", mutable(v), v.type_name), &place.unwrap_or_default())
    });
    let items = items.iter().map(|(kind, names)| row(kind, &names.join(", "), ""));
    let rows: String = variables.chain(items).collect();
    format!("<table>{rows}</table>")
}

/// Where a variable lives, if that is not the driver alone.
fn place(variable: &Variable) -> Option<String> {
    (variable.place != Place::default()).then(|| format!("on {}", in_words(&variable.place)))
}

fn mutable(variable: &Variable) -> &'static str {
    if variable.mutable { "mut " } else { "" }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

pub(super) struct Type;

static TYPE: Facts = Facts {
    name: "type",
    aliases: &["t"],
    kind: Kind::Line,
    usage: "type NAME",
    summary: "tell the type of a variable",
    help: "`:type` and `:t` are evcxr's names for it.",
};

impl Magic for Type {
    fn facts(&self) -> &'static Facts {
        &TYPE
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        let name = one_word(&TYPE, &call.args, "the name of a variable")?;
        let variables = desk.variables();
        let known = variables.iter().find(|v| v.name == name);
        let Some(variable) = known else {
            return Err(usage_error(
                &TYPE,
                format!("there is no variable `{name}`; `%who` lists them"),
            ));
        };
        say(desk, format!("{}{name}: {}", mutable(variable), variable.type_name));
        Ok(())
    }

    fn complete(&self, _word: &str, known: &Known<'_>) -> Vec<Completion> {
        instances(known.variables)
    }
}

pub(super) struct Forget;

static FORGET: Facts = Facts {
    name: "forget",
    aliases: &["del"],
    kind: Kind::Line,
    usage: "forget NAME…",
    summary: "drop variables, and with them the memory they hold",
    help: "If one of the names is no variable, none is dropped.",
};

impl Magic for Forget {
    fn facts(&self) -> &'static Facts {
        &FORGET
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        let names = words(&FORGET, &call.args.replace(',', " "))?;
        if names.is_empty() {
            return Err(usage_error(&FORGET, "no variable is named"));
        }
        desk.forget(&names)
    }

    fn complete(&self, _word: &str, known: &Known<'_>) -> Vec<Completion> {
        instances(known.variables)
    }
}

pub(super) struct Reset;

static RESET: Facts = Facts {
    name: "reset",
    aliases: &["clear"],
    kind: Kind::Line,
    usage: "reset [-f]",
    summary: "forget all variables and items; crates and the process stay",
    help: "It never asks; `-f` is taken for IPython's sake. `:clear` is evcxr's name for it.",
};

impl Magic for Reset {
    fn facts(&self) -> &'static Facts {
        &RESET
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        if call.args != "-f" {
            no_args(&RESET, &call.args)?;
        }
        let (variables, items) = (variable_names(desk), desk.items());
        desk.reset();
        let names = items.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let lists = [listed(&variables, "variable"), listed(&names, "item")];
        say(desk, format!("Dropped {} and {}.", lists[0], lists[1]));
        Ok(())
    }
}

fn variable_names(desk: &dyn Desk) -> Vec<String> {
    desk.variables().into_iter().map(|v| v.name).collect()
}

/// `2 variables (a, b)`.
fn listed(names: &[String], what: &str) -> String {
    let list = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    counted(names.len(), what) + &list
}

pub(super) struct Restart;

static RESTART: Facts = Facts {
    name: "restart",
    aliases: &[],
    kind: Kind::Line,
    usage: "restart",
    summary: "start a new process for the cells: variables are lost, items and crates stay",
    help: "`:restart` is evcxr's name for it.",
};

impl Magic for Restart {
    fn facts(&self) -> &'static Facts {
        &RESTART
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        no_args(&RESTART, &call.args)?;
        let variables = variable_names(desk);
        desk.restart()?;
        say(
            desk,
            format!("A new process runs the cells; lost: {}.", listed(&variables, "variable")),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::double::{Double, usage_of};

    fn full() -> Double {
        let mut desk = Double::default();
        desk.variables = vec![("count", "usize", false), ("v", "Vec<f64>", true)];
        desk.items = vec![("Point", "struct"), ("area", "fn"), ("slow", "fn")];
        desk
    }

    #[test]
    fn who_lists_names_by_kind() {
        let mut desk = full();
        desk.magic("%who").unwrap();
        let (text, html) = desk.displayed();
        assert_eq!(
            text,
            "count   usize\nv       mut Vec<f64>\n\nfn      area, slow\nstruct  Point"
        );
        assert!(html.contains("mut Vec&lt;f64&gt;") && html.matches("<tr>").count() == 4, "{html}");
        let mut desk = Double::default();
        desk.magic(":vars").unwrap();
        assert_eq!(desk.stdout(), "There are no variables and no items.\n");
        assert!(usage_of("%who x").contains("takes no arguments"));
    }

    #[test]
    fn who_tells_where_variables_live() {
        let mut desk = full();
        desk.place.workers.extend([2, 3]);
        desk.magic("%who").unwrap();
        let (text, html) = desk.displayed();
        assert!(text.contains("count   usize  on the driver and workers 2, 3\n"), "{text}");
        assert!(html.contains(">on the driver and workers 2, 3</td></tr>"), "{html}");
    }

    #[test]
    fn type_knows_variables() {
        let mut desk = full();
        desk.magic(":t v").unwrap();
        assert_eq!(desk.stdout(), "mut v: Vec<f64>\n");
        assert!(usage_of("%type").contains("is missing"));
        assert!(usage_of("%type nothing").contains("no variable `nothing`"));
    }

    #[test]
    fn forget_takes_names() {
        let mut desk = full();
        desk.magic("%forget v, count").unwrap();
        assert_eq!(desk.calls(), ["forget v count"]);
        assert!(usage_of("%forget").contains("no variable is named"));
        let mut desk = Double::broken();
        assert_eq!(desk.magic("%del v").unwrap_err().name, "Broken");
    }

    #[test]
    fn reset_says_what_is_gone() {
        for cell in ["%reset", "%reset -f", ":clear"] {
            let mut desk = full();
            desk.magic(cell).unwrap();
            assert_eq!(desk.calls(), ["reset"]);
            let said = "Dropped 2 variables (count, v) and 3 items (Point, area, slow).\n";
            assert_eq!(desk.stdout(), said);
        }
        assert!(usage_of("%reset -x").contains("`-x`"));
    }

    #[test]
    fn restart_says_what_is_gone() {
        let mut desk = full();
        desk.magic(":restart").unwrap();
        assert_eq!(desk.calls(), ["restart"]);
        assert!(desk.stdout().contains("lost: 2 variables (count, v)"));
        let mut desk = Double::broken();
        assert_eq!(desk.magic("%restart").unwrap_err().name, "Broken");
        assert_eq!(desk.stdout(), "");
        assert!(usage_of("%restart now").contains("takes no arguments"));
    }
}
