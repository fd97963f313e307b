// A guest of the tests: evaluates what a test gives it, and shows the value as text that loses nothing.

function shown(value) {
    if (value === undefined) return "undefined";
    if (typeof value === "bigint") return `${value}n`;
    if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value);
    if (typeof value === "string") return JSON.stringify(value);
    if (value instanceof Uint8Array) return `bytes(${[...value].join(",")})`;
    if (Array.isArray(value)) return `[${value.map(shown).join(",")}]`;
    if (value !== null && typeof value === "object") {
        return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}:${shown(item)}`).join(",")}}`;
    }
    return String(value);
}

// What the host gives back for a value, or how it refuses: the error's name and message.
globalThis.echo = (value) => innkeeper.call("kb.render", { template: "", values: { it: value } }).variables.it;
globalThis.tried = (work) => {
    try {
        return shown(work());
    } catch (error) {
        return `${error.name}${error.kind === undefined ? "" : ` ${error.kind}`}: ${error.message}`;
    }
};

export function run({ inputs }) {
    return { shown: shown((0, eval)(inputs.script)) };
}
