// An agent's tools for knowledge bases. A string that is thrown becomes the node's error as it is.

const TEXT = { type: "string" };
const WORDS = { type: "array", items: { type: "string" } };
const VERSION = { type: "integer", description: "The version that you read; the change is refused if it is another" };

// Each tool: what a model is told, and what it asks of the host. The base is the workflow's to choose, never the
// model's, so that no talk can lead it to another one; every change names the version that was read.
const TOOLS = {
    kb_search: {
        description: "Search the knowledge base. Do this before you create an entry: it may be there already.",
        properties: { query: TEXT, k: { type: "integer", description: "How many at most, 1 to 50" } },
        required: ["query"],
        run: (base, { query, k }) => {
            const { hits, notes } = ask("kb.search", { ...base, query: query.slice(0, 2000), k: k ?? 10 });
            return { hits: hits.map(({ id, title, content, version, score }) => ({ id, title, content, version, score })), notes };
        },
    },
    kb_read: {
        description: "Read an entry, with the version that a change must name.",
        properties: { id: TEXT },
        required: ["id"],
        run: (base, { id }) => ask("kb.get", { ...base, id }),
    },
    kb_create: {
        description: "Create an entry: one fact or one thing, whole by itself.",
        properties: { title: TEXT, content: TEXT, keywords: WORDS, priority: { type: "integer" } },
        required: ["title", "content", "keywords"],
        run: (base, { title, content, keywords, priority }) =>
            ask("kb.put", { ...base, title, content, keywords, ...(priority === undefined ? {} : { priority }) }),
    },
    kb_patch: {
        description: "Change parts of an entry; what you leave out stays. A new content takes the place of the old one.",
        properties: { id: TEXT, version: VERSION, title: TEXT, content: TEXT, keywords: WORDS, priority: { type: "integer" } },
        required: ["id", "version"],
        run: (base, { id, version, title, content, keywords, priority }) =>
            ask("kb.patch", { ...base, id, expect: version, title, content, keywords, priority }),
    },
    kb_append: {
        description: "Add a paragraph to an entry. A paragraph that is there already is not added again.",
        properties: { id: TEXT, version: VERSION, text: TEXT },
        required: ["id", "version", "text"],
        run: (base, { id, version, text }) => ask("kb.append", { ...base, id, expect: version, text }),
    },
    kb_deprecate: {
        description: "Take an entry that is no longer true out of use, without deleting it.",
        properties: { id: TEXT, version: VERSION, reason: TEXT, successor: TEXT },
        required: ["id", "version", "reason"],
        run: (base, { id, version, reason, successor }) =>
            ask("kb.deprecate", { ...base, id, expect: version, reason: reason.slice(0, 200), successor }),
    },
    kb_delete: {
        description: "Delete an entry. kb_undo brings it back.",
        properties: { id: TEXT, version: VERSION },
        required: ["id", "version"],
        run: (base, { id, version }) => ask("kb.delete", { ...base, id, expect: version }),
    },
    kb_undo: {
        description: "Take your last change of an entry back.",
        properties: { id: TEXT },
        required: ["id"],
        // The base itself: a session's changes are undone with the session.
        run: ({ base }, { id }) => ask("kb.undo", { base, id }),
    },
};

const KINDS = { boolean: "a boolean", number: "a number", object: "an object", string: "text" };

function kindOf(value) {
    if (value === null || value === undefined) return "nothing";
    return Array.isArray(value) ? "an array" : KINDS[typeof value];
}

function fits(value, schema) {
    if (schema.type === "array") return Array.isArray(value) && value.every((item) => typeof item === "string");
    return schema.type === "integer" ? Number.isInteger(value) : typeof value === "string";
}

// Arguments as a model wrote them, with everything that is wrong with them.
function checked(name, given) {
    const tool = TOOLS[name];
    const problems = tool.required.filter((key) => given[key] === undefined || given[key] === null).map((key) => `'${key}' is missing`);
    const kept = {};
    for (const [key, value] of Object.entries(given)) {
        const schema = tool.properties[key];
        if (value === null || value === undefined) continue;
        if (schema === undefined) problems.push(`there is no argument '${key}'`);
        else if (!fits(value, schema)) problems.push(`'${key}' is ${kindOf(value)}, not ${schema.type === "string" ? "text" : schema.type}`);
        else kept[key] = value;
    }
    if (problems.length > 0) throw `${name}: ${problems.join("; ")}`;
    return kept;
}

