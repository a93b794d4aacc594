"""A program gives the same output however it is cut into cells.

Programs are made at random: definitions, variables, changes, moves, loops, prints, each a *unit*
that later units build on. What plain `rustc` makes of all units in one `fn main` is what the
kernel must print when the same units come in cells, cut anywhere between two of them.

`SPLIT_EXAMPLES=500 tests/run tests/test_split.py` looks further than the few fixed programs of a
normal run.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NUMBER, TEXT, LIST, MAP, ACTION = "i64", "String", "Vec<i64>", "Map", "Box<dyn Fn(i64) -> i64>"
FIRST = "use std::collections::HashMap as Map;"
WORDS = ["", "a", "größe", "{}", 'q"', "日本"]


class Program:
    """A valid program under construction: its units, and what the next one can use."""

    def __init__(self, draw):
        self.draw = draw
        self.units = [FIRST]
        self.count = 0
        # Live variables with their types; those that are mutable.
        self.variables: dict[str, str] = {}
        self.mutable: set[str] = set()
        # Expressions of numbers in which `@` is a number, and struct types.
        self.calls: list[str] = []
        self.structs: list[str] = []
        # For each trait, the types that implement it.
        self.traits: dict[str, list[str]] = {}

    def one(self, choices):
        return self.draw(st.sampled_from(list(choices)))

    def new(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def of(self, *types: str, mutable: bool = False) -> list[str]:
        """Names of the live variables of these types."""
        return [
            name for name, type_name in self.variables.items()
            if type_name in types and (name in self.mutable or not mutable)
        ]  # fmt: skip

    def literal(self) -> str:
        return f"{self.draw(st.integers(0, 9))}_i64"

    def word(self) -> str:
        return '"' + self.one(WORDS).replace('"', '\\"') + '"'

    def number(self, depth: int = 2) -> str:
        """An expression of type i64."""
        shapes = ["literal"]
        shapes += ["operation", "branch"] if depth else []
        shapes += [t for t in (NUMBER, TEXT, LIST, MAP, ACTION) if self.of(t)]
        shapes += ["call"] * 2 if depth and self.calls else []
        shapes += ["struct"] if self.of(*self.structs) else []
        return self.shaped(self.one(shapes), depth)

    def shaped(self, shape: str, depth: int) -> str:
        if shape == "operation":
            name = self.one(["wrapping_add", "wrapping_mul", "max", "wrapping_sub"])
            return f"{self.number(depth - 1)}.{name}({self.number(depth - 1)})"
        if shape == "branch":
            condition = f"{self.number(depth - 1)} % 2 == 0"
            return f"(if {condition} {{ {self.number(0)} }} else {{ {self.number(0)} }})"
        if shape == "call":
            return self.one(self.calls).replace("@", self.number(depth - 1))
        if shape == "struct":
            return f"{self.one(self.of(*self.structs))}.total()"
        return {
            "literal": lambda: self.literal(),
            NUMBER: lambda: self.one(self.of(NUMBER)),
            TEXT: lambda: f"({self.one(self.of(TEXT))}.chars().count() as i64)",
            LIST: lambda: f"{self.one(self.of(LIST))}.iter().sum::<i64>()",
            MAP: lambda: f'{self.one(self.of(MAP))}.get("a").copied().unwrap_or({self.literal()})',
            ACTION: lambda: f"{self.one(self.of(ACTION))}({self.literal()})",
        }[shape]()

    def value(self, type_name: str) -> str:
        """An expression of a variable's type."""
        if type_name == NUMBER:
            return self.number()
        if type_name == TEXT:
            return f"format!(\"{{}}{{}}\", {self.word()}, {self.number(1)})"
        if type_name == LIST:
            counted = f"(0..{self.literal()}).collect::<Vec<_>>()"
            return self.one([f"vec![{self.number(1)}, 2]", counted])
        if type_name == MAP:
            return f"Map::<String, i64>::from([({self.word()}.to_string(), {self.number(1)})])"
        if type_name == ACTION:
            boxed = f"Box::new(move |x: i64| x.wrapping_mul(c)) as {ACTION}"
            return f"{{ let c = {self.number(1)}; {boxed} }}"
        return f"{type_name}::new({self.number(1)})"

    # -- Units: definitions

    def define_function(self):
        name, body = self.new("f"), self.pure("x")
        self.units.append(f"fn {name}(x: i64) -> i64 {{\n    {body}\n}}")
        self.calls.append(f"{name}(@)")

    def pure(self, argument: str) -> str:
        """A number made of an argument and what is defined so far, but of no variable."""
        call = self.one([*self.calls, "@"]).replace("@", argument)
        return f"{call}.wrapping_add({self.literal()})"

    def define_constant(self):
        name = self.new("C")
        self.units.append(f"const {name}: i64 = {self.literal()} * 7;")
        self.calls.append(f"{name}.wrapping_mul(@)")

    def define_macro(self):
        name = self.new("m")
        self.units.append(f"macro_rules! {name} {{ ($x:expr) => {{ {self.pure('$x')} }}; }}")
        self.calls.append(f"{name}!(@)")

    def define_module(self):
        name = self.new("module")
        inner = "pub mod deep { pub fn g(x: i64) -> i64 { super::FACTOR * x } }"
        self.units.append(f"mod {name} {{ const FACTOR: i64 = {self.literal()}; {inner} }}")
        self.calls.append(f"{name}::deep::g(@ % 1000)")

    def define_static(self):
        name = self.new("S")
        atomic = "std::sync::atomic::AtomicI64"
        count = f"{name}.fetch_add(x % 100, std::sync::atomic::Ordering::SeqCst)"
        static = f"static {name}: {atomic} = {atomic}::new({self.literal()});"
        cell = "std::cell::Cell"
        local = f"static {name}: {cell}<i64> = const {{ {cell}::new(1) }};"
        local = f"thread_local! {{ {local} }}"
        step = f"{{ {name}.set({name}.get() + x % 100); {name}.get() }}"
        function = f"fn count_{name}(x: i64) -> i64 "
        self.units += self.one([
            [static, f"{function}{{ {count} }}"],
            [f"{function}{{ {static} {count} }}"],
            [local, f"{function}{step}"],
            [f"mod in_{name} {{ pub {static} }}", f"{function}{{ in_{name}::{count} }}"],
        ])  # fmt: skip
        self.calls.append(f"count_{name}(@)")

    def define_struct(self):
        name = self.new("T")
        self.units += [
            f"#[derive(Debug, Clone, PartialEq)]\nstruct {name} {{ n: i64, list: Vec<i64> }}",
            f"impl {name} {{\n    fn new(n: i64) -> Self {{ {name} {{ n, list: vec![n; 2] }} }}\n"
            "    fn total(&self) -> i64 { self.list.iter().fold(self.n, |a, b| a ^ b) }\n"
            "    fn grow(&mut self) { self.n = self.n % 99 + 1; self.list.push(self.n); }\n}",
        ]
        self.structs.append(name)
        self.calls.append(f"{name}::new(@).total()")

    def define_trait(self):
        name = self.new("Trait")
        method = name.lower()
        twice = f"fn two_{method}(&self) -> i64 {{ self.{method}().wrapping_mul(2) }}"
        self.units += [
            f"trait {name} {{ fn {method}(&self) -> i64; {twice} }}",
            f"impl {name} for i64 {{ fn {method}(&self) -> i64 {{ {self.pure('(*self)')} }} }}",
            f"fn any_{method}<T: {name} + ?Sized>(x: &T) -> i64 {{ x.two_{method}() }}",
        ]
        self.traits[name] = ["i64"]
        self.calls += [f"any_{method}(&@)", f"(@).{method}()"]

    def implement(self):
        name = self.one(self.traits)
        type_name = self.one([t for t in [*self.structs, "str"] if t not in self.traits[name]])
        self.traits[name].append(type_name)
        body = "self.len() as i64" if type_name == "str" else "self.total()"
        method = f"fn {name.lower()}(&self) -> i64 {{ {body} }}"
        self.units.append(f"impl {name} for {type_name} {{ {method} }}")
        value = self.word() if type_name == "str" else f"&{type_name}::new(@)"
        self.calls.append(f"any_{name.lower()}({value})")

    # -- Units: statements

    def bind(self):
        type_name = self.one([NUMBER, NUMBER, TEXT, LIST, MAP, ACTION, *self.structs])
        value = self.value(type_name)
        shadowed = self.one([None, *self.variables])
        name = shadowed or self.new("v")
        mutable = self.draw(st.booleans())
        pattern = f"{'mut ' if mutable else ''}{name}"
        left, right = self.one([(pattern, value), (f"({pattern}, _)", f"({value}, 1)")])
        self.units.append(f"let {left} = {right};")
        self.variables[name] = type_name
        (self.mutable.add if mutable else self.mutable.discard)(name)

    def change(self):
        name = self.one(self.of(NUMBER, TEXT, LIST, MAP, *self.structs, mutable=True))
        type_name = self.variables[name]
        number = self.number(1)
        changes = {
            NUMBER: [f"{name} = {name}.wrapping_add({number});", f"{name} ^= {self.literal()};"],
            TEXT: [f"{name}.push_str({self.word()});", f"{name} += &{number}.to_string();"],
            LIST: [f"{name}.push({self.literal()});", f"for x in {name}.iter_mut() {{ *x += 1; }}"],
            MAP: [f"*{name}.entry({self.word()}.into()).or_insert(0) += {self.literal()};"],
        }.get(type_name, [f"{name}.grow();", f"{name}.n = {self.literal()};"])
        value = self.value(type_name)
        take = "drop" if type_name in self.structs else "std::mem::take"
        lent = name if take == "drop" else f"&mut {name}"
        replace = f"{{ let next = {value}; {take}({lent}); {name} = next; }}"
        self.units.append(self.one([*changes, replace]))

    def move(self):
        name = self.one(self.of(TEXT, LIST, MAP, ACTION, *self.structs))
        type_name = self.variables.pop(name)
        other = self.new("v")
        ways = [f"drop({name});", f"let {other} = {name};"]
        ways += [f"{{ let f = move || {{ let inner = {name}; drop(inner); }}; f(); }}"]
        ways += [f"if {self.number(1)} > 3 {{ drop({name}); println!(\"moved\"); }}"]
        if type_name != ACTION:
            ways += [f"let {other} = std::thread::spawn(move || {name}).join().unwrap();"]
        way = self.one(ways)
        if other in way:
            self.variables[other] = type_name
        self.units.append(way)

    def loop(self):
        number = self.number(1)
        lists = self.of(LIST, mutable=True)
        work = f"{self.one(lists)}.push(i);" if lists else "if i == 2 { continue; }"
        self.units.append(f"for i in 0..3 {{ {work} println!(\"loop {{i}} {{}}\", {number}); }}")

    def print_number(self):
        self.units.append(f'println!("{{}}", {self.number()});')

    def print_variables(self):
        shown = self.of(NUMBER, TEXT, LIST, *self.structs)
        names = self.draw(st.lists(st.sampled_from(shown), min_size=1, max_size=3, unique=True))
        self.units.append(f'println!("{" ".join(f"{{{n}:?}}" for n in names)}");')

    def borrow(self):
        name = self.one(self.of(TEXT, LIST, *self.structs))
        self.units.append(f'{{ let r = &{name}; let s = r; println!("{{r:?}} {{}}", s == r); }}')

    def steps(self) -> list:
        """The kinds of units that can come next."""
        steps = [self.bind, self.bind, self.print_number, self.loop, self.define_function]
        steps += [self.define_constant, self.define_macro, self.define_module]
        steps += [self.define_static, self.define_static, self.define_struct, self.define_trait]
        open_traits = [t for t, types in self.traits.items() if len(types) < len(self.structs) + 2]
        steps += [self.implement] if open_traits and len(open_traits) == len(self.traits) else []
        changeable = self.of(NUMBER, TEXT, LIST, MAP, *self.structs, mutable=True)
        steps += [self.change] * 3 if changeable else []
        steps += [self.move] if self.of(TEXT, LIST, MAP, ACTION, *self.structs) else []
        steps += [self.print_variables] * 2 if self.of(NUMBER, TEXT, LIST, *self.structs) else []
        steps += [self.borrow] if self.of(TEXT, LIST, *self.structs) else []
        return steps


