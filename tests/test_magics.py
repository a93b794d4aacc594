"""The magics, as a user types them."""

import os
import re
import time

import pytest

EVERY = [
    "threads", "workers", "rmworkers", "everywhere", "px", "time", "timeit", "who", "reset", "dep",
    "load", "run", "writefile", "env", "cd", "lsmagic", "help",
]


def test_lsmagic_lists_every_magic(kernel):
    text = kernel.ok("%lsmagic")
    shown = text.stdout + (text.result or "")
    for name in EVERY:
        assert f"%{name}" in shown
    assert "%%time" in shown


@pytest.mark.parametrize("name", EVERY)
def test_help_of_each_magic_has_a_usage_in_the_pager(kernel, name):
    for code in (f"%help {name}", f"%help %{name}"):
        payload = kernel.ok(code).reply["payload"]
        assert payload[0]["source"] == "page"
        assert f"%{name}" in payload[0]["data"]["text/plain"]


def test_help_and_a_question_mark_open_the_pager(kernel):
    assert kernel.ok("%help").reply["payload"][0]["source"] == "page"
    kernel.ok("/// Doubles.\nfn double_it(x: i32) -> i32 { 2 * x }")
    payload = kernel.ok("?double_it").reply["payload"]
    assert "Doubles" in payload[0]["data"]["text/plain"]
    assert "Doubles" in kernel.ok("double_it?").reply["payload"][0]["data"]["text/plain"]


def test_threads_sizes_the_one_pool(kernel):
    assert "4" in shown(kernel.ok("%threads 4"))
    assert kernel.ok("(nthreads(), rayon::current_num_threads())").result == "(4, 4)"
    used = "use std::collections::BTreeSet; (0..4000).into_par_iter().map(|_| { sleep(0.0005); threadid() }).collect::<BTreeSet<_>>()"
    assert kernel.ok(used).result == "{0, 1, 2, 3}"
    kernel.ok("let kept = 1;")
    kernel.ok("%threads 2")
    assert kernel.ok("(kept, nthreads())").result == "(1, 2)"


def shown(result) -> str:
    """Everything a magic showed as text."""
    return result.stdout + result.stderr + "".join(
        b.get("text/plain", "") for b in result.results + result.displays
    )


def test_workers_are_asked_for_in_words_that_are_understood(fresh):
    for code, words in (
        ("%px f()", "there are no workers; `%workers N` starts some"),
        ("%%px --targets 1\nf()", "process 1 is the driver"),
        ("%rmworkers 2", "there are no workers"),
        ("%workers 0", "at least 1"),
        ("%workers 2 --manager cloud", "`cloud` is no manager; there are local, auto, ssh"),
    ):
        result = fresh.run(code)
        assert result.error["ename"] == "UsageError"
        assert words in result.error["evalue"]


def test_without_workers_everywhere_is_the_driver(fresh):
    fresh.ok("%everywhere let a: i32 = 1;")
    assert fresh.ok("%%everywhere\n\nlet b = a + 1;\nb").result == "2"
    assert fresh.ok("a + b").result == "3"
    error = fresh.run("%%everywhere\nlet c = 1;\nlet d: u8 = a;").error_text
    assert "In[4]:3:13" in error


def test_threads_without_a_number_shows_pool_and_limits(kernel):
    kernel.ok("%threads 2")
    text = shown(kernel.ok("%threads")).lower()
    assert "2" in text
    for word in ("core", "affinity"):
        assert word in text


def test_more_threads_than_cores_are_allowed_and_said_once(fresh):
    many = os.cpu_count() * 4
    assert "core" in shown(fresh.ok(f"%threads {many}"))
    assert fresh.ok("nthreads()").result == str(many)
    assert "core" not in shown(fresh.ok(f"%threads {many + 1}"))


