// Runs a module's initialization with just enough of a host to print the error that the script set.
// Usage: node explain.mjs MODULE.wasm
import { readFile } from "node:fs/promises";

const module = await WebAssembly.compile(await readFile(process.argv[2]));
const memory = new DataView(new ArrayBuffer(1 << 16));
let next = 8;
let message;

const host = {
    alloc(size) {
        const block = next;
        next += Number(size);
        sizes.set(block, Number(size));
        return BigInt(block);
    },
    store_u8: (address, byte) => memory.setUint8(Number(address), byte),
    store_u64: (address, word) => memory.setBigUint64(Number(address), word, true),
    error_set(address) {
        const start = Number(address);
        message = new TextDecoder().decode(new Uint8Array(memory.buffer, start, sizes.get(start)));
    },
};
const sizes = new Map();

const imports = {};
for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    imports[from] ??= {};
    imports[from][name] =
        host[name] ??
        (() => {
            throw new Error(`the script calls ${name} while it is evaluated`);
        });
}
const { exports } = await WebAssembly.instantiate(module, imports);
try {
    exports._initialize?.();
    exports["wizer.initialize"]();
} catch (error) {
    console.error(message ?? String(error));
    process.exit(1);
}
