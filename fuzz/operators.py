"""Instructions and constants that generated modules use, by the type of their result."""

from __future__ import annotations

NUMBERS = ("i32", "i64", "f32", "f64")
UNARY = {
    "i32": ("clz", "ctz", "popcnt", "extend8_s", "extend16_s"),
    "i64": ("clz", "ctz", "popcnt", "extend8_s", "extend16_s", "extend32_s"),
    "f32": ("abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt"),
    "f64": ("abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt"),
}
WHOLE = (
    "add",
    "sub",
    "mul",
    "and",
    "or",
    "xor",
    "shl",
    "shr_s",
    "shr_u",
    "rotl",
    "rotr",
    "div_s",
    "div_u",
    "rem_s",
    "rem_u",
)
REAL = ("add", "sub", "mul", "div", "min", "max", "copysign")
BINARY = {"i32": WHOLE, "i64": WHOLE, "f32": REAL, "f64": REAL}
COMPARE = {
    "i32": ("eq", "ne", "lt_s", "lt_u", "gt_s", "ge_u", "le_s"),
    "i64": ("eq", "ne", "lt_s", "lt_u", "gt_s", "ge_u", "le_s"),
    "f32": ("eq", "ne", "lt", "gt", "le", "ge"),
    "f64": ("eq", "ne", "lt", "gt", "le", "ge"),
}
LOADS = {
    "i32": ("i32.load", "i32.load8_s", "i32.load8_u", "i32.load16_s", "i32.load16_u"),
    "i64": ("i64.load", "i64.load8_s", "i64.load8_u", "i64.load16_u", "i64.load32_s", "i64.load32_u"),
    "f32": ("f32.load",),
    "f64": ("f64.load",),
}
STORES = {
    "i32": ("i32.store", "i32.store8", "i32.store16"),
    "i64": ("i64.store", "i64.store8", "i64.store16", "i64.store32"),
    "f32": ("f32.store",),
    "f64": ("f64.store",),
}
CONVERSIONS = {
    "i32": (
        ("i32.wrap_i64", "i64"),
        ("i32.trunc_sat_f64_s", "f64"),
        ("i32.trunc_f32_u", "f32"),
        ("i32.reinterpret_f32", "f32"),
    ),
    "i64": (
        ("i64.extend_i32_s", "i32"),
        ("i64.extend_i32_u", "i32"),
        ("i64.trunc_sat_f32_u", "f32"),
        ("i64.reinterpret_f64", "f64"),
    ),
    "f32": (("f32.convert_i64_u", "i64"), ("f32.demote_f64", "f64"), ("f32.reinterpret_i32", "i32")),
    "f64": (("f64.convert_i32_s", "i32"), ("f64.promote_f32", "f32"), ("f64.reinterpret_i64", "i64")),
}
EXTRACT = {
    "i32": "i32x4.extract_lane 2",
    "i64": "i64x2.extract_lane 1",
    "f32": "f32x4.extract_lane 3",
    "f64": "f64x2.extract_lane 0",
}
CONSTANTS = {
    "i32": ("0", "1", "-1", "7", "255", "65535", "65536", "-2147483648", "2147483647", "64", "15"),
    "i64": ("0", "1", "-1", "8", "4294967296", "-9223372036854775808", "9223372036854775807", "64", "15"),
    "f32": ("0", "-0", "1", "-1.5", "inf", "-inf", "nan", "nan:0x200001", "3e38", "1e-40", "2147483648"),
    "f64": ("0", "-0", "1", "-1.5", "inf", "-inf", "nan", "nan:0x4000000000001", "1e308", "5e-324", "9e18"),
}