@pytest.mark.parametrize("code", ["%time (0..1000u64).sum::<u64>()", "%%time\n(0..1000u64).sum::<u64>()"])
def test_time_shows_run_and_compile_time_apart_and_keeps_the_value(kernel, code):
    result = kernel.ok(code)
    assert result.result == "499500"
    text = shown(result)
    assert re.search(r"\d+(\.\d+)? ?(ns|[µμ]s|ms|s)\b", text)
    assert "compil" in text


def test_time_keeps_the_variables_of_its_statement(kernel):
    kernel.ok("%time let timed = 5;")
    assert kernel.ok("timed").result == "5"
    kernel.ok("%%time\nlet timed = 6;\nlet twice = 12;")
    assert kernel.ok("timed + twice").result == "18"


def test_time_measures_what_runs(kernel):
    text = shown(kernel.ok("%time sleep(0.25)"))
    milliseconds = [float(n) for n in re.findall(r"([\d.]+) ?ms", text)]
    assert any(250 <= n < 400 for n in milliseconds), text


def test_timeit_takes_counts(kernel):
    text = shown(kernel.ok("%timeit -n 100 -r 3 (0..1000u64).sum::<u64>()"))
    assert "100" in text
    assert "3" in text
    text = shown(kernel.ok("%%timeit -n 10 -r 2\nlet v: Vec<u64> = (0..100).collect();\nv.len()"))
    assert "10" in text
    assert re.search(r"\d ?(ns|µs|ms)", text)


def test_who_lists_variables_and_their_types(fresh):
    assert "alpha" not in shown(fresh.ok("%who"))
    fresh.ok("let alpha = 1; let beta = vec![1.5];")
    text = shown(fresh.ok("%who"))
    assert re.search(r"alpha.*i32", text)
    assert re.search(r"beta.*Vec<f64>", text)


def test_reset_forgets_variables(fresh):
    fresh.ok("let alpha = 1;\nfn f() -> i32 { 3 }")
    fresh.ok("%reset")
    assert "alpha" in fresh.run("alpha").error_text
    assert "alpha" not in shown(fresh.ok("%who"))


def test_writefile_load_and_run(kernel, tmp_path):
    path = tmp_path / "code.rs"
    kernel.ok(f"%%writefile {path}\nfn from_file() -> i32 {{\n    7\n}}\nlet loaded = from_file();\n")
    assert path.read_text() == "fn from_file() -> i32 {\n    7\n}\nlet loaded = from_file();\n"
    kernel.ok(f"%run {path}")
    assert kernel.ok("loaded + from_file()").result == "14"
    payload = kernel.ok(f"%load {path}").reply["payload"][0]
    assert payload["source"] == "set_next_input"
    assert "fn from_file()" in payload["text"]
    assert payload["replace"] is True


def test_writefile_can_append(kernel, tmp_path):
    path = tmp_path / "a.txt"
    kernel.ok(f"%%writefile {path}\none\n")
    kernel.ok(f"%%writefile -a {path}\ntwo\n")
    assert path.read_text().split() == ["one", "two"]


def test_a_file_that_is_not_there_is_an_error(kernel):
    for code in ("%run /no/such/file.rs", "%load /no/such/file.rs", "%cd /no/such/folder"):
        assert "/no/such/" in kernel.run(code).error_text


def test_env_sets_shows_and_reaches_cells_and_shell(kernel):
    kernel.ok("%env COLOUR=blue green")
    assert kernel.ok('std::env::var("COLOUR")?').result == '"blue green"'
    assert "blue green" in shown(kernel.ok("%env COLOUR"))
    assert kernel.ok("!echo $COLOUR").stdout.strip() == "blue green"
    assert "COLOUR" in shown(kernel.ok("%env"))


def test_cd_reaches_cells_and_shell(fresh, tmp_path):
    fresh.ok("let kept = 1;")
    fresh.ok(f"%cd {tmp_path}")
    assert fresh.ok("std::env::current_dir()?").result == f'"{tmp_path}"'
    assert fresh.ok("!pwd").stdout.strip() == str(tmp_path)
    assert fresh.ok("kept").result == "1"


