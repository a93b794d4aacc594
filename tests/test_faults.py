"""The faults that evcxr_jupyter 0.22 has are absent here; and streams under load."""

import re
import time
from pathlib import Path

import pytest
from conftest import Kernel

# ---------------------------------------------------------------------------------------------
# Much output


def test_twenty_thousand_lines_arrive_whole_in_few_messages(kernel):
    result = kernel.ok('for i in 0..20_000 { println!("line {i}"); }')
    assert result.stdout == "".join(f"line {i}\n" for i in range(20_000))
    assert len(result.of("stream")) < 400


def test_a_hundred_megabytes_arrive_with_bounded_memory(fresh):
    fresh.ok("1")
    before = peak_memory(fresh)
    request = fresh.send(
        'let line = "x".repeat(99); for _ in 0..1_000_000 { println!("{line}"); }'
    )
    size = 0
    for message in fresh.messages(request, timeout=250):
        size += len(message["content"].get("text", ""))
    assert fresh.reply(request)["content"]["status"] == "ok"
    assert size == 100_000_000
    assert peak_memory(fresh) - before < 64 << 20


def peak_memory(kernel: Kernel) -> int:
    """The most memory that the kernel's process has held so far, in bytes."""
    status = open(f"/proc/{kernel.process.pid}/status").read()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10


def test_output_from_many_threads_at_once_loses_no_line(kernel):
    result = kernel.ok(
        'std::thread::scope(|s| for t in 0..16 { s.spawn(move || '
        'for i in 0..500 { println!("{t}:{i}"); }); });'
    )
    lines = result.stdout.splitlines()
    assert sorted(lines) == sorted(f"{t}:{i}" for t in range(16) for i in range(500))


def test_output_from_pool_threads_loses_no_line(kernel):
    result = kernel.ok('(0..5000).into_par_iter().for_each(|i| println!("{i}"));')
    assert sorted(map(int, result.stdout.split())) == list(range(5000))


# ---------------------------------------------------------------------------------------------
# Output as it is written


def test_a_partial_line_appears_before_the_cell_ends(kernel):
    request = kernel.send('print!("a"); sleep(60.); print!("b");')
    begin = time.monotonic()
    kernel.printed(request, "a")
    assert time.monotonic() - begin < 30
    kernel.interrupt()
    assert kernel.result(request).reply["status"] == "error"


def test_carriage_returns_and_missing_newlines_stay_as_they_are(kernel):
    assert kernel.ok(r'print!("10 %\r20 %\r"); print!("end")').stdout == "10 %\r20 %\rend"
    assert kernel.ok('println!("next")').stdout == "next\n"


def test_stderr_is_a_stream_of_its_own(kernel):
    result = kernel.ok('print!("out"); eprint!("err");')
    assert (result.stdout, result.stderr) == ("out", "err")


def test_output_of_c_code_is_shown(kernel):
    code = 'unsafe extern "C" { fn write(fd: i32, p: *const u8, n: usize) -> isize; }\n'
    assert kernel.ok(code + 'unsafe { write(1, b"raw\\n".as_ptr(), 4); }').stdout == "raw\n"


RAW = "use std::io::Write; std::io::stdout().write_all(&{}).unwrap();"


def test_one_invalid_byte_harms_nothing(kernel):
    assert kernel.ok(RAW.format("[b'a', 0xff, b'b', b'\\n']")).stdout == "a\ufffdb\n"
    assert kernel.ok('println!("after")').stdout == "after\n"


def test_a_character_written_in_pieces_arrives_whole(kernel):
    code = """
        use std::io::Write;
        for byte in "aü€😀b".bytes() {
            std::io::stdout().write_all(&[byte]).unwrap();
            std::io::stdout().flush().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    """
    assert kernel.ok(code).stdout == "aü€😀b"


MARKERS = [
    "EVCXR_EXECUTION_COMPLETE",
    "EVCXR_BEGIN_CONTENT text/html",
    "EVCXR_END_CONTENT",
    "EVCXR_VARIABLE_CHANGED",
    r"\u{1}\u{2}parcell:0000000000000000:0000000000000000",
    r"\u{1}\u{2}parcell:",
    r"\u{1}",
    r"\u{0}",
]


@pytest.mark.parametrize("marker", MARKERS)
def test_words_that_look_like_marks_are_just_text(kernel, marker):
    text = marker.replace(r"\u{1}", "\x01").replace(r"\u{2}", "\x02").replace(r"\u{0}", "\0")
    for end in ("", "\n"):
        result = kernel.ok(f'print!("{marker}{end and chr(92) + "n"}"); 5')
        assert (result.stdout, result.result) == (text + end, "5")
    assert kernel.ok('println!("after")').stdout == "after\n"


def test_a_thread_that_outlives_its_cell_prints_to_that_cell(kernel):
    first = kernel.send(
        'let go = std::sync::Arc::new(std::sync::Barrier::new(2)); let g = go.clone();'
        'std::thread::spawn(move || { g.wait(); println!("late"); });'
    )
    assert kernel.result(first).reply["status"] == "ok"
    second = kernel.ok("go.wait();")
    parents, seen = [m["parent_header"]["msg_id"] for m in second.iopub if stdout_of(m)], ""
    seen = second.stdout
    while "late\n" not in seen:
        message = kernel.client.get_iopub_msg(timeout=10)
        seen += stdout_of(message)
        parents += [message["parent_header"]["msg_id"]] if stdout_of(message) else []
    assert set(parents) <= {first, second.iopub[0]["parent_header"]["msg_id"]}


