"""The types of all functions, against wasmtime's own WASI."""

from __future__ import annotations

import pytest
import wasmtime

from innkeeper.sandbox.interface import Value
from innkeeper.sandbox.wasi import FUNCTIONS, WASI_MODULE, WasiFunction

PREVIEW_1 = """
    args_get args_sizes_get environ_get environ_sizes_get clock_res_get clock_time_get fd_advise fd_allocate
    fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights fd_filestat_get
    fd_filestat_set_size fd_filestat_set_times fd_pread fd_prestat_get fd_prestat_dir_name fd_pwrite fd_read
    fd_readdir fd_renumber fd_seek fd_sync fd_tell fd_write path_create_directory path_filestat_get
    path_filestat_set_times path_link path_open path_readlink path_remove_directory path_rename path_symlink
    path_unlink_file poll_oneoff proc_exit proc_raise sched_yield random_get sock_accept sock_recv sock_send
    sock_shutdown
"""


def importing(function: WasiFunction, parameters: tuple[Value, ...]) -> str:
    given = "".join(f" (param {parameter.value})" for parameter in parameters)
    result = f" (result {function.result.value})" if function.result else ""
    return f'(module (import "{WASI_MODULE}" "{function.name}" (func{given}{result})))'


@pytest.fixture(scope="module")
def linker() -> wasmtime.Linker:
    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    return linker


def accepts(linker: wasmtime.Linker, text: str) -> bool:
    store = wasmtime.Store(linker.engine)
    store.set_wasi(wasmtime.WasiConfig())
    try:
        linker.instantiate(store, wasmtime.Module(linker.engine, text))
    except wasmtime.WasmtimeError:
        return False
    return True


def test_every_function_of_preview_1_is_there_and_nothing_else() -> None:
    assert sorted(FUNCTIONS) == sorted(PREVIEW_1.split())
    assert all(name == function.name for name, function in FUNCTIONS.items())


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_has_the_types_of_the_standard(linker: wasmtime.Linker, name: str) -> None:
    function = FUNCTIONS[name]
    assert accepts(linker, importing(function, function.parameters))
    assert not accepts(linker, importing(function, (*function.parameters, Value.I32)))
