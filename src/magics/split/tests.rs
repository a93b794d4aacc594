//! What is a magic and what is Rust.

use super::*;

/// `R` and the code without blanks, or sigil, name, arguments and line.
fn parts(code: &str) -> Vec<String> {
    let show = |part| match part {
        Part::Rust { code } => {
            format!("R {}", code.split_whitespace().collect::<Vec<_>>().join(" "))
        }
        Part::Magic(call) => {
            let body = call.body.map_or_else(String::new, |body| format!(" <{body}>"));
            format!("{}{}|{}|{}{body}", call.sigil.text(), call.name, call.args, call.line)
        }
    };
    split(code).into_iter().map(show).collect()
}

#[test]
fn rust_alone_stays_as_it_is() {
    for code in [
        "a",
        "let a = 1;\na",
        "  %x",
        "a\n%b",
        "a\n% b",
        "let c = a\n%b;\nc",
        "#![allow(x)]\n",
        "f(\n%b)",
    ] {
        assert_eq!(split(code), [Part::Rust { code: code.to_owned() }], "{code}");
    }
}

#[test]
fn nothing_comes_of_nothing() {
    for code in ["", "\n\n", "  ", "// a", "/* %x\n%y */\n"] {
        assert_eq!(split(code), [], "{code}");
    }
}

#[test]
fn magics_stand_where_statements_begin() {
    assert_eq!(parts("%who"), ["%who||1"]);
    assert_eq!(parts("\n// why\n%env A=b  c  \n"), ["%env|A=b  c|3"]);
    assert_eq!(parts("let a = 1; // x\n%who\na"), ["R let a = 1; // x", "%who||2", "R a"]);
    assert_eq!(parts("fn f() {\n}\n/* ; */\n%who"), ["R fn f() { } /* ; */", "%who||4"]);
    assert_eq!(parts("a; b\n%who"), ["R a; b %who"]);
    assert_eq!(parts("%who\na\n%b"), ["%who||1", "R a %b"]);
    assert_eq!(parts("%cd x\r\n%who\r\n"), ["%cd|x|1", "%who||2"]);
    assert_eq!(parts("%time(f())"), ["%time|(f())|1"]);
}

#[test]
fn text_and_brackets_hide_magics() {
    for code in [
        "let s = \"\n%who\n\";",
        "let s = r#\"\"\n%who\n\"#;",
        "/*\n%who\n*/ a",
        "{ a;\n%who\n}",
        "f(a,\n%who\n)",
        "let s = \";\n!ls\n\";",
        "let c = '{'; f(\n%who)",
    ] {
        assert_eq!(split(code), [Part::Rust { code: code.to_owned() }], "{code}");
    }
    assert_eq!(parts("let c = '\"';\n%who").len(), 2);
    assert_eq!(parts("let s = \"ü🦀\\\"\";\n%who").len(), 2);
}

#[test]
fn what_is_no_magic_stays_rust() {
    for code in [
        "% b",
        "%1",
        "%",
        "%%",
        "!(a)",
        "!1",
        "!!a",
        "!-1",
        ":: std::f()",
        "::std::f()",
        ":1",
        "#[a]\n%b",
        " !ls",
    ] {
        assert_eq!(split(code), [Part::Rust { code: code.to_owned() }], "{code}");
    }
}

#[test]
fn commands_go_to_the_shell() {
    assert_eq!(parts("!ls -l | wc"), ["!!|ls -l | wc|1"]);
    assert_eq!(parts("f();\n! ls"), ["R f();", "!!|ls|2"]);
    assert_eq!(
        parts("!./a\n!/b\n!~/c\n!$D\n!\"e f\""),
        ["!!|./a|1", "!!|/b|2", "!!|~/c|3", "!!|$D|4", "!!|\"e f\"|5"]
    );
    assert_eq!(parts("!x;"), ["!!|x;|1"]);
    assert_eq!(parts("!a \\\n b\nc"), ["!!|a \\\n b|1", "R c"]);
    assert_eq!(parts("a\n!b"), ["R a !b"]);
}

#[test]
fn colons_are_evcxrs() {
    assert_eq!(parts(":dep a = \"1\""), [":dep|a = \"1\"|1"]);
    assert_eq!(parts(":vars\n:t x"), [":vars||1", ":t|x|2"]);
    assert_eq!(parts("let x\n:u8 = 1;"), ["R let x :u8 = 1;"]);
}