def stdout_of(message: dict) -> str:
    """What a message prints."""
    return message["content"].get("text", "") if message["msg_type"] == "stream" else ""


def test_output_of_a_thread_arrives_though_no_cell_runs(kernel):
    request = kernel.send(
        'std::thread::spawn(|| { std::thread::sleep(std::time::Duration::from_millis(400)); '
        'println!("by itself"); });'
    )
    assert kernel.result(request).reply["status"] == "ok"
    message = kernel.client.get_iopub_msg(timeout=10)
    assert (message["content"]["text"], message["parent_header"]["msg_id"]) == ("by itself\n", request)


# ---------------------------------------------------------------------------------------------
# Results and errors


@pytest.mark.parametrize(
    "code", ["for i in 0..3 { }", "()", "let a = 1;", "if false { }", "fn f() {}", "drop(1)"]
)
def test_a_unit_value_is_not_shown(kernel, code):
    assert kernel.ok(code).types == ["busy", "execute_input", "idle"]


def test_a_panic_is_one_error_with_its_message_and_place(kernel):
    result = kernel.run('let n = 3;\npanic!("too many: {n}");')
    assert result.error["ename"] == "Panic"
    assert "too many: 3" in result.error["evalue"]
    count = result.reply["execution_count"]
    assert f"[cell {count}, line 2]" in result.error_text
    assert result.stderr == ""


def test_an_index_out_of_bounds_and_an_unwrap_name_their_line(kernel):
    result = kernel.run("let v = vec![1];\nlet i = 7;\nlet x = v[i];")
    assert "index is 7" in result.error_text
    assert f"[cell {result.reply['execution_count']}, line 3]" in result.error_text
    result = kernel.run('let x: Option<i32> = None;\nx.unwrap();')
    assert "called `Option::unwrap()` on a `None` value" in result.error_text
    assert f"[cell {result.reply['execution_count']}, line 2]" in result.error_text


def test_a_panic_in_a_pool_thread_is_the_cells_error(kernel):
    result = kernel.run('(0..100).into_par_iter().for_each(|i| if i == 50 { panic!("at {i}") });')
    assert "at 50" in result.error["evalue"]
    assert kernel.ok("(0..100).into_par_iter().sum::<i32>()").result == "4950"


def test_a_question_mark_error_names_type_and_text(kernel):
    result = kernel.run('let n: i32 = "x1".parse()?;')
    assert result.error["ename"] == "Error"
    assert "ParseIntError" in result.error_text
    assert "invalid digit" in result.error["evalue"]
    result = kernel.run('std::fs::read("/no/such/file")?;')
    assert "No such file" in result.error["evalue"]


def test_a_compile_error_is_one_message_with_the_cells_own_lines(kernel):
    result = kernel.run("let a = 1;\nlet b: i32 = \"two\";\nlet c: bool = 3;")
    text = result.error_text
    count = result.reply["execution_count"]
    assert result.error["ename"] == "E0308"
    assert f"In[{count}]:2:14" in text
    assert f"In[{count}]:3:15" in text
    assert "mismatched types" in text
    assert 'let b: i32 = "two";' in text
    assert "^" in text
    assert "\x1b[" in "".join(result.error["traceback"])


def test_a_compile_error_keeps_rustcs_help_and_notes(kernel):
    text = kernel.run("let text = String::new();\nlet n: usize = text.lenght();").error_text
    assert "no method named `lenght`" in text
    assert "similar name" in text


def test_columns_of_errors_count_behind_wide_characters(kernel):
    result = kernel.run('let ü = "😀"; let n: i32 = ü;')
    assert re.search(r"In\[\d+\]:1:27", result.error_text), result.error_text


def test_errors_of_generated_code_never_show(kernel):
    for code in ("let x = ;", "fn f( {", "x +", "1 + \"a\"", "struct S; S.x", "let v = Vec::new();"):
        text = kernel.run(code).error_text
        for word in ("__parcell", "parcell_", "/tmp/", ".rs:"):
            assert word not in text, f"{code}: {text}"


def test_warnings_do_not_fail_a_cell(kernel):
    result = kernel.ok("let unused = 1; let mut never_changed = 2; 3")
    assert result.result == "3"
    assert result.of("error") == []


# ---------------------------------------------------------------------------------------------
# One thread pool


def threads_of_driver(kernel: Kernel) -> int:
    """Threads of the process that runs the cells."""
    pid = int(kernel.ok("std::process::id()").result)
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


PARALLEL = "(0..1_000_000u64).into_par_iter().map(|x| x ^ {}).sum::<u64>()"


def test_the_number_of_threads_is_the_same_after_twenty_parallel_cells(kernel):
    kernel.ok(PARALLEL.format(0))
    before = threads_of_driver(kernel)
    for i in range(20):
        kernel.ok(PARALLEL.format(i))
    assert threads_of_driver(kernel) == before


def test_a_cell_that_does_not_name_the_library_shares_the_pool(kernel):
    kernel.ok("%threads 3")
    own = kernel.ok("use rayon::prelude::*; rayon::current_num_threads()").result
    assert (own, kernel.ok("nthreads()").result) == ("3", "3")