// What the host refused, with its kind: a model can read again after a conflict.
function ask(operation, given) {
    try {
        return innkeeper.call(operation, given);
    } catch (error) {
        if (error.name !== "BridgeError") throw error;
        const version = error.current === undefined ? "" : ` (its version is ${error.current})`;
        throw `${error.kind}: ${error.message}${version}`;
    }
}

// What the node's configuration says goes before what is wired or preset, as in the nodes of kb.
function given({ inputs = {}, config = {} }, name) {
    return config[name] ?? inputs[name];
}

function textOf(call, name) {
    const value = given(call, name);
    if (value === null || value === undefined) return undefined;
    if (typeof value === "object") throw `input '${name}' is ${kindOf(value)}, not text`;
    return String(value);
}

function placeOf(call) {
    const value = given(call, "knowledgeBase");
    const base = kindOf(value) === "an object" ? value.id : value;
    if (typeof base !== "string" || base.trim() === "") throw "input 'knowledgeBase' is missing: choose a knowledge base";
    return { base: base.trim(), session: textOf(call, "session") ?? "" };
}

function parsed(value, label) {
    if (typeof value !== "string") return value ?? undefined;
    try {
        return JSON.parse(value === "" ? "{}" : value);
    } catch (error) {
        throw `${label} is not JSON: ${error.message}`;
    }
}

// A node of one tool: its inputs are the tool's arguments.
function node(name) {
    return (call) => {
        const wanted = {};
        for (const [key, schema] of Object.entries(TOOLS[name].properties)) {
            const value = given(call, key);
            if (value === null || value === undefined || value === "") continue;
            if (schema.type === "array" && typeof value === "string") {
                wanted[key] = value.split(",").map((each) => each.trim()).filter(Boolean);
            } else {
                wanted[key] = schema.type === "integer" ? Number(value) : value;
            }
        }
        return { result: TOOLS[name].run(placeOf(call), checked(name, wanted)) };
    };
}

export const search_entries = node("kb_search");
export const read_entry = node("kb_read");
export const create_entry = node("kb_create");
export const patch_entry = node("kb_patch");
export const append_entry = node("kb_append");
export const deprecate_entry = node("kb_deprecate");
export const delete_entry = node("kb_delete");
export const undo_entry = node("kb_undo");

// kb-tools:ToolDefinitions tells a model which tools there are.
export function tool_definitions(call) {
    const names = textOf(call, "tools");
    const wanted = names === undefined || names === "" ? Object.keys(TOOLS) : names.split(",").map((name) => name.trim());
    const tools = wanted.map((name) => {
        if (!Object.hasOwn(TOOLS, name)) throw `there is no tool '${name}': there are ${Object.keys(TOOLS).join(", ")}`;
        const { description, properties, required } = TOOLS[name];
        const parameters = { type: "object", properties, required, additionalProperties: false };
        return { type: "function", function: { name, description, parameters } };
    });
    return { tools };
}

const MOST_CALLS = 32;

// kb-tools:RunToolCalls does what a model asked for. A call that fails is told to the model, and others go on.
export function run_tool_calls(call) {
    const list = parsed(given(call, "toolCalls"), "input 'toolCalls'");
    if (!Array.isArray(list)) throw `input 'toolCalls' is ${kindOf(list)}, not an array`;
    if (list.length > MOST_CALLS) throw `input 'toolCalls' has ${list.length} calls: ${MOST_CALLS} is the most`;
    const place = placeOf(call);
    const names = textOf(call, "tools");
    const allowed = names === undefined || names === "" ? Object.keys(TOOLS) : names.split(",").map((name) => name.trim());
    const messages = [];
    let failed = 0;
    for (const each of list) {
        const name = String(each?.function?.name ?? each?.name ?? "");
        let content;
        try {
            if (!allowed.includes(name) || !Object.hasOwn(TOOLS, name)) throw `there is no tool '${name.slice(0, 60)}'`;
            const wanted = parsed(each.function?.arguments ?? each.arguments ?? {}, "arguments");
            if (kindOf(wanted) !== "an object") throw `arguments is ${kindOf(wanted)}, not an object`;
            content = TOOLS[name].run(place, checked(name, wanted));
        } catch (error) {
            failed++;
            content = { error: typeof error === "string" ? error : String(error.message) };
        }
        messages.push({ role: "tool", tool_call_id: String(each?.id ?? ""), content: JSON.stringify(content) });
    }
    return { messages, failed };
}