#[test]
fn dependencies_are_gathered() {
    assert_eq!(parts(":dep a\n// x\n%dep b\n\n:dep c"), [":dep|a\nb\nc|1"]);
    assert_eq!(parts(":dep a\n:dep\n:dep b"), [":dep|a|1", ":dep||2", ":dep|b|3"]);
    assert_eq!(parts(":dep a\nf();\n:dep b").len(), 3);
}

#[test]
fn cell_magics_take_the_rest() {
    assert_eq!(parts("%%time\nf()\n%who"), ["%%time||1 <f()\n%who>"]);
    assert_eq!(parts("\n  \n%%writefile a b\nx"), ["%%writefile|a b|3 <x>"]);
    assert_eq!(parts("%%time"), ["%%time||1 <>"]);
    assert_eq!(parts("%%a x \\\n y\nz"), ["%%a|x y|1 <z>"]);
    assert_eq!(parts("f();\n%%time\ng()"), ["R f();", "%%time||2", "R g()"]);
    let [Part::Magic(call)] = &split("\n%%timeit  -n 5\nf")[..] else { panic!() };
    assert_eq!((call.line, call.column, call.body_line), (2, 10, 3));
}

#[test]
fn lines_continue_after_a_backslash() {
    assert_eq!(parts("%env A \\\n   b\\\nc\nd"), ["%env|A b c|1", "R d"]);
    assert_eq!(parts("%env A\\"), ["%env|A|1"]);
    assert_eq!(parts("%env A \\\n%who"), ["%env|A %who|1"]);
}

#[test]
fn questions_ask_for_help() {
    assert_eq!(parts("?Vec::push"), ["?help|Vec::push|1"]);
    assert_eq!(parts("f();\n?? x"), ["R f();", "?help|x|2"]);
    assert_eq!(parts("?"), ["?help||1"]);
    assert_eq!(parts("x?"), ["?help|x|1"]);
    assert_eq!(parts("// why\nstd::mem??  \n"), ["?help|std::mem|2"]);
    assert_eq!(parts("println!?\n%who"), ["?help|println!|1", "%who||2"]);
    assert_eq!(parts("%who?"), ["?help|%who|1"]);
    assert_eq!(parts("f();\n%who??"), ["R f();", "?help|%who|2"]);
}

#[test]
fn rusts_own_question_mark_stays() {
    for code in ["let x = f();\nx?", "x?\n+ 1", "x?;\ny?", "f()?", "x.y?", "let y = x?;"] {
        assert_eq!(split(code), [Part::Rust { code: code.to_owned() }], "{code}");
    }
    assert_eq!(parts("%who\nx?\nf()"), ["%who||1", "R x? f()"]);
}

#[test]
fn lines_and_columns_stay_the_cells_own() {
    let code = "let ü = 1;\n%env 🦀=é\r\n ü; g()";
    let [Part::Rust { code: first }, Part::Magic(call), Part::Rust { code: second }] =
        &split(code)[..]
    else {
        panic!()
    };
    assert_eq!(first, "let ü = 1;\n        \r\n       ");
    assert_eq!(second, "          \n        \r\n ü; g()");
    assert_eq!((call.line, call.column), (2, 5));
}

#[test]
fn blanking_keeps_every_place() {
    let code = "let ü = 1;\n%time é(ü)\n%timeit -n 5 x\n!ls\nü";
    assert_eq!(blank(code), "let ü = 1;\n          \n              \n   \nü");
    assert_eq!(rust_view(code), "let ü = 1;\n      é(ü)\n             x\n   \nü");
    let cell = "\n%%time a\nf(\n";
    assert_eq!(
        (blank(cell), rust_view(cell)),
        ("\n        \nf(\n".into(), "\n       a\nf(\n".into())
    );
    assert_eq!(blank("%%time\n%who\nf()"), "      \n    \nf()");
    assert_eq!(blank("%%writefile a\nf(\n%who"), "             \n  \n    ");
    for code in [code, cell, "%nothing x\n%%time\nx", "a\n%b", "x?"] {
        for other in [blank(code), rust_view(code)] {
            let widths =
                |text: &str| text.split('\n').map(|l| l.chars().count()).collect::<Vec<_>>();
            assert_eq!(widths(&other), widths(code));
        }
    }
}
