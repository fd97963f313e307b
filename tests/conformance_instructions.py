"""One module of most of the instructions on numbers, for both engines: two words in, all results out."""

from __future__ import annotations

from conformance_guests import OUT, OUTS
from guests import wat

_ORDER = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"
_F_ORDER = "eq ne lt gt le ge"
_TWO = {
    "i": f"add sub mul and or xor shl shr_s shr_u rotl rotr {_ORDER}",
    "f": f"add sub mul div min max copysign {_F_ORDER}",
}
_ONE = {"i": "clz ctz popcnt eqz extend8_s extend16_s", "f": "abs neg sqrt ceil floor trunc nearest"}
_TESTS = frozenset(f"{_ORDER} {_F_ORDER} eqz".split())


def _instructions() -> str:
    # Each result goes to the next word; one that is not a number is written as one and the same.
    code: list[str] = []

    def keep(kind: str, value: str) -> None:
        at = 64 + 8 * len(code)
        word = {
            "i32": f"(i64.extend_i32_u {value})",
            "i64": value,
            "f32": f"(i64.extend_i32_u (i32.reinterpret_f32 (call $one32 {value})))",
            "f64": f"(i64.reinterpret_f64 (call $one64 {value}))",
        }[kind]
        code.append(f"(i64.store (i32.const {at}) {word})")

    a = {
        "i32": "(i32.wrap_i64 (local.get $a))",
        "i64": "(local.get $a)",
        "f32": "(f32.reinterpret_i32 (i32.wrap_i64 (local.get $a)))",
        "f64": "(f64.reinterpret_i64 (local.get $a))",
    }
    b = {kind: value.replace("$a", "$b") for kind, value in a.items()}
    for kind in a:
        for name in _TWO[kind[0]].split():
            keep("i32" if name in _TESTS else kind, f"({kind}.{name} {a[kind]} {b[kind]})")
        for name in _ONE[kind[0]].split():
            keep("i32" if name in _TESTS else kind, f"({kind}.{name} {a[kind]})")
        for other in a:
            if kind[0] == "i" and other[0] == "f":
                for sign in "su":
                    keep(kind, f"({kind}.trunc_sat_{other}_{sign} {a[other]})")
            if kind[0] == "f" and other[0] == "i":
                for sign in "su":
                    keep(kind, f"({kind}.convert_{other}_{sign} {a[other]})")
    keep("f32", f"(f32.demote_f64 {a['f64']})")
    keep("f64", f"(f64.promote_f32 {a['f32']})")
    for lane in ("i8x16", "i16x8", "i32x4", "i64x2"):
        for name in ("add", "sub", "eq", "lt_s", "shl"):
            first = f"({lane}.splat {a['i64' if lane == 'i64x2' else 'i32']})"
            second = b["i32"] if name == "shl" else f"({lane}.splat {b['i64' if lane == 'i64x2' else 'i32']})"
            keep("i64", f"(i64x2.extract_lane 1 ({lane}.{name} {first} {second}))")
    return wat(
        f"""(func $one32 (param f32) (result f32)
          (select (f32.const nan) (local.get 0) (f32.ne (local.get 0) (local.get 0))))
        (func $one64 (param f64) (result f64)
          (select (f64.const nan) (local.get 0) (f64.ne (local.get 0) (local.get 0))))
        (func (export "run") (local $a i64) (local $b i64)
          (local.set $a (call $input_load_u64 (i64.const 0))) (local.set $b (call $input_load_u64 (i64.const 8)))
          {" ".join(code)}
          (call $out (i32.const 64) (i32.const {8 * len(code)})))"""
        + OUT,
        OUTS + " input_load_u64",
    )


INSTRUCTIONS = _instructions()
"""The module, as text."""
