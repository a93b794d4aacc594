//! The texts made from the table: one magic's help, the index, the README's table.

use parcell_link::Bundle;

use super::{Facts, Kind, MAGICS, find, prose};

/// Help on a magic, as plain text and markdown; `None` if there is no such magic.
pub fn help(name: &str) -> Option<Bundle> {
    let facts = find(name)?.facts();
    let forms = forms(facts);
    let aliases = match facts.aliases {
        [] => String::new(),
        aliases => format!("\n\nOther names: {}", aliases.join(", ")),
    };
    let details = if facts.help.is_empty() { String::new() } else { format!("\n\n{}", facts.help) };
    let plain = format!("{}\n\n{}{}{aliases}", forms.join("\n"), facts.summary, details);
    let heads: Vec<String> = forms.iter().map(|form| format!("**`{form}`**")).collect();
    let markdown = format!("{}\n\n{}{}{aliases}", heads.join("  \n"), facts.summary, details);
    Some(prose(plain, markdown))
}

/// All magics with their summaries.
pub(super) fn index() -> Bundle {
    let rows: Vec<(String, &str)> =
        MAGICS.iter().map(|m| m.facts()).map(|f| (forms(f).join(" or "), f.summary)).collect();
    let width = rows.iter().map(|(form, _)| form.chars().count()).max().unwrap_or(0);
    let plain: Vec<String> =
        rows.iter().map(|(form, text)| format!("{form:width$}  {text}")).collect();
    let more = "%help NAME tells more. The :commands of evcxr work too.";
    prose(
        format!("{}\n\n{more}", plain.join("\n")),
        format!(
            "{}\n`%help NAME` tells more. The `:commands` of evcxr work too.",
            markdown_table()
        ),
    )
}

/// The table of all magics, as the README has it.
pub fn markdown_table() -> String {
    let rows = MAGICS.iter().map(|magic| {
        let facts = magic.facts();
        let forms: Vec<String> =
            forms(facts).iter().map(|form| format!("`{}`", form.replace('|', "\\|"))).collect();
        format!("| {} | {} |\n", forms.join(", "), facts.summary)
    });
    format!("| magic | does |\n|---|---|\n{}", rows.collect::<String>())
}

/// The names by the place where they stand.
pub(super) fn list() -> String {
    let all = || MAGICS.iter().map(|magic| magic.facts()).filter(|f| f.name != "!");
    let names = |sigil: &str, but: Kind| -> String {
        let names = all().filter(|f| f.kind != but).map(|f| format!("{sigil}{}", f.name));
        names.collect::<Vec<_>>().join("  ")
    };
    let aliases = all().flat_map(|f| f.aliases.iter().map(|alias| format!("%{alias}")));
    let aliases = aliases.collect::<Vec<_>>().join("  ");
    format!(
        "on a line:          {}  !command  ?name\non the first line:  {}\nother names:        {aliases}",
        names("%", Kind::Cell),
        names("%%", Kind::Line),
    )
}

/// How a magic is written: one or two forms.
fn forms(facts: &Facts) -> Vec<String> {
    match facts.kind {
        _ if facts.name == "!" => vec![facts.usage.to_owned()],
        Kind::Line => vec![format!("%{}", facts.usage)],
        Kind::Cell => vec![format!("%%{}", facts.usage)],
        Kind::Both => vec![format!("%{}", facts.usage), format!("%%{}", facts.name)],
    }
}