def test_a_shell_command_streams_both_outputs(kernel):
    request = kernel.send("!echo early; sleep 60")
    kernel.printed(request, "early")
    begin = time.monotonic()
    kernel.interrupt()
    assert kernel.result(request, timeout=5).reply["status"] == "error"
    assert time.monotonic() - begin < 2
    result = kernel.ok("!echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_a_failing_shell_command_tells_its_status_and_stops_the_cell(kernel):
    result = kernel.run('!echo said; exit 3\nprintln!("never")')
    assert "3" in result.error["evalue"]
    assert result.stdout == "said\n"


def test_magics_and_rust_mix_in_one_cell(kernel):
    result = kernel.ok("%threads 2\nlet n = nthreads();\n!echo between\nprintln!(\"{n}\");\nn")
    assert result.result == "2"
    assert result.stdout.endswith("between\n2\n")


@pytest.mark.parametrize(
    ("typed", "meant"), [("%thread 2", "%threads"), ("%tiem 1", "%time"), ("%%wirtefile a", "%%writefile")]
)
def test_an_unknown_magic_suggests_the_nearest(kernel, typed, meant):
    text = kernel.run(f"{typed}\nprintln!(\"never\")").error_text
    assert typed.split()[0].lstrip("%") in text
    assert meant in text


@pytest.mark.parametrize("code", ["%threads many", "%threads 0", "%threads -1", "%timeit -n x 1", "%cd a b c"])
def test_wrong_arguments_show_the_usage_and_nothing_after_runs(kernel, code):
    result = kernel.run(f'{code}\nprintln!("never")')
    assert result.error["ename"] == "UsageError"
    assert "usage" in result.error_text.lower()
    assert result.stdout == ""


def test_a_percent_sign_inside_rust_stays_rust(kernel):
    kernel.ok("let a = 7; let b = 4;")
    assert kernel.ok("a\n% b").result == "3"
    assert kernel.ok("let c = a\n    % b;\nc").result == "3"
    assert kernel.ok("(a\n%b)").result == "3"
    assert kernel.ok('let s = "\n%threads 9\n"; s.len()').result == "12"
    assert kernel.ok("/*\n%nonsense\n!exit 3\n*/ 5").result == "5"


def test_an_exclamation_mark_inside_rust_stays_rust(kernel):
    assert kernel.ok("let t = true;\n(\n!t\n)").result == "false"


@pytest.mark.parametrize(
    ("text", "match"),
    [("%ti", "%timeit"), ("%%wri", "%%writefile"), ("%lsm", "%lsmagic"), (":de", ":dep")],
)
def test_magics_are_completed(kernel, text, match):
    content = kernel.reply(kernel.client.complete(text), timeout=30)["content"]
    assert match in content["matches"]
    assert content["cursor_start"] == 0
    kinds = {t["text"]: t["type"] for t in content["metadata"]["_jupyter_types_experimental"]}
    assert kinds[match] == "magic"


def test_magics_are_inspected(kernel):
    content = kernel.reply(kernel.client.inspect("%threads", 4), timeout=30)["content"]
    assert content["found"]
    assert "%threads" in content["data"]["text/plain"]


def test_evcxrs_commands_keep_working(kernel):
    kernel.ok("let colon = 1;")
    assert "colon" in shown(kernel.ok(":vars"))
    assert shown(kernel.ok(":version"))
    assert kernel.ok(":help").reply["payload"] or shown(kernel.ok(":help"))


def test_dep_adds_a_crate(kernel):
    kernel.ok("%dep itoa@1")
    assert kernel.ok("itoa::Buffer::new().format(77).len()").result == "2"


def test_optimisation_can_be_switched(kernel):
    kernel.ok(":opt 0")
    kernel.ok("1 + 1")
    kernel.ok(":opt 3")
    assert kernel.ok("2 + 2").result == "4"