class Cells(list):
    """Cells that a failing test shows as they are."""

    def __repr__(self):
        return "\n" + "\n// ---- next cell\n".join(self) + "\n"


@st.composite
def programs_in_cells(draw) -> Cells:
    """A program of some steps that uses in the end all that it defined, cut into cells."""
    program = Program(draw)
    # Steps are left out one by one where a failing program is made smaller.
    for _ in range(22):
        if draw(st.integers(0, 3)):
            program.one(program.steps())()
    for call in program.calls:
        program.units.append(f'println!("{{}}", {call.replace("@", "3_i64")});')
    for name in program.of(NUMBER, TEXT, LIST, *program.structs):
        program.units.append(f'println!("{name} {{{name}:?}}");')
    cells = Cells(program.units[:1])
    for unit in program.units[1:]:
        if draw(st.booleans()):
            cells.append(unit)
        else:
            cells[-1] += "\n" + unit
    return cells


def output_of_rustc(folder: Path, units: str) -> str:
    """What the whole program prints."""
    source, program = folder / "whole.rs", folder / "whole"
    source.write_text(f"#![allow(warnings)]\nfn main() {{\n{units}\n}}\n")
    rustc = shutil.which("rustc") or str(Path.home() / ".cargo/bin/rustc")
    flags = ["--edition", "2024", "-Coverflow-checks=off", "-Cdebuginfo=0", "-o", str(program)]
    made = subprocess.run([rustc, *flags, str(source)], capture_output=True, text=True)
    assert made.returncode == 0, f"the generator made a wrong program:\n{units}\n{made.stderr}"
    return subprocess.run([program], capture_output=True, text=True, check=True, timeout=60).stdout


# Without the variable the same programs come each time.
EXAMPLES = os.environ.get("SPLIT_EXAMPLES")


@settings(
    max_examples=int(EXAMPLES or 16),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(cells=programs_in_cells())
# What fails is made smaller for up to five minutes.
@pytest.mark.timeout(900)
def test_cells_print_what_the_whole_program_prints(kernel, tmp_path_factory, cells):
    expected = output_of_rustc(tmp_path_factory.getbasetemp(), "\n".join(cells))
    kernel.ok("%reset")
    printed = "".join([kernel.ok(cell).stdout for cell in cells])
    assert printed.splitlines() == expected.splitlines()
