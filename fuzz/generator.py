"""How a random module is written: typed values in values, statements in statements, down to a depth."""

from __future__ import annotations

import random

from fuzz.operators import BINARY, COMPARE, CONSTANTS, CONVERSIONS, EXTRACT, LOADS, NUMBERS, STORES, UNARY
from fuzz.wat import imported, types

from innkeeper.sandbox.kernel import ENV, SIGNATURES

LOGS = {"log-i32": "i32", "log-i64": "i64", "log-f32": "f32", "log-f64": "f64"}
"""What a module may import from `fuzzing-support` to log a number, with the number's type. `log-v128` takes vectors."""

SUPPORT = "fuzzing-support"

_KERNEL = (
    "alloc free length load_u8 load_u64 store_u8 store_u64 input_length input_load_u8 input_load_u64 "
    "output_set error_set var_get var_set log_info"
)
"""What modules may use of the ABI."""


class Module:
    """One module in the making."""

    def __init__(self, rng: random.Random, portable: bool) -> None:
        self.rng = rng
        self.portable = portable
        self.kernel = rng.random() < 0.5
        self.simd = rng.random() < 0.4 and not portable
        self.memory = rng.random() < 0.8
        self.table = rng.random() < 0.7
        self.globals = [rng.choice(NUMBERS) for _ in range(rng.randrange(4))]
        self.functions = [
            (tuple(rng.choice(NUMBERS) for _ in range(rng.randrange(4))), rng.choice((None, *NUMBERS)))
            for _ in range(rng.randint(1, 5))
        ]
        self.own = 0
        self.locals: list[str] = []
        self.result: str | None = None
        self.labels = 0

    # --- values -----------------------------------------------------------

    def value(self, type_: str, depth: int) -> str:
        rng = self.rng
        if depth <= 0 or rng.random() < 0.15:
            return self.leaf(type_)
        below = depth - 1
        match rng.randrange(14):
            case 0 | 1:
                return f"({type_}.{rng.choice(UNARY[type_])} {self.value(type_, below)})"
            case 2 | 3 | 4:
                name = rng.choice([n for n in BINARY[type_] if not self.portable or n != "copysign"])
                return f"({type_}.{name} {self.value(type_, below)} {self.value(type_, below)})"
            case 5:
                name, source = rng.choice(
                    [c for c in CONVERSIONS[type_] if not self.portable or "reinterpret" not in c[0]]
                )
                return f"({name} {self.value(source, below)})"
            case 6 if self.memory:
                offset = rng.choice((0, 0, 1, 8, 65_528, 70_000)) if rng.random() < 0.5 else rng.randrange(200)
                return f"({rng.choice(LOADS[type_])} offset={offset} {self.address(below)})"
            case 7:
                return f"(select {self.value(type_, below)} {self.value(type_, below)} {self.value('i32', below)})"
            case 8:
                return (
                    f"(if (result {type_}) {self.value('i32', below)} (then {self.value(type_, below)}) "
                    f"(else {self.statement(below)} {self.value(type_, below)}))"
                )
            case 9:
                return self.calling(type_, below) or self.leaf(type_)
            case 10 if self.simd:
                return f"({EXTRACT[type_]} {self.vector(below)})"
            case 11 if type_ == "i32":
                other = rng.choice(NUMBERS)
                return f"({other}.{rng.choice(COMPARE[other])} {self.value(other, below)} {self.value(other, below)})"
            case 12 if type_ == "i32":
                return self.size(below)
            case 13:
                return f"(block (result {type_}) {self.statement(below)} {self.value(type_, below)})"
            case _:
                return self.leaf(type_)

    def leaf(self, type_: str) -> str:
        rng = self.rng
        at = [number for number, local in enumerate(self.locals) if local == type_]
        if at and rng.random() < 0.5:
            return f"(local.get {rng.choice(at)})"
        at = [number for number, global_ in enumerate(self.globals) if global_ == type_]
        if at and rng.random() < 0.3:
            return f"(global.get $g{rng.choice(at)})"
        return f"({type_}.const {rng.choice(CONSTANTS[type_])})"

    def address(self, depth: int) -> str:
        if self.rng.random() < 0.85:
            return f"(i32.and {self.value('i32', depth)} (i32.const {self.rng.choice((255, 4095, 65_528))}))"
        return self.value("i32", depth)

    def calling(self, type_: str | None, depth: int) -> str | None:
        rng = self.rng
        fitting = [at for at, (_, result) in enumerate(self.functions) if result == type_]
        if not fitting:
            return None
        at = rng.choice(fitting)
        arguments = " ".join(self.value(parameter, depth - 1) for parameter in self.functions[at][0])
        if self.table and rng.random() < 0.3:
            # Mostly the right one, now and then another type or none: a trap that both must have.
            slot = at if rng.random() < 0.85 else rng.randrange(12)
            return f"(call_indirect (type $t{at}) {arguments} (i32.const {slot}))"
        return f"(call $f{at} {arguments})"

    def size(self, depth: int) -> str:
        rng = self.rng
        choices = ["(i32.const 3)"]
        if self.portable:
            return choices[0]
        if self.memory:
            choices += ["(memory.size)", f"(memory.grow (i32.and (i32.const 7) {self.value('i32', depth - 1)}))"]
            choices += ["(memory.grow (i32.const 1))", "(memory.grow (i32.const -1))"]
        if self.table:
            filler = rng.choice(("(ref.null func)", f"(ref.func $f{rng.randrange(len(self.functions))})"))
            choices += [
                "(table.size $table)",
                f"(table.grow $table {filler} (i32.const {rng.choice((0, 1, 3, 5000))}))",
            ]
            choices += [f"(ref.is_null (table.get $table (i32.const {rng.randrange(10)})))"]
            choices += [f"(table.grow $extern (ref.null extern) (i32.const {rng.choice((0, 2, 100))}))"]
        return rng.choice(choices)

    def vector(self, depth: int) -> str:
        rng = self.rng
        if depth <= 0:
            return f"(v128.const i32x4 {rng.getrandbits(31)} -1 {rng.choice((0, 64, 0x0B40))} 0x7fc00001)"
        match rng.randrange(8):
            case 0:
                return f"(i32x4.splat {self.value('i32', depth - 1)})"
            case 1:
                return f"(f64x2.splat {self.value('f64', depth - 1)})"
            case 2:
                name = rng.choice(
                    ("i8x16.add", "i16x8.mul", "f32x4.div", "f64x2.min", "i8x16.swizzle", "i64x2.eq", "v128.xor")
                )
                return f"({name} {self.vector(depth - 1)} {self.vector(depth - 1)})"
            case 3:
                lanes = " ".join(str(rng.randrange(32)) for _ in range(16))
                return f"(i8x16.shuffle {lanes} {self.vector(depth - 1)} {self.vector(depth - 1)})"
            case 4 if self.memory:
                return f"({rng.choice(('v128.load', 'v128.load32_splat', 'v128.load8x8_s'))} {self.address(depth - 1)})"
            case 5 if self.memory:
                return f"(v128.load16_lane 3 {self.address(depth - 1)} {self.vector(depth - 1)})"
            case _:
                return f"(i16x8.replace_lane 4 {self.vector(depth - 1)} {self.value('i32', depth - 1)})"

    # --- statements -------------------------------------------------------

    def statement(self, depth: int) -> str:
        rng = self.rng
        if depth <= 0:
            return "(nop)"
        below = depth - 1
        type_ = rng.choice(NUMBERS)
        match rng.randrange(18):
            case 0 | 1 | 2:
                return f"(call $log-{type_} {self.value(type_, below)})"
            case 3 | 4 if self.locals:
                at = rng.randrange(len(self.locals))
                return f"(local.set {at} {self.value(self.locals[at], below)})"
            case 5 if self.globals:
                at = rng.randrange(len(self.globals))
                return f"(global.set $g{at} {self.value(self.globals[at], below)})"
            case 6 | 7 if self.memory:
                type_ = rng.choice(("i32", "i64")) if self.portable else type_
                store = f"{rng.choice(STORES[type_])} offset={rng.randrange(64)}"
                return f"({store} {self.address(below)} {self.value(type_, below)})"
            case 8:
                return f"(if {self.value('i32', below)} (then {self.statement(below)}) (else {self.statement(below)}))"
            case 9:
                self.labels += 1
                name = f"$l{self.labels}"
                body = f"(call $step) {self.statement(below)} {self.statement(below)}"
                return f"(loop {name} {body} (br_if {name} {self.value('i32', below)}))"
            case 10:
                self.labels += 1
                name = f"$l{self.labels}"
                leave = f"(br_if {name} {self.value('i32', below)})"
                return f"(block {name} {self.statement(below)} {leave} {self.statement(below)})"
            case 11:
                inner, outer = f"$l{self.labels + 1}", f"$l{self.labels + 2}"
                self.labels += 2
                table = " ".join(
                    rng.choice((inner, outer)) for _ in range(rng.randint(1, 140 if rng.random() < 0.1 else 5))
                )
                leave = f"(br_table {table} {self.value('i32', below)})"
                return f"(block {outer} (block {inner} {leave}) {self.statement(below)})"
            case 12 if self.memory:
                small = f"(i32.and (i32.const 127) {self.value('i32', below - 1)})"
                return rng.choice(
                    (
                        f"(memory.fill {self.address(below)} {self.value('i32', below - 1)} {small})",
                        f"(memory.copy {self.address(below)} {self.address(below)} {small})",
                        f"(memory.init $data {self.address(below)} (i32.const {rng.randrange(4)}) (i32.const 7))",
                        "(data.drop $data)",
                    )
                )
            case 13 if self.table:
                at = rng.randrange(10)
                return rng.choice(
                    (
                        f"(table.set $table (i32.const {at}) (ref.func $f0))",
                        f"(table.fill $table (i32.const {at}) (ref.null func) (i32.const 2))",
                        f"(table.copy $table $table (i32.const {at}) (i32.const 1) (i32.const 2))",
                        f"(table.init $table $elem (i32.const {at}) (i32.const 0) (i32.const 1))",
                        "(elem.drop $elem)",
                    )
                )
            case 14 | 15 if self.kernel:
                return self.kernel_use(below)
            case 16:
                return self.calling(None, below) or "(nop)"
            case 17 if rng.random() < 0.15:
                return "(unreachable)" if self.result or rng.random() < 0.5 else "(return)"
            case _:
                return f"(drop {self.value(type_, below)})"

    def kernel_use(self, depth: int) -> str:
        rng = self.rng
        size = rng.choice((1, 7, 8, 16, 24, 100, 4096, 33_000))
        block, word = "(global.get $block)", self.value("i64", depth - 1)
        # What is written is computed before there is a block for it: it may call what makes another, smaller one, and
        # what lies beyond a block is the kernel's own.
        small = self.value("i32", depth - 1)
        fresh = f"(global.set $block (call $alloc (i64.const {max(size, 24)})))"
        first, kept = f"(global.set $word {word}) {fresh}", "(global.get $word)"
        inside = f"(i64.add {block} (i64.const {rng.randrange(16)}))"
        key = f"(global.set $block (call $alloc (i64.const 8))) (call $store_u64 {block} (i64.const {0x4142 + size}))"
        steps = {
            "alloc": f"(global.set $block (call $alloc (i64.const {size})))",
            "length": f"(call $log-i64 (call $length {block}))",
            "input": f"(call $log-i64 (call $input_load_u64 (i64.const {rng.randrange(30)})))",
            "size": "(call $log-i64 (call $input_length))",
            "byte": f"(call $log-i32 (call $input_load_u8 (i64.const {rng.randrange(40)})))",
            "free": f"(call $free {block}) (global.set $block (call $alloc (i64.const 24)))",
            "word": f"{first} (call $store_u64 {inside} {kept}) (call $log-i64 (call $load_u64 {inside}))",
            "put": f"(global.set $word (i64.extend_i32_u {small})) {fresh} "
            f"(call $store_u8 {inside} (i32.wrap_i64 {kept})) (call $log-i32 (call $load_u8 {inside}))",
            "output": f"{first} (call $store_u64 {block} {kept}) (call $output_set {block} (i64.const {size % 9}))",
            "error": "(call $error_set (i64.const 0))",
        }
        if not self.portable:
            # What a fresh block holds is not promised: all bytes that are read must have been written.
            steps["log"] = f"{key} (call $log_info {block})"
            get = f"(call $log-i64 (call $length (call $var_get {block})))"
            steps["variable"] = f"{key} (call $var_set {block} {block}) {get}"
        return rng.choice(list(steps.values()))

    # --- the module -------------------------------------------------------

    def function(self, at: int) -> str:
        parameters, result = self.functions[at]
        extra = [self.rng.choice(NUMBERS) for _ in range(self.rng.randrange(3))]
        self.locals, self.result = [*parameters, *extra], result
        body = " ".join(self.statement(4) for _ in range(self.rng.randint(1, 5)))
        end = self.value(result, 4) if result else ""
        same = [n for n, other in enumerate(self.functions) if other[1] == result]
        if result and self.rng.random() < 0.15:
            target = self.rng.choice(same)
            arguments = " ".join(self.value(parameter, 2) for parameter in self.functions[target][0])
            end = f"(return_call $f{target} {arguments})"
        head = types("param", parameters) + types("result", (result,) if result else ()) + types("local", extra)
        return f"(func $f{at}{head} (call $step) {body} {end})"

    def text(self) -> str:
        rng = self.rng
        lines = [imported(SUPPORT, name, [type_], []) for name, type_ in LOGS.items()]
        if self.kernel:
            lines += [imported(ENV, name, *SIGNATURES[name]) for name in _KERNEL.split()]
            lines.append("(global $block (mut i64) (i64.const 0)) (global $word (mut i64) (i64.const 0))")
        for at, (parameters, result) in enumerate(self.functions):
            lines.append(
                f"(type $t{at} (func{types('param', parameters)}{types('result', (result,) if result else ())}))"
            )
        if self.memory:
            most = rng.choice(("", "3", "20"))
            named = '(export "memory") ' if rng.random() < 0.7 else ""
            lines.append(f"(memory {named}{rng.choice((0, 1, 1, 2))} {most})")
            lines += (
                ['(data $data "passive bytes")', '(data (i32.const 0) "active")']
                if most != ""
                else ['(data $data "p")']
            )
        if self.table:
            names = " ".join(f"$f{at}" for at in range(len(self.functions)))
            lines.append(f"(table $table 8 {rng.choice(('', '12', '4000'))} funcref) (table $extern 0 externref)")
            lines.append(f"(elem (table $table) (i32.const 0) func {names}) (elem $elem func $f0)")
        for at, type_ in enumerate(self.globals):
            lines.append(f"(global $g{at} (mut {type_}) ({type_}.const {rng.choice(CONSTANTS[type_])}))")
        lines.append("(global $steps (mut i32) (i32.const 400))")
        lines.append(
            "(func $step (if (i32.eqz (global.get $steps)) (then (unreachable)))"
            " (global.set $steps (i32.sub (global.get $steps) (i32.const 1))))"
        )
        if not self.table:
            lines.append("(elem declare func " + " ".join(f"$f{at}" for at in range(len(self.functions))) + ")")
        lines += [self.function(at) for at in range(len(self.functions))]
        self.locals, self.result = [], None
        for at in range(rng.randint(1, 2)):
            self.locals = []
            calls = []
            for number, (parameters, result) in enumerate(self.functions):
                arguments = " ".join(f"({p}.const {rng.choice(CONSTANTS[p])})" for p in parameters)
                calls.append(
                    f"(call $log-{result} (call $f{number} {arguments}))"
                    if result
                    else f"(call $f{number} {arguments})"
                )
            rng.shuffle(calls)
            with_result = rng.random() < 0.5
            lines.append(
                f'(func (export "run{at}") {"(result i32)" if with_result else ""} {" ".join(calls)} '
                f"{self.value('i32', 3) if with_result else ''})"
            )
        if rng.random() < 0.2 and not self.portable:
            lines.append(f"(func $begin {self.statement(3)}) (start $begin)")
        return "(module\n" + "\n".join(lines) + ")"
